"""Ways back at the side: where a long edge that points up leaves and enters nodes sideways.

An edge that returns over several rows is easiest to follow when it does not start among the edges
that go the same way. Where it is the outermost of a node's edges it gets a lane: an item right
beside the node, on the node's own row, so that nothing can stand between the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from graphflow.graph.drawing.lattice import Lattice

Side = Literal["left", "right"]
_SIDES: tuple[Side, ...] = ("right", "left")
_SHORTEST = 5
"""Items of the shortest chain that gets lanes: two nodes with one row of nodes between them."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One end of an edge that meets its node sideways."""

    node: int
    item: int
    """The item beside the node."""
    side: Side
    outside: int
    """How many lanes on the same side are further from the node."""


Lanes = dict[tuple[int, bool], Lane]
"""(index of the edge, whether it is its upper end) to the lane."""


def open_lanes(grid: Lattice, backwards: Iterable[int], loops: frozenset[int]) -> Lanes:
    """Give lanes to long edges, in place, after the rows are ordered.

    Args:
        grid: with its rows in final order.
        backwards: the indices of the edges that point up.
        loops: the nodes with a self loop, which keep one side free for it.
    """
    lanes: Lanes = {}
    long = [index for index in backwards if len(grid.chains[index]) >= _SHORTEST]
    for upper in (True, False):
        ends = {_end(grid.chains[index], upper=upper): index for index in long}
        for node in dict.fromkeys(node for node, _ in ends):
            for side in _SIDES[: 1 if node in loops else 2]:
                peeled = _peeled(grid, node, ends, side, upper=upper)
                items = [_divert(grid, grid.chains[index], upper=upper) for index in peeled]
                _stand_beside(grid, node, items, side)
                for outside, (index, item) in enumerate(zip(peeled, items, strict=True)):
                    lanes[index, upper] = Lane(node, item, side, outside)
    return lanes


def _end(chain: list[int], *, upper: bool) -> tuple[int, int]:
    """A node and the first item on the way from it."""
    return (chain[0], chain[1]) if upper else (chain[-1], chain[-2])


def _peeled(
    grid: Lattice, node: int, ends: dict[tuple[int, int], int], side: Side, *, upper: bool
) -> list[int]:
    """The long ways back on the outside of a node's bundle, outermost first."""
    places = grid.positions()
    bundle = grid.below[node] if upper else grid.above[node]
    inwards = sorted(bundle, key=places.__getitem__, reverse=side == "right")
    return [ends[node, item] for item in takewhile(lambda item: (node, item) in ends, inwards)]


def _divert(grid: Lattice, chain: list[int], *, upper: bool) -> int:
    """Lead the chain past its node: the new item takes the node's connection."""
    lane = grid.add()
    if upper:
        grid.unlink(chain[0], chain[1])
        grid.link(lane, chain[1])
        chain.insert(1, lane)
    else:
        grid.unlink(chain[-2], chain[-1])
        grid.link(chain[-2], lane)
        chain.insert(len(chain) - 1, lane)
    return lane


def _stand_beside(grid: Lattice, node: int, items: list[int], side: Side) -> None:
    """Put items next to the node, the first one furthest away."""
    row = next(row for row in grid.rows if node in row)
    place = row.index(node)
    if side == "right":
        row[place + 1 : place + 1] = reversed(items)
    else:
        row[place:place] = items
