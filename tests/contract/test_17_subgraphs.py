"""Contract §17: subgraphs; with §15.9, their part in replays and forks."""

import asyncio
import operator
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import (
    START,
    CachePolicy,
    Command,
    InMemoryCache,
    MemoryCheckpointer,
    ParentCommand,
    RetryPolicy,
    Send,
    StateGraph,
    get_config,
    get_stream_writer,
    interrupt,
)

pytestmark = pytest.mark.simulated


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


class Private(TypedDict, total=False):
    x: int
    mine: Annotated[list[Any], operator.add]


def chain(*nodes: Any, schema: Any = State, **options: Any) -> Any:
    """Return a compiled graph of `(name, node)` in a row."""
    graph = StateGraph(schema).add_sequence(list(nodes)).add_edge(START, nodes[0][0])
    return graph.compile(**options)


def logs(name: str, ran: list[str] | None = None) -> Any:
    def node(_: State) -> State:
        if ran is not None:
            ran.append(name)
        return {"log": [name]}

    return name, node


def asks(name: str = "q") -> Any:
    return name, lambda _: {"log": [interrupt(f"{name}?")]}


def calling(child: Any, call: Any = None) -> Any:
    """Return a node that calls a graph, in the way the test itself calls."""

    def node(state: State) -> Any:
        return {"log": child.invoke({"x": state.get("x", 0), "log": []})["log"]}

    async def anode(state: State) -> Any:
        return {"log": (await child.ainvoke({"x": state.get("x", 0), "log": []}))["log"]}

    return anode if type(call).__name__ == "OnLoop" else node


def wrapped(app: Any, depth: int, saver: Any = None) -> Any:
    """Return `app` as the node `inner` of so many graphs."""
    for _ in range(depth - 1):
        app = chain(("inner", app))
    return chain(("inner", app), checkpointer=saver)


def questions(result: Any) -> list[Any]:
    return [question.value for question in result["__interrupt__"]]


def names(ns: tuple[str, ...]) -> tuple[str, ...]:
    """Return a namespace without the ids of its tasks."""
    return tuple(part.partition(":")[0] for part in ns)


def kept_counter() -> Any:
    """Return a graph that keeps its state per thread and counts its calls."""
    node = ("count", lambda state: {"mine": [len(state["mine"])], "x": len(state["mine"])})
    return chain(node, schema=Private, checkpointer=True)


# -- 1: keys ---------------------------------------------------------------------------------


def test_17_1_keys_are_shared_by_name(call):
    child = chain(("n", lambda state: {"x": state["x"] + 1}))
    assert call.invoke(chain(("child", child)), {"x": 1})["x"] == 2


def test_17_1_output_is_written_whole_through_the_parents_reducers(call):
    result = call.invoke(chain(("child", chain(logs("n")))), {"log": ["i"]})
    assert result["log"] == ["i", "i", "n"]


def test_17_1_private_keys_stay_inside(call, saver, thread):
    child = chain(("n", lambda _: {"x": 1, "mine": ["secret"]}), schema=Private)
    app = chain(
        ("child", child), ("after", lambda state: {"log": sorted(state)}), checkpointer=saver
    )
    assert call.invoke(app, {"x": 0, "log": []}, thread) == {"x": 1, "log": ["log", "x"]}
    assert call.state(app, thread).values.keys() == {"x", "log"}


def test_17_1_stateless_child_starts_anew_in_each_round_of_a_loop(call, saver, thread):
    child = chain(("n", lambda state: {"mine": ["m"], "x": state["x"] + 10 + len(state["mine"])}),
                  schema=Private)  # fmt: skip
    graph = StateGraph(State).add_node("child", child).add_edge(START, "child")
    graph.add_node("look", lambda state: {"log": [state["x"]]}).add_edge("child", "look")
    graph.add_conditional_edges("look", lambda s: "child" if s["x"] < 30 else "__end__")
    assert call.invoke(graph.compile(saver), {"x": 0}, thread)["log"] == [10, 20, 30]


def test_17_1_parallel_children_may_share_the_name_of_a_private_key(call):
    class Inner(TypedDict, total=False):
        tmp: str
        log: Annotated[list[Any], operator.add]

    def child(name: str) -> Any:
        return chain(("n", lambda _: {"tmp": name, "log": [name]}), schema=Inner)

    graph = StateGraph(State).add_node("a", child("a")).add_node("b", child("b"))
    app = graph.add_edge(START, "a").add_edge(START, "b").compile()
    assert call.invoke(app, {"log": []}) == {"log": ["a", "b"]}


def test_17_1_a_plain_key_of_the_parent_may_be_a_reducer_inside(call):
    class Plain(TypedDict, total=False):
        log: list[Any]

    app = chain(("p", lambda _: {"log": ["new"]}), ("child", chain(logs("n"))), schema=Plain)
    assert call.invoke(app, {"log": ["old"]}) == {"log": ["new", "n"]}


def test_17_1_input_and_output_schemas_of_the_child_decide(call):
    class Given(TypedDict):
        x: int

    class Told(TypedDict):
        log: Annotated[list[Any], operator.add]

    graph = StateGraph(State, input_schema=Given, output_schema=Told)
    graph.add_node("n", lambda state: {"x": 99, "log": [sorted(state), *state["log"]]})
    child = graph.add_edge(START, "n").compile()
    result = call.invoke(chain(("child", child)), {"x": 1, "log": ["kept"]})
    assert result == {"x": 1, "log": ["kept", ["log", "x"]]}


