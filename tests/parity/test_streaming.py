"""Exact chunks of every stream mode, v1 and v2 (contract §8, §9, §10)."""

import operator
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from .observations import by_task, plain
from .programs import ASYNC, THREAD, chain, parallel, parity, parity_in, raised

ALL = ["values", "updates", "custom", "tasks", "checkpoints", "debug"]
SINGLE = [*ALL, "messages"]


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


def diamond(lib: Any) -> Any:
    """Return the graph `a` → (`b`, `c`), of which `b` writes to the custom stream."""

    def b(_: State) -> Any:
        lib.get_stream_writer()({"at": "b"})
        return {"log": ["b"]}

    graph = lib.StateGraph(State).add_node("a", lambda _: {"x": 1, "log": ["a"]})
    graph.add_node("b", b).add_node("c", lambda _: None).add_edge(lib.START, "a")
    return graph.add_edge("a", "b").add_edge("a", "c")


def asking(lib: Any) -> Any:
    """Return a graph of which `q` asks while `b` finishes."""
    ask = ("q", lambda _: {"log": [lib.interrupt("what?")]})
    return parallel(lib, State, ("b", lambda _: {"log": ["b"]}), ask)


def nested(lib: Any, **options: Any) -> Any:
    """Return a graph whose second node is a graph of two nodes."""

    def one(_: State) -> Any:
        lib.get_stream_writer()("from the child")
        return {"log": ["one"]}

    child = chain(lib, State, ("one", one), ("two", lambda _: {"x": 2})).compile(**options)
    return chain(lib, State, ("a", lambda _: {"log": ["a"]}), ("child", child))


def streams(lib: Any, call: Any, graph: Any, modes: Any, sort: bool = False, **options: Any) -> Any:
    """Return all chunks of a run of a fresh thread, by mode."""
    shown = {}
    for mode in modes:
        app = graph.compile(lib.InMemorySaver())
        chunks = call.stream(app, {"log": ["in"]}, THREAD, stream_mode=mode, **options)
        shown[str(mode)] = plain(by_task(chunks)) if sort else plain(chunks)
    return shown


@parity
def test_chunks_of_each_mode(lib, call):
    nodes = [("a", lambda _: {"x": 1, "log": ["a"]}), ("b", lambda _: None)]
    return streams(lib, call, chain(lib, State, *nodes), SINGLE)


@parity
def test_chunks_without_a_checkpointer(lib, call):
    app = chain(lib, State, ("a", lambda _: {"x": 1}), ("b", lambda _: {"log": ["b"]})).compile()
    return [call.stream(app, {"log": ["in"]}, stream_mode=mode) for mode in (*SINGLE, ALL, None)]


@parity
def test_order_of_all_modes_in_a_chain(lib, call):
    return streams(lib, call, chain(lib, State, ("a", lambda _: {"x": 1})), [ALL])


@parity
def test_order_of_all_modes_over_parallel_tasks(lib, call):
    chunks = streams(lib, call, diamond(lib), [ALL])[str(ALL)]
    return [mode for mode, _ in chunks][:17], by_task(chunks[17:])


@parity
def test_starts_of_parallel_tasks_come_by_name_and_before_results(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "cab"]
    app = parallel(lib, State, *nodes).compile()
    chunks = call.stream(app, {"log": []}, stream_mode="tasks")
    return [chunk["name"] for chunk in chunks[:3]], by_task(chunks)


@parity
def test_starts_of_sends_come_first_and_in_their_order(lib, call):
    graph = lib.StateGraph(State).add_node("w", lambda n: {"log": [n]})
    graph.add_node("a", lambda _: {"log": ["a"]})
    graph.add_conditional_edges(lib.START, lambda _: ["a", lib.Send("w", 2), lib.Send("w", 1)])
    chunks = call.stream(graph.compile(), {"log": []}, stream_mode="tasks")
    return chunks[:3], by_task(chunks[3:])


@parity
def test_forms_of_a_chunk_by_modes_and_subgraphs(lib, call):
    app = chain(lib, State, ("n", lambda _: {"x": 2})).compile()
    modes = ["updates", ["updates"], ["values", "updates"]]
    return [
        call.stream(app, {"x": 1}, stream_mode=mode, subgraphs=subgraphs, version=version)
        for mode in modes
        for subgraphs in (False, True)
        for version in ("v1", "v2")
    ]


