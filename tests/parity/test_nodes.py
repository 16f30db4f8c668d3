"""What may be a node, what it is given and what it may return (contract §3)."""

import asyncio
import contextvars
import enum
import functools
import operator
from dataclasses import dataclass
from typing import Annotated, Any

from typing_extensions import TypedDict

from .programs import ASYNC, THREAD, chain, parity, parity_in, raised


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


def greet(state: State) -> Any:
    """Write its own name: a node that gets its name from the function."""
    return {"log": ["greet"]}


class Shout:
    """A callable object."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __call__(self, state: State) -> Any:
        return {"log": [self.text.upper()]}

    def method(self, state: State) -> Any:
        return {"log": [self.text]}


@parity
def test_name_comes_from_the_function(lib, call):
    graph = lib.StateGraph(State).add_node(greet).add_edge(lib.START, "greet")
    return call.stream(graph.compile(), {"log": []})


@parity
def test_methods_partials_and_callable_objects_are_nodes(lib, call):
    def add(text: str, state: State) -> Any:
        return {"log": [text]}

    graph = lib.StateGraph(State).add_node("object", Shout("object"))
    graph.add_node(Shout("method").method).add_node("partial", functools.partial(add, "partial"))
    graph.add_edge(lib.START, "object").add_edge("object", "method").add_edge("method", "partial")
    return call.stream(graph.compile(), {"log": []})


@parity
def test_enum_names_are_names(lib, call):
    class Step(enum.StrEnum):
        FIRST = "first"
        SECOND = "second"

    graph = lib.StateGraph(State).add_node(Step.FIRST, lambda _: {"log": [1]})
    graph.add_node(Step.SECOND, lambda _: {"log": [2]}).add_edge(lib.START, Step.FIRST)
    app = graph.add_edge(Step.FIRST, Step.SECOND).compile()
    return call.invoke(app, {"log": []})


@parity
def test_object_with_invoke_and_ainvoke_is_a_node(lib, call):
    runnables = __import__("langchain_core.runnables").runnables
    node = runnables.RunnableLambda(lambda state: {"log": ["runnable", len(state["log"])]})
    return call.invoke(chain(lib, State, ("n", node)).compile(), {"log": ["in"]})


@parity_in(ASYNC)
def test_sync_nodes_work_in_async_runs_with_their_context_variables(lib, call):
    language = contextvars.ContextVar("language", default="none")

    def sync(_: State) -> Any:
        return {"log": [language.get()]}

    async def main() -> Any:
        language.set("de")
        return await chain(lib, State, ("sync", sync)).compile().ainvoke({"log": []})

    return asyncio.run(main())


@parity_in(ASYNC)
def test_async_nodes(lib, call):
    async def fetch(state: State) -> Any:
        await asyncio.sleep(0)
        return {"log": ["fetched"], "x": state["x"] + 1}

    class Fetcher:
        async def __call__(self, state: State) -> Any:
            return {"log": ["object"]}

        async def method(self, state: State) -> Any:
            return {"log": ["method"]}

    nodes = [("a", fetch), ("b", functools.partial(fetch)), ("c", Fetcher().method)]
    nodes.append(("d", Fetcher()))
    return call.stream(chain(lib, State, *nodes).compile(), {"x": 1, "log": []})


@parity
def test_parameters_are_injected_by_name(lib, call):
    def node(state: State, config, *, writer, store, runtime: lib.Runtime) -> Any:
        writer("hello")
        kinds = [isinstance(store, lib.BaseStore), runtime.store is store]
        return {"log": [config["configurable"]["user"], *kinds]}

    app = chain(lib, State, ("n", node)).compile(store=lib.InMemoryStore())
    config = {"configurable": {"user": "ann"}}
    return call.stream(app, {"log": []}, config, stream_mode=["custom", "updates"])


@parity
def test_injection_works_for_callable_objects_and_methods(lib, call):
    class Node:
        def __call__(self, state: State, config: lib.RunnableConfig) -> Any:
            return {"log": [config["configurable"]["user"]]}

        def method(self, state: State, runtime: lib.Runtime) -> Any:
            return {"log": [runtime.context]}

    app = chain(lib, State, ("object", Node()), ("method", Node().method)).compile()
    return call.invoke(app, {"log": []}, {"configurable": {"user": "ann"}}, context={"a": 1})


@parity
def test_absent_store_is_given_as_none(lib, call):
    def node(state: State, runtime: lib.Runtime, store: Any = None) -> Any:
        return {"log": [store, runtime.store]}

    return call.invoke(chain(lib, State, ("n", node)).compile(), {"log": []})


@parity
def test_wrong_return_values_are_refused(lib, call):
    @dataclass
    class Note:
        x: int

    wrong = {
        "text": "text",
        "number": 3,
        "set": {"x"},
        "dicts": [{"x": 1}, {"x": 2}],
    }
    shown = {}
    for name, value in wrong.items():
        app = chain(lib, State, ("n", lambda _, value=value: value)).compile()
        says = "Expected dict, got"
        shown[name] = raised(lib, lambda app=app: call.invoke(app, {"log": []}), says)
    app = chain(lib, State, ("n", lambda _: Note(5))).compile()
    return shown, call.invoke(app, {"log": []})


@parity
def test_lists_without_a_command_are_refused(lib, call):
    apps = [chain(lib, State, ("n", lambda _, v=v: v)).compile() for v in ([], [("x", 1)], ())]
    return [raised(lib, lambda app=app: call.invoke(app, {"log": []})) for app in apps]


@parity
def test_list_of_dicts_and_commands_is_applied_in_order(lib, call):
    def node(_: State) -> Any:
        return [{"log": [1]}, lib.Command(update={"log": [2]}), {"log": [3]}]

    def pair(_: State) -> Any:
        return {"log": [4]}, lib.Command(goto=lib.END)

    app = chain(lib, State, ("n", node), ("m", pair)).compile()
    return call.invoke(app, {"log": []}), call.stream(app, {"log": []})


@parity_in(ASYNC)
def test_names_that_are_refused(lib, call):
    def adding(*names: str) -> Any:
        graph = lib.StateGraph(State)
        for name in names:
            graph.add_node(name, greet)
        return "added"

    names = [("a", "a"), (lib.START,), (lib.END,), ("a|b",), ("a:b",), ("a b",)]
    says = "Node `a` already present."
    return {repr(one): raised(lib, lambda one=one: adding(*one), says) for one in names}


@parity
def test_builder_methods_return_the_builder(lib, call):
    graph = lib.StateGraph(State)
    same = [
        graph.add_node("a", greet),
        graph.add_node("b", greet),
        graph.add_edge("a", "b"),
        graph.set_entry_point("a"),
        graph.set_finish_point("b"),
        graph.add_conditional_edges("b", lambda _: lib.END),
        graph.add_sequence([("c", greet)]),
        graph.set_conditional_entry_point(lambda _: "a"),
    ]
    return [one is graph for one in same], call.invoke(graph.compile(), {"log": []})


@parity
def test_conditional_entry_point(lib, call):
    graph = lib.StateGraph(State).add_node("left", lambda _: {"log": ["left"]})
    graph.add_node("right", lambda _: {"log": ["right"]})
    graph.set_conditional_entry_point(lambda s: s["x"] > 0, {True: "right", False: "left"})
    app = graph.compile()
    return call.invoke(app, {"x": 1, "log": []}), call.invoke(app, {"x": 0, "log": []})


@parity
def test_sequence_of_functions_and_pairs(lib, call):
    graph = lib.StateGraph(State).add_sequence([greet, ("again", greet), Shout("m").method])
    app = graph.add_edge(lib.START, "greet").compile()
    return call.stream(app, {"log": []})


@parity_in(ASYNC)
def test_wrong_sequences_are_refused(lib, call):
    graph = lib.StateGraph(State)
    empty = raised(lib, lambda: type(graph.add_sequence([])).__name__)
    return empty, raised(lib, lambda: graph.add_sequence([greet, greet]))[0]


@parity
def test_add_node_as_a_decorator(lib, call):
    graph = lib.StateGraph(State)

    @graph.add_node
    def hello(state: State) -> Any:
        return {"log": ["hello"]}

    return call.invoke(graph.add_edge(lib.START, "hello").compile(), {"log": []})


@parity
def test_name_of_the_compiled_graph(lib, call):
    graph = chain(lib, State, ("n", greet))
    named = graph.compile(name="mine")
    before = [graph.compile().name, named.name]
    named.name = "other"
    return before, named.name, call.invoke(named, {"log": []})


@parity
def test_changing_the_builder_does_not_change_compiled_graphs(lib, call):
    graph = chain(lib, State, ("a", lambda _: {"log": ["a"]}))
    first = graph.compile()
    graph.add_node("b", lambda _: {"log": ["b"]}).add_edge("a", "b")
    return call.invoke(first, {"log": []}), call.invoke(graph.compile(), {"log": []})


@parity
def test_retry_defaults_of_nodes(lib, call):
    tries = []

    def flaky(_: State) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("again")
        return {"log": [len(tries)]}

    graph = chain(lib, State, ("n", flaky))
    policy = lib.RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=3)
    graph.set_node_defaults(retry_policy=policy)
    return call.invoke(graph.compile(), {"log": []})


@parity
def test_own_settings_of_a_node_win_over_the_defaults(lib, call):
    tries = []

    def flaky(_: State) -> Any:
        tries.append(1)
        raise ConnectionError("again")

    never = lib.RetryPolicy(max_attempts=1)
    often = lib.RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=4)
    graph = lib.StateGraph(State).add_node("n", flaky, retry_policy=never)
    graph.set_node_defaults(retry_policy=often).add_edge(lib.START, "n")
    return raised(lib, lambda: call.invoke(graph.compile(), {"log": []})), len(tries)


@parity
def test_error_handler_default_and_own(lib, call):
    def fails(_: State) -> Any:
        raise ValueError("no")

    graph = lib.StateGraph(State).add_node("own", fails, error_handler=lambda _: {"log": ["own"]})
    graph.add_node("plain", fails).add_edge(lib.START, "own").add_edge(lib.START, "plain")
    graph.set_node_defaults(error_handler=lambda _: {"log": ["default"]})
    return call.invoke(graph.compile(), {"log": []})


@parity
def test_defaults_merge_over_several_calls(lib, call):
    tries = []

    def flaky(_: State) -> Any:
        tries.append(1)
        raise ConnectionError("again")

    graph = chain(lib, State, ("n", flaky))
    graph.set_node_defaults(
        retry_policy=lib.RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=2)
    )
    graph.set_node_defaults(error_handler=lambda _: {"log": ["handled"]})
    return call.invoke(graph.compile(), {"log": []}), len(tries)


@parity
def test_defaults_do_not_reach_subgraphs(lib, call):
    def fails(_: State) -> Any:
        raise ValueError("inner")

    inner = chain(lib, State, ("fails", fails)).compile()

    def calls(_: State) -> Any:
        return {"log": [raised(lib, lambda: inner.invoke({"log": []}))[0]]}

    graph = chain(lib, State, ("calls", calls))
    graph.set_node_defaults(error_handler=lambda _: {"log": ["outer"]})
    return call.invoke(graph.compile(), {"log": []})


@parity
def test_every_thread_keeps_its_own_state(lib, call):
    app = chain(lib, State, ("n", lambda s: {"log": ["n"]})).compile(lib.InMemorySaver())
    other = {"configurable": {"thread_id": 17}}
    results = [call.invoke(app, {"log": [1]}, THREAD), call.invoke(app, {"log": [2]}, other)]
    as_text = {"configurable": {"thread_id": "17"}}
    return results, call.state(app, as_text).values


@parity
def test_graph_without_edge_to_end_just_ends(lib, call):
    graph = lib.StateGraph(State).add_node("a", greet).add_node("b", greet)
    graph.add_edge(lib.START, "a").add_edge(lib.START, "b").add_edge("b", lib.END)
    return call.invoke(graph.compile(), {"log": []})