def test_17_1_send_gives_a_child_its_input_exactly(call):
    class Inner(TypedDict, total=False):
        number: int
        log: Annotated[list[Any], operator.add]

    child = chain(("n", lambda state: {"log": [state["number"]]}), schema=Inner)
    sends = [Send("child", {"number": number}) for number in (5, 6)]
    graph = StateGraph(State).add_node("child", child)
    graph.add_conditional_edges(START, lambda _: sends, ["child"])
    assert call.invoke(graph.compile(), {"log": ["i"]}) == {"log": ["i", 5, 6]}


def test_17_1_a_node_may_call_a_graph(call, saver, thread):
    app = chain(("node", calling(chain(logs("n")), call)), checkpointer=saver)
    assert call.invoke(app, {"x": 1, "log": ["i"]}, thread) == {"x": 1, "log": ["i", "n"]}


# -- 2: where a child keeps its state --------------------------------------------------------


def test_17_2_none_keeps_nothing_between_calls(call, saver, thread):
    child = chain(("n", lambda state: {"mine": [1], "x": len(state["mine"])}), schema=Private)
    app = chain(("child", child), checkpointer=saver)
    assert [call.invoke(app, {"x": 9}, thread)["x"] for _ in range(2)] == [0, 0]


def test_17_2_true_keeps_the_state_per_thread(call, saver, thread):
    app = chain(("child", kept_counter()), checkpointer=saver)
    assert [call.invoke(app, {"x": 9}, thread)["x"] for _ in range(3)] == [0, 1, 2]
    other = {"configurable": {"thread_id": "other"}}
    assert call.invoke(app, {"x": 9}, other)["x"] == 0


def test_17_2_true_keeps_the_state_per_node(call, saver, thread):
    child = kept_counter()
    graph = StateGraph(State).add_node("one", child).add_node("two", child)
    graph.add_node("look", lambda state: {"log": [state["x"]]})
    graph.add_edge(START, "one").add_edge("one", "two").add_edge("two", "look")
    app = graph.compile(saver)
    call.invoke(app, {"x": 9}, thread)
    assert call.invoke(app, {"x": 9}, thread)["log"] == [0, 1]


def test_17_2_true_has_a_namespace_without_task_id(call, saver, thread):
    app = chain(("child", kept_counter()), checkpointer=saver)
    chunks = call.stream(app, {"x": 1}, thread, subgraphs=True)
    assert [ns for ns, _ in chunks] == [("child",), ()]
    inner = {"configurable": {**thread["configurable"], "checkpoint_ns": "child"}}
    assert call.state(app, inner).values == {"x": 0, "mine": [0]}


def test_17_2_true_is_refused_at_the_root(call, thread):
    with pytest.raises(RuntimeError, match="checkpointer=True cannot be used for root graphs"):
        call.invoke(kept_counter(), {"x": 1}, thread)


def test_17_2_false_keeps_nothing_at_all(call, saver, thread):
    ran: list[str] = []
    child = chain(logs("first", ran), ("second", lambda _: {"x": 1}), checkpointer=False)
    app = chain(("child", child), checkpointer=saver)
    call.invoke(app, {"log": []}, thread)
    assert [shot.tasks[0].state for shot in call.history(app, thread) if shot.tasks] == [None] * 2
    assert ran == ["first"]


def test_17_2_false_runs_again_from_its_first_node_when_a_question_is_answered(call, saver, thread):
    ran: list[str] = []
    app = chain(("child", chain(logs("a", ran), asks("q"), asks("r"), checkpointer=False)),
                checkpointer=saver)  # fmt: skip
    assert questions(call.invoke(app, {"log": []}, thread)) == ["q?"]
    assert questions(call.invoke(app, Command(resume="Q"), thread)) == ["r?"]
    assert call.invoke(app, Command(resume="R"), thread) == {"log": ["a", "Q", "R"]}
    assert ran == ["a", "a", "a"]


def test_17_2_saver_of_its_own_gives_way_to_the_parents(call, saver, thread):
    own = MemoryCheckpointer()
    app = chain(("child", chain(asks(), checkpointer=own)), checkpointer=saver)
    call.invoke(app, {"log": []}, thread)
    assert own.run(own.threads()) == []
    assert call.invoke(app, Command(resume="yes"), thread)["log"] == ["yes"]


def test_17_2_child_called_with_a_thread_of_its_own_uses_it(call, saver, thread):
    own, mine = MemoryCheckpointer(), {"configurable": {"thread_id": "mine"}}
    child = chain(logs("n"), checkpointer=own)

    def node(_: State) -> None:
        child.invoke({"log": []}, mine)

    call.invoke(chain(("node", node), checkpointer=saver), {"log": []}, thread)
    assert child.get_state(mine).values == {"log": ["n"]}
    assert child.get_state(mine).config["configurable"]["checkpoint_ns"] == ""


# -- 3: several calls in one task ------------------------------------------------------------


def twice(child: Any, call: Any) -> Any:
    def node(_: State) -> Any:
        return {"log": [*child.invoke({"log": []})["log"], *child.invoke({"log": []})["log"]]}

    async def anode(_: State) -> Any:
        first, second = await child.ainvoke({"log": []}), await child.ainvoke({"log": []})
        return {"log": [*first["log"], *second["log"]]}

    return anode if type(call).__name__ == "OnLoop" else node


