"""How large each node is, and how much room it needs around it."""

from __future__ import annotations

from dataclasses import dataclass

from graphflow.graph.diagram import DiagramNode
from graphflow.graph.drawing.labels import text_width, wrapped
from graphflow.graph.drawing.lattice import Room
from graphflow.graph.drawing.placed import Layout
from graphflow.graph.drawing.wires import Wire

NODE_TEXT = 13.0
"""Font size of a node's label, in pixels."""
PILL_TEXT = 11.0
"""Font size on START and END."""
LINE = 1.3
"""Line height over font size."""
JOIN_RISE = 15.0
"""How far above its node a join bar stands."""
LOOP_REACH = 26.0
"""How far a self loop reaches out of its node."""
CLUSTER_PADDING = 16.0
CLUSTER_TITLE = 30.0

_WIDEST_LINE = 190.0
_MOST_LINES = 3
_NARROWEST = 64.0
_PER_END = 9.0
_WIDEST_FOR_ENDS = 240.0


@dataclass(frozen=True, slots=True)
class Box:
    """A node with its size; `inner` where it is drawn as a cluster."""

    node: DiagramNode
    lines: tuple[str, ...]
    width: float
    height: float
    inset: float
    """What the rounded ends take from the borders, where no edge can start."""
    room: Room
    inner: Layout | None


def boxed(
    node: DiagramNode, inner: Layout | None, loop: Wire | None, *, ends: int, joined: bool
) -> Box:
    """A node measured.

    Args:
        node: what to measure.
        inner: the layout of the graph inside it.
        loop: its self loop.
        ends: how many edges meet its busier border.
        joined: whether a join bar stands above it.
    """
    if inner is not None:
        lines, width, height, inset = _cluster(node, inner)
    elif node.kind in ("start", "end"):
        lines, width, height, inset = _pill(node)
    else:
        lines, width, height, inset = _plain(node)
    width = max(width, min(_WIDEST_FOR_ENDS, 2 * inset + _PER_END * (ends - 1)))
    room = _with_extras(Room.around(width, height), loop, joined=joined)
    return Box(node, lines, width, height, inset, room, inner)


Measured = tuple[tuple[str, ...], float, float, float]
"""Lines, width, height and inset."""


def _pill(node: DiagramNode) -> Measured:
    lines = wrapped(node.label or node.id, PILL_TEXT, _WIDEST_LINE, 1)
    return lines, max(44.0, text_width(lines[0], PILL_TEXT) + 24), 24.0, 12.0


def _plain(node: DiagramNode) -> Measured:
    lines = wrapped(node.label or node.id, NODE_TEXT, _WIDEST_LINE, _MOST_LINES)
    widest = max(text_width(line, NODE_TEXT) for line in lines)
    return lines, max(_NARROWEST, widest + 28), len(lines) * NODE_TEXT * LINE + 19, 14.0


def _cluster(node: DiagramNode, inner: Layout) -> Measured:
    title = wrapped(node.label or node.id, NODE_TEXT, max(_WIDEST_LINE, inner.width), 1)
    widest = max(inner.width, text_width(title[0], NODE_TEXT) + 40)
    height = CLUSTER_TITLE + inner.height + CLUSTER_PADDING
    return title, widest + 2 * CLUSTER_PADDING, height, 20.0


def _with_extras(room: Room, loop: Wire | None, *, joined: bool) -> Room:
    if joined:
        room = room._replace(top=room.top + JOIN_RISE)
    if loop is None:
        return room
    return room._replace(right=room.right + LOOP_REACH + (loop.room.right if loop.room else 0.0))
