"""From chains to edges: every wire of a plan as a curve between the borders of its nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphflow.graph.drawing.boxes import JOIN_RISE, LOOP_REACH
from graphflow.graph.drawing.lanes import Lane
from graphflow.graph.drawing.levels import Levels
from graphflow.graph.drawing.placed import (
    Curve,
    PlacedJoin,
    Point,
    Rectangle,
    RoutedEdge,
)
from graphflow.graph.drawing.plan import Plan
from graphflow.graph.drawing.ports import Ports
from graphflow.graph.drawing.routes import backwards, corner, smooth, straight
from graphflow.graph.drawing.wires import LABEL_ASIDE, Wire

_STUB = 7.0
"""The straight piece before a border that an arrow head covers."""
_LANE_STEP = 7.0
_LOOP_HALF = 7.0
_BAR_OVERHANG = 6.0

Track = tuple[Point, list[Curve]]


@dataclass(frozen=True, slots=True)
class Tracks:
    """A plan with its coordinates."""

    plan: Plan
    x: Sequence[float]
    """The anchor of each item."""
    levels: Levels
    ports: Ports
    leans: Sequence[float]

    def box(self, node: int) -> Rectangle:
        """The node's own box, without the room around it."""
        size = self.plan.boxes[node]
        middle = self.levels.middle[self.levels.row_of[node]]
        return Rectangle(
            self.x[node] - size.width / 2, middle - size.height / 2, size.width, size.height
        )

    def edges(self) -> Iterator[RoutedEdge]:
        """Every wire, routed, self loops last."""
        for index, wire in enumerate(self.plan.wires):
            start, curves = self._descent(index)
            if index in self.plan.backwards:
                start, curves = backwards(start, curves)
            yield self._edge(wire, start, curves, self._label_box(index))
        for wire in self.plan.loops:
            yield self._loop(wire)

    def joins(self) -> Iterator[PlacedJoin]:
        """The bars above nodes whose edges wait for each other."""
        for node in sorted(self.plan.joined):
            left, right, y = self._bar(node)
            yield PlacedJoin(
                self.plan.boxes[node].node.id,
                (left - _BAR_OVERHANG, y),
                (right + _BAR_OVERHANG, y),
            )

    def _edge(
        self, wire: Wire, start: Point, curves: Sequence[Curve], label_box: Rectangle | None
    ) -> RoutedEdge:
        boxes = self.plan.boxes
        source, target = boxes[wire.source].node.id, boxes[wire.target].node.id
        return RoutedEdge(
            source, target, wire.kind, wire.label, wire.lines, start, tuple(curves), label_box
        )

    def _descent(self, index: int) -> Track:
        """One wire from its upper end to its lower one, whatever its direction."""
        start, head, first = self._head(index)
        last, tail = self._tail(index)
        points = [*first, *self._passed(index), *last]
        return start, [*head, *smooth(_descending(points)), *tail]

    def _head(self, index: int) -> tuple[Point, list[Curve], list[Point]]:
        """Where a descent starts, its curves beside the node, and its first points."""
        chain, lane = self.plan.grid.chains[index], self.plan.lanes.get((index, True))
        box, bottom = self.box(chain[0]), self.levels.bottom[self.levels.row_of[chain[0]]]
        if lane:
            bend, side = self._bend(box, lane, upper=True)
            down = (bend[0], bottom)
            return side, corner(side, bend, down), [down]
        x, y = self.ports[chain[0], chain[1]], box.y + box.height
        stub = _STUB if index in self.plan.backwards else 0.0
        return (x, y), [], [(x, y), (x, max(bottom, y + stub))]

    def _tail(self, index: int) -> tuple[list[Point], list[Curve]]:
        """The last points of a descent, and its curves beside or above the node."""
        chain, lane = self.plan.grid.chains[index], self.plan.lanes.get((index, False))
        box, top = self.box(chain[-1]), self.levels.top[self.levels.row_of[chain[-1]]]
        if lane:
            bend, side = self._bend(box, lane, upper=False)
            up = (bend[0], top)
            return [up], corner(up, bend, side)
        x, y = self.ports[chain[-1], chain[-2]], box.y
        if self.plan.joins(index):
            left, right, bar = self._bar(chain[-1])
            middle = (left + right) / 2
            return [(x, top), (x, bar)], straight((x, bar), (middle, bar), (middle, y))
        stub = 0.0 if index in self.plan.backwards else _STUB
        return [(x, min(top, y - stub)), (x, y)], []

    def _passed(self, index: int) -> Iterator[Point]:
        """Where a chain enters and leaves the rows between its nodes."""
        for item in self.plan.grid.chains[index][1:-1]:
            row = self.levels.row_of[item]
            bends = row % 2 == 0 or self.levels.bottom[row] > self.levels.top[row]
            if bends and not self._is_lane(item, index):
                yield self.x[item] - self.leans[item], self.levels.top[row]
                yield self.x[item] + self.leans[item], self.levels.bottom[row]

    def _is_lane(self, item: int, index: int) -> bool:
        ends = (self.plan.lanes.get((index, upper)) for upper in (True, False))
        return any(lane and lane.item == item for lane in ends)

    def _bend(self, box: Rectangle, lane: Lane, *, upper: bool) -> tuple[Point, Point]:
        """The corner of a lane, and the point on the node's side at the same height.

        The nearest lane meets the node furthest from its middle, so that none crosses another.
        """
        away = min((lane.outside + 0.5) * _LANE_STEP, box.height / 2 - 8)
        y = box.y + box.height / 2 + (away if upper else -away)
        side = box.x if lane.side == "left" else box.x + box.width
        return (self.x[lane.item], y), (side, y)

    def _bar(self, node: int) -> tuple[float, float, float]:
        """The leftmost and the rightmost port of a join, and the y of its bar."""
        found = [
            self.ports[node, chain[-2]]
            for index, chain in enumerate(self.plan.grid.chains)
            if chain[-1] == node and self.plan.joins(index)
        ]
        return min(found), max(found), self.box(node).y - JOIN_RISE + 1

    def _label_box(self, index: int) -> Rectangle | None:
        room = self.plan.wires[index].room
        if room is None:
            return None
        grid = self.plan.grid
        item = next(item for item in grid.chains[index][1:-1] if grid.rooms[item] == room)
        middle = self.levels.middle[self.levels.row_of[item]]
        left = self.x[item] + LABEL_ASIDE + abs(self.leans[item])
        return Rectangle(left, middle - room.top, room.right - LABEL_ASIDE, 2 * room.top)

    def _loop(self, wire: Wire) -> RoutedEdge:
        """Out of one side and back in, the label beyond."""
        box, left = self.box(wire.source), wire.source in self.plan.left_loops
        out = -1.0 if left else 1.0
        x, middle = box.x + (0.0 if left else box.width), box.y + box.height / 2
        near, far = x + out * _STUB, x + out * (LOOP_REACH + 3)
        high, low = middle - _LOOP_HALF, middle + _LOOP_HALF
        curves = [
            *straight((x, high), (near, high)),
            ((far, high), (far, low), (near, low)),
            *straight((near, low), (x, low)),
        ]
        return self._edge(wire, (x, high), curves, self._loop_label(wire, x, middle, left))

    def _loop_label(self, wire: Wire, x: float, y: float, left: bool) -> Rectangle | None:
        room = wire.room
        if room is None:
            return None
        x += -LOOP_REACH - room.right if left else LOOP_REACH
        return Rectangle(x, y - room.top, room.right, 2 * room.top)


def _descending(points: Sequence[Point]) -> list[Point]:
    """The points without those that are no lower than the one before."""
    kept = [points[0]]
    for point in points[1:]:
        if point[1] - kept[-1][1] > 0.01:
            kept.append(point)
    return kept