@parity
def test_updates_of_several_writes_none_and_root_state(lib, call):
    twice = [("n", lambda _: lib.Command(update=[("log", [1]), ("log", [2])])), ("m", lambda _: {})]
    keyed = call.stream(chain(lib, State, *twice).compile(), {})
    root = chain(lib, Annotated[list[Any], operator.add], ("n", lambda _: [1])).compile()
    return keyed, call.stream(root, [0])


@parity
def test_task_events_of_a_root_state(lib, call):
    root = chain(lib, Annotated[list[Any], operator.add], ("n", lambda _: [1])).compile()
    return call.stream(root, [0], stream_mode="tasks")


@pytest.mark.xfail(strict=True, reason="tasks of a checkpoint event stand in the order of add_node")
@parity
def test_checkpoint_events_list_tasks_by_name(lib, call):
    nodes = [(name, lambda _: {"log": [1]}) for name in "cab"]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    chunks = call.stream(app, {"log": []}, THREAD, stream_mode="checkpoints")
    return [chunk["next"] for chunk in chunks], [list(s.next) for s in call.history(app)]


@parity
def test_tasks_show_several_writes_of_a_key(lib, call):
    node = ("n", lambda _: lib.Command(update=[("log", [1]), ("log", [2]), ("x", 1)]))
    return streams(lib, call, chain(lib, State, node), ["tasks", "debug", "checkpoints"])


@parity
def test_values_are_streamed_only_when_something_changed(lib, call):
    nodes = [("a", lambda _: None), ("b", lambda _: {"x": 1}), ("c", lambda _: {"x": 1})]
    app = chain(lib, State, *nodes).compile()
    empty = call.stream(app, {}, stream_mode="values")
    return empty, call.stream(app, {"log": ["in"]}, stream_mode="values")


@parity
def test_first_values_of_a_resumed_run_are_the_current_state(lib, call):
    graph = chain(lib, State, ("a", lambda _: {"x": 1}), ("b", lambda _: {"x": 2}))
    app = graph.compile(lib.InMemorySaver(), interrupt_before=["b"])
    modes = ["values", "updates", "tasks"]
    first = call.stream(app, {"log": ["in"]}, THREAD, stream_mode=modes)
    return first, call.stream(app, None, THREAD, stream_mode=modes)


@parity
def test_resumed_run_shows_the_checkpoint_it_starts_from(lib, call):
    graph = chain(lib, State, ("a", lambda _: {"x": 1}), ("b", lambda _: {"x": 2}))
    app = graph.compile(lib.InMemorySaver(), interrupt_before=["b"])
    call.invoke(app, {"log": ["in"]}, THREAD)
    return call.stream(app, None, THREAD, stream_mode=["checkpoints", "values", "tasks"])


@parity
def test_chunks_of_an_interrupted_superstep(lib, call):
    return streams(lib, call, asking(lib), SINGLE, sort=True)


@parity
def test_order_of_modes_when_a_lone_task_asks(lib, call):
    graph = chain(lib, State, ("a", lambda _: {"x": 1}), ("q", lambda _: {"x": lib.interrupt("?")}))
    app = graph.compile(lib.InMemorySaver())
    first = call.stream(app, {"log": []}, THREAD, stream_mode=ALL)
    return first, call.stream(app, lib.Command(resume=7), THREAD, stream_mode=ALL)


@parity
def test_chunks_of_a_resumed_superstep_with_a_finished_task(lib, call):
    shown = {}
    for mode in ("values", "updates", "custom", "checkpoints"):
        app = asking(lib).compile(lib.InMemorySaver())
        call.invoke(app, {"log": ["in"]}, THREAD)
        command = lib.Command(resume="it")
        shown[mode] = plain(by_task(call.stream(app, command, THREAD, stream_mode=mode)))
    return shown


@parity
def test_restored_task_starts_and_has_no_result(lib, call):
    app = asking(lib).compile(lib.InMemorySaver())
    call.invoke(app, {"log": ["in"]}, THREAD)
    return by_task(call.stream(app, lib.Command(resume="it"), THREAD, stream_mode="tasks"))


@parity
def test_chunks_of_two_interrupted_tasks(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [lib.interrupt(name)]}) for name in "pq"]
    modes = ["updates", "tasks", "values"]
    return streams(lib, call, parallel(lib, State, *nodes), modes, sort=True)


