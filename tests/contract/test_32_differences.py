"""Contract §32: where graphflow deliberately differs."""

import asyncio
import contextvars
import operator
from typing import Annotated, Any

import pydantic
import pytest
from typing_extensions import TypedDict

from graphflow import (
    START,
    AlreadyAnswered,
    CheckpointConflict,
    Command,
    GraphInterrupt,
    InvalidUpdateError,
    NotStorable,
    Send,
    StateGraph,
    SwallowedInterruptError,
    ThreadBusy,
    interrupt,
)
from graphflow.testing.material import take_over


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


def single(node: Any, schema: Any = State) -> Any:
    return StateGraph(schema).add_node("n", node).add_edge(START, "n")


async def plus_one(state: State) -> State:
    await asyncio.sleep(0)
    return {"x": state["x"] + 1}


def test_32_1_async_nodes_run_in_a_blocking_call():
    assert single(plus_one).compile().invoke({"x": 1})["x"] == 2


def test_32_1_async_nodes_run_in_a_blocking_call_while_a_loop_runs_here():
    async def notebook_cell() -> Any:
        return single(plus_one).compile().invoke({"x": 1})

    assert asyncio.run(notebook_cell())["x"] == 2


def test_32_1_blocking_call_from_a_node_on_the_loop_names_ainvoke():
    inner = single(plus_one).compile()

    async def calls(_: State) -> Any:
        return inner.invoke({"x": 1})

    with pytest.raises(RuntimeError, match="ainvoke"):
        single(calls).compile().invoke({"x": 1})


def test_32_2_except_exception_cannot_swallow_a_pause(call, saver, thread):
    def n(_: State) -> Any:
        try:
            return {"x": interrupt("?")}
        except Exception:
            return {"x": "swallowed"}

    assert not issubclass(GraphInterrupt, Exception)
    app = single(n).compile(saver)
    assert "__interrupt__" in call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, Command(resume=1), thread)["x"] == 1


def test_32_2_bare_except_fails_the_run_and_shows_what_to_write(call, saver, thread):
    def n(_: State) -> Any:
        try:
            return {"x": interrupt("?")}
        except BaseException:
            return {"x": "swallowed"}

    with pytest.raises(SwallowedInterruptError, match="except GraphInterrupt:"):
        call.invoke(single(n).compile(saver), {"log": []}, thread)


def test_32_3_of_two_runs_on_a_thread_the_second_is_refused_before_any_node(call, saver, thread):
    ran: list[str] = []
    rival = single(lambda _: ran.append("rival")).compile(saver)

    def first(_: State) -> State:
        with pytest.raises(ThreadBusy):  # not as this node's child
            contextvars.Context().run(rival.invoke, {"log": []}, thread)
        return {"log": ["first"]}

    app = single(first).compile(saver)
    assert call.invoke(app, {"log": []}, thread) == {"log": ["first"]}
    assert ran == []


def test_32_3_of_two_runs_on_a_thread_the_loser_stores_nothing(call, saver, thread):
    rival = single(lambda _: {"log": ["rival"]}).compile(saver)

    def overtaken(_: State) -> State:
        take_over(saver)
        contextvars.Context().run(rival.invoke, {"log": []}, thread)
        return {"log": ["loser"]}

    graph = StateGraph(State).add_sequence([("a", lambda _: None), ("b", overtaken)])
    app = graph.add_edge(START, "a").compile(saver)
    with pytest.raises(CheckpointConflict):
        call.invoke(app, {"log": []}, thread, durability="sync")
    assert call.state(rival, thread).values == {"log": ["rival"]}


def test_32_3_edit_that_is_overtaken_stores_nothing(call, saver, thread):
    app = single(lambda _: {"log": ["n"]}).compile(saver)
    call.invoke(app, {"log": []}, thread)

    def path(_: State) -> list[str]:
        with pytest.raises(ThreadBusy):
            call.update(app, thread, {"log": ["too soon"]}, "n")
        take_over(saver)
        call.update(app, thread, {"log": ["first"]}, "n")
        return []

    slow = single(lambda _: None).add_conditional_edges("n", path).compile(saver)
    with pytest.raises(CheckpointConflict):
        slow.update_state(thread, {"log": ["second"]}, "n")
    assert call.state(app, thread).values == {"log": ["n", "first"]}


