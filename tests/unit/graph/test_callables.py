"""Reading callables: what a node is given follows from its signature, however it is wrapped."""

import asyncio
import functools
import operator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, Runtime, StateGraph


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


class Narrow(TypedDict):
    x: int


class OtherConfig(TypedDict, total=False):
    tags: list[str]


@dataclass
class Context:
    name: str = "bob"


def traced(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **keywords: Any) -> Any:
        return function(*args, **keywords)

    return wrapper


class Tool:
    def __call__(self, state: Narrow, runtime: Runtime[Context]) -> State:
        return {"log": [(sorted(state), runtime.context.name)]}

    def method(self, state: Narrow, runtime: Runtime[Context]) -> State:
        return self(state, runtime)

    async def amethod(self, state: Narrow, runtime: Runtime[Context]) -> State:
        return self(state, runtime)


def function(state: Narrow, runtime: Runtime[Context]) -> State:
    return {"log": [(sorted(state), runtime.context.name)]}


async def coroutine(state: Narrow, runtime: Runtime[Context]) -> State:
    return function(state, runtime)


def invoke(node: Any, way: str) -> list[Any]:
    app = StateGraph(State, context_schema=Context).add_node("n", node).add_edge(START, "n")
    given: Any = {"x": 1, "log": []}
    if way == "sync":
        return app.compile().invoke(given, context=Context())["log"]
    return asyncio.run(app.compile().ainvoke(given, context=Context()))["log"]


WAYS = pytest.mark.parametrize("way", ["sync", "async"])


@WAYS
@pytest.mark.parametrize(
    "node",
    [
        function,
        coroutine,
        traced(function),
        traced(coroutine),
        Tool(),
        Tool().method,
        Tool().amethod,
        functools.partial(function),
    ],
    ids=["function", "coroutine", "wrapped", "wrapped-coroutine", "object", "method", "amethod",
         "partial"],
)  # fmt: skip
def test_input_schema_and_injection_are_found_through_wrapping(node, way):
    assert invoke(node, way) == [(["x"], "bob")]


@WAYS
def test_hint_of_a_later_parameter_is_no_input_schema(way):
    def n(state, config: OtherConfig):
        return {"log": [state["x"]]}

    assert invoke(n, way) == [1]


@WAYS
def test_argument_that_a_partial_gives_is_not_injected(way):
    def n(state: State, config: Any) -> State:
        return {"log": [config]}

    assert invoke(functools.partial(n, config="mine"), way) == ["mine"]