@parity
def test_chunks_of_static_breakpoints(lib, call):
    shown = []
    for option in ("interrupt_before", "interrupt_after"):
        graph = chain(lib, State, ("a", lambda _: {"x": 1}), ("b", lambda _: {"x": 2}))
        app = graph.compile(lib.InMemorySaver())
        options = {option: ["a"]}
        first = call.stream(app, {"log": []}, THREAD, stream_mode=ALL, **options)
        second = call.stream(app, None, THREAD, stream_mode=ALL, **options)
        shown.append(plain([first, second]))
    return shown


@parity
def test_chunks_before_an_error(lib, call):
    def fails(_: State) -> Any:
        raise ValueError("boom")

    app = chain(lib, State, ("a", lambda _: {"x": 1}), ("n", fails)).compile(lib.InMemorySaver())
    seen: list[Any] = []
    error = raised(lib, lambda: list(_collected(app, call, seen)), "boom")
    return error, seen


def _collected(app: Any, call: Any, seen: list[Any]) -> Any:
    """Collect the chunks of a run that fails: blocking, as what arrives does not differ."""
    for chunk in app.stream({"log": []}, THREAD, stream_mode=ALL):
        seen.append(chunk)
        yield chunk


@parity
def test_interrupts_of_a_graph_without_keys(lib, call):
    graph = chain(lib, int, ("q", lambda n: lib.interrupt(n)))
    app = graph.compile(lib.InMemorySaver())
    first = call.stream(app, 5, THREAD, stream_mode=["values", "updates"])
    return first, call.stream(app, lib.Command(resume=6), THREAD, stream_mode=["values", "updates"])


@parity
def test_triggers_of_joins_sends_and_branches(lib, call):
    graph = lib.StateGraph(State)
    for name in "abcdw":
        graph.add_node(name, lambda _: None)
    graph.add_edge(lib.START, "b").add_edge(lib.START, "a").add_edge(["b", "a"], "c")
    graph.add_conditional_edges("c", lambda _: ["d", lib.Send("w", 1)], ["d", "w"])
    chunks = call.stream(graph.compile(), {"log": []}, stream_mode="tasks")
    return sorted({(c["name"], c["triggers"]) for c in chunks if "triggers" in c})


@parity
def test_triggers_of_a_node_with_edge_and_join(lib, call):
    graph = lib.StateGraph(State)
    for name in "abc":
        graph.add_node(name, lambda _: None)
    graph.add_edge(lib.START, "a").add_edge("a", "b").add_edge(["a", "b"], "c").add_edge("a", "c")
    chunks = call.stream(graph.compile(), {"log": []}, stream_mode="tasks")
    return [(c["name"], c["triggers"]) for c in chunks if "triggers" in c]


@parity
def test_metadata_and_tags_of_the_user_are_in_task_events(lib, call):
    app = chain(lib, State, ("n", lambda _: {"x": 1})).compile(lib.InMemorySaver())
    config = {**THREAD, "metadata": {"team": "blue"}, "tags": ["night"]}
    return call.stream(app, {"log": []}, config, stream_mode=["tasks"])


@parity
def test_input_of_a_task_is_what_the_node_gets(lib, call):
    class OnlyX(TypedDict):
        x: int

    graph = lib.StateGraph(State).add_node("n", lambda _: None, input_schema=OnlyX)
    graph.add_node("w", lambda _: None).add_edge(lib.START, "n")
    graph.add_conditional_edges("n", lambda _: [lib.Send("w", {"any": 1})], ["w"])
    chunks = call.stream(graph.compile(), {"x": 1, "log": []}, stream_mode="tasks")
    return [chunk["input"] for chunk in chunks if "input" in chunk]


@parity
def test_custom_chunks_of_a_writer_parameter_and_a_path(lib, call):
    def node(state: State, writer) -> None:
        for number in range(3):
            writer(number)

    def path(_: State) -> Any:
        lib.get_stream_writer()("path")
        return lib.END

    graph = lib.StateGraph(State).add_node("n", node).add_edge(lib.START, "n")
    app = graph.add_conditional_edges("n", path).compile()
    silent = call.stream(app, {}), call.invoke(app, {"log": []})
    return call.stream(app, {}, stream_mode="custom"), silent


