"""On which row each node stands: below everything that leads to it, and close to it.

Longest path first, which is always right and often slack; then every node is pulled to where its
edges are shortest. Two rounds settle all but contrived graphs.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.graph.drawing.cycles import Ends

_ROUNDS = 2


def rows(count: int, edges: Sequence[Ends]) -> list[int]:
    """The row of each node, from 0 at the top.

    Args:
        count: how many nodes there are.
        edges: their ends; no cycles.
    """
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        below[source].append(target)
        above[target].append(source)
    order = _topological(above, below)
    row = [0] * count
    for node in order:
        row[node] = max((row[other] + 1 for other in above[node]), default=0)
    for _ in range(_ROUNDS):
        _pull_down(order, row, above, below)
        _pull_up(order, row, above, below)
    return _without_gaps(row)


def _topological(above: list[list[int]], below: list[list[int]]) -> list[int]:
    missing = [len(others) for others in above]
    order = [node for node, count in enumerate(missing) if not count]
    for node in order:
        for other in below[node]:
            missing[other] -= 1
            if not missing[other]:
                order.append(other)
    return order


def _pull_down(
    order: list[int], row: list[int], above: list[list[int]], below: list[list[int]]
) -> None:
    for node in reversed(order):
        if below[node] and len(below[node]) >= len(above[node]):
            row[node] = min(row[other] for other in below[node]) - 1


def _pull_up(
    order: list[int], row: list[int], above: list[list[int]], below: list[list[int]]
) -> None:
    for node in order:
        if above[node] and len(above[node]) >= len(below[node]):
            row[node] = max(row[other] for other in above[node]) + 1


def _without_gaps(row: list[int]) -> list[int]:
    dense = {value: index for index, value in enumerate(sorted(set(row)))}
    return [dense[value] for value in row]
