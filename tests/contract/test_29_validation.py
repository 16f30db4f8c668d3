"""Contract §29: what a graph is refused for."""

from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import END, START, RemainingSteps, StateGraph


class State(TypedDict, total=False):
    x: int


def graph_of(*names: str) -> Any:
    graph = StateGraph(State)
    for name in names:
        graph.add_node(name, lambda _: None)
    return graph


def test_29_b1_unknown_edge_source():
    graph = graph_of("a").add_edge(START, "a").add_edge("x", "a")
    with pytest.raises(ValueError, match="Found edge starting at unknown node 'x'"):
        graph.compile()


def test_29_b2_unknown_edge_target():
    with pytest.raises(ValueError, match="Found edge ending at unknown node `x`"):
        graph_of("a").add_edge(START, "a").add_edge("a", "x").compile()


def test_29_b3_no_entry_point():
    with pytest.raises(ValueError, match="Graph must have an entrypoint: "):
        graph_of("a").add_edge("a", END).compile()


def test_29_b4_end_as_source():
    with pytest.raises(ValueError, match="END"):
        graph_of("a").add_edge(END, "a")


def test_29_b5_start_as_target():
    with pytest.raises(ValueError, match="START"):
        graph_of("a").add_edge("a", START)


def test_29_b6_join_with_an_unknown_node():
    with pytest.raises(ValueError, match="Need to add_node `x` first"):
        graph_of("a", "b").add_edge(["a", "x"], "b")


def test_29_b7_unknown_branch_target():
    def cond(_: State) -> str:
        return "x"

    graph = graph_of("n").add_edge(START, "n").add_conditional_edges("n", cond, {"x": "x"})
    with pytest.raises(ValueError, match="At 'n' node, 'cond' branch found unknown target 'x'"):
        graph.compile()


@pytest.mark.parametrize("when", ["interrupt_before", "interrupt_after"])
def test_29_b8_unknown_interrupt_node(when):
    with pytest.raises(ValueError, match="x"):
        graph_of("a").add_edge(START, "a").compile(**{when: ["x"]})


def test_29_b8_unknown_interrupt_node_of_a_call(call):
    app = graph_of("a").add_edge(START, "a").compile()
    with pytest.raises(ValueError, match="nowhere"):
        call.invoke(app, {"x": 1}, interrupt_before=["nowhere"])


def test_29_b1_all_faults_are_told_at_once():
    graph = graph_of("a").add_edge("a", "y").add_edge("x", "a")
    with pytest.raises(ValueError, match=r"(?s)'x'.*entrypoint|entrypoint.*'x'") as caught:
        graph.compile()
    assert "`y`" in str(caught.value)


def test_29_b9_duplicate_node():
    with pytest.raises(ValueError, match="Node `a` already present"):
        graph_of("a").add_node("a", lambda _: None)


@pytest.mark.parametrize("name", ["__start__", "__end__", "a|b", "a:b"])
def test_29_b10_reserved_names_and_characters(name):
    with pytest.raises(ValueError, match="reserved"):
        graph_of(name)


def test_29_b11_bad_reducer():
    class Bad(TypedDict):
        x: Annotated[int, lambda a: a]

    with pytest.raises(ValueError, match="Invalid reducer signature"):
        StateGraph(Bad)


@pytest.mark.parametrize("role", ["input_schema", "output_schema"])
def test_29_b12_managed_value_in_an_input_or_output_schema(role):
    class Managed(TypedDict, total=False):
        x: int
        left: RemainingSteps

    graph = StateGraph(State, **{role: Managed}).add_node("a", lambda _: None)
    with pytest.raises(ValueError, match="left"):
        graph.add_edge(START, "a").compile()


def test_29_b13_plain_class_is_no_schema():
    class Plain:
        pass

    with pytest.raises((TypeError, ValueError)):
        StateGraph(Plain)


def test_29_b14_invalid_checkpointer():
    with pytest.raises(TypeError, match="Invalid checkpointer provided"):
        graph_of("a").add_edge(START, "a").compile("memory")


@pytest.mark.parametrize("limit", [0, -3])
def test_29_b15_recursion_limit_below_one(call, limit):
    app = graph_of("a").add_edge(START, "a").compile()
    with pytest.raises(ValueError, match="recursion_limit must be at least 1"):
        call.invoke(app, {"x": 1}, {"recursion_limit": limit})
