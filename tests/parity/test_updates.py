"""update_state and bulk_update_state (contract §16)."""

import operator
from typing import Annotated, Any

from typing_extensions import TypedDict

from .programs import THREAD, chain, parallel, parity, raised


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


def abc(lib: Any, **options: Any) -> Any:
    """Return a graph of three nodes that write their names."""
    nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "abc"]
    return chain(lib, State, *nodes).compile(lib.InMemorySaver(), **options)


def brief(history: list[Any]) -> list[Any]:
    """Return what tells checkpoints apart."""
    return [(s.metadata["source"], s.metadata["step"], s.next, s.values) for s in history]


@parity
def test_update_of_a_finished_thread(lib, call):
    app = abc(lib)
    call.invoke(app, {"log": []}, THREAD)
    config = call.update(app, THREAD, {"x": 1, "log": ["edit"]})
    return config, call.state(app), call.history(app)[1].tasks


@parity
def test_update_of_a_paused_thread(lib, call):
    app = abc(lib, interrupt_before=["b"])
    call.invoke(app, {"log": []}, THREAD)
    call.update(app, THREAD, {"log": ["edit"]})
    return call.state(app), call.invoke(app, None, THREAD)


@parity
def test_update_as_each_node_decides_what_follows(lib, call):
    shown = []
    for as_node in ("a", "b", "c", "__start__", lib.END):
        app = abc(lib, interrupt_before=["b"])
        call.invoke(app, {"log": []}, THREAD)
        values = None if as_node == lib.END else {"log": ["edit"]}
        call.update(app, THREAD, values, as_node)
        snapshot = call.state(app)
        shown.append((snapshot.next, snapshot.values, snapshot.metadata))
        shown.append(call.invoke(app, None, THREAD))
    return shown


@parity
def test_update_evaluates_conditional_edges(lib, call):
    graph = lib.StateGraph(State)
    for name in "abc":
        graph.add_node(name, lambda _, name=name: {"log": [name]})
    graph.add_edge(lib.START, "a")
    graph.add_conditional_edges("a", lambda s: s["x"], ["b", "c"])
    app = graph.compile(lib.InMemorySaver())
    nexts = []
    for target in "bc":
        call.update(app, THREAD, {"x": target}, "a")
        nexts.append(call.state(app).next)
    return nexts, call.invoke(app, None, THREAD)


@parity
def test_update_with_sends_of_a_path(lib, call):
    graph = lib.StateGraph(State).add_node("a", lambda _: None)
    graph.add_node("w", lambda n: {"log": [n]}).add_edge(lib.START, "a")
    graph.add_conditional_edges("a", lambda s: [lib.Send("w", n) for n in s["x"]], ["w"])
    app = graph.compile(lib.InMemorySaver())
    call.update(app, THREAD, {"x": [1, 2]}, "a")
    return call.state(app), call.invoke(app, None, THREAD)


@parity
def test_update_with_a_command(lib, call):
    app = abc(lib)
    call.update(app, THREAD, lib.Command(update={"log": ["edit"]}, goto="c"), "a")
    return call.state(app), call.invoke(app, None, THREAD)


@parity
def test_update_of_a_fresh_thread(lib, call):
    app = abc(lib)
    config = call.update(app, THREAD, {"log": ["edit"]})
    return config, call.state(app), call.invoke(app, None, THREAD), len(call.history(app))


@parity
def test_update_of_a_fresh_thread_as_a_node(lib, call):
    app = abc(lib)
    call.update(app, THREAD, {"log": ["edit"]}, "b")
    return call.state(app), call.invoke(app, None, THREAD)


@parity
def test_ambiguous_update(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "ab"]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    says = "Ambiguous update, specify as_node"
    refused = raised(lib, lambda: call.update(app, THREAD, {"x": 1}), says)
    call.update(app, THREAD, {"x": 1}, "a")
    return refused, call.state(app).values


@parity
def test_update_as_an_unknown_node(lib, call):
    app = abc(lib)
    says = "Node zzz does not exist"
    return raised(lib, lambda: call.update(app, THREAD, {"x": 1}, "zzz"), says)


@parity
def test_update_without_values(lib, call):
    app = abc(lib, interrupt_before=["b"])
    call.invoke(app, {"log": []}, THREAD)
    call.update(app, THREAD, None, "b")
    return call.state(app), call.invoke(app, None, THREAD)


@parity
def test_update_of_a_thread_that_asks(lib, call):
    nodes = [
        ("a", lambda _: {"log": ["a"]}),
        ("q", lambda _: {"log": [lib.interrupt("?")]}),
        ("z", lambda _: {"log": ["z"]}),
    ]
    app = chain(lib, State, *nodes).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    call.update(app, THREAD, {"log": ["instead of an answer"]}, "q")
    return call.state(app), call.invoke(app, None, THREAD)


@parity
def test_update_drops_the_open_superstep(lib, call):
    nodes = [
        ("p", lambda _: {"log": ["p"]}),
        ("q", lambda _: {"log": [lib.interrupt("?")]}),
    ]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    call.update(app, THREAD, {"log": ["edit"]}, "q")
    return call.state(app), brief(call.history(app))


@parity
def test_update_as_end_applies_what_finished_siblings_wrote(lib, call):
    nodes = [
        ("p", lambda _: {"log": ["p"]}),
        ("q", lambda _: {"log": [lib.interrupt("?")]}),
    ]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    call.update(app, THREAD, None, lib.END)
    return call.state(app), brief(call.history(app))