def test_32_4_second_answer_is_refused_and_no_node_runs(call, saver, thread):
    ran = []

    def n(_: State) -> State:
        ran.append("n")
        return {"log": [interrupt("?")]}

    app = single(n).compile(saver)
    (question,) = call.invoke(app, {"log": []}, thread)["__interrupt__"]
    call.invoke(app, Command(resume={question.id: 1}), thread)
    ran.clear()
    with pytest.raises(AlreadyAnswered):
        call.invoke(app, Command(resume={question.id: 2}), thread)
    assert ran == []
    assert call.state(app, thread).values == {"log": [1]}


def test_32_4_second_answer_while_another_question_is_open(call, saver, thread):
    graph = single(lambda _: {"log": [interrupt("n")]})
    graph.add_node("m", lambda _: {"log": [interrupt("m")]}).add_edge(START, "m")
    app = graph.compile(saver)
    asked = {q.value: q.id for q in call.invoke(app, {"log": []}, thread)["__interrupt__"]}
    call.invoke(app, Command(resume={asked["n"]: 1}), thread)
    with pytest.raises(AlreadyAnswered):
        call.invoke(app, Command(resume={asked["n"]: 2}), thread)


class Model(pydantic.BaseModel):
    size: int
    log: Annotated[list[str], operator.add] = []


def test_32_5_bad_value_is_refused_before_the_commit_and_named(call, saver, thread):
    app = single(lambda _: {"size": "many"}, Model).compile(saver)
    with pytest.raises(pydantic.ValidationError) as caught:
        call.invoke(app, {"size": 1}, thread)
    notes = "\n".join(caught.value.__notes__)
    assert all(part in notes for part in ("'n'", "size", "many"))


def test_32_5_thread_stays_readable_and_repairable(call, saver, thread):
    app = single(lambda _: {"size": "many"}, Model).compile(saver)
    with pytest.raises(pydantic.ValidationError):
        call.invoke(app, {"size": 1}, thread)
    assert call.state(app, thread).values["size"] == 1
    call.update(app, thread, {"size": 2}, "n")
    assert call.state(app, thread).values["size"] == 2


def test_32_5_bad_update_is_refused_too(call, saver, thread):
    app = single(lambda _: None, Model).compile(saver)
    call.invoke(app, {"size": 1}, thread)
    with pytest.raises(pydantic.ValidationError):
        call.update(app, thread, {"size": "many"}, "n")
    assert call.state(app, thread).values["size"] == 1


class Unstorable:
    """No class that anybody registered."""


@pytest.mark.parametrize(
    "value",
    [Unstorable(), lambda: 1, open, iter(())],
    ids=["object", "lambda", "function", "iterator"],
)
def test_32_6_value_that_cannot_be_stored_fails_the_commit(call, saver, thread, value):
    app = single(lambda _: {"x": {"deep": [value]}}).compile(saver)
    with pytest.raises(NotStorable, match=r"x.*deep") as caught:
        call.invoke(app, {"log": []}, thread)
    assert type(value).__name__ in str(caught.value)
    assert "x" not in call.state(app, thread).values


@pytest.mark.parametrize("target", ["typo", Send("typo", 1)], ids=["name", "send"])
@pytest.mark.parametrize("way", ["command", "path"])
def test_32_7_unknown_destination_is_refused_and_the_known_are_named(call, target, way):
    graph = single(lambda _: Command(goto=target) if way == "command" else None)
    if way == "path":
        graph.add_conditional_edges("n", lambda _: target)
    graph.add_node("known", lambda _: None)
    with pytest.raises(InvalidUpdateError, match=r"typo.*known"):
        call.invoke(graph.compile(), {"log": []})


def test_32_8_interrupt_knows_its_node_and_namespace(call, saver, thread):
    app = single(lambda _: interrupt("?")).compile(saver)
    (question,) = call.invoke(app, {"log": []}, thread)["__interrupt__"]
    assert (question.node, question.ns) == ("n", ())
    assert call.state(app, thread).interrupts[0].node == "n"
