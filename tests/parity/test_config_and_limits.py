"""Supersteps, limits, calls and validation (contract §5, §6, §8, §29)."""

import asyncio
import operator
import threading
import time
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from .programs import ASYNC, SYNC, THREAD, chain, parallel, parity, parity_in, raised


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


def letters(lib: Any, names: str) -> Any:
    """Return a builder of a chain of nodes that write their names."""
    nodes = [(name, lambda _, name=name: {"log": [name]}) for name in names]
    return chain(lib, State, *nodes)


def endless(lib: Any) -> Any:
    """Return a builder of a graph that never ends."""
    graph = letters(lib, "a")
    return graph.add_conditional_edges("a", lambda _: "a", ["a"])


@parity
def test_recursion_limit_of_a_chain(lib, call):
    app = letters(lib, "abc").compile()
    says = "Recursion limit of"
    return [
        raised(lib, lambda n=n: call.invoke(app, {"log": []}, {"recursion_limit": n}), says)
        for n in range(6)
    ]


@parity
def test_thread_goes_on_after_the_recursion_limit(lib, call):
    app = endless(lib).compile(lib.InMemorySaver())
    config = {**THREAD, "recursion_limit": 3}
    first = raised(lib, lambda: call.invoke(app, {"log": []}, config))[0]
    stopped = call.state(app)
    second = raised(lib, lambda: call.invoke(app, None, config))[0]
    return first, stopped, second, call.state(app).values, call.state(app).metadata


@parity_in(SYNC)
def test_chunks_up_to_the_recursion_limit(lib, call):
    app = endless(lib).compile(lib.InMemorySaver())
    seen: list[Any] = []

    def collect() -> None:
        config = {**THREAD, "recursion_limit": 2}
        modes = ["values", "updates", "checkpoints"]
        for chunk in app.stream({"log": []}, config, stream_mode=modes):
            seen.append(chunk)  # noqa: PERF402  # it raises in the end

    return raised(lib, collect)[0], seen


@parity_in(ASYNC)
def test_recursion_error_is_a_recursion_error(lib, call):
    app = endless(lib).compile()
    try:
        call.invoke(app, {"log": []}, {"recursion_limit": 4})
    except RecursionError as error:
        return type(error).__name__, isinstance(error, lib.GraphRecursionError)


@parity
def test_limit_counts_anew_for_a_resumed_run(lib, call):
    app = letters(lib, "abcdef").compile(lib.InMemorySaver(), interrupt_before=["c"])
    config = {**THREAD, "recursion_limit": 4}
    first = call.invoke(app, {"log": []}, config)
    return first, raised(lib, lambda: call.invoke(app, None, config))


@parity
def test_none_on_a_fresh_thread(lib, call):
    app = letters(lib, "a").compile(lib.InMemorySaver())
    says = "Received no input for __start__"
    return raised(lib, lambda: call.invoke(app, None, THREAD), says)


@parity
def test_none_without_a_checkpointer(lib, call):
    return raised(lib, lambda: call.invoke(letters(lib, "a").compile(), None))[0]


@parity
def test_none_on_a_finished_thread(lib, call):
    app = letters(lib, "a").compile(lib.InMemorySaver())
    call.invoke(app, {"log": ["in"]}, THREAD)
    before = len(call.history(app))
    return call.invoke(app, None, THREAD), len(call.history(app)) - before


@parity
def test_empty_input(lib, call):
    app = letters(lib, "a").compile(lib.InMemorySaver())
    return call.invoke(app, {}, THREAD), call.invoke(app, {}, THREAD)


@parity
def test_inputs_that_are_no_dicts(lib, call):
    app = letters(lib, "a").compile()
    given: list[Any] = ["text", 3, ["list"], ("x", 1)]
    return [raised(lib, lambda one=one: call.invoke(app, one))[0] for one in given]


@parity
def test_input_of_pairs(lib, call):
    return raised(lib, lambda: call.invoke(letters(lib, "a").compile(), [("x", 1)]))[0]


@parity
def test_input_with_unknown_keys_only(lib, call):
    return raised(lib, lambda: call.invoke(letters(lib, "a").compile(), {"typo": 1}))


