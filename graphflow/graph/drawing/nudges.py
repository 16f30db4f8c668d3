"""Small moves of nodes that make more of their edges straight.

Coordinates align the middles of nodes; edges meet ports beside the middle. A node may move a little
where that lines up more of its ports than now and no neighbour is in the way.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.graph.drawing.coordinates import distance
from graphflow.graph.drawing.lattice import Lattice
from graphflow.graph.drawing.plan import Plan
from graphflow.graph.drawing.ports import Ports, even_ports

_FURTHEST = 20.0
_ROUNDS = 2


def nudged(plan: Plan, x: Sequence[float]) -> list[float]:
    """The anchors with some nodes moved, those with the fewest edges first."""
    grid, moved = plan.grid, list(x)
    offsets = {end: place - x[end[0]] for end, place in even_ports(plan, x).items()}
    beside = _neighbours(grid)
    order = sorted(range(grid.nodes), key=lambda node: len(grid.above[node] + grid.below[node]))
    for node in order * _ROUNDS:
        targets = _targets(grid, node, moved, offsets)
        for target in sorted(targets, key=lambda target: abs(target - moved[node])):
            better = _straight(targets, target) > _straight(targets, moved[node])
            if better and _fits(grid, node, target, moved, beside):
                moved[node] = target
    return moved


def _targets(grid: Lattice, node: int, x: Sequence[float], offsets: Ports) -> list[float]:
    """For each edge the place at which the node would make it straight."""
    beyond = [
        *((item, grid.above[item]) for item in grid.above[node]),
        *((item, grid.below[item]) for item in grid.below[node]),
    ]
    return [
        x[far] + offsets.get((far, item), 0.0) - offsets[node, item]
        for item, others in beyond
        for far in others
    ]


def _straight(targets: Sequence[float], place: float) -> int:
    return sum(abs(target - place) < 0.5 for target in targets)


def _neighbours(grid: Lattice) -> dict[int, tuple[int | None, int | None]]:
    return {
        item: (row[place - 1] if place else None, row[place + 1] if place + 1 < len(row) else None)
        for row in grid.rows
        for place, item in enumerate(row)
    }


def _fits(
    grid: Lattice,
    node: int,
    place: float,
    x: Sequence[float],
    beside: dict[int, tuple[int | None, int | None]],
) -> bool:
    left, right = beside[node]
    if abs(place - x[node]) > _FURTHEST:
        return False
    if left is not None and place - x[left] < distance(grid, left, node):
        return False
    return right is None or x[right] - place >= distance(grid, node, right)
