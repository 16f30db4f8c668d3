"""Contract §3: nodes."""

import asyncio
import contextvars
import functools
import operator
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import (
    START,
    CachePolicy,
    Command,
    InMemoryCache,
    InvalidUpdateError,
    RetryPolicy,
    Runtime,
    StateGraph,
)


class State(TypedDict, total=False):
    x: int
    seen: Any


class Log(TypedDict):
    log: Annotated[list[Any], operator.add]


def plus_one(state: State) -> State:
    return {"x": state["x"] + 1}


async def plus_one_async(state: State) -> State:
    return {"x": state["x"] + 1}


class Adder:
    def __init__(self, amount: int = 1) -> None:
        self.amount = amount

    def __call__(self, state: State) -> State:
        return {"x": state["x"] + self.amount}

    def method(self, state: State) -> State:
        return {"x": state["x"] + self.amount}

    async def amethod(self, state: State) -> State:
        return {"x": state["x"] + self.amount}


class AsyncAdder:
    async def __call__(self, state: State) -> State:
        return {"x": state["x"] + 1}


class Runnable:
    def invoke(self, state: State, config: Any = None) -> State:
        return {"x": state["x"] + 1}

    async def ainvoke(self, state: State, config: Any = None) -> State:
        return {"x": state["x"] + 1}


def add(amount: int, state: State) -> State:
    return {"x": state["x"] + amount}


def single(node: Any, schema: Any = State) -> Any:
    return StateGraph(schema).add_node("n", node).add_edge(START, "n").compile()


def test_3_1_name_comes_from_the_function_or_the_class(call):
    graph = StateGraph(State).add_node(plus_one).add_node(Adder()).add_edge(START, "plus_one")
    app = graph.add_edge("plus_one", "Adder").compile()
    assert call.invoke(app, {"x": 1}) == {"x": 3}


def test_3_1_enum_names_that_are_strings_work(call):
    class Name(StrEnum):
        FIRST = "first"

    graph = StateGraph(State).add_node(Name.FIRST, plus_one).add_edge(START, Name.FIRST)
    assert call.stream(graph.compile(), {"x": 1}) == [{"first": {"x": 2}}]


def test_3_1_builder_methods_return_the_builder():
    graph = StateGraph(State)
    assert graph.add_node("a", plus_one) is graph
    assert graph.add_edge(START, "a") is graph
    assert graph.add_conditional_edges("a", lambda _: "a") is graph
    assert graph.set_entry_point("a") is graph
    assert graph.set_finish_point("a") is graph
    assert graph.add_sequence([("b", plus_one)]) is graph


def test_3_1_duplicate_name_is_refused():
    graph = StateGraph(State).add_node("a", plus_one)
    with pytest.raises(ValueError, match=r"Node `a` already present\."):
        graph.add_node("a", plus_one)


@pytest.mark.parametrize("name", ["__start__", "__end__", "a|b", "a:b"])
def test_3_1_reserved_names_and_characters_are_refused(name):
    with pytest.raises(ValueError, match="reserved"):
        StateGraph(State).add_node(name, plus_one)


CALLABLES = [
    plus_one,
    plus_one_async,
    Adder(),
    Adder().method,
    Adder().amethod,
    AsyncAdder(),
    functools.partial(add, 1),
    functools.partial(plus_one_async),
    Runnable(),
]


@pytest.mark.parametrize("node", CALLABLES, ids=lambda node: type(node).__name__)
def test_3_2_everything_that_can_be_called_is_a_node(call, node):
    assert call.invoke(single(node), {"x": 1}) == {"x": 2}


def test_3_2_sync_nodes_of_an_async_run_see_the_callers_context_variables(call):
    who = contextvars.ContextVar("who", default="nobody")
    who.set("me")
    assert call.invoke(single(lambda _: {"seen": who.get()}), {"x": 1}) == {"x": 1, "seen": "me"}


def test_3_2_sync_nodes_of_an_async_run_do_not_block_the_loop():
    async def main() -> Any:
        ticked, loop = threading.Event(), asyncio.get_running_loop()

        def waits(_: State) -> State:
            loop.call_soon_threadsafe(ticked.set)
            return {"seen": ticked.wait(5)}

        return await single(waits).ainvoke({"x": 1})

    assert asyncio.run(main())["seen"] is True


def by_position(state: State, config: Any, writer: Any) -> State:
    writer("w")
    return {"seen": config["configurable"]["user"]}


def by_keyword(state: State, *, writer: Any, config: Any) -> State:
    writer("w")
    return {"seen": config["configurable"]["user"]}


def without_annotation(state, config, writer):
    writer("w")
    return {"seen": config["configurable"]["user"]}


async def awaited(state: State, config: Any, writer: Any) -> State:
    writer("w")
    return {"seen": config["configurable"]["user"]}