@parity_in(ASYNC)
def test_custom_chunks_of_async_nodes(lib, call):
    async def node(state: State, writer) -> None:
        writer("one")
        lib.get_stream_writer()("two")

    app = chain(lib, State, ("n", node)).compile()
    return call.stream(app, {}, stream_mode=["custom", "updates"])


@parity
def test_child_graphs_stream_under_their_namespace(lib, call):
    return streams(lib, call, nested(lib), [*ALL, ["updates", "custom"]], subgraphs=True)


@parity
def test_child_graphs_are_silent_without_subgraphs(lib, call):
    return streams(lib, call, nested(lib), ALL)


@parity
def test_child_graphs_in_v2(lib, call):
    return streams(
        lib, call, nested(lib), [["values", "updates", "tasks"]], subgraphs=True, version="v2"
    )


@parity
def test_child_with_a_thread_of_its_own_streams_under_its_name(lib, call):
    modes = ["updates", "values", "tasks"]
    return streams(lib, call, nested(lib, checkpointer=True), modes, subgraphs=True)


@parity
def test_child_called_in_a_node_streams_too(lib, call):
    child = chain(lib, State, ("one", lambda _: {"log": ["one"]})).compile()

    def calls(state: State) -> Any:
        return {"log": child.invoke({"log": []})["log"]}

    graph = chain(lib, State, ("calls", calls))
    return streams(lib, call, graph, ["updates", "values", "tasks"], subgraphs=True)


@parity
def test_interrupt_of_a_child_is_shown_on_each_level(lib, call):
    child = chain(lib, State, ("q", lambda _: {"x": lib.interrupt("?")})).compile()
    graph = chain(lib, State, ("child", child))
    modes = ["updates", "values", "tasks"]
    return (streams(lib, call, graph, modes, subgraphs=True), streams(lib, call, graph, modes))


@parity
def test_v2_of_each_mode(lib, call):
    return streams(lib, call, chain(lib, State, ("a", lambda _: {"x": 1})), SINGLE, version="v2")


@parity
def test_v2_interrupts_stand_beside_the_values(lib, call):
    modes = [["values", "updates"]]
    return streams(lib, call, asking(lib), modes, sort=True, version="v2")


@parity
def test_v2_of_invoke(lib, call):
    app = asking(lib).compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": ["in"]}, THREAD, version="v2")
    second = call.invoke(app, lib.Command(resume="it"), THREAD, version="v2")
    parts = call.invoke(
        app, {"log": []}, {"configurable": {"thread_id": "u"}}, version="v2", stream_mode="values"
    )
    return first.value, first.interrupts, second, type(parts).__name__


@parity
def test_v2_of_invoke_with_another_mode_gives_parts(lib, call):
    app = chain(lib, State, ("a", lambda _: {"x": 1})).compile()
    options = {"version": "v2", "stream_mode": "updates"}
    return call.invoke(app, {"log": []}, **options)


@pytest.mark.filterwarnings("ignore:.*")
@parity
def test_v2_output_reads_like_a_dict_for_now(lib, call):
    app = asking(lib).compile(lib.InMemorySaver())
    result = call.invoke(app, {"log": ["in"]}, THREAD, version="v2")
    done = call.invoke(app, lib.Command(resume="it"), THREAD, version="v2")
    return result["log"], list(result["__interrupt__"]), "log" in result, "y" in result, done["log"]


@parity
def test_invoke_with_other_modes_returns_the_chunks(lib, call):
    app = chain(lib, State, ("a", lambda _: {"x": 1})).compile()
    return [call.invoke(app, {"log": []}, stream_mode=mode) for mode in ("updates", ["updates"])]


@parity
def test_printing_does_not_change_the_output(lib, call):
    app = chain(lib, State, ("a", lambda _: {"x": 1})).compile()
    return call.invoke(app, {"log": []}, print_mode=["updates"]), call.stream(app, {}, debug=True)


@parity
def test_stream_is_lazy_and_stops_when_it_is_left(lib, call):
    ran = []
    nodes = [(name, lambda _, name=name: ran.append(name)) for name in "abc"]
    stream = chain(lib, State, *nodes).compile().stream({"x": 1})
    before = list(ran)
    next(stream)
    stream.close()
    return before, ran