def test_17_3_second_call_has_a_number_in_its_namespace(call, saver, thread):
    app = chain(("node", twice(chain(logs("n")), call)), checkpointer=saver)
    chunks = call.stream(app, {"log": []}, thread, subgraphs=True)
    assert [names(ns) for ns, _ in chunks] == [("node",), ("node", "1"), ()]
    assert chunks[0][0] == chunks[1][0][:1]


def test_17_3_each_of_two_calls_asks_and_goes_on(call, saver, thread):
    ran: list[str] = []
    app = chain(("node", twice(chain(logs("n", ran), asks()), call)), checkpointer=saver)
    assert questions(call.invoke(app, {"log": []}, thread)) == ["q?"]
    assert questions(call.invoke(app, Command(resume="A"), thread)) == ["q?"]
    result = call.invoke(app, Command(resume="B"), thread)
    assert result == {"log": ["n", "A", "n", "B"]}
    assert ran == ["n", "n"]


def test_17_3_two_children_in_one_node(call, saver, thread):
    first, second = chain(asks("a")), chain(asks("b"))

    def node(_: State) -> Any:
        return {"log": [*first.invoke({"log": []})["log"], *second.invoke({"log": []})["log"]]}

    app = chain(("node", node), checkpointer=saver)
    assert questions(call.invoke(app, {"log": []}, thread)) == ["a?"]
    assert questions(call.invoke(app, Command(resume="A"), thread)) == ["b?"]
    assert call.invoke(app, Command(resume="B"), thread) == {"log": ["A", "B"]}


# -- 4: interrupts ---------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_17_4_question_inside_surfaces_once_and_is_answered(call, saver, thread, depth):
    app = wrapped(chain(asks()), depth, saver)
    assert questions(call.invoke(app, {"log": []}, thread)) == ["q?"]
    assert [question.value for question in call.state(app, thread).interrupts] == ["q?"]
    assert call.invoke(app, Command(resume="yes"), thread)["log"] == ["yes"]
    assert call.state(app, thread).next == ()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_17_4_finished_nodes_of_the_child_do_not_run_again(call, saver, thread, depth):
    ran: list[str] = []
    app = wrapped(chain(logs("a", ran), asks(), logs("b", ran)), depth, saver)
    call.invoke(app, {"log": []}, thread)
    assert ran == ["a"]
    assert call.invoke(app, Command(resume="yes"), thread)["log"] == ["a", "yes", "b"]
    assert ran == ["a", "b"]


def test_17_4_node_that_called_the_child_runs_again(call, saver, thread):
    ran: list[str] = []
    child = calling(chain(logs("a", ran), asks()))

    def node(state: State) -> Any:
        ran.append("node")
        return child(state)

    app = chain(("node", node), checkpointer=saver)
    call.invoke(app, {"log": []}, thread)
    call.invoke(app, Command(resume="yes"), thread)
    assert ran == ["node", "a", "node"]


def test_17_4_several_questions_of_one_child_in_a_row(call, saver, thread):
    app = chain(("child", chain(asks("a"), asks("b"))), checkpointer=saver)
    assert questions(call.invoke(app, {"log": []}, thread)) == ["a?"]
    assert questions(call.invoke(app, Command(resume="A"), thread)) == ["b?"]
    assert call.invoke(app, Command(resume="B"), thread) == {"log": ["A", "B"]}


def both(first: Any, second: Any, **options: Any) -> Any:
    """Return a graph of two nodes that start at once."""
    graph = StateGraph(State).add_node("a", first).add_node("b", second)
    return graph.add_edge(START, "a").add_edge(START, "b").compile(**options)


def test_17_4_parallel_children_ask_and_are_answered_by_id(call, saver, thread):
    app = both(chain(asks("qa")), chain(asks("qb")), checkpointer=saver)
    asked = {question.value: question.id for question in call.invoke(app, {"log": []}, thread)
             ["__interrupt__"]}  # fmt: skip
    assert asked.keys() == {"qa?", "qb?"}
    left = call.invoke(app, Command(resume={asked["qb?"]: "B"}), thread)
    assert questions(left) == ["qa?"]
    assert call.invoke(app, Command(resume={asked["qa?"]: "A"}), thread) == {"log": ["A", "B"]}


def test_17_4_parallel_nodes_inside_a_child_ask(call, saver, thread):
    app = chain(("child", both(asks("qa")[1], asks("qb")[1])), checkpointer=saver)
    asked = {q.value: q.id for q in call.invoke(app, {"log": []}, thread)["__interrupt__"]}
    assert asked.keys() == {"qa?", "qb?"}
    answers = {asked["qa?"]: "A", asked["qb?"]: "B"}
    assert call.invoke(app, Command(resume=answers), thread) == {"log": ["A", "B"]}


def test_17_4_plain_answer_is_refused_while_several_wait_inside(call, saver, thread):
    app = chain(("child", both(asks("qa")[1], asks("qb")[1])), checkpointer=saver)
    call.invoke(app, {"log": []}, thread)
    with pytest.raises(RuntimeError, match="multiple pending interrupts"):
        call.invoke(app, Command(resume="A"), thread)


def test_17_4_sibling_of_a_waiting_child_does_not_run_again(call, saver, thread):
    ran: list[str] = []
    app = both(chain(asks()), logs("b", ran)[1], checkpointer=saver)
    call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, Command(resume="A"), thread) == {"log": ["A", "b"]}
    assert ran == ["b"]


