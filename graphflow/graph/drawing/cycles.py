"""Which edges point up: depth first, in declaration order.

A graph with loops has no top and no bottom until some edges are declared to run backwards.
Following the author's order makes those the edges that return to something written earlier on the
way; choosing them by count instead turns agent loops upside down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Ends = tuple[int, int]
"""Source and target of an edge, as positions in declaration order."""


def back_edges(count: int, edges: Sequence[Ends], roots: Iterable[int]) -> frozenset[int]:
    """The indices of the edges that close a cycle, self loops among them.

    Args:
        count: how many nodes there are, numbered in declaration order.
        edges: their ends.
        roots: where to look first; the others follow in order.
    """
    outgoing: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for index, (source, target) in enumerate(edges):
        outgoing[source].append((target, index))
    for targets in outgoing:
        targets.sort(reverse=True)
    return frozenset(_closing(outgoing, [*roots, *range(count)]))


def _closing(outgoing: list[list[tuple[int, int]]], roots: Sequence[int]) -> list[int]:
    found: list[int] = []
    seen: set[int] = set()
    for root in roots:
        if root not in seen:
            found += _walk(root, outgoing, seen)
    return found


def _walk(root: int, outgoing: list[list[tuple[int, int]]], seen: set[int]) -> list[int]:
    """Depth first from one root, on a stack of its own: a chain may be longer than Python's."""
    found, trail, open_nodes = [], [root], {root}
    seen.add(root)
    while trail:
        node = trail[-1]
        if not outgoing[node]:
            open_nodes.discard(trail.pop())
            continue
        target, index = outgoing[node].pop()
        if target in open_nodes:
            found.append(index)
        elif target not in seen:
            seen.add(target)
            open_nodes.add(target)
            trail.append(target)
    return found
