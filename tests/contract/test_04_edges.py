"""Contract §4: edges, branches, Send, Command."""

import operator
import threading
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

import pydantic
import pytest
from typing_extensions import TypedDict

from graphflow import (
    END,
    START,
    Command,
    InvalidUpdateError,
    ParentCommand,
    Runtime,
    Send,
    StateGraph,
    interrupt,
)

pytestmark = pytest.mark.simulated


class Log(TypedDict):
    log: Annotated[list[Any], operator.add]


def says(name: str) -> Any:
    """Return a node that writes its name to the log."""
    return lambda _: {"log": [name]}


def graph_of(names: str, *edges: str, **options: Any) -> Any:
    """Return a builder with nodes that log their names, and edges such as "a>b" or "a+b>c"."""
    graph = StateGraph(Log)
    for name in names:
        graph.add_node(name, says(name), **options.get(name, {}))
    for edge in edges:
        sources, target = edge.replace("^", START).replace("$", END).split(">")
        graph.add_edge(sources.split("+") if "+" in sources else sources, target)
    return graph


def run(call: Any, graph: Any, **options: Any) -> list[Any]:
    return call.invoke(graph.compile(), {"log": []}, **options)["log"]


def supersteps(call: Any, graph: Any) -> list[Any]:
    """Return what the log gained, superstep by superstep."""
    states = call.stream(graph.compile(), {"log": []}, stream_mode="values")
    logs = [state["log"] for state in states]
    return [later[len(log) :] for log, later in pairwise(logs)]


def test_4_1_target_runs_in_the_superstep_after_its_source(call):
    assert supersteps(call, graph_of("ab", "^>a", "a>b", "b>$")) == [["a"], ["b"]]


def test_4_2_join_waits_for_all_its_sources(call):
    graph = graph_of("abcd", "^>a", "^>b", "b>c", "a+c>d")
    assert supersteps(call, graph) == [["a", "b"], ["c"], ["d"]]


def test_4_2_join_in_a_cycle_waits_for_all_again(call):
    graph = graph_of("abcd", "^>a", "a>b", "a>c", "b+c>d")
    graph.add_conditional_edges("d", lambda s: END if s["log"].count("d") == 2 else "a", ["a", END])
    assert run(call, graph) == ["a", "b", "c", "d"] * 2


def test_4_2_join_remembers_its_arrivals_across_runs_of_the_thread(call, saver, thread):
    app = graph_of("abcd", "^>a", "^>b", "b>c", "a+c>d").compile(saver, interrupt_before=["c"])
    call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, None, thread) == {"log": ["a", "b", "c", "d"]}


def test_4_3_two_edges_in_one_superstep_start_the_target_once(call):
    assert run(call, graph_of("abc", "^>a", "^>b", "a>c", "b>c")) == ["a", "b", "c"]


def test_4_3_predecessors_of_different_supersteps_start_the_target_each(call):
    graph = graph_of("abcd", "^>a", "^>b", "b>c", "a>d", "c>d")
    assert supersteps(call, graph) == [["a", "b"], ["c", "d"], ["d"]]


def test_4_4_deferred_node_runs_once_when_nothing_else_would(call):
    graph = graph_of("abcd", "^>a", "^>b", "b>c", "a>d", "c>d", d={"defer": True})
    assert supersteps(call, graph) == [["a", "b"], ["c"], ["d"]]


def test_4_4_deferred_node_behind_a_join(call):
    graph = graph_of("abcde", "^>a", "^>b", "^>c", "c>e", "a+b>d", d={"defer": True})
    assert supersteps(call, graph) == [["a", "b", "c"], ["e"], ["d"]]


def test_4_4_deferred_node_is_remembered_across_runs_of_the_thread(call, saver, thread):
    graph = graph_of("abcd", "^>a", "^>b", "b>c", "a>d", "c>d", d={"defer": True})
    app = graph.compile(saver, interrupt_before=["c"])
    call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, None, thread) == {"log": ["a", "b", "c", "d"]}