def test_17_4_question_says_where_it_was_asked(call, saver, thread):
    app = wrapped(chain(asks()), 2, saver)
    question = call.invoke(app, {"log": []}, thread)["__interrupt__"][0]
    assert (question.node, names(question.ns)) == ("q", ("inner", "inner"))


def test_17_4_question_is_streamed_once_a_level_child_first(call, saver, thread):
    app = wrapped(chain(asks()), 2, saver)
    chunks = call.stream(app, {"log": []}, thread, subgraphs=True)
    asked = [names(ns) for ns, chunk in chunks if "__interrupt__" in chunk]
    assert asked == [("inner", "inner"), ("inner",), ()]


def test_17_4_question_is_streamed_once_without_subgraphs(call, saver, thread):
    chunks = call.stream(wrapped(chain(asks()), 2, saver), {"log": []}, thread)
    assert [list(chunk) for chunk in chunks] == [["__interrupt__"]]


@pytest.mark.parametrize("when", ["interrupt_before", "interrupt_after"])
def test_17_4_breakpoint_inside_a_child_stops_the_run(call, saver, thread, when):
    ran: list[str] = []
    child = chain(logs("a", ran), logs("b", ran),
                  **{when: ["b" if when == "interrupt_before" else "a"]})  # fmt: skip
    app = chain(("child", child), logs("after", ran), checkpointer=saver)
    assert "__interrupt__" not in call.invoke(app, {"log": []}, thread)
    assert (ran, call.state(app, thread).next) == (["a"], ("child",))
    assert call.invoke(app, None, thread)["log"] == ["a", "b", "after"]
    assert ran == ["a", "b", "after"]


def test_17_4_a_child_that_keeps_its_state_asks_and_goes_on(call, saver, thread):
    ran: list[str] = []
    child = chain(logs("a", ran), asks(), checkpointer=True)
    app = chain(("child", child), checkpointer=saver)
    assert questions(call.invoke(app, {"log": []}, thread)) == ["q?"]
    assert call.invoke(app, Command(resume=1), thread)["log"] == ["a", 1]
    assert questions(call.invoke(app, {}, thread)) == ["q?"]
    assert ran == ["a", "a"]


def test_17_4_questions_of_a_node_and_of_the_graph_it_calls(call, saver, thread):
    child = chain(asks("inside"))

    def node(_: State) -> State:
        first, second = interrupt("before"), child.invoke({"log": []})["log"]
        return {"log": [first, *second, interrupt("after")]}

    app = chain(("node", node), checkpointer=saver)
    assert questions(call.invoke(app, {"log": []}, thread)) == ["before"]
    assert questions(call.invoke(app, Command(resume=1), thread)) == ["inside?"]
    assert questions(call.invoke(app, Command(resume=2), thread)) == ["after"]
    assert call.invoke(app, Command(resume=3), thread) == {"log": [1, 2, 3]}


# -- 5: streams ------------------------------------------------------------------------------


def test_17_5_children_are_silent_unless_asked_for(call):
    chunks = call.stream(wrapped(chain(logs("n")), 2), {"log": []})
    assert chunks == [{"inner": {"log": ["n"]}}]


def test_17_5_updates_come_under_their_namespaces(call):
    chunks = call.stream(wrapped(chain(logs("n")), 2), {"log": []}, subgraphs=True)
    assert [(names(ns), chunk) for ns, chunk in chunks] == [
        (("inner", "inner"), {"n": {"log": ["n"]}}),
        (("inner",), {"inner": {"log": ["n"]}}),
        ((), {"inner": {"log": ["n"]}}),
    ]


@pytest.mark.simulated(False)  # it looks at modes that the simulation does not stream
def test_1_b6_namespace_holds_the_ids_of_the_tasks(call, saver, thread):
    app = wrapped(chain(logs("n")), 1, saver)
    chunks = call.stream(app, {"log": []}, thread, subgraphs=True, stream_mode=["tasks", "updates"])
    started = next(data for ns, mode, data in chunks if mode == "tasks" and ns == ())
    assert {ns for ns, _, _ in chunks} == {(), (f"inner:{started['id']}",)}


def test_17_5_values_of_children(call):
    app = wrapped(chain(logs("n")), 1)
    chunks = call.stream(app, {"log": []}, subgraphs=True, stream_mode="values")
    assert [(names(ns), chunk["log"]) for ns, chunk in chunks] == [
        ((), []),
        (("inner",), []),
        (("inner",), ["n"]),
        ((), ["n"]),
    ]


def test_17_5_custom_chunks_of_children_need_subgraphs(call):
    def n(_: State) -> None:
        get_stream_writer()("hello")

    app = wrapped(chain(("n", n)), 1)
    assert call.stream(app, {}, stream_mode="custom") == []
    chunks = call.stream(app, {}, stream_mode="custom", subgraphs=True)
    assert [(names(ns), chunk) for ns, chunk in chunks] == [(("inner",), "hello")]


def test_17_5_graphs_that_nodes_call_are_heard_too(call):
    app = chain(("node", calling(chain(logs("n")), call)))
    chunks = call.stream(app, {"log": []}, subgraphs=True)
    assert [names(ns) for ns, _ in chunks] == [("node",), ()]


