"""Static breakpoints (contract §14.4)."""

import operator
from typing import Annotated, Any

from typing_extensions import TypedDict

from .programs import THREAD, chain, parallel, parity, raised


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


@parity
def test_answer_at_a_breakpoint_where_nothing_is_asked_goes_on(lib, call):
    nodes = [("a", lambda _: {"log": ["a"]}), ("b", lambda _: {"log": ["b"]})]
    app = chain(lib, State, *nodes).compile(lib.InMemorySaver(), interrupt_before=["b"])
    call.invoke(app, {"log": []}, THREAD)
    return call.invoke(app, lib.Command(resume="nobody asked"), THREAD)


@parity
def test_breakpoints_before_and_after(lib, call):
    shown = []
    for options in (
        {"interrupt_before": ["b"]},
        {"interrupt_after": ["b"]},
        {"interrupt_before": ["b"], "interrupt_after": ["b"]},
        {"interrupt_before": "*"},
        {"interrupt_after": "*"},
    ):
        nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "abc"]
        app = chain(lib, State, *nodes).compile(lib.InMemorySaver(), **options)
        results = [call.invoke(app, {"log": []}, THREAD)]
        while call.state(app).next:
            results.append((call.state(app).next, call.invoke(app, None, THREAD)))
        shown.append((results, len(call.history(app))))
    return shown


@parity
def test_breakpoints_of_a_call_win(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "abc"]
    app = chain(lib, State, *nodes).compile(lib.InMemorySaver(), interrupt_before=["c"])
    first = call.invoke(app, {"log": []}, THREAD, interrupt_before=["b"])
    second = call.invoke(app, None, THREAD, interrupt_after=["b"])
    return first, second, call.invoke(app, None, THREAD), call.state(app).next


@parity
def test_breakpoint_before_one_of_parallel_nodes_holds_all(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "ab"]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver(), interrupt_before=["b"])
    first = call.invoke(app, {"log": []}, THREAD)
    return first, call.state(app).next, call.invoke(app, None, THREAD)


@parity
def test_breakpoint_in_a_loop_holds_each_time(lib, call):
    graph = chain(lib, State, ("a", lambda _: {"log": ["a"]}))
    graph.add_conditional_edges("a", lambda s: "a" if len(s["log"]) < 4 else lib.END)
    app = graph.compile(lib.InMemorySaver(), interrupt_before=["a"])
    return [call.invoke(app, given, THREAD) for given in ({"log": ["in"]}, None, None, None)]


@parity
def test_breakpoint_of_an_unknown_node(lib, call):
    graph = chain(lib, State, ("a", lambda _: {"log": ["a"]}))
    return [
        raised(lib, lambda option=option: graph.compile(**{option: ["zzz"]}))[0]
        for option in ("interrupt_before", "interrupt_after")
    ]


@parity
def test_breakpoint_without_a_checkpointer(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "ab"]
    app = chain(lib, State, *nodes).compile(interrupt_before=["b"])
    return raised(lib, lambda: call.invoke(app, {"log": []}))


@parity
def test_breakpoint_and_question_mixed(lib, call):
    nodes = [
        ("a", lambda _: {"log": ["a"]}),
        ("q", lambda _: {"log": [lib.interrupt("?")]}),
        ("c", lambda _: {"log": ["c"]}),
    ]
    app = chain(lib, State, *nodes).compile(lib.InMemorySaver(), interrupt_before=["q", "c"])
    steps: list[Any] = [{"log": []}, None, lib.Command(resume="r"), None]
    return [(call.invoke(app, given, THREAD), call.state(app).next) for given in steps]


@parity
def test_breakpoint_in_a_child(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "ab"]
    child = chain(lib, State, *nodes).compile(interrupt_before=["b"])
    app = chain(lib, State, ("child", child), ("z", lambda _: {"log": ["z"]}))
    app = app.compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    paused = call.state(app, subgraphs=True)
    return first, paused.next, paused.tasks, call.invoke(app, None, THREAD)


@parity
def test_answer_passes_a_breakpoint_after_the_asking_node(lib, call):
    nodes = [("q", lambda _: {"log": [lib.interrupt("?")]}), ("z", lambda _: {"log": ["z"]})]
    app = chain(lib, State, *nodes).compile(lib.InMemorySaver(), interrupt_after=["q"])
    steps: list[Any] = [{"log": []}, lib.Command(resume="r"), None]
    return [(call.invoke(app, given, THREAD), call.state(app).next) for given in steps]
