"""The layout of a diagram: places for its nodes, curves for its edges, frames for nested graphs.

Layered, from top to bottom, one step a module: `cycles` decides which edges point up, `layers` the
row of each node, `lattice` makes every edge a chain with one item on each row, `crossings` orders
the rows, `lanes` leads long ways back out at the side, `coordinates` places items on their rows,
`ports` and `routes` turn chains into curves. A nested graph is laid out first, alone; outside it
is one large node, so a frame holds its own nodes and nothing else. Nothing here iterates a set:
the same diagram gives the same bytes in every process.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from graphflow.graph.diagram import Diagram
from graphflow.graph.drawing.boxes import CLUSTER_TITLE, Box
from graphflow.graph.drawing.coordinates import coordinates
from graphflow.graph.drawing.leans import leans
from graphflow.graph.drawing.levels import leveled
from graphflow.graph.drawing.nudges import nudged
from graphflow.graph.drawing.placed import (
    Layout,
    PlacedCluster,
    PlacedJoin,
    PlacedNode,
    Rectangle,
    RoutedEdge,
)
from graphflow.graph.drawing.plan import planned
from graphflow.graph.drawing.ports import ports
from graphflow.graph.drawing.pulls import pulled
from graphflow.graph.drawing.straighten import straightened
from graphflow.graph.drawing.tracks import Tracks

_MARGIN = 16.0


def layout(diagram: Diagram) -> Layout:
    """The whole picture with a margin around it, in pixels."""
    picture = _arranged(diagram, "")
    return picture.moved(_MARGIN, _MARGIN).sized(
        picture.width + 2 * _MARGIN, picture.height + 2 * _MARGIN
    )


def _arranged(diagram: Diagram, prefix: str) -> Layout:
    """One diagram without a margin; ids of its nodes start with the prefix."""
    inner = [
        _arranged(node.inner, f"{prefix}{node.id}/") if node.inner else None
        for node in diagram.nodes
    ]
    plan = planned(diagram, inner)
    aligned = nudged(plan, pulled(plan.grid, coordinates(plan.grid)))
    ends = ports(plan, aligned)
    x = straightened(plan.grid, aligned, ends)
    levels = leveled(plan.grid, x)
    tracks = Tracks(plan, x, levels, ends, leans(plan.grid, x, levels, ends))
    height = levels.bottom[-1] if levels.bottom else 0.0
    left = min((x[item] - room.left for item, room in enumerate(plan.grid.rooms)), default=0.0)
    right = max((x[item] + room.right for item, room in enumerate(plan.grid.rooms)), default=0.0)
    return _assembled(tracks, prefix).moved(-left, 0.0).sized(right - left, height)


def _assembled(tracks: Tracks, prefix: str) -> Layout:
    """The nodes, edges and clusters of one level with all that is inside them."""
    boxes = [(box, tracks.box(index)) for index, box in enumerate(tracks.plan.boxes)]
    inside = [_inside(box.inner, place) for box, place in boxes if box.inner]
    frames = [_cluster(box, place, prefix) for box, place in boxes if box.inner]
    nodes = [_node(box, place, prefix) for box, place in boxes if not box.inner]
    edges = [_named(edge, prefix) for edge in tracks.edges()]
    joins = [PlacedJoin(prefix + join.target, join.left, join.right) for join in tracks.joins()]
    return Layout(
        0.0,
        0.0,
        (*nodes, *chain.from_iterable(layout.nodes for layout in inside)),
        (*edges, *chain.from_iterable(layout.edges for layout in inside)),
        (*frames, *chain.from_iterable(layout.clusters for layout in inside)),
        (*joins, *chain.from_iterable(layout.joins for layout in inside)),
    )


def _inside(inner: Layout, frame: Rectangle) -> Layout:
    """A nested picture in its frame: below the title, centred."""
    return inner.moved(frame.x + (frame.width - inner.width) / 2, frame.y + CLUSTER_TITLE)


def _node(box: Box, place: Rectangle, prefix: str) -> PlacedNode:
    node = box.node
    return PlacedNode(
        prefix + node.id,
        node.label or node.id,
        box.lines,
        node.kind,
        place,
        node.pause_before,
        node.pause_after,
        node.deferred,
    )


def _cluster(box: Box, place: Rectangle, prefix: str) -> PlacedCluster:
    node = box.node
    return PlacedCluster(
        prefix + node.id,
        node.label or node.id,
        box.lines,
        place,
        node.pause_before,
        node.pause_after,
        node.deferred,
    )


def _named(edge: RoutedEdge, prefix: str) -> RoutedEdge:
    return replace(edge, source=prefix + edge.source, target=prefix + edge.target)