def test_17_5_updates_of_a_child_arrive_while_it_runs():
    async def main() -> list[Any]:
        heard, chunks = asyncio.Event(), []

        async def last(_: State) -> None:
            await asyncio.wait_for(heard.wait(), 5)

        app = chain(("child", chain(logs("first"), ("last", last))))
        async for ns, chunk in app.astream({"log": []}, subgraphs=True):
            chunks.append((names(ns), list(chunk)))
            heard.set()
        return chunks

    assert asyncio.run(main()) == [(("child",), ["first"]), (("child",), ["last"]), ((), ["child"])]


@pytest.mark.simulated(False)  # it looks at modes that the simulation does not stream
def test_17_5_version_two_parts_carry_the_namespace(call):
    app = wrapped(chain(logs("n")), 1)
    parts = call.stream(app, {"log": []}, version="v2", subgraphs=True)
    assert [(names(part["ns"]), list(part["data"])) for part in parts] == [
        (("inner",), ["n"]),
        ((), ["inner"]),
    ]


# -- 6, 7: what a child inherits -------------------------------------------------------------


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_17_6_questions_inside_are_answered_in_every_durability(call, saver, thread, durability):
    app = wrapped(chain(logs("a"), asks()), 2, saver)
    call.invoke(app, {"log": []}, thread, durability=durability)
    result = call.invoke(app, Command(resume="yes"), thread, durability=durability)
    assert result == {"log": ["a", "yes"]}


def inner_history(call: Any, app: Any, thread: Any) -> list[Any]:
    task = next(task for shot in call.history(app, thread) for task in shot.tasks if task.state)
    return call.history(app, task.state)


@pytest.mark.simulated(False)  # the simulation saves each superstep
def test_17_6_exit_is_inherited_a_finished_child_saves_nothing(call, saver, thread):
    app = chain(("child", chain(logs("a"))), asks(), checkpointer=saver)
    (ns, _), *_ = call.stream(app, {"log": []}, thread, durability="exit", subgraphs=True)
    assert names(ns) == ("child",)
    assert saver.run(saver.branches("t", "|".join(ns))) == []
    assert [shot.next for shot in call.history(app, thread)] == [("q",)]


def test_17_6_exit_is_inherited_a_waiting_child_saves_once(call, saver, thread):
    app = chain(("child", chain(logs("a"), asks())), checkpointer=saver)
    call.invoke(app, {"log": []}, thread, durability="exit")
    assert [shot.next for shot in inner_history(call, app, thread)] == [("q",)]


def test_17_6_exit_keeps_what_a_kept_child_knows(call, saver, thread):
    app = chain(("child", kept_counter()), checkpointer=saver)
    found = [call.invoke(app, {"x": 9}, thread, durability="exit")["x"] for _ in range(2)]
    assert found == [0, 1]


def test_17_6_a_failed_child_goes_on_where_it_failed(call, saver, thread):
    ran: list[str] = []

    def failing(_: State) -> State:
        ran.append("failing")
        if len(ran) == 2:
            raise ValueError("boom")
        return {"log": ["mended"]}

    app = wrapped(chain(logs("a", ran), ("failing", failing)), 2, saver)
    with pytest.raises(ValueError, match="boom"):
        call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, None, thread) == {"log": ["a", "mended"]}
    assert ran == ["a", "failing", "failing"]


def test_17_7_store_context_tags_and_metadata_reach_children(call):
    seen: list[Any] = []

    def n(_: State, store: Any, runtime: Any, config: Any) -> None:
        seen.append((store, runtime.context, config["tags"], config["metadata"]["who"]))

    graph = (
        StateGraph(State).add_node("inner", wrapped(chain(("n", n)), 1)).add_edge(START, "inner")
    )
    app, config = graph.compile(store="the store"), {"tags": ["t"], "metadata": {"who": "me"}}
    call.invoke(app, {}, config, context={"c": 1})
    assert seen == [("the store", {"c": 1}, ["t"], "me")]


def test_17_7_recursion_limit_reaches_children(call):
    graph = StateGraph(State).add_node("n", lambda _: {"x": 1}).add_edge(START, "n")
    endless = graph.add_edge("n", "n").compile()
    with pytest.raises(RecursionError, match="limit of 5"):
        call.invoke(wrapped(endless, 1), {"x": 0}, {"recursion_limit": 5})


def test_17_7_cache_reaches_children(call):
    ran: list[str] = []

    def n(_: State) -> State:
        ran.append("n")
        return {"x": 1}

    child = StateGraph(State).add_node("n", n, cache_policy=CachePolicy()).add_edge(START, "n")
    graph = StateGraph(State).add_node("inner", wrapped(child.compile(), 1))
    app = graph.add_edge(START, "inner").compile(cache=InMemoryCache())
    for _ in range(2):
        assert call.invoke(app, {"x": 0})["x"] == 1
    assert ran == ["n"]


def test_17_7_configurable_has_the_childs_namespace(call, saver, thread):
    seen: list[str] = []

    def n(_: State) -> None:
        seen.append(get_config()["configurable"]["checkpoint_ns"])

    call.invoke(wrapped(chain(("n", n)), 1, saver), {}, thread)
    assert names(tuple(seen[0].split("|"))) == ("inner", "n")


# -- 9: exceptions ---------------------------------------------------------------------------


