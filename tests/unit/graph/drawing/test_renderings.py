"""What each rendering writes."""

from __future__ import annotations

import re
from base64 import b64decode
from xml.etree import ElementTree

import pytest

from graphflow.graph.diagram import Diagram, DiagramEdge, DiagramNode, Overlay
from graphflow.graph.drawing import draw_mermaid, draw_svg, draw_text, mimebundle, to_dot
from graphflow.graph.drawing.labels import drawable, text_width, wrapped

AGENT = Diagram(
    "agent",
    (
        DiagramNode("__start__", "START", "start"),
        DiagramNode("agent", "agent", "node"),
        DiagramNode("tools", "tools", "node", pause_before=True, pause_after=True),
        DiagramNode("__end__", "END", "end"),
    ),
    (
        DiagramEdge("__start__", "agent", "edge"),
        DiagramEdge("agent", "tools", "conditional", "tool calls"),
        DiagramEdge("agent", "__end__", "conditional", "done"),
        DiagramEdge("tools", "agent", "edge"),
    ),
)
HALFWAY = Overlay(
    visits={"__start__": 1, "agent": 3, "tools": 2},
    edges={("agent", "tools"): 2},
    active=frozenset({"agent"}),
    waiting=frozenset({"tools"}),
)


def single(label: str) -> Diagram:
    return Diagram(label, (DiagramNode("only", label, "node"),), ())


NASTY = "<script>alert('x')</script> & \"q\" \\ \x00\ud800 ]]>"


def elements(svg: str, name: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}" + name))


def test_text_of_strangers_cannot_become_markup_in_svg() -> None:
    svg = draw_svg(single(NASTY))
    assert not elements(svg, "script")
    assert "<script>alert('x')" in elements(svg, "title")[0].text  # type: ignore[operator]


def test_the_svg_refers_to_nothing_outside_and_carries_no_ids() -> None:
    svg = draw_svg(AGENT, HALFWAY).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|href|url\(|@import|\sid=", svg)


def test_pauses_are_strokes_not_glyphs() -> None:
    svg = draw_svg(AGENT)
    assert svg.count('data-pause="1"') == 2
    assert "\u23f8" not in svg


def test_only_conditional_and_goto_edges_are_dashed() -> None:
    edges = [group for group in elements(draw_svg(AGENT), "g") if "data-edge" in group.attrib]
    dashed = [group.attrib["data-edge"] for group in edges if "stroke-dasharray" in group[1].attrib]
    assert dashed == ["conditional", "conditional"]


def test_a_node_shows_its_most_urgent_state() -> None:
    both = Overlay(visits={"only": 1}, waiting=frozenset({"only"}), failed=frozenset({"only"}))
    assert "only, failed" in draw_svg(single("only"), both)


def test_visits_are_counted_from_the_second_one() -> None:
    svg = draw_svg(AGENT, HALFWAY)
    assert "\u00d73" in svg
    assert "\u00d71" not in svg


def test_nested_nodes_take_their_state_by_path() -> None:
    outer = Diagram("o", (DiagramNode("sub", "sub", "subgraph", inner=single("x")),), ())
    assert "x, waiting" in draw_svg(outer, Overlay(waiting=frozenset({"sub/only"})))


def test_the_overlay_does_not_move_anything() -> None:
    size = re.compile(r'viewBox="[^"]+"')
    assert size.findall(draw_svg(AGENT)) == size.findall(draw_svg(AGENT, HALFWAY))


def test_mermaid_escapes_what_it_would_read_as_grammar() -> None:
    line = draw_mermaid(single(NASTY)).splitlines()[4]
    assert line.startswith("    n0[\"#60;script#62;alert('x')")
    assert not set(line[8:-2]) & set('<>"[]{}`')


def test_mermaid_reads_no_list_in_a_label_that_starts_like_one() -> None:
    assert '"1#46; first"' in draw_mermaid(single("1. first"))
    assert '"#45; item"' in draw_mermaid(single("- item"))


def test_mermaid_emphasises_the_edges_a_run_took() -> None:
    assert "linkStyle 1 stroke" in draw_mermaid(AGENT, HALFWAY)


def test_dot_escapes_quotes_backslashes_and_entities() -> None:
    assert r'label="a\"b\\N&amp;lt;"' in to_dot(single('a"b\\N&lt;'))


def test_dot_cuts_edges_at_the_border_of_a_cluster() -> None:
    nodes = (
        DiagramNode("a", "a", "node"),
        DiagramNode("sub", "sub", "subgraph", inner=single("x")),
        DiagramNode("b", "b", "node"),
    )
    edges = (DiagramEdge("a", "sub", "edge"), DiagramEdge("sub", "b", "edge"))
    dot = to_dot(Diagram("o", nodes, edges))
    assert "n0 -> n1_0 [style=solid, lhead=cluster_n1];" in dot
    assert "n1_0 -> n2 [style=solid, ltail=cluster_n1];" in dot


def test_text_has_one_line_a_node() -> None:
    assert draw_text(AGENT) == (
        "agent\n"
        "START                              --> agent\n"
        "agent                              -?> tools [tool calls], END [done]\n"
        "tools (pause before, pause after)  --> agent\n"
        "END\n"
        "(-?> one of)\n"
    )


def test_text_tells_nodes_of_the_same_label_apart() -> None:
    twins = Diagram("t", (DiagramNode("a", "x", "node"), DiagramNode("b", "x", "node")), ())
    assert draw_text(twins) == "t\nx (a)\nx (b)\n"


def test_text_says_where_a_run_is() -> None:
    assert "agent (active, x3)" in draw_text(AGENT, HALFWAY)


def test_a_notebook_gets_an_image_that_survives_sanitising() -> None:
    bundle = mimebundle(AGENT)
    match = re.fullmatch(
        r'<img alt="[^"<>]+" src="data:image/svg\+xml;base64,([^"]+)">', bundle["text/html"]
    )
    assert match
    assert b64decode(match[1]).decode() == bundle["image/svg+xml"]
    assert bundle["text/plain"].startswith("agent\n")


@pytest.mark.parametrize(
    "text", ["a_long_name_that_breaks", "noplacetobreak" * 9, "日本語" * 30, ""]
)
def test_wrapped_lines_fit_their_width(text: str) -> None:
    lines = wrapped(text, 13, 120, 3)
    assert 1 <= len(lines) <= 3
    assert all(text_width(line, 13) <= 120 for line in lines)


def test_what_is_cut_says_so() -> None:
    assert wrapped("word " * 60, 13, 120, 2)[-1].endswith("…")


def test_text_that_xml_cannot_carry_is_replaced() -> None:
    assert drawable("a\x00b\ud800c\nd") == "a\ufffdb\ufffdc d"
