"""A graph on rows: every edge a chain of items with exactly one item on each row it passes.

Nodes stand on even rows. The odd rows between them hold nothing but passing edges and their
labels, so that a label has a place like a node has, and the two edges of a small loop never
coincide. Ordering and coordinates see only items; which of them are nodes matters to neither
beyond the room they need.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from graphflow.graph.drawing.cycles import Ends


class Room(NamedTuple):
    """What an item needs around its anchor, in pixels."""

    left: float
    right: float
    top: float
    bottom: float

    @classmethod
    def around(cls, width: float, height: float) -> Room:
        """The room of a box centred on its anchor."""
        return cls(width / 2, width / 2, height / 2, height / 2)

    def mirrored(self) -> Room:
        """The same room with left and right exchanged."""
        return self._replace(left=self.right, right=self.left)


_POINT = Room(0.0, 0.0, 0.0, 0.0)


@dataclass(slots=True)
class Lattice:
    """Items on rows; the first `nodes` items are the nodes, in declaration order."""

    nodes: int
    rows: list[list[int]]
    """The items of each row from left to right."""
    rooms: list[Room]
    above: list[list[int]]
    """For each item, its neighbours on the row above."""
    below: list[list[int]]
    chains: list[list[int]] = field(default_factory=list)
    """For each edge the items from the upper end to the lower one, both included."""

    def is_node(self, item: int) -> bool:
        """Whether the item is a node, not a passing edge."""
        return item < self.nodes

    def add(self, room: Room = _POINT) -> int:
        """A new item, on no row yet."""
        self.rooms.append(room)
        self.above.append([])
        self.below.append([])
        return len(self.rooms) - 1

    def link(self, upper: int, lower: int) -> None:
        """Connect two items of neighbouring rows."""
        self.below[upper].append(lower)
        self.above[lower].append(upper)

    def unlink(self, upper: int, lower: int) -> None:
        """Take that connection away."""
        self.below[upper].remove(lower)
        self.above[lower].remove(upper)

    def positions(self) -> list[int]:
        """For each item its place in its row."""
        places = [0] * len(self.rooms)
        for row in self.rows:
            for place, item in enumerate(row):
                places[item] = place
        return places


def lattice(
    row_of: Sequence[int],
    rooms: Iterable[Room],
    edges: Sequence[Ends],
    reversed_edges: frozenset[int],
    labels: Sequence[Room | None],
) -> Lattice:
    """The items of a graph whose rows are known, each row in declaration order.

    Args:
        row_of: the row of each node.
        rooms: what each node needs.
        edges: their ends, in the author's direction; no self loops.
        reversed_edges: the indices of those that point up.
        labels: what each edge's label needs, None for an edge without.
    """
    rooms, count = list(rooms), len(row_of)
    grid = Lattice(
        nodes=count,
        rows=[[] for _ in range(2 * max(row_of, default=-1) + 1)],
        rooms=rooms,
        above=[[] for _ in range(count)],
        below=[[] for _ in range(count)],
    )
    for node, row in enumerate(row_of):
        grid.rows[2 * row].append(node)
    for index, ends in enumerate(edges):
        backwards = index in reversed_edges
        upper, lower = reversed(ends) if backwards else ends
        grid.chains.append(_chain(grid, upper, lower, row_of, labels[index], backwards))
    return grid


def _chain(
    grid: Lattice,
    upper: int,
    lower: int,
    row_of: Sequence[int],
    label: Room | None,
    backwards: bool,
) -> list[int]:
    """One edge as items. Its label stands next to the node it leaves, where the choice is made."""
    passed = range(2 * row_of[upper] + 1, 2 * row_of[lower])
    labelled = passed[-1] if backwards else passed[0]
    chain = [upper]
    for row in passed:
        item = grid.add(label if label and row == labelled else _POINT)
        grid.rows[row].append(item)
        grid.link(chain[-1], item)
        chain.append(item)
    grid.link(chain[-1], lower)
    return [*chain, lower]
