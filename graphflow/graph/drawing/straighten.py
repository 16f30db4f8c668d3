"""Bends where they are least seen: items between two rows of nodes move half way along their edge.

Coordinates align items with nodes, knowing nothing of ports. Here every item of an odd row wishes
for the middle of what it connects, and the row gives each the nearest place that keeps its
distances. What is straight stays straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from graphflow.graph.drawing.coordinates import distance
from graphflow.graph.drawing.isotonic import Wish, nearest_places
from graphflow.graph.drawing.lattice import Lattice
from graphflow.graph.drawing.ports import Ports

_STRAIGHT = 1e6


def straightened(grid: Lattice, x: Sequence[float], ports: Ports) -> list[float]:
    """The anchors with those of odd rows moved; even rows stay."""
    moved = list(x)
    for row in grid.rows[1::2]:
        wishes = [_wish(grid, item, x, ports) for item in row]
        room = [distance(grid, left, right) for left, right in pairwise(row)]
        for item, place in zip(row, nearest_places(wishes, room), strict=True):
            moved[item] = place
    return moved


def _wish(grid: Lattice, item: int, x: Sequence[float], ports: Ports) -> Wish:
    upper, lower = grid.above[item][0], grid.below[item][0]
    above, below = ports.get((upper, item), x[upper]), ports.get((lower, item), x[lower])
    return (above + below) / 2, _STRAIGHT if abs(above - below) < 1 else 1.0
