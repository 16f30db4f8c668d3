"""Whatever graph is drawn, nothing overlaps, nothing is missing and the bytes are the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations, pairwise
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from graphflow.graph.diagram import Diagram, DiagramEdge, DiagramNode
from graphflow.graph.drawing import draw_mermaid, draw_svg, draw_text, layout, to_dot
from graphflow.graph.drawing.placed import Layout, Point, Rectangle, RoutedEdge
from graphflow.graph.drawing.wires import merged_edges

SLACK = 0.2
EXAMPLES = 25
MERMAID_LINK = re.compile(r"n[0-9_]+ (-->|==>|-\.->)(\|\".*\"\|)? n[0-9_]+$")
LABELS = st.sampled_from(["", "", "ok", "not good enough", "<b>&\"'", "日本語", "-" * 90])


@st.composite
def diagrams(draw: st.DrawFn, depth: int = 2) -> Diagram:
    ids = [f"n{index}" for index in range(draw(st.integers(0, 9)))]
    nodes = [draw(nodes_called(name, depth)) for name in ids]
    ends = st.sampled_from(ids) if ids else st.nothing()
    kinds = st.sampled_from(["edge", "edge", "join", "conditional", "goto"])
    edges = st.builds(DiagramEdge, ends, ends, kinds, LABELS)
    return Diagram("g", tuple(nodes), tuple(draw(st.lists(edges, max_size=18 if ids else 0))))


def nodes_called(name: str, depth: int) -> st.SearchStrategy[DiagramNode]:
    inner = st.one_of(st.none(), st.none(), st.none(), diagrams(depth - 1)) if depth else st.none()
    kinds = st.sampled_from(["node", "node", "start", "end", "subgraph"])
    flags = st.booleans()
    return st.builds(DiagramNode, st.just(name), LABELS, kinds, flags, flags, flags, inner)


def boxes(placed: Layout) -> dict[str, Rectangle]:
    found = {node.id: node.box for node in placed.nodes}
    return found | {cluster.id: cluster.box for cluster in placed.clusters}


def parent(path: str) -> str:
    return path.rpartition("/")[0]


def overlap(one: Rectangle, two: Rectangle) -> bool:
    aside = one.x + one.width <= two.x + SLACK or two.x + two.width <= one.x + SLACK
    apart = one.y + one.height <= two.y + SLACK or two.y + two.height <= one.y + SLACK
    return not (aside or apart)


def within(inner: Rectangle, outer: Rectangle) -> bool:
    return (
        inner.x >= outer.x - SLACK
        and inner.y >= outer.y - SLACK
        and inner.x + inner.width <= outer.x + outer.width + SLACK
        and inner.y + inner.height <= outer.y + outer.height + SLACK
    )


def on_border(point: Point, box: Rectangle) -> bool:
    x, y = point
    across = box.x - SLACK <= x <= box.x + box.width + SLACK
    along = box.y - SLACK <= y <= box.y + box.height + SLACK
    sides = min(abs(x - box.x), abs(x - box.x - box.width))
    edges = min(abs(y - box.y), abs(y - box.y - box.height))
    return across and along and min(sides, edges) < SLACK


def sampled(edge: RoutedEdge) -> Iterator[Point]:
    starts = [edge.start, *(curve[2] for curve in edge.curves)]
    for here, (one, two, end) in zip(starts, edge.curves, strict=False):
        for step in range(9):
            t = step / 8
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            yield (
                a * here[0] + b * one[0] + c * two[0] + d * end[0],
                a * here[1] + b * one[1] + c * two[1] + d * end[1],
            )


def point_box(point: Point) -> Rectangle:
    return Rectangle(point[0] - 0.3, point[1] - 0.3, 0.6, 0.6)


def siblings(placed: Layout) -> Iterator[list[tuple[str, Rectangle]]]:
    levels: dict[str, list[tuple[str, Rectangle]]] = {}
    for path, box in boxes(placed).items():
        levels.setdefault(parent(path), []).append((path, box))
    yield from levels.values()


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_boxes_of_one_level_never_overlap(diagram: Diagram) -> None:
    for level in siblings(layout(diagram)):
        for (one, box), (two, other) in combinations(level, 2):
            assert not overlap(box, other), (one, two)


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_a_cluster_contains_its_own_nodes(diagram: Diagram) -> None:
    placed = layout(diagram)
    for path, box in boxes(placed).items():
        sheet = Rectangle(0, 0, placed.width, placed.height)
        assert within(box, boxes(placed).get(parent(path), sheet)), path


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_edges_start_and_end_on_their_nodes_borders(diagram: Diagram) -> None:
    placed = layout(diagram)
    for edge in placed.edges:
        assert on_border(edge.start, boxes(placed)[edge.source]), edge
        assert on_border(edge.end, boxes(placed)[edge.target]), edge


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_edges_never_run_through_a_node(diagram: Diagram) -> None:
    placed = layout(diagram)
    level = {parent(items[0][0]): items for items in siblings(placed)}
    for edge in placed.edges:
        for point in sampled(edge):
            for path, box in level[parent(edge.source)]:
                assert not overlap(point_box(point), box) or on_border(point, box), (edge, path)


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_an_edges_last_piece_is_straight_and_longer_than_its_head(diagram: Diagram) -> None:
    for edge in layout(diagram).edges:
        _, two, end = edge.curves[-1]
        before = edge.curves[-2][2] if len(edge.curves) > 1 else edge.start
        upright, level = before[0] == two[0] == end[0], before[1] == two[1] == end[1]
        assert upright or level
        assert abs(before[0] - end[0]) + abs(before[1] - end[1]) >= 6.9


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_labels_overlap_neither_nodes_nor_each_other(diagram: Diagram) -> None:
    placed = layout(diagram)
    for level in siblings(placed):
        where = parent(level[0][0])
        labels = [
            edge.label_box
            for edge in placed.edges
            if edge.label_box and parent(edge.source) == where
        ]
        for one, two in combinations([*labels, *(box for _, box in level)], 2):
            assert not overlap(one, two)


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_every_edge_stays_on_the_sheet(diagram: Diagram) -> None:
    placed = layout(diagram)
    sheet = Rectangle(0, 0, placed.width, placed.height)
    for edge in placed.edges:
        assert all(within(point_box(point), sheet) for point in sampled(edge)), edge
        assert edge.label_box is None or within(edge.label_box, sheet)


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_every_rendering_is_the_same_on_a_second_call(diagram: Diagram) -> None:
    for draw in (draw_svg, draw_mermaid, to_dot, draw_text):
        assert draw(diagram) == draw(diagram)


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_the_svg_is_well_formed_and_holds_every_node_and_edge(diagram: Diagram) -> None:
    root = ElementTree.fromstring(draw_svg(diagram))
    found = [element.attrib for element in root.iter()]
    assert sum("data-node" in a or "data-cluster" in a for a in found) == count_nodes(diagram)
    assert sum("data-edge" in attributes for attributes in found) == count_edges(diagram)


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_mermaid_holds_every_node_and_edge(diagram: Diagram) -> None:
    lines = [line.strip() for line in draw_mermaid(diagram).splitlines()]
    assert sum(bool(MERMAID_LINK.match(line)) for line in lines) == count_edges(diagram)
    assert sum('["' in line or '(["' in line for line in lines) == count_nodes(diagram)


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_dot_holds_every_node_and_edge(diagram: Diagram) -> None:
    lines = [line.strip() for line in to_dot(diagram).splitlines()]
    assert sum(line.startswith("n") and " -> " in line for line in lines) == count_edges(diagram)
    declared = [line for line in lines if "label=" in line and " -> " not in line]
    anchors = [line for line in declared if "style=invis" in line]
    assert len(declared) - len(anchors) == count_nodes(diagram)


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_text_has_a_line_for_every_node_and_names_every_target(diagram: Diagram) -> None:
    heads = "\n".join(draw_text(plain(diagram)).splitlines()[1:])
    for node in diagram.nodes:
        assert f"{node.id} " in f"{heads} ".replace("\n", " ")
    targets = [edge.target for edge in merged_edges(diagram)]
    arrows = heads.replace(",", " ").split()
    for name in targets:
        assert arrows.count(name) == 1 + targets.count(name)


@settings(max_examples=EXAMPLES, deadline=None)
@given(diagrams())
def test_the_layout_is_json(diagram: Diagram) -> None:
    data = layout(diagram).to_json()
    assert json.loads(json.dumps(data)) == data


@given(st.permutations(range(6)))
def test_a_chain_is_straight_whatever_the_order_of_its_edges(order: list[int]) -> None:
    nodes = tuple(DiagramNode(f"n{index}", "", "node") for index in range(7))
    edges = tuple(DiagramEdge(f"n{index}", f"n{index + 1}", "edge") for index in order)
    placed = layout(Diagram("chain", nodes, edges))
    middles = [node.box.x + node.box.width / 2 for node in placed.nodes]
    assert all(abs(one - two) < SLACK for one, two in pairwise(middles))


def plain(diagram: Diagram) -> Diagram:
    """The outer level alone, named by ids, without labels."""
    nodes = tuple(DiagramNode(node.id, "", "node") for node in diagram.nodes)
    edges = tuple(DiagramEdge(edge.source, edge.target, "edge") for edge in diagram.edges)
    return Diagram(diagram.name, nodes, edges)


def count_nodes(diagram: Diagram) -> int:
    return sum(1 + (count_nodes(node.inner) if node.inner else 0) for node in diagram.nodes)


def count_edges(diagram: Diagram) -> int:
    inside = sum(count_edges(node.inner) for node in diagram.nodes if node.inner)
    return len(merged_edges(diagram)) + inside