def test_17_8_graphs_inside_are_listed_by_name():
    innermost = chain(("leaf", lambda state: None))
    middle = chain(("inner", innermost), ("own", lambda state: None))
    app = chain(("first", lambda state: None), ("middle", middle), ("other", innermost))

    assert dict(app.get_subgraphs()) == {"middle": middle, "other": innermost}
    assert [name for name, _ in app.get_subgraphs(recurse=True)] == [
        "middle",
        "middle|inner",
        "other",
    ]
    assert list(app.get_subgraphs(namespace="middle")) == [("middle", middle)]
    assert list(app.get_subgraphs(namespace="middle|inner")) == [("middle|inner", innermost)]
    assert list(app.get_subgraphs(namespace="middle", recurse=True)) == [("middle", middle)]
    assert list(app.get_subgraphs(namespace="first")) == []
    assert list(innermost.get_subgraphs()) == []


def test_17_8_graphs_inside_are_listed_asynchronously():
    innermost = chain(("leaf", lambda state: None))
    app = chain(("middle", chain(("inner", innermost))))

    async def names() -> list[str]:
        return [name async for name, _ in app.aget_subgraphs(recurse=True)]

    assert asyncio.run(names()) == ["middle", "middle|inner"]


@pytest.mark.parametrize("depth", [1, 3])
def test_17_9_exception_of_a_child_is_raised_unchanged(call, saver, thread, depth):
    error = ValueError("boom")

    def n(_: State) -> None:
        raise error

    app = wrapped(chain(("n", n)), depth, saver)
    with pytest.raises(ValueError, match="boom") as raised:
        call.invoke(app, {}, thread)
    assert raised.value is error
    assert call.state(app, thread).tasks[0].error == "ValueError('boom')"


def flaky(times: int) -> Any:
    tries: list[int] = []

    def n(_: State) -> State:
        tries.append(1)
        if len(tries) <= times:
            raise ConnectionError("boom")
        return {"log": [len(tries)]}

    return n


def test_17_9_retry_policy_of_the_node_applies(call, saver, thread):
    policy = RetryPolicy(initial_interval=0.0, jitter=False)
    graph = StateGraph(State).add_node("child", chain(("n", flaky(1))), retry_policy=policy)
    app = graph.add_edge(START, "child").compile(saver)
    assert call.invoke(app, {"log": []}, thread) == {"log": [2]}


def test_17_9_error_handler_of_the_node_applies(call, saver, thread):
    def handler(_: State, error: Any) -> State:
        return {"log": [(error.node, str(error.error))]}

    graph = StateGraph(State).add_node("child", chain(("n", flaky(9))), error_handler=handler)
    app = graph.add_edge(START, "child").compile(saver)
    assert call.invoke(app, {"log": []}, thread) == {"log": [("child", "boom")]}


# -- §4.9: commands to the parent ------------------------------------------------------------


def leaving(update: Any = None, goto: Any = ()) -> Any:
    return "leave", lambda _: Command(graph=Command.PARENT, update=update, goto=goto)


def test_4_9_command_to_the_parent_writes_and_goes_there(call, saver, thread):
    ran: list[str] = []
    child = chain(logs("a"), leaving({"log": ["told"]}, "target"), logs("never", ran))
    graph = StateGraph(State).add_node("child", child).add_edge(START, "child")
    app = graph.add_node(*logs("target", ran)).compile(saver)
    assert call.invoke(app, {"log": ["i"]}, thread) == {"log": ["i", "told", "target"]}
    assert ran == ["target"]


def test_4_9_static_edges_of_the_node_fire_too(call):
    child = chain(leaving({"log": ["told"]}, "other"))
    graph = StateGraph(State).add_node("child", child).add_edge(START, "child")
    graph.add_node(*logs("next")).add_node(*logs("other")).add_edge("child", "next")
    assert call.invoke(graph.compile(), {"log": []}) == {"log": ["told", "next", "other"]}


def test_4_9_command_goes_to_the_closest_parent(call):
    middle = StateGraph(State).add_node("child", chain(leaving({"log": ["up"]}, "target")))
    middle.add_edge(START, "child").add_node(*logs("target"))
    assert call.invoke(wrapped(middle.compile(), 2), {"log": []}) == {"log": ["up", "target"]}


def test_4_9_command_from_a_graph_that_a_node_calls(call):
    graph = StateGraph(State).add_node("node", calling(chain(leaving(None, "target")), call))
    app = graph.add_edge(START, "node").add_node(*logs("target")).compile()
    assert call.invoke(app, {"log": []}) == {"log": ["target"]}


def test_4_9_stream_shows_the_update_of_the_parents_node(call):
    app = chain(("child", chain(leaving({"log": ["told"]}))))
    chunks = call.stream(app, {"log": []}, subgraphs=True)
    assert chunks == [((), {"child": {"log": ["told"]}})]


def test_4_9_command_from_a_child_that_keeps_its_state(call, saver, thread):
    child = chain(leaving({"log": ["told"]}, "target"), checkpointer=True)
    graph = StateGraph(State).add_node("child", child).add_edge(START, "child")
    app = graph.add_node(*logs("target")).compile(saver)
    for _ in range(2):
        result = call.invoke(app, {}, thread)
    assert result == {"log": ["told", "target"] * 2}


def test_4_9_at_the_root_it_surfaces_as_an_exception(call):
    with pytest.raises(ParentCommand) as raised:
        call.invoke(chain(leaving({"log": ["told"]})), {"log": []})
    assert raised.value.args[0].update == {"log": ["told"]}


