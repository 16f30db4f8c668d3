"""Everything about a layout that has no coordinates yet: sizes, rows, order, sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from graphflow.graph.diagram import Diagram
from graphflow.graph.drawing.boxes import Box, boxed
from graphflow.graph.drawing.crossings import reduce_crossings
from graphflow.graph.drawing.cycles import back_edges
from graphflow.graph.drawing.lanes import Lanes, open_lanes
from graphflow.graph.drawing.lattice import Lattice, lattice
from graphflow.graph.drawing.layers import rows
from graphflow.graph.drawing.placed import Layout
from graphflow.graph.drawing.wires import Wire, wires


@dataclass(frozen=True, slots=True)
class Plan:
    """One diagram on ordered rows."""

    boxes: list[Box]
    wires: list[Wire]
    """The lines between two different nodes; the lattice has one chain for each."""
    loops: list[Wire]
    """The lines from a node to itself."""
    left_loops: frozenset[int]
    """The nodes whose self loop is on the left, because lanes are on the right."""
    backwards: frozenset[int]
    """Which wires point up."""
    joined: frozenset[int]
    """The nodes above which edges meet that wait for each other."""
    grid: Lattice
    lanes: Lanes

    def joins(self, index: int) -> bool:
        """Whether that wire ends in a join bar."""
        wire = self.wires[index]
        return wire.kind == "join" and wire.target in self.joined and index not in self.backwards


def planned(diagram: Diagram, inner: Sequence[Layout | None]) -> Plan:
    """A diagram on rows; `inner` has the layout of each nested graph at its node's position."""
    every = wires(diagram)
    loops = {wire.source: wire for wire in every if wire.source == wire.target}
    between = [wire for wire in every if wire.source != wire.target]
    backwards = _backwards(diagram, between)
    joined = _joined(between, backwards)
    ends = _ends(between, backwards)
    boxes = [
        boxed(node, inner[index], loops.get(index), ends=ends[index], joined=index in joined)
        for index, node in enumerate(diagram.nodes)
    ]
    grid = _grid(boxes, between, backwards)
    reduce_crossings(grid)
    lanes = open_lanes(grid, sorted(backwards), frozenset(loops))
    left = frozenset(lane.node for lane in lanes.values()) & frozenset(loops)
    for node in left:
        grid.rooms[node] = grid.rooms[node].mirrored()
    return Plan(boxes, between, list(loops.values()), left, backwards, joined, grid, lanes)


def _backwards(diagram: Diagram, between: Sequence[Wire]) -> frozenset[int]:
    starts = [index for index, node in enumerate(diagram.nodes) if node.kind == "start"]
    ends = [(wire.source, wire.target) for wire in between]
    return back_edges(len(diagram.nodes), ends, starts)


def _joined(between: Sequence[Wire], backwards: frozenset[int]) -> frozenset[int]:
    waiting = Counter(
        wire.target
        for index, wire in enumerate(between)
        if wire.kind == "join" and index not in backwards
    )
    return frozenset(node for node, count in waiting.items() if count > 1)


def _ends(between: Sequence[Wire], backwards: frozenset[int]) -> Counter[int]:
    """For each node how many edges meet its top or its bottom, whichever has more."""
    tops: Counter[int] = Counter()
    bottoms: Counter[int] = Counter()
    for index, wire in enumerate(between):
        upper, lower = wire.source, wire.target
        if index in backwards:
            upper, lower = lower, upper
        tops[lower] += 1
        bottoms[upper] += 1
    return tops | bottoms


def _grid(boxes: Sequence[Box], between: Sequence[Wire], backwards: frozenset[int]) -> Lattice:
    ends = [(wire.source, wire.target) for wire in between]
    down = [pair for index, pair in enumerate(ends) if index not in backwards]
    return lattice(
        row_of=rows(len(boxes), down),
        rooms=[box.room for box in boxes],
        edges=ends,
        reversed_edges=backwards,
        labels=[wire.room for wire in between],
    )