@pytest.mark.parametrize("node", [by_position, by_keyword, without_annotation, awaited])
def test_3_3_config_and_writer_are_injected_by_name(call, node):
    config = {"configurable": {"user": "ann"}}
    modes = ["custom", "updates"]
    assert call.stream(single(node), {"x": 1}, config, stream_mode=modes) == [
        ("custom", "w"),
        ("updates", {"n": {"seen": "ann"}}),
    ]


@dataclass
class Context:
    user: str


def test_3_3_runtime_is_injected(call):
    def n(state: State, runtime: Runtime[Context]) -> State:
        return {"seen": runtime.context.user}

    graph = StateGraph(State, Context).add_node(n).add_edge(START, "n")
    assert call.invoke(graph.compile(), {"x": 1}, context={"user": "ann"})["seen"] == "ann"


def test_3_3_store_and_previous_are_injected(call):
    def n(state: State, store: Any, previous: Any) -> State:
        return {"seen": (store, previous)}

    app = StateGraph(State).add_node(n).add_edge(START, "n").compile(store="the store")
    assert call.invoke(app, {"x": 1})["seen"] == ("the store", None)


@pytest.mark.parametrize("value", [1, "text", [{"x": 1}], object()], ids=repr)
def test_3_4_what_is_no_update_is_refused(call, value):
    with pytest.raises(InvalidUpdateError, match="Expected dict, got"):
        call.invoke(single(lambda _: value), {"x": 1})


def test_3_4_list_with_a_command_may_hold_dicts_too(call):
    app = single(lambda _: [{"log": [1]}, Command(update={"log": [2]})], Log)
    assert call.invoke(app, {"log": []}) == {"log": [1, 2]}


def test_3_4_tuple_with_a_command_is_an_update(call):
    app = single(lambda _: (Command(update={"log": [1]}), {"log": [2]}), Log)
    assert call.invoke(app, {"log": []}) == {"log": [1, 2]}


def test_3_4_instance_of_an_annotated_class_is_an_update(call):
    @dataclass
    class Update:
        x: int

    assert call.invoke(single(lambda _: Update(5)), {"x": 1}) == {"x": 5}


def test_3_4_root_state_takes_any_value(call):
    assert call.invoke(single(lambda value: {"was": value}, int), 1) == {"was": 1}


def test_3_5_entry_and_finish_points_are_edges(call):
    graph = StateGraph(State).add_node("n", plus_one).set_entry_point("n").set_finish_point("n")
    assert call.invoke(graph.compile(), {"x": 1}) == {"x": 2}


def test_3_5_conditional_entry_point_chooses_where_to_start(call):
    graph = StateGraph(State).add_node("n", plus_one).add_node("m", lambda _: {"x": 0})
    graph.set_conditional_entry_point(lambda state: state["x"] > 0, {True: "n", False: "m"})
    assert call.invoke(graph.compile(), {"x": 1}) == {"x": 2}
    assert call.invoke(graph.compile(), {"x": -1}) == {"x": 0}


def test_3_5_sequence_chains_its_nodes(call):
    graph = StateGraph(State).add_sequence([plus_one, ("again", plus_one)])
    assert call.invoke(graph.add_edge(START, "plus_one").compile(), {"x": 1}) == {"x": 3}


def test_3_5_first_node_of_a_sequence_needs_an_edge_from_start():
    with pytest.raises(ValueError, match="Graph must have an entrypoint"):
        StateGraph(State).add_sequence([plus_one]).compile()


@pytest.mark.parametrize("nodes", [[], [plus_one, plus_one]], ids=["empty", "duplicate"])
def test_3_5_empty_sequences_and_duplicates_are_refused(nodes):
    with pytest.raises(ValueError, match=r"."):
        StateGraph(State).add_sequence(nodes)


def test_3_6_node_defaults_apply_unless_the_node_has_its_own(call):
    attempts = {"a": 0, "b": 0}

    def failing(name: str) -> Any:
        def node(_: State) -> State:
            attempts[name] += 1
            if attempts[name] < 3:
                raise ConnectionError(name)
            return {}

        return node

    fast = {"initial_interval": 0.0, "jitter": False}
    graph = StateGraph(State).add_node("a", failing("a"))
    graph.add_node("b", failing("b"), retry_policy=RetryPolicy(max_attempts=1, **fast))
    graph.set_node_defaults(retry_policy=RetryPolicy(max_attempts=3, **fast))
    app = graph.add_edge(START, "a").add_edge("a", "b").compile()
    with pytest.raises(ConnectionError, match="b"):
        call.invoke(app, {"x": 1})
    assert attempts == {"a": 3, "b": 1}


AT_ONCE = {"initial_interval": 0.0, "jitter": False}