def test_4_4_deferred_node_behind_sends_runs_once(call):
    graph = graph_of("zd", "z>d", d={"defer": True}).add_node("s", lambda arg: {"log": [arg]})
    graph.add_conditional_edges(START, lambda _: [Send("s", 1), Send("s", 2)], ["s"])
    graph.add_edge("s", "z").add_edge("s", "d")
    assert supersteps(call, graph) == [[1, 2], ["z"], ["d"]]


def test_4_5_path_sees_the_nodes_own_writes_and_not_its_siblings(call):
    seen = []

    def path(state: Log) -> str:
        seen.append(state["log"])
        return END

    graph = graph_of("ab", "^>a", "^>b").add_conditional_edges("a", path)
    run(call, graph)
    assert seen == [["a"]]


ANSWERS = {
    "name": ("b", ["a", "b"]),
    "end": (END, ["a"]),
    "send": (Send("arg", "x"), ["a", "x"]),
    "list": (["c", "b"], ["a", "b", "c"]),
    "tuple": (("b", Send("arg", "x"), END), ["a", "b", "x"]),
    "nothing": ([], ["a"]),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_4_5_path_returns_names_ends_sends_or_lists(call, answer):
    given, log = ANSWERS[answer]
    graph = graph_of("abc", "^>a").add_node("arg", lambda arg: {"log": [arg]})
    assert run(call, graph.add_conditional_edges("a", lambda _: given)) == log


def test_4_5_path_map_translates_names_and_not_sends(call):
    graph = graph_of("ab", "^>a").add_node("arg", lambda arg: {"log": [arg]})
    graph.add_conditional_edges(
        "a", lambda _: ["yes", "no", Send("arg", "x")], {"yes": "b", "no": END}
    )
    assert run(call, graph) == ["a", "b", "x"]


def test_4_5_list_of_names_is_a_path_map(call):
    graph = graph_of("ab", "^>a").add_conditional_edges("a", lambda _: "b", ["b", END])
    assert run(call, graph) == ["a", "b"]


def test_4_5_literal_return_annotation_is_a_path_map():
    def path(state: Log) -> Literal["nowhere"]:
        return "nowhere"

    graph = graph_of("a", "^>a").add_conditional_edges("a", path)
    with pytest.raises(ValueError, match="found unknown target 'nowhere'"):
        graph.compile()


@pytest.mark.parametrize("answer", [None, START, ["a", None]], ids=repr)
def test_4_5_none_and_start_are_no_destinations(call, answer):
    graph = graph_of("a", "^>a").add_conditional_edges("a", lambda _: answer)
    with pytest.raises(ValueError, match="Branch did not return a valid destination"):
        run(call, graph)


def test_4_5_send_to_end_is_refused(call):
    graph = graph_of("a", "^>a").add_conditional_edges("a", lambda _: Send(END, None))
    with pytest.raises(InvalidUpdateError, match="Cannot send a packet to the END node"):
        run(call, graph)


def test_4_5_path_may_be_async_and_take_config_runtime_and_store(call):
    async def path(state: Log, config: Any, *, runtime: Runtime[str], store: Any) -> Any:
        return Send("arg", (config["configurable"]["k"], runtime.context, store))

    graph = graph_of("a", "^>a").add_node("arg", lambda arg: {"log": [arg]})
    app = graph.add_conditional_edges("a", path, ["arg"]).compile(store="s")
    config = {"configurable": {"k": 1}}
    assert call.invoke(app, {"log": []}, config, context="c")["log"] == ["a", (1, "c", "s")]


class Secret(TypedDict):
    secret: str


def test_4_5_path_with_an_input_type_of_its_own_reads_those_keys(call):
    seen = []

    def path(state: Secret) -> str:
        seen.append(state)
        return END

    graph = StateGraph(Log).add_node("a", lambda _: {"secret": "s"}).add_edge(START, "a")
    run(call, graph.add_conditional_edges("a", path))
    assert seen == [{"secret": "s"}]


def test_4_5_path_without_own_type_reads_the_source_nodes_keys(call):
    seen = []

    def a(state: Secret) -> dict[str, str]:
        return {"secret": "s"}

    graph = StateGraph(Log).add_node("a", a).add_edge(START, "a")
    graph.add_conditional_edges("a", lambda state: seen.append(state) or END)
    run(call, graph)
    assert seen == [{"secret": "s"}]


def test_4_5_keys_that_are_no_channels_are_visible_to_the_path(call):
    graph = StateGraph(Log).add_node("a", lambda _: {"way": "b"}).add_node("b", says("b"))
    graph.add_edge(START, "a").add_conditional_edges("a", lambda state: state["way"], ["b"])
    assert run(call, graph) == ["b"]


def test_4_6_two_branches_of_one_name_on_a_node_are_refused():
    def path(state: Log) -> str:
        return END

    graph = graph_of("a", "^>a").add_conditional_edges("a", path)
    with pytest.raises(ValueError, match="path"):
        graph.add_conditional_edges("a", path)


def test_4_7_send_gives_its_node_exactly_the_argument(call):
    seen = []
    graph = StateGraph(Log).add_node("n", lambda arg: seen.append(arg))
    graph.add_conditional_edges(START, lambda _: [Send("n", 1), Send("n", {"any": "thing"})], ["n"])
    run(call, graph)
    assert sorted(seen, key=str) == [1, {"any": "thing"}]


@pytest.mark.simulated(False)  # its nodes wait for each other
def test_4_7_sends_run_in_parallel(call):
    barrier = threading.Barrier(4, timeout=5)

    def meets(arg: int) -> Log:
        barrier.wait()
        return {"log": [arg]}

    graph = StateGraph(Log).add_node("n", meets)
    graph.add_conditional_edges(START, lambda _: [Send("n", i) for i in range(4)], ["n"])
    assert run(call, graph) == [0, 1, 2, 3]


def test_4_7_argument_is_not_coerced_to_the_state(call):
    class Model(pydantic.BaseModel):
        x: int = 0

    seen = []
    graph = StateGraph(Model).add_node("n", lambda arg: seen.append(arg))
    graph.add_conditional_edges(START, lambda _: [Send("n", {"x": "5"})], ["n"])
    call.invoke(graph.compile(), {})
    assert seen == [{"x": "5"}]


def test_4_7_sends_and_edge_tasks_share_a_superstep(call):
    graph = graph_of("ab", "^>a", "a>b").add_node("n", lambda arg: {"log": [arg]})
    graph.add_conditional_edges("a", lambda _: [Send("n", 1)], ["n"])
    assert supersteps(call, graph) == [["a"], ["b", 1]]


def test_4_7_sends_are_equal_by_node_argument_and_timeout():
    assert Send("n", 1) == Send("n", 1)
    assert Send("n", 1) != Send("n", 2)
    assert Send("n", 1) != Send("m", 1)
    assert Send("n", 1) != Send("n", 1, timeout=1)
    assert hash(Send("n", 1)) == hash(Send("n", 1))


def test_4_7_node_reached_by_several_sends_triggers_its_edges_once(call):
    graph = graph_of("z").add_node("n", lambda arg: {"log": [arg]}).add_edge("n", "z")
    graph.add_conditional_edges(START, lambda _: [Send("n", i) for i in range(3)], ["n"])
    assert run(call, graph) == [0, 1, 2, "z"]


@dataclass
class Said:
    log: list[Any]


UPDATES = {
    "dict": {"log": [1]},
    "pairs": [("log", [1])],
    "instance": Said([1]),
    "none": None,
}


@pytest.mark.parametrize("form", UPDATES)
def test_4_8_update_of_a_command_is_applied_as_if_returned(call, form):
    graph = StateGraph(Log).add_node("n", lambda _: Command(update=UPDATES[form]))
    assert run(call, graph.add_edge(START, "n")) == ([] if form == "none" else [1])


def test_4_8_goto_is_taken_in_addition_to_static_edges(call):
    graph = graph_of("bc").add_node("a", lambda _: Command(goto="c")).add_edge(START, "a")
    assert supersteps(call, graph.add_edge("a", "b").add_node("q", says("q"))) == [["b", "c"]]


@pytest.mark.parametrize(
    ("goto", "log"),
    [("b", ["b"]), (Send("arg", 1), [1]), (["b", Send("arg", 1)], ["b", 1]), (END, []), ([], [])],
    ids=["name", "send", "list", "end", "nothing"],
)
def test_4_8_goto_is_a_name_a_send_or_a_list(call, goto, log):
    graph = graph_of("b").add_node("arg", lambda arg: {"log": [arg]})
    graph.add_node("a", lambda _: Command(goto=goto)).add_edge(START, "a")
    assert run(call, graph) == log


def test_4_8_annotation_of_a_command_is_checked_at_compile():
    def a(state: Log) -> Command[Literal["nowhere"]]:
        return Command()

    with pytest.raises(ValueError, match="nowhere"):
        StateGraph(Log).add_node(a).add_edge(START, "a").compile()


def test_4_8_annotation_does_not_bind_the_command(call):
    def a(state: Log) -> Command[Literal["b"]]:
        return Command(goto="c")

    assert run(call, graph_of("bc").add_node(a).add_edge(START, "a")) == ["c"]


def test_4_8_destinations_are_checked_at_compile_and_do_not_bind(call):
    graph = graph_of("bc").add_node("a", lambda _: Command(goto="c"), destinations=("b",))
    assert run(call, graph.add_edge(START, "a")) == ["c"]
    graph = graph_of("b").add_node("a", lambda _: Command(), destinations=("nowhere",))
    with pytest.raises(ValueError, match="nowhere"):
        graph.add_edge(START, "a").compile()


def test_4_9_parent_command_at_the_root_surfaces_as_an_exception(call):
    command = Command(graph=Command.PARENT, goto="x")
    app = StateGraph(Log).add_node("a", lambda _: command).add_edge(START, "a").compile()
    with pytest.raises(ParentCommand) as caught:
        call.invoke(app, {"log": []})
    assert caught.value.args[0] == command


def paused(saver: Any) -> Any:
    return graph_of("abc", "^>a", "a>b").compile(saver, interrupt_before=["b"])


def test_4_10_update_of_an_input_command_is_written_to_the_resumed_state(call, saver, thread):
    app = paused(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, Command(update={"log": ["u"]}), thread)["log"] == ["a", "u", "b"]


def test_4_10_goto_of_an_input_command_runs_beside_the_pending_tasks(call, saver, thread):
    app = paused(saver)
    call.invoke(app, {"log": []}, thread)
    call.invoke(app, Command(goto="c"), thread)
    assert call.invoke(app, None, thread)["log"] == ["a", "b", "c"]


def test_4_10_goto_that_asks_is_resumed_beside_the_pending_tasks(call, saver, thread):
    graph = graph_of("ab", "^>a", "a>b").add_node("q", lambda _: {"log": [interrupt("?")]})
    app = graph.compile(saver, interrupt_before=["b"])
    call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, Command(goto="q"), thread)["log"] == ["a", "b"]
    assert call.invoke(app, Command(resume="yes"), thread) == {"log": ["a", "b", "yes"]}
    assert call.state(app, thread).values == {"log": ["a", "b", "yes"]}


def test_4_10_goto_sends_run_beside_the_pending_tasks(call, saver, thread):
    app = (
        graph_of("ab", "^>a", "a>b")
        .add_node("s", lambda arg: {"log": [arg]})
        .compile(saver, interrupt_before=["b"])
    )
    call.invoke(app, {"log": []}, thread)
    result = call.invoke(app, Command(goto=[Send("s", 1), Send("s", 2)]), thread)
    assert result == {"log": ["a", "b", 1, 2]}
    assert call.state(app, thread).values == result


def test_4_10_input_command_for_a_parent_is_refused(call, saver, thread):
    app = paused(saver)
    with pytest.raises(InvalidUpdateError, match="There is no parent graph"):
        call.invoke(app, Command(graph=Command.PARENT), thread)


def test_4_10_input_command_starts_a_fresh_thread(call, saver, thread):
    app = graph_of("abc", "^>a").compile(saver)
    result = call.invoke(app, Command(update={"log": ["u"]}, goto="c"), thread)
    assert result == {"log": ["u", "a", "c"]}