@parity
def test_update_as_input(lib, call):
    app = abc(lib)
    call.invoke(app, {"log": ["in"]}, THREAD)
    call.update(app, THREAD, {"log": ["more"]}, "__input__")
    snapshot = call.state(app)
    return snapshot, call.invoke(app, None, THREAD), brief(call.history(app))


@parity
def test_update_of_a_thread_paused_before_its_first_node(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "ab"]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver(), interrupt_before=["a"])
    call.invoke(app, {"log": ["in"]}, THREAD)
    call.update(app, THREAD, {"log": ["edit"]})
    return call.state(app), call.invoke(app, None, THREAD)


@parity
def test_update_with_unknown_keys_and_wrong_values(lib, call):
    app = abc(lib)
    call.invoke(app, {"log": []}, THREAD)
    call.update(app, THREAD, {"typo": 1})
    wrong = raised(lib, lambda: call.update(app, THREAD, "text"))
    return call.state(app).values, wrong


@parity
def test_update_of_a_node_of_a_join(lib, call):
    graph = lib.StateGraph(State)
    for name in "abj":
        graph.add_node(name, lambda _, name=name: {"log": [name]})
    graph.add_edge(lib.START, "a").add_edge(["a", "b"], "j")
    app = graph.compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    call.update(app, THREAD, {"log": ["as b"]}, "b")
    return call.state(app).next, call.invoke(app, None, THREAD)


@parity
def test_several_updates_in_a_row(lib, call):
    app = abc(lib)
    for as_node in "ab":
        call.update(app, THREAD, {"log": [as_node]}, as_node)
    return brief(call.history(app)), call.invoke(app, None, THREAD)


@parity
def test_bulk_rebuilds_a_run(lib, call):
    app, like = abc(lib), abc(lib)
    call.invoke(like, {"log": ["in"]}, THREAD)
    update = lib.StateUpdate
    steps = [[update({"log": ["in"]}, "__input__")], [update({"log": ["in"]}, "__start__")]]
    steps += [[update({"log": [name]}, name)] for name in "abc"]
    config = call.bulk(app, THREAD, steps)
    rebuilt, real = call.history(app), call.history(like)
    results = [[(t.name, t.result) for t in s.tasks] for s in rebuilt]
    return config, brief(rebuilt), results, brief(real)


@parity
def test_bulk_of_parallel_results(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "ab"]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    update = lib.StateUpdate
    steps = [
        [update({"log": ["in"]}, "__input__")],
        [update({"log": ["in"]}, "__start__")],
        [update({"log": ["A"]}, "a"), update({"log": ["B"]}, "b")],
    ]
    call.bulk(app, THREAD, steps)
    return brief(call.history(app)), [s.tasks for s in call.history(app)]


@parity
def test_wrong_bulk_updates_are_refused(lib, call):
    app = abc(lib)
    update = lib.StateUpdate
    cases: list[tuple[Any, str]] = [
        ([], "No supersteps provided"),
        ([[]], "No updates provided"),
        ([[update({"x": 1}), update({"x": 2}, "a")]], "as_node"),
        ([[update({"x": 1}, "__input__"), update({"x": 2}, "a")]], "input"),
        ([[update(None, lib.END), update({"x": 2}, "a")]], ""),
        ([[update(None, "__copy__"), update({"x": 2}, "a")]], ""),
    ]
    return [raised(lib, lambda c=c: call.bulk(app, THREAD, c), says) for c, says in cases]


@parity
def test_update_in_a_child_graph(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "ab"]
    child = chain(lib, State, *nodes).compile(interrupt_before=["b"])
    app = chain(lib, State, ("child", child)).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    inner = call.state(app, subgraphs=True).tasks[0].state.config
    call.update(app, inner, {"log": ["edit"]})
    paused = call.state(app, subgraphs=True).tasks[0].state
    return paused.values, paused.next, call.invoke(app, None, THREAD)


@parity
def test_update_in_an_unknown_child_graph(lib, call):
    app = abc(lib)
    config = {"configurable": {"thread_id": "t", "checkpoint_ns": "zzz"}}
    return raised(lib, lambda: call.update(app, config, {"x": 1}), "Subgraph zzz not found")


@parity
def test_update_before_a_join_keeps_the_join_target_next(lib, call):
    graph = parallel(lib, State, ("a", lambda _: {"log": ["a"]}), ("b", lambda _: {"log": ["b"]}))
    graph.add_node("j", lambda _: {"log": ["j"]}).add_edge(["a", "b"], "j")
    app = graph.compile(lib.InMemorySaver(), interrupt_before=["j"])
    call.invoke(app, {"log": []}, THREAD)
    call.update(app, THREAD, {"log": ["edit"]}, "b")
    return call.state(app).next, call.invoke(app, None, THREAD)


@parity
def test_update_keeps_a_deferred_node_next(lib, call):
    graph = chain(lib, State, ("a", lambda _: {"log": ["a"]}))
    graph.add_node("other", lambda _: None)
    graph.add_node("report", lambda _: {"log": ["report"]}, defer=True).add_edge("a", "report")
    app = graph.compile(lib.InMemorySaver(), interrupt_before=["report"])
    call.invoke(app, {"log": []}, THREAD)
    call.update(app, THREAD, {"log": ["edit"]}, "other")
    return call.state(app).next, call.invoke(app, None, THREAD)