@parity_in(SYNC)
def test_max_concurrency_of_threads(lib, call):
    running, peak, lock = [0], [0], threading.Lock()

    def node(_: State) -> None:
        with lock:
            running[0] += 1
            peak[0] = max(peak[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1

    app = parallel(lib, State, *((name, node) for name in "abcdef")).compile()
    call.invoke(app, {"log": []}, {"max_concurrency": 2})
    return peak[0]


@parity_in(ASYNC)
def test_max_concurrency_of_async_nodes(lib, call):
    running, peak = [0], [0]

    async def node(_: State) -> None:
        running[0] += 1
        peak[0] = max(peak[0], running[0])
        await asyncio.sleep(0.01)
        running[0] -= 1

    app = parallel(lib, State, *((name, node) for name in "abcdef")).compile()
    call.invoke(app, {"log": []}, {"max_concurrency": 3})
    return peak[0]


@parity
def test_parallel_nodes_run_at_the_same_time(lib, call):
    barrier = threading.Barrier(2, timeout=10)
    app = parallel(lib, State, *((name, lambda _: barrier.wait() * 0 or None) for name in "ab"))
    return call.invoke(app.compile(), {"log": []}, {"max_concurrency": 2})


@parity
def test_batch(lib, call):
    app = chain(lib, State, ("n", lambda s: {"x": 6 // s["x"]})).compile()
    given = [{"x": 1}, {"x": 2}, {"x": 3}]
    broken = [{"x": 1}, {"x": 0}]
    kept = call.batch(app, broken, return_exceptions=True)
    return call.batch(app, given), kept, raised(lib, lambda: call.batch(app, broken))[0]


@parity
def test_batch_with_configs(lib, call):
    app = letters(lib, "a").compile(lib.InMemorySaver())
    configs = [{"configurable": {"thread_id": name}} for name in "uv"]
    call.batch(app, [{"log": [1]}, {"log": [2]}], configs)
    return [call.state(app, config).values for config in configs]


@parity
def test_state_is_the_same_for_all_tasks_of_a_superstep(lib, call):
    seen = []
    nodes = [(name, lambda s: seen.append(dict(s)) or {"log": [1]}) for name in "ab"]
    call.invoke(parallel(lib, State, *nodes).compile(), {"log": ["in"]})
    return seen


@parity
def test_input_discards_a_failed_superstep(lib, call):
    ran = []

    def fails(_: State) -> Any:
        ran.append(1)
        if len(ran) == 1:
            raise ValueError("boom")

    nodes = [("ok", lambda _: {"log": ["ok"]}), ("z", fails)]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    raised(lib, lambda: call.invoke(app, {"log": [1]}, {**THREAD, "max_concurrency": 1}))
    return call.invoke(app, {"log": [2]}, THREAD)


@parity
def test_breakpoints_and_limit_as_options_of_stream(lib, call):
    app = letters(lib, "abc").compile(lib.InMemorySaver())
    return call.stream(app, {"log": []}, {**THREAD, "recursion_limit": 9}, interrupt_after=["b"])


@parity
def test_thread_id_may_be_anything(lib, call):
    app = letters(lib, "a").compile(lib.InMemorySaver())
    shown = []
    for thread_id in (7, "ü/;'", 1.5):
        config = {"configurable": {"thread_id": thread_id}}
        call.invoke(app, {"log": []}, config)
        shown.append(call.state(app, {"configurable": {"thread_id": str(thread_id)}}).values)
    return shown


@pytest.mark.filterwarnings("ignore:.*")
@parity
def test_durability_without_a_checkpointer_only_warns(lib, call):
    return call.invoke(letters(lib, "a").compile(), {"log": []}, durability="exit")


@parity_in(SYNC)
def test_declarations_that_are_refused(lib, call):
    def made(build: Any) -> Any:
        graph = lib.StateGraph(State).add_node("a", lambda _: None).add_node("b", lambda _: None)
        build(graph)
        return type(graph.compile()).__name__

    def path(_: State) -> str:
        return "b"

    start = lib.START
    builds: dict[str, Any] = {
        "Found edge starting at unknown node 'z'": lambda g: g.add_edge(start, "a").add_edge(
            "z", "a"
        ),
        "Found edge ending at unknown node `z`": lambda g: g.add_edge(start, "a").add_edge(
            "a", "z"
        ),
        "Graph must have an entrypoint": lambda g: g.add_edge("a", "b"),
        "END": lambda g: g.add_edge(lib.END, "a"),
        "START": lambda g: g.add_edge("a", start),
        "Need to add_node `z` first": lambda g: g.add_edge(["a", "z"], "b"),
        "Need to add_node": lambda g: g.add_edge(["a", "b"], "z"),
        "END cannot be": lambda g: g.add_edge([lib.END], "b"),
        "Found edge starting at": lambda g: g.add_conditional_edges("z", path),
        "At 'a' node, 'path' branch found unknown target 'z'": lambda g: g.add_edge(
            start, "a"
        ).add_conditional_edges("a", path, ["z"]),
        "branch found unknown target 'z'": lambda g: g.add_edge(start, "a").add_conditional_edges(
            "a", path, {"x": "z"}
        ),
        "Found edge ending at": lambda g: g.set_entry_point("z"),
        "Found edge starting": lambda g: g.add_edge(start, "a").set_finish_point("z"),
    }
    return [raised(lib, lambda b=b: made(b), says) for says, b in builds.items()]


@parity_in(SYNC)
def test_checkpointers_that_are_refused(lib, call):
    graph = letters(lib, "a")
    things: list[Any] = ["text", 3, object()]
    says = "Invalid checkpointer provided"
    return [raised(lib, lambda t=t: graph.compile(checkpointer=t), says) for t in things]


@parity
def test_many_supersteps(lib, call):
    graph = lib.StateGraph(State).add_node("n", lambda s: {"x": s["x"] + 1})
    graph.add_edge(lib.START, "n")
    graph.add_conditional_edges("n", lambda s: "n" if s["x"] < 200 else lib.END)
    return call.invoke(graph.compile(), {"x": 0}), call.invoke(graph.compile(), {"x": 195})


@parity_in(SYNC)
def test_graphs_are_subscriptable_and_names_are_types(lib, call):
    return [
        lib.StateGraph[State] is not None,
        lib.Command[str] is not None,
        lib.Runtime[dict] is not None,
        issubclass(type("Own", (lib.InMemorySaver,), {}), lib.InMemorySaver),
        isinstance(lib.InMemoryStore(), lib.BaseStore),
    ]


@parity_in(ASYNC)
def test_step_timeout(lib, call):
    async def slow(_: State) -> None:
        await asyncio.sleep(0.5)

    app = chain(lib, State, ("slow", slow)).compile()
    app.step_timeout = 0.05
    return raised(lib, lambda: call.invoke(app, {"log": []}))[0]
