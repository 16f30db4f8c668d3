"""A finished layout: every node, edge and cluster with its place.

In pixels from the top left corner. The one answer that all pictures share: the SVG is written from
it, and a browser view takes the same numbers through `Layout.to_json`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphflow.graph.diagram import EdgeKind, NodeKind

Point = tuple[float, float]
Curve = tuple[Point, Point, Point]
"""Two control points and the end of a cubic Bézier that starts where the one before it ended."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A box by its top left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    def moved(self, dx: float, dy: float) -> Rectangle:
        """The same box elsewhere."""
        return Rectangle(self.x + dx, self.y + dy, self.width, self.height)

    def to_json(self) -> dict[str, float]:
        """Plain numbers, to a tenth of a pixel."""
        return {"x": tenth(self.x), "y": tenth(self.y)} | {
            "width": tenth(self.width),
            "height": tenth(self.height),
        }


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A node that is drawn as a box of its own."""

    id: str
    """`outer/inner` for a nested one."""
    label: str
    lines: tuple[str, ...]
    """The label as it is written, broken to fit."""
    kind: NodeKind
    box: Rectangle
    pause_before: bool
    pause_after: bool
    deferred: bool


@dataclass(frozen=True, slots=True)
class PlacedCluster:
    """A node that is drawn as a frame around the graph inside it."""

    id: str
    label: str
    lines: tuple[str, ...]
    box: Rectangle
    pause_before: bool
    pause_after: bool
    deferred: bool


@dataclass(frozen=True, slots=True)
class RoutedEdge:
    """An edge from border to border."""

    source: str
    target: str
    kind: EdgeKind
    label: str
    lines: tuple[str, ...]
    start: Point
    curves: tuple[Curve, ...]
    """The last one is straight and ends on the target's border: room for an arrow head."""
    label_box: Rectangle | None
    """None without a label."""

    @property
    def end(self) -> Point:
        """Where the arrow touches its target."""
        return self.curves[-1][2]

    def path(self) -> str:
        """The edge as the `d` of an SVG path."""
        return svg_path(self.start, self.curves)


@dataclass(frozen=True, slots=True)
class PlacedJoin:
    """The bar above a node where the edges meet that wait for each other."""

    target: str
    left: Point
    right: Point


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole picture, outermost clusters first."""

    width: float
    height: float
    nodes: tuple[PlacedNode, ...]
    edges: tuple[RoutedEdge, ...]
    clusters: tuple[PlacedCluster, ...]
    joins: tuple[PlacedJoin, ...] = ()

    def moved(self, dx: float, dy: float) -> Layout:
        """The same picture with everything shifted; the size stays."""
        return Layout(
            self.width,
            self.height,
            tuple(replace(node, box=node.box.moved(dx, dy)) for node in self.nodes),
            tuple(_moved_edge(edge, dx, dy) for edge in self.edges),
            tuple(replace(cluster, box=cluster.box.moved(dx, dy)) for cluster in self.clusters),
            tuple(_moved_join(join, dx, dy) for join in self.joins),
        )

    def sized(self, width: float, height: float) -> Layout:
        """The same picture on another sheet."""
        return replace(self, width=width, height=height)

    def to_json(self) -> dict[str, object]:
        """Plain dicts, lists and numbers: what a browser needs to draw the same picture."""
        return {
            "width": tenth(self.width),
            "height": tenth(self.height),
            "nodes": [_node_json(node) | {"kind": node.kind} for node in self.nodes],
            "edges": [_edge_json(edge) for edge in self.edges],
            "clusters": [_node_json(cluster) for cluster in self.clusters],
            "joins": [
                {"target": join.target, "left": _tenths(join.left), "right": _tenths(join.right)}
                for join in self.joins
            ],
        }


def tenth(value: float) -> float:
    """The number to a tenth, and never a negative zero."""
    return round(value, 1) + 0.0


def _tenths(point: Point) -> list[float]:
    return [tenth(point[0]), tenth(point[1])]


def svg_path(start: Point, curves: tuple[Curve, ...]) -> str:
    """The `d` of an SVG path; straight pieces are written as lines."""
    parts, here = [f"M{_pair(start)}"], start
    for one, two, end in curves:
        straight = here[0] == one[0] == two[0] == end[0] or here[1] == one[1] == two[1] == end[1]
        parts.append(f"L{_pair(end)}" if straight else f"C{_pair(one)} {_pair(two)} {_pair(end)}")
        here = end
    return "".join(parts)


def _pair(point: Point) -> str:
    return f"{number(point[0])},{number(point[1])}"


def number(value: float) -> str:
    """The number to a tenth, as short as it can be written."""
    return f"{tenth(value):.1f}".removesuffix(".0")


def _shift(point: Point, dx: float, dy: float) -> Point:
    return point[0] + dx, point[1] + dy


def _moved_edge(edge: RoutedEdge, dx: float, dy: float) -> RoutedEdge:
    return replace(
        edge,
        start=_shift(edge.start, dx, dy),
        curves=tuple(
            (_shift(one, dx, dy), _shift(two, dx, dy), _shift(end, dx, dy))
            for one, two, end in edge.curves
        ),
        label_box=edge.label_box and edge.label_box.moved(dx, dy),
    )


def _moved_join(join: PlacedJoin, dx: float, dy: float) -> PlacedJoin:
    return replace(join, left=_shift(join.left, dx, dy), right=_shift(join.right, dx, dy))


def _node_json(node: PlacedNode | PlacedCluster) -> dict[str, object]:
    return {
        "id": node.id,
        "label": node.label,
        "lines": list(node.lines),
        **node.box.to_json(),
        "pause_before": node.pause_before,
        "pause_after": node.pause_after,
        "deferred": node.deferred,
    }


def _edge_json(edge: RoutedEdge) -> dict[str, object]:
    return {
        "source": edge.source,
        "target": edge.target,
        "kind": edge.kind,
        "label": edge.label,
        "lines": list(edge.lines),
        "path": edge.path(),
        "end": _tenths(edge.end),
        "label_box": edge.label_box and edge.label_box.to_json(),
    }
