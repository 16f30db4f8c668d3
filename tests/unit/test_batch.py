"""Batches: several runs side by side."""

import asyncio
import threading
from typing import Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, StateGraph


class State(TypedDict, total=False):
    x: int


def graph_of(*nodes: Any) -> Any:
    names = [(f"n{number}", node) for number, node in enumerate(nodes)]
    return StateGraph(State).add_sequence(names).add_edge(START, "n0").compile()


def batch(app: Any, inputs: Any, way: str, config: Any = None, **options: Any) -> Any:
    if way == "sync":
        return app.batch(inputs, config, **options)
    return asyncio.run(app.abatch(inputs, config, **options))


WAYS = pytest.mark.parametrize("way", ["sync", "async"])


@WAYS
def test_first_failure_is_raised_and_later_nodes_of_the_others_do_not_run(way):
    gate, ran = threading.Event(), []

    def first(state: State) -> None:
        if state["x"] == 0:
            raise ValueError("boom")
        assert gate.wait(5)

    app = graph_of(first, ran.append)
    with pytest.raises(ValueError, match="boom"):
        batch(app, [{"x": number} for number in range(3)], way)
    gate.set()
    assert ran == []


@WAYS
def test_failures_stand_among_the_results_if_wished(way):
    def double(state: State) -> State:
        if state["x"] == 0:
            raise ValueError("boom")
        return {"x": state["x"] * 2}

    failed, result = batch(graph_of(double), [{"x": 0}, {"x": 1}], way, return_exceptions=True)
    assert (type(failed), result) == (ValueError, {"x": 2})


@WAYS
def test_as_many_configs_as_inputs_are_needed(way):
    with pytest.raises(ValueError, match="3 inputs were given, but 1 configs"):
        batch(graph_of(lambda _: None), [{"x": 1}] * 3, way, [{}])
