"""What a layout promises about particular graphs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from graphflow.graph.diagram import Diagram, DiagramEdge, DiagramNode
from graphflow.graph.drawing import layout
from graphflow.graph.drawing.placed import Rectangle


def diagram(names: str, *edges: str, inner: dict[str, Diagram] | None = None) -> Diagram:
    """`a>b` is an edge, `a>b:label` a conditional one, `a+b` a join."""
    nodes = tuple(
        DiagramNode(name, name, "node", inner=(inner or {}).get(name)) for name in names.split()
    )
    return Diagram("test", nodes, tuple(map(edge, edges)))


def edge(text: str) -> DiagramEdge:
    ends, _, label = text.partition(":")
    if "+" in ends:
        source, target = ends.split("+")
        return DiagramEdge(source, target, "join")
    source, target = ends.split(">")
    return DiagramEdge(source, target, "conditional" if label else "edge", label)


def boxes(drawn: Diagram) -> dict[str, Rectangle]:
    return {node.id: node.box for node in layout(drawn).nodes}


def middle(box: Rectangle) -> float:
    return box.x + box.width / 2


def test_what_the_author_wrote_first_points_down() -> None:
    found = boxes(diagram("draft review publish", "draft>review", "review>draft", "review>publish"))
    assert found["draft"].y < found["review"].y < found["publish"].y


def test_a_loop_does_not_bend_the_chain_it_returns_on() -> None:
    found = boxes(diagram("a b c d", "a>b", "b>c", "c>d", "d>a:again", "c>b:back"))
    assert len({round(middle(box)) for box in found.values()}) == 1


def test_a_diamond_is_symmetric() -> None:
    found = boxes(diagram("a b c d", "a>b", "a>c", "b>d", "c>d"))
    assert middle(found["a"]) == pytest.approx((middle(found["b"]) + middle(found["c"])) / 2)
    assert middle(found["a"]) == pytest.approx(middle(found["d"]))


def test_parallel_edges_are_one_edge_with_joined_labels() -> None:
    (only,) = layout(diagram("a b", "a>b:yes", "a>b:maybe", "a>b:yes")).edges
    assert only.label == "yes, maybe"


def test_a_long_way_back_leaves_and_enters_at_the_side() -> None:
    drawn = diagram("a b c", "a>b", "b>c", "c>a")
    back = next(edge for edge in layout(drawn).edges if edge.source == "c")
    found = boxes(drawn)
    assert back.start[0] == pytest.approx(found["c"].x + found["c"].width)
    assert back.end[0] == pytest.approx(found["a"].x + found["a"].width)


def test_a_self_loop_makes_room_beside_its_node() -> None:
    placed = layout(diagram("a b c", "a>b", "a>c", "b>b:not ready"))
    loop = next(edge for edge in placed.edges if edge.source == edge.target)
    assert loop.label_box is not None
    right = next(node.box for node in placed.nodes if node.id == "c")
    assert loop.label_box.x + loop.label_box.width < right.x


def test_join_edges_meet_in_a_bar_above_their_target() -> None:
    placed = layout(diagram("a b c d", "a+d", "b+d", "c>d"))
    (bar,) = placed.joins
    target = next(node.box for node in placed.nodes if node.id == "d")
    assert bar.target == "d"
    assert bar.left[1] == bar.right[1] < target.y


def test_a_single_join_edge_needs_no_bar() -> None:
    assert layout(diagram("a b", "a+b")).joins == ()


def test_nested_graphs_are_framed_at_any_depth() -> None:
    deep = diagram("x y", "x>y", "y>x:more")
    middle_one = diagram("p q", "p>q", inner={"q": deep})
    placed = layout(diagram("a b", "a>b", inner={"b": middle_one}))
    assert [cluster.id for cluster in placed.clusters] == ["b", "b/q"]
    assert {node.id for node in placed.nodes} == {"a", "b/p", "b/q/x", "b/q/y"}


def test_an_empty_diagram_is_an_empty_sheet() -> None:
    placed = layout(Diagram("nothing", (), ()))
    assert placed.nodes == ()
    assert placed.width > 0


def test_a_chain_longer_than_the_call_stack_is_drawn() -> None:
    names = [f"n{index}" for index in range(sys.getrecursionlimit() + 200)]
    steps = [f"{one}>{two}" for one, two in pairwise(names)]
    assert len(layout(diagram(" ".join(names), *steps)).edges) == len(steps)


def test_a_diagram_names_all_its_problems_at_once() -> None:
    with pytest.raises(ValueError, match=r"'a' occurs twice.*'b', which is no node"):
        diagram("a a", "a>b")


PRINT_ALL = """
from graphflow.graph.diagram import Diagram, DiagramEdge, DiagramNode
from graphflow.graph.drawing import draw_mermaid, draw_svg, draw_text, to_dot
names = [f"node_{i}" for i in range(24)]
ends = [(i, (i * 7 + k) % 24) for i in range(24) for k in (1, 5)]
nodes = tuple(DiagramNode(name, name, "node") for name in names)
edges = tuple(DiagramEdge(names[a], names[b], "conditional", f"l{b % 3}") for a, b in ends)
inner = Diagram("inner", nodes, edges)
outer = Diagram("outer", (DiagramNode("sub", "sub", "subgraph", inner=inner), *nodes), edges)
for draw in (draw_svg, draw_mermaid, to_dot, draw_text):
    print(draw(outer))
"""


def printed_under(seed: int) -> bytes:
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", PRINT_ALL], env=environment, capture_output=True, check=True
    )
    return done.stdout


def test_every_hash_seed_gives_the_same_bytes() -> None:
    assert len({printed_under(seed) for seed in (0, 1, 2, 3, 4242)}) == 1


def best_time(drawn: Diagram, attempts: int = 3) -> float:
    times = []
    for _ in range(attempts):
        start = time.process_time()
        layout(drawn)
        times.append(time.process_time() - start)
    return min(times)


def test_time_grows_far_slower_than_the_number_of_pairs_of_nodes() -> None:
    def chain_with_loops(count: int) -> Diagram:
        names = [f"n{index}" for index in range(count)]
        steps = [f"{names[index]}>{names[index + 1]}" for index in range(count - 1)]
        backs = [f"{names[index]}>{names[index - 4]}:again" for index in range(4, count, 5)]
        return diagram(" ".join(names), *steps, *backs)

    assert best_time(chain_with_loops(120)) < 16 * best_time(chain_with_loops(20))