def test_4_9_command_after_a_question(call, saver, thread):
    def n(_: State) -> Command:
        return Command(graph=Command.PARENT, update={"log": [interrupt("?")]}, goto="target")

    graph = StateGraph(State).add_node("child", chain(("n", n))).add_edge(START, "child")
    app = graph.add_node(*logs("target")).compile(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, Command(resume="yes"), thread) == {"log": ["yes", "target"]}


# -- §13.5, §13.7, §16.9: looking into a child and changing it ---------------------------------


def test_13_5_state_of_a_task_is_a_config_or_the_childs_snapshot(call, saver, thread):
    app = wrapped(chain(logs("a"), asks()), 1, saver)
    call.invoke(app, {"log": []}, thread)
    task = call.state(app, thread).tasks[0]
    place = {"thread_id": "t", "checkpoint_ns": f"inner:{task.id}"}
    assert task.state == {"configurable": place}
    inner = app.get_state(thread, subgraphs=True).tasks[0].state
    assert (inner.values, inner.next) == ({"log": ["a"]}, ("q",))
    assert inner.config["configurable"]["checkpoint_ns"] == f"inner:{task.id}"


def test_13_5_snapshots_are_nested_as_the_graphs_are(saver, thread):
    app = wrapped(chain(logs("a"), asks()), 3, saver)
    app.invoke({"log": []}, thread)
    shot = asyncio.run(app.aget_state(thread, subgraphs=True))
    for _ in range(3):
        shot = shot.tasks[0].state
    assert (shot.values, shot.next) == ({"log": ["a"]}, ("q",))
    assert [question.value for question in shot.interrupts] == ["q?"]


def test_13_7_config_of_a_child_is_routed_to_it(call, saver, thread):
    app = wrapped(chain(logs("a"), asks()), 2, saver)
    call.invoke(app, {"log": []}, thread)
    config = app.get_state(thread, subgraphs=True).tasks[0].state.tasks[0].state.config
    assert call.state(app, config).next == ("q",)
    assert [shot.next for shot in call.history(app, {"configurable": {
        key: config["configurable"][key] for key in ("thread_id", "checkpoint_ns")}})] == [
        ("q",), ("a",), ("__start__",)]  # fmt: skip


def test_16_9_update_of_a_child_is_what_it_goes_on_from(call, saver, thread):
    app = wrapped(chain(logs("a"), asks()), 1, saver)
    call.invoke(app, {"log": []}, thread)
    config = call.state(app, thread).tasks[0].state
    call.update(app, config, {"log": ["u"]}, "a")
    assert call.state(app, config).values == {"log": ["a", "u"]}
    call.invoke(app, None, thread)
    assert call.invoke(app, Command(resume="yes"), thread) == {"log": ["a", "u", "yes"]}


# -- §15.9: replays and forks ----------------------------------------------------------------


def at(call: Any, app: Any, thread: Any, node: str, nth: int = 0) -> Any:
    """Return the config of the nth checkpoint, oldest first, at which `node` is next."""
    found = [shot.config for shot in call.history(app, thread) if node in shot.next]
    return found[::-1][nth]


def test_15_9_replay_runs_a_stateless_child_afresh(call, saver, thread):
    ran: list[str] = []
    app = chain(("child", chain(logs("a", ran), asks())), checkpointer=saver)
    call.invoke(app, {"log": []}, thread)
    call.invoke(app, Command(resume="old"), thread)
    assert questions(call.invoke(app, None, at(call, app, thread, "child"))) == ["q?"]
    assert ran == ["a", "a"]
    assert call.invoke(app, Command(resume="new"), thread) == {"log": ["a", "new"]}


def test_15_9_fork_with_a_changed_state_runs_the_child_with_it(call, saver, thread):
    child = chain(("n", lambda state: {"log": [("saw", state["x"])]}))
    app = chain(("set", lambda _: {"x": 1}), ("child", child), checkpointer=saver)
    call.invoke(app, {"log": []}, thread)
    changed = call.update(app, at(call, app, thread, "child"), {"x": 2})
    assert call.invoke(app, None, changed)["log"] == [("saw", 2)]


@pytest.mark.parametrize(("nth", "seen"), [(0, 0), (1, 1), (2, 2)])
def test_15_9_replay_gives_a_kept_child_its_state_of_then(call, saver, thread, nth, seen):
    app = chain(("child", kept_counter()), checkpointer=saver)
    for _ in range(3):
        call.invoke(app, {"x": 9}, thread)
    assert call.invoke(app, None, at(call, app, thread, "child", nth))["x"] == seen


def test_15_9_after_a_replay_the_new_branch_is_what_a_kept_child_knows(call, saver, thread):
    app = chain(("child", kept_counter()), checkpointer=saver)
    for _ in range(3):
        call.invoke(app, {"x": 9}, thread)
    call.invoke(app, None, at(call, app, thread, "child", 0))
    assert call.invoke(app, {"x": 9}, thread)["x"] == 1


def test_15_9_kept_child_in_a_later_superstep_of_the_replay(call, saver, thread):
    app = chain(("first", lambda _: None), ("child", kept_counter()), checkpointer=saver)
    for _ in range(3):
        call.invoke(app, {"x": 9}, thread)
    assert call.invoke(app, None, at(call, app, thread, "first", 1))["x"] == 1


