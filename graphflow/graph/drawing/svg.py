"""A diagram as one self-contained SVG: no script, no font, no id, nothing fetched.

It brings its own light card, so it reads the same in a light and in a dark notebook. Arrow heads
and pause marks are drawn, never glyphs or markers: glyphs are missing in some fonts, and the ids
that markers need collide when a page holds two pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from graphflow.graph.diagram import Diagram, Overlay
from graphflow.graph.drawing.boxes import CLUSTER_TITLE, LINE, NODE_TEXT, PILL_TEXT
from graphflow.graph.drawing.labels import drawable, text_width
from graphflow.graph.drawing.layout import layout
from graphflow.graph.drawing.palette import PLAIN, TINTS, Tint, state_of, taken, visits_of
from graphflow.graph.drawing.placed import (
    Layout,
    PlacedCluster,
    PlacedJoin,
    PlacedNode,
    Point,
    Rectangle,
    RoutedEdge,
    number,
    svg_path,
)
from graphflow.graph.drawing.wires import LABEL_LINE, LABEL_TEXT

_CARD = "#fbfcfe"
_CARD_BORDER = "#d8dee9"
_INK = "#64748b"
_INK_LABEL = "#334155"
_PATH_TAKEN = "#15803d"
_PAUSE = "#b45309"
_BADGE_TEXT = 9.5
_HEAD = 7.0
_HEAD_HALF = 3.6
_DASHES = {"conditional": "5 4", "goto": "1.5 3.5"}
_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"


def draw_svg(diagram: Diagram, overlay: Overlay | None = None) -> str:
    """The picture as SVG text, with the state of a run where an overlay is given."""
    placed = layout(diagram)
    parts = [
        _opening(diagram.name, placed),
        *(_cluster(cluster, overlay) for cluster in placed.clusters),
        *(_line(edge, overlay) for edge in placed.edges),
        *map(_bar, placed.joins),
        *(_node(node, overlay) for node in placed.nodes),
        *(_label(edge, overlay) for edge in placed.edges if edge.label_box),
        *_marks(placed.clusters, overlay),
        *_marks(placed.nodes, overlay),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _opening(name: str, placed: Layout) -> str:
    width, height = number(placed.width), number(placed.height)
    card = _rect(Rectangle(0.5, 0.5, placed.width - 1, placed.height - 1), 10)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" role="img" font-family="{_FONT}" fill="none"'
        f' stroke-linecap="round" text-anchor="middle">\n<title>{_text(name)}</title>\n'
        f'{card} fill="{_CARD}" stroke="{_CARD_BORDER}"/>'
    )


def _text(text: str) -> str:
    return escape(drawable(text))


def _rect(box: Rectangle, radius: float) -> str:
    """An open rect element: its attributes follow."""
    return (
        f'<rect x="{number(box.x)}" y="{number(box.y)}" width="{number(box.width)}"'
        f' height="{number(box.height)}" rx="{number(radius)}"'
    )


def _tint(path: str, overlay: Overlay | None) -> Tint:
    state = state_of(path, overlay)
    return TINTS[state] if state else PLAIN


def _tooltip(node: PlacedNode | PlacedCluster, overlay: Overlay | None) -> str:
    """The full label and everything the drawing says by its looks, for a pointer resting on it."""
    count = visits_of(node.id, overlay)
    said = [
        node.label,
        "pauses before" if node.pause_before else "",
        "pauses after" if node.pause_after else "",
        "runs last" if node.deferred else "",
        state_of(node.id, overlay) or "",
        f"ran {count} times" if count > 1 else "",
    ]
    return f"<title>{_text(', '.join(part for part in said if part))}</title>"


def _cluster(cluster: PlacedCluster, overlay: Overlay | None) -> str:
    tint, box = _tint(cluster.id, overlay), cluster.box
    fill, strength = ("#eef2f7", 0.55) if tint is PLAIN else (tint.fill, 0.45)
    title = _lines(
        cluster.lines, box.x + box.width / 2, box.y + CLUSTER_TITLE / 2, NODE_TEXT, tint.text
    )
    return (
        f'<g data-cluster="{_text(cluster.id)}">{_tooltip(cluster, overlay)}'
        f'{_rect(box, 12)} fill="{fill}" fill-opacity="{strength}" stroke="{tint.stroke}"'
        f"{_border(cluster, overlay)}/>"
        f'<g font-weight="600">{title}</g></g>'
    )


def _border(node: PlacedNode | PlacedCluster, overlay: Overlay | None) -> str:
    """The border of a node: dotted where it is deferred, strong where something happens now."""
    strong = state_of(node.id, overlay) in ("failed", "waiting", "active")
    weight, dots = ("2", ' stroke-dasharray="0.1 4"') if node.deferred else ("1.2", "")
    return f' stroke-width="{"2" if strong else weight}"{dots}'


def _node(node: PlacedNode, overlay: Overlay | None) -> str:
    tint, box = _tint(node.id, overlay), node.box
    if node.kind in ("start", "end"):
        shape, size = _pill(node, tint), PILL_TEXT
        ink = "#ffffff" if node.kind == "start" else tint.text
    else:
        shape, size, ink = _body(node, tint, overlay), NODE_TEXT, tint.text
    lines = _lines(node.lines, box.x + box.width / 2, box.y + box.height / 2, size, ink)
    return f'<g data-node="{_text(node.id)}">{_tooltip(node, overlay)}{shape}{lines}</g>'


def _pill(node: PlacedNode, tint: Tint) -> str:
    dark = "#334155" if tint is PLAIN else tint.stroke
    fill = dark if node.kind == "start" else tint.fill
    return (
        f'{_rect(node.box, node.box.height / 2)} fill="{fill}" stroke="{dark}" stroke-width="2"/>'
    )


def _body(node: PlacedNode, tint: Tint, overlay: Overlay | None) -> str:
    outer = (
        f'{_rect(node.box, 8)} fill="{tint.fill}" stroke="{tint.stroke}"{_border(node, overlay)}/>'
    )
    if node.kind != "subgraph":
        return outer
    box = node.box
    frame = Rectangle(box.x + 3.5, box.y + 3.5, box.width - 7, box.height - 7)
    return f'{outer}{_rect(frame, 5)} stroke="{tint.stroke}" stroke-width="0.8"/>'


def _lines(lines: Sequence[str], x: float, y: float, size: float, ink: str) -> str:
    """Text centred on a point."""
    first = y + size * 0.36 - (len(lines) - 1) * size * LINE / 2
    return "".join(
        f'<text x="{number(x)}" y="{number(first + index * size * LINE)}"'
        f' font-size="{number(size)}" fill="{ink}">{_text(line)}</text>'
        for index, line in enumerate(lines)
    )


def _line(edge: RoutedEdge, overlay: Overlay | None) -> str:
    count = taken(edge.source, edge.target, overlay)
    ink, weight = (_PATH_TAKEN, "2.4") if count else (_INK, "1.4")
    dashes = f' stroke-dasharray="{_DASHES[edge.kind]}"' if edge.kind in _DASHES else ""
    name = _text(f"{edge.source} → {edge.target}" + (f": {edge.label}" if edge.label else ""))
    before = edge.curves[-2][2] if len(edge.curves) > 1 else edge.start
    base = _back(before, edge.end, _HEAD - 1)
    path = svg_path(edge.start, (*edge.curves[:-1], (before, base, base)))
    return (
        f'<g data-edge="{edge.kind}"><title>{name}</title>'
        f'<path d="{path}" stroke="{ink}" stroke-width="{weight}"{dashes}/>'
        f'<path d="{_head(before, edge.end)}" fill="{ink}"/></g>'
    )


def _back(before: Point, tip: Point, distance: float) -> Point:
    """A point that far before the tip; the last piece of an edge is upright or level."""
    dx, dy = tip[0] - before[0], tip[1] - before[1]
    length = abs(dx) + abs(dy) or 1.0
    return tip[0] - dx / length * distance, tip[1] - dy / length * distance


def _head(before: Point, tip: Point) -> str:
    x, y = _back(before, tip, _HEAD)
    across = (tip[1] - y) / _HEAD * _HEAD_HALF, (tip[0] - x) / _HEAD * _HEAD_HALF
    one, two = (x + across[0], y + across[1]), (x - across[0], y - across[1])
    corners = "L".join(f"{number(px)},{number(py)}" for px, py in (one, tip, two))
    return f"M{corners}Z"


def _bar(join: PlacedJoin) -> str:
    return (
        f'<path data-join="{_text(join.target)}" d="M{number(join.left[0])},{number(join.left[1])}'
        f'H{number(join.right[0])}" stroke="#334155" stroke-width="4"/>'
    )


def _label(edge: RoutedEdge, overlay: Overlay | None) -> str:
    box = edge.label_box
    if box is None:
        return ""
    ink = _PATH_TAKEN if taken(edge.source, edge.target, overlay) else _INK_LABEL
    first = box.y + box.height / 2 + LABEL_TEXT * 0.36 - (len(edge.lines) - 1) * LABEL_LINE / 2
    lines = "".join(
        f'<text x="{number(box.x + box.width / 2)}" y="{number(first + index * LABEL_LINE)}">'
        f"{_text(line)}</text>"
        for index, line in enumerate(edge.lines)
    )
    return f'<g font-size="{number(LABEL_TEXT)}" fill="{ink}">{lines}</g>'


def _marks(
    nodes: Sequence[PlacedNode] | Sequence[PlacedCluster], overlay: Overlay | None
) -> Iterator[str]:
    """What lies on top of the nodes: pause strokes and the badges of a run."""
    for node in nodes:
        if node.pause_before:
            yield _strokes(node.box.x + 13, node.box.y)
        if node.pause_after:
            yield _strokes(node.box.x + 13, node.box.y + node.box.height)
        yield _badges(node, overlay)


def _strokes(x: float, y: float) -> str:
    """Two upright strokes across a border, on a light ground."""
    ground = _rect(Rectangle(x - 6.5, y - 6.5, 13, 13), 3)
    bars = "".join(f"M{number(x + dx)},{number(y - 4)}v8" for dx in (-2.6, 2.6))
    return (
        f'<g data-pause="1">{ground} fill="{_CARD}"/>'
        f'<path d="{bars}" stroke="{_PAUSE}" stroke-width="2.6" stroke-linecap="butt"/></g>'
    )


def _badges(node: PlacedNode | PlacedCluster, overlay: Overlay | None) -> str:
    """The state's sign on the upper right corner, the number of visits on the lower one."""
    state, count = state_of(node.id, overlay), visits_of(node.id, overlay)
    right, low = node.box.x + node.box.width, node.box.y + node.box.height
    parts = []
    if state and state != "visited":
        parts.append(_disc((right - 3, node.box.y + 1), TINTS[state].stroke, _SIGNS[state]))
    if state and count > 1:
        parts.append(_count((right, low), f"\u00d7{count}", TINTS[state].stroke))
    return "".join(parts)


def _count(corner: Point, text: str, colour: str) -> str:
    width = text_width(text, _BADGE_TEXT) + 9
    pill = Rectangle(corner[0] - 11, corner[1] - 8, width, 15)
    words = _lines([text], pill.x + width / 2, corner[1] - 0.5, _BADGE_TEXT, "#ffffff")
    return f'{_rect(pill, 7.5)} fill="{colour}"/>{words}'


_SIGNS = {
    "failed": "m-3,-3l6,6m0,-6l-6,6",
    "waiting": "m-3.2,0h0.1m3.1,0h0.1m3.1,0h0.1",
    "active": "m-2,-3.2l4.6,3.2l-4.6,3.2z",
}


def _disc(centre: Point, colour: str, sign: str) -> str:
    x, y = number(centre[0]), number(centre[1])
    return (
        f'<circle cx="{x}" cy="{y}" r="8" fill="{colour}"/>'
        f'<path d="M{x},{y}{sign}" stroke="#ffffff" stroke-width="1.8"/>'
    )
