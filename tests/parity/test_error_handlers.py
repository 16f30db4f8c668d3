"""Error handlers of nodes (contract §21)."""

from typing import Any

from .parts import Flaky, State, fast
from .programs import THREAD, chain, parity, raised


@parity
def test_handler_takes_over_from_a_failed_node(lib, call):
    def handler(state: State, error: lib.NodeError) -> Any:
        return {"log": [(error.node, repr(error.error), state["x"])]}

    graph = lib.StateGraph(State)
    graph.add_node("n", Flaky(9, ValueError("boom")), error_handler=handler)
    graph.add_node("never", lambda _: {"log": ["never"]}).add_edge(lib.START, "n")
    app = graph.add_edge("n", "never").compile()
    given = {"x": 1, "log": []}
    return call.invoke(app, given), call.stream(app, given, stream_mode=["updates", "values"])


@parity
def test_task_events_of_a_handler(lib, call):
    graph = lib.StateGraph(State)
    handler = lambda state: {"log": ["handled"]}  # noqa: E731
    graph.add_node("n", Flaky(9, ValueError("boom")), error_handler=handler)
    app = graph.add_edge(lib.START, "n").compile()
    return call.stream(app, {"log": []}, stream_mode=["tasks", "updates"])


@parity
def test_handler_may_go_somewhere(lib, call):
    def handler(state: State) -> Any:
        return lib.Command(update={"log": ["handled"]}, goto="rescue")

    graph = lib.StateGraph(State)
    graph.add_node("n", Flaky(9, ValueError("boom")), error_handler=handler)
    graph.add_node("rescue", lambda _: {"log": ["rescue"]}).add_edge(lib.START, "n")
    return call.invoke(graph.compile(), {"log": []})


@parity
def test_handler_runs_after_the_retries(lib, call):
    node = Flaky(9)
    graph = lib.StateGraph(State)
    graph.add_node("n", node, retry_policy=fast(lib), error_handler=lambda _: {"log": ["h"]})
    return call.invoke(graph.add_edge(lib.START, "n").compile(), {"log": []}), node.tries


@parity
def test_failing_handler_fails_the_run(lib, call):
    def handler(_: State) -> Any:
        raise KeyError("handler")

    graph = lib.StateGraph(State)
    graph.add_node("n", Flaky(9, ValueError("node")), error_handler=handler)
    app = graph.add_edge(lib.START, "n").compile()
    return raised(lib, lambda: call.invoke(app, {"log": []}), "handler")


@parity
def test_siblings_of_a_handled_failure_finish(lib, call):
    graph = lib.StateGraph(State)
    graph.add_node("n", Flaky(9, ValueError("boom")), error_handler=lambda _: {"log": ["h"]})
    graph.add_node("z", lambda _: {"log": ["z"]}).add_edge(lib.START, "n")
    graph.add_node("after", lambda _: {"log": ["after"]}).add_edge("z", "after")
    return call.invoke(graph.add_edge(lib.START, "z").compile(), {"log": []})


@parity
def test_handler_writes_in_the_place_of_its_node(lib, call):
    graph = lib.StateGraph(State)
    graph.add_node("n", Flaky(9, ValueError("boom")), error_handler=lambda _: {"log": ["h"]})
    for name in "az":
        graph.add_node(name, lambda _, name=name: {"log": [name]}).add_edge(lib.START, name)
    return call.invoke(graph.add_edge(lib.START, "n").compile(), {"log": []})


@parity
def test_failures_of_several_nodes_have_their_handlers(lib, call):
    def handler(state: State, error: lib.NodeError) -> Any:
        return {"log": [error.node]}

    graph = lib.StateGraph(State)
    for name in "pq":
        graph.add_node(name, Flaky(9, ValueError(name)), error_handler=handler)
        graph.add_edge(lib.START, name)
    return call.invoke(graph.compile(lib.InMemorySaver()), {"log": []}, THREAD)


@parity
def test_handler_of_a_child_graph(lib, call):
    child = chain(lib, State, ("n", Flaky(9, ValueError("inner")))).compile()

    def handler(state: State, error: lib.NodeError) -> Any:
        return {"log": [error.node, str(error.error)]}

    graph = lib.StateGraph(State).add_node("child", child, error_handler=handler)
    return call.invoke(graph.add_edge(lib.START, "child").compile(), {"log": []})


@parity
def test_handler_is_run_again_and_not_the_node(lib, call):
    node, tries = Flaky(1, ValueError("boom")), []

    def handler(state: State, error: lib.NodeError) -> Any:
        tries.append(str(error.error))
        if len(tries) < 2:
            raise KeyError("handler")
        return {"log": ["handled"]}

    graph = lib.StateGraph(State).add_node("n", node, error_handler=handler)
    app = graph.add_edge(lib.START, "n").compile(lib.InMemorySaver())
    first = raised(lib, lambda: call.invoke(app, {"log": []}, THREAD))[0]
    return first, call.invoke(app, None, THREAD), node.tries, len(tries)


@parity
def test_questions_are_no_errors_for_a_handler(lib, call):
    graph = lib.StateGraph(State)
    node = lambda _: {"log": [lib.interrupt("?")]}  # noqa: E731
    graph.add_node("n", node, error_handler=lambda _: {"log": ["handled"]})
    app = graph.add_edge(lib.START, "n").compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    return first, call.invoke(app, lib.Command(resume=1), THREAD)


@parity
def test_name_of_a_handler_is_reserved(lib, call):
    def build() -> Any:
        graph = lib.StateGraph(State)
        graph.add_node("n", Flaky(0), error_handler=lambda _: None)
        graph.add_node("__error_handler__n", lambda _: None).add_edge(lib.START, "n")
        return type(graph.compile()).__name__

    return raised(lib, build)[0]