class Flaky:
    """A node that fails so many times and then says how often it was called."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self, _: State) -> State:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError("boom")
        return {"seen": self.calls}


@pytest.mark.parametrize(("failures", "seen"), [(1, 2), (2, "handled")])
def test_3_6_several_calls_merge(call, failures, seen):
    graph = StateGraph(State).add_node("n", Flaky(failures)).add_edge(START, "n")
    graph.set_node_defaults(
        retry_policy=RetryPolicy(max_attempts=9), error_handler=lambda _: {"seen": "handled"}
    )
    graph.set_node_defaults(retry_policy=RetryPolicy(max_attempts=2, **AT_ONCE))
    assert call.invoke(graph.compile(), {})["seen"] == seen


def test_3_6_defaults_apply_at_compile_and_not_to_what_is_compiled(call):
    graph = StateGraph(State).add_node("n", Flaky(1)).add_edge(START, "n")
    before = graph.compile()
    graph.set_node_defaults(retry_policy=RetryPolicy(**AT_ONCE))
    with pytest.raises(ConnectionError):
        call.invoke(before, {})


def test_3_6_default_retries_apply_to_error_handlers_too(call):
    def fails(_: State) -> State:
        raise ValueError("boom")

    graph = StateGraph(State).add_node("n", fails, error_handler=Flaky(2)).add_edge(START, "n")
    graph.set_node_defaults(retry_policy=RetryPolicy(max_attempts=3, **AT_ONCE))
    assert call.invoke(graph.compile(), {})["seen"] == 3


def test_3_6_default_cache_does_not_apply_to_error_handlers(call):
    def fails(_: State) -> State:
        raise ValueError("boom")

    handler = Flaky(0)
    graph = StateGraph(State).add_node("n", fails, error_handler=handler).add_edge(START, "n")
    app = graph.set_node_defaults(cache_policy=CachePolicy()).compile(cache=InMemoryCache())
    assert [call.invoke(app, {})["seen"] for _ in range(2)] == [1, 2]


def test_3_6_defaults_are_not_inherited_by_subgraphs(call):
    node = Flaky(1)
    child = StateGraph(State).add_node("inner", node).add_edge(START, "inner").compile()
    graph = StateGraph(State).add_node("n", child, retry_policy=RetryPolicy(max_attempts=1))
    graph.set_node_defaults(retry_policy=RetryPolicy(**AT_ONCE)).add_edge(START, "n")
    with pytest.raises(ConnectionError):
        call.invoke(graph.compile(), {})
    assert node.calls == 1


def test_3_7_node_without_outgoing_edges_ends_its_branch(call):
    assert call.invoke(single(plus_one), {"x": 1}) == {"x": 2}


def test_3_8_edges_may_name_nodes_that_are_added_later(call):
    graph = StateGraph(State).add_edge(START, "n").add_node("n", plus_one)
    assert call.invoke(graph.compile(), {"x": 1}) == {"x": 2}


def test_3_8_joins_name_existing_nodes_only():
    with pytest.raises(ValueError, match="Need to add_node `n` first"):
        StateGraph(State).add_node("m", plus_one).add_edge(["m"], "n")


def test_3_8_add_node_works_as_a_decorator(call):
    graph = StateGraph(State).add_edge(START, "doubled")

    @graph.add_node
    def doubled(state: State) -> State:
        return {"x": state["x"] * 2}

    assert call.invoke(graph.compile(), {"x": 2}) == {"x": 4}


def test_3_9_default_name_is_langgraph_and_can_be_set():
    graph = StateGraph(State).add_node(plus_one).add_edge(START, "plus_one")
    app = graph.compile()
    assert app.name == "LangGraph"
    assert graph.compile(name="mine").name == "mine"
    app.name = "other"
    assert app.name == "other"


def test_3_9_compiled_graphs_do_not_follow_later_changes_of_the_builder(call):
    graph = StateGraph(State).add_node("a", plus_one).add_edge(START, "a")
    before = graph.compile()
    after = graph.add_node("b", plus_one).add_edge("a", "b").compile()
    assert call.invoke(before, {"x": 1}) == {"x": 2}
    assert call.invoke(after, {"x": 1}) == {"x": 3}


def test_3_9_compile_takes_all_its_arguments(call, saver, thread):
    graph = StateGraph(State).add_node("a", plus_one).add_node("b", plus_one)
    app = graph.add_edge(START, "a").add_edge("a", "b").compile(
        saver, cache=InMemoryCache(), store="the store", interrupt_before=["a"],
        interrupt_after=["a"], debug=False, name="mine",
    )  # fmt: skip
    lengths = [call.invoke(app, given, thread)["x"] for given in ({"x": 1}, None, None)]
    assert (app.name, app.checkpointer, lengths) == ("mine", saver, [1, 2, 3])


def test_3_9_compile_takes_transformers():
    StateGraph(State).add_node("a", plus_one).add_edge(START, "a").compile(transformers=None)