def test_15_9_kept_child_two_levels_down(call, saver, thread):
    middle = chain(("child", kept_counter()), checkpointer=True)
    app = chain(("middle", middle), checkpointer=saver)
    for _ in range(3):
        call.invoke(app, {"x": 9}, thread)
    assert call.invoke(app, None, at(call, app, thread, "middle", 1))["x"] == 1


def test_15_9_kept_child_in_a_loop(call, saver, thread):
    graph = StateGraph(State).add_node("child", kept_counter()).add_edge(START, "child")
    graph.add_node("look", lambda state: {"log": [state["x"]]}).add_edge("child", "look")
    graph.add_conditional_edges("look", lambda s: "child" if len(s["log"]) < 3 else "__end__")
    app = graph.compile(saver)
    assert call.invoke(app, {"x": 9}, thread)["log"] == [0, 1, 2]
    assert call.invoke(app, None, at(call, app, thread, "child", 1))["log"] == [0, 1, 2]


def test_15_9_kept_children_in_parallel(call, saver, thread):
    class Left(TypedDict, total=False):
        left: Annotated[list[int], operator.add]

    class Right(TypedDict, total=False):
        right: Annotated[list[int], operator.add]

    class Both(Left, Right):
        pass

    def counter(key: str, schema: Any) -> Any:
        return chain(("n", lambda s: {key: [len(s[key])]}), schema=schema, checkpointer=True)

    graph = StateGraph(Both).add_node("l", counter("left", Left))
    app = graph.add_node("r", counter("right", Right)).add_edge(START, "l").add_edge(START, "r")
    app = app.compile(saver)
    call.invoke(app, {}, thread)
    first = call.state(app, thread).values
    call.invoke(app, {}, thread)
    replayed = call.invoke(app, None, at(call, app, thread, "l", 0))
    assert replayed == first


def test_15_9_kept_child_that_asks_is_replayed_from_its_state_of_then(call, saver, thread):
    class Inner(TypedDict, total=False):
        mine: Annotated[list[Any], operator.add]
        x: Any

    def n(state: Inner) -> Any:
        answer = interrupt(len(state["mine"]))
        return {"mine": [answer], "x": [*state["mine"], answer]}

    app = chain(("child", chain(("n", n), schema=Inner, checkpointer=True)), checkpointer=saver)
    for answer in "AB":
        call.invoke(app, {}, thread)
        call.invoke(app, Command(resume=answer), thread)
    assert call.state(app, thread).values["x"] == ["A", "B"]
    assert questions(call.invoke(app, None, at(call, app, thread, "child", 1))) == [1]
    assert call.invoke(app, Command(resume="C"), thread)["x"] == ["A", "C"]
    assert questions(call.invoke(app, {}, thread)) == [2]


def test_15_9_fork_of_a_waiting_child_is_answered_on_each_branch(saver):
    thread = chain(("child", chain(logs("a"), asks())), checkpointer=saver).thread("t")
    thread.run({})
    fork = thread.fork(branch="fork")
    assert fork.run().status == "waiting"
    main = thread.app.thread("t", branch="main")
    assert main.answer("main").value == {"log": ["a", "main"]}
    assert fork.answer("fork").value == {"log": ["a", "fork"]}


# -- §15.10: a child's own checkpoint --------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_15_10_update_of_an_inner_config_reaches_the_waiting_child(call, saver, thread, depth):
    app = wrapped(chain(logs("a"), asks()), depth, saver)
    call.invoke(app, {"log": []}, thread)
    shot = app.get_state(thread, subgraphs=True)
    for _ in range(depth):
        shot = shot.tasks[0].state
    place = {key: shot.config["configurable"][key] for key in ("thread_id", "checkpoint_ns")}
    call.update(app, {"configurable": place}, {"log": ["u"]}, "a")
    assert questions(call.invoke(app, None, thread)) == ["q?"]
    assert call.invoke(app, Command(resume=1), thread) == {"log": ["a", "u", 1]}


def test_17_2_parallel_sends_to_a_kept_graph_keep_a_state_each(call, saver, thread):
    class Child(TypedDict, total=False):
        x: int
        mine: Annotated[list[int], operator.add]

    class Parent(TypedDict, total=False):
        mine: Annotated[list[int], operator.add]

    inner = StateGraph(Child)
    inner.add_node("n", lambda state: {"mine": [state["x"]]}).add_edge(START, "n")
    graph = StateGraph(Parent).add_node("child", inner.compile(checkpointer=True))
    sends = [Send("child", {"x": 1}), Send("child", {"x": 2})]
    graph.add_conditional_edges(START, lambda _: sends, ["child"])
    app = graph.compile(saver)
    assert call.invoke(app, {}, thread)["mine"] == [1, 2]
    assert call.invoke(app, {}, thread)["mine"] == [1, 2, 1, 1, 2, 2]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_15_9_kept_graphs_inside_each_other_are_replayed(call, saver, thread, durability):
    inner = StateGraph(State).add_node("n", lambda s: {"log": [len(s["log"])]})
    middle = StateGraph(State).add_node("inner", inner.add_edge(START, "n").compile(True))
    outer = StateGraph(State).add_node("middle", middle.add_edge(START, "inner").compile(True))
    app = outer.add_edge(START, "middle").compile(saver)
    first = call.invoke(app, {"log": []}, thread, durability="sync")
    call.invoke(app, {"log": []}, thread, durability="sync")
    begun = [shot for shot in call.history(app, thread) if shot.next == ("middle",)][-1]
    assert call.invoke(app, None, begun.config, durability=durability) == first
