"""How far edges lean while they pass a row of labels: as far as there is space."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from graphflow.graph.drawing.lattice import Lattice
from graphflow.graph.drawing.levels import Levels
from graphflow.graph.drawing.ports import Ports

_SPARED = 3.0
_MOST = 400.0
_MOST_LABELLED = 10.0


def leans(grid: Lattice, x: Sequence[float], levels: Levels, ports: Ports) -> list[float]:
    """For each item how far right of its anchor it leaves its row; 0 on rows of nodes."""
    found = [0.0] * len(grid.rooms)
    for row, items in enumerate(grid.rows):
        height = levels.bottom[row] - levels.top[row]
        if row % 2 and height:
            share = height / (levels.top[row + 1] - levels.bottom[row - 1]) / 2
            for place, item in enumerate(items):
                most = _most(grid, items, place, x)
                wish = _travel(grid, item, x, ports) * share
                found[item] = max(-most, min(most, wish))
    return found


def _travel(grid: Lattice, item: int, x: Sequence[float], ports: Ports) -> float:
    """How far right the edge goes from the row above to the row below."""
    upper, lower = grid.above[item][0], grid.below[item][0]
    return ports.get((lower, item), x[lower]) - ports.get((upper, item), x[upper])


def _most(grid: Lattice, items: Sequence[int], place: int, x: Sequence[float]) -> float:
    """Half of the space to the nearer neighbour."""
    item = items[place]
    pairs = pairwise(items[max(0, place - 1) : place + 2])
    free = [x[right] - x[left] - grid.rooms[left].right for left, right in pairs]
    most = _MOST_LABELLED if grid.rooms[item].right else _MOST
    return min([most, *(max(0.0, space / 2 - _SPARED) for space in free)])
