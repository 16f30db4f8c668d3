"""Whole graphs on PostgreSQL, blocking and on a loop: stop, answer, fork, edit, look back, nest."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest

from graphflow import (
    START,
    AlreadyAnswered,
    Command,
    Fenced,
    Send,
    StateGraph,
    ThreadBusy,
    interrupt,
)
from graphflow.testing.material import take_over
from graphflow_checkpointers.postgres import PostgresCheckpointer

Call = Callable[..., Any]
CONFIG: dict[str, Any] = {"configurable": {"thread_id": "a\0b 日本"}}


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    verdict: str


@pytest.fixture(params=["blocking", "on a loop"])
def call(request: pytest.FixtureRequest) -> Call:
    """Call a method of an app by name: as it is, or its asynchronous form on a new loop."""

    def blocking(app: Any, name: str, *given: Any, **options: Any) -> Any:
        found = getattr(app, name)(*given, **options)
        return list(found) if name == "get_state_history" else found

    def on_a_loop(app: Any, name: str, *given: Any, **options: Any) -> Any:
        async def main() -> Any:
            found = getattr(app, f"a{name}")(*given, **options)
            return [part async for part in found] if hasattr(found, "__aiter__") else await found

        return asyncio.run(main())

    return blocking if request.param == "blocking" else on_a_loop


def reviewing(store: PostgresCheckpointer) -> Any:
    """Return an app that writes a draft, has it reviewed by a person, and publishes it."""

    def draft(state: State) -> Any:
        return {"log": ["draft"]}

    def review(state: State) -> Any:
        return {"log": ["review"], "verdict": interrupt("good?")}

    def publish(state: State) -> Any:
        return {"log": [f"publish: {state['verdict']}"]}

    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("draft", draft).add_node("review", review).add_node("publish", publish)
    graph.add_edge(START, "draft").add_edge("draft", "review").add_edge("review", "publish")
    return graph.compile(checkpointer=store)


def test_a_question_is_asked_and_answered_once(store: PostgresCheckpointer, call: Call) -> None:
    app = reviewing(store)
    asked = call(app, "invoke", {"log": []}, CONFIG)
    assert [question.value for question in asked["__interrupt__"]] == ["good?"]
    assert call(app, "get_state", CONFIG).next == ("review",)
    ended = call(app, "invoke", Command(resume="yes"), CONFIG)
    assert ended == {"log": ["draft", "review", "publish: yes"], "verdict": "yes"}
    with pytest.raises(AlreadyAnswered):
        call(app, "invoke", Command(resume="no"), CONFIG)


def test_an_old_checkpoint_is_answered_anew_on_a_branch(
    store: PostgresCheckpointer, call: Call
) -> None:
    app = reviewing(store)
    call(app, "invoke", {"log": []}, CONFIG)
    call(app, "invoke", Command(resume="yes"), CONFIG)
    history = call(app, "get_state_history", CONFIG)
    asking = next(state for state in history if state.next == ("review",))
    call(app, "invoke", None, asking.config)
    ended = call(app, "invoke", Command(resume="no"), CONFIG)
    assert ended == {"log": ["draft", "review", "publish: no"], "verdict": "no"}
    assert [branch.ordinal for branch in store.run(store.branches("a\0b 日本"))] == [0, 1]
    first = call(app, "get_state", history[0].config)
    assert first.values["verdict"] == "yes"


def test_a_state_is_edited_and_its_history_told(store: PostgresCheckpointer, call: Call) -> None:
    app = reviewing(store)
    call(app, "invoke", {"log": []}, CONFIG)
    call(app, "update_state", CONFIG, {"log": ["edit"], "verdict": "forced"}, as_node="review")
    assert call(app, "invoke", None, CONFIG)["log"] == ["draft", "edit", "publish: forced"]
    told = [
        (state.metadata["source"], state.next) for state in call(app, "get_state_history", CONFIG)
    ]
    assert told == [
        ("loop", ()), ("update", ("publish",)), ("loop", ("review",)), ("loop", ("draft",)),
        ("input", ("__start__",)),
    ]  # fmt: skip


def test_an_edit_of_an_old_state_makes_a_branch(store: PostgresCheckpointer, call: Call) -> None:
    app = reviewing(store)
    call(app, "invoke", {"log": []}, CONFIG)
    old = call(app, "get_state_history", CONFIG)[1]
    config = call(app, "update_state", old.config, {"log": ["other draft"]}, as_node="draft")
    assert call(app, "get_state", config).values["log"] == ["other draft"]
    assert call(app, "invoke", None, config)["__interrupt__"]
    assert call(app, "get_state", CONFIG).values["log"] == ["other draft"]


def test_finished_siblings_are_not_run_again(store: PostgresCheckpointer, call: Call) -> None:
    runs: list[int] = []

    def work(number: int) -> Any:
        runs.append(number)
        return {"log": [f"{number}: {interrupt('?')}" if number == 2 else str(number)]}

    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("work", work)
    graph.add_conditional_edges(START, lambda state: [Send("work", n) for n in range(5)], ["work"])
    app = graph.compile(checkpointer=store)
    call(app, "invoke", {"log": []}, CONFIG)
    ended = call(app, "invoke", Command(resume="go"), CONFIG)
    assert ended["log"] == ["0", "1", "2: go", "3", "4"]
    assert sorted(runs) == [0, 1, 2, 2, 3, 4]


def test_a_subgraph_stops_and_goes_on(store: PostgresCheckpointer, call: Call) -> None:
    child: StateGraph[State] = StateGraph(State)
    child.add_node("first", lambda state: {"log": ["first"]})
    child.add_node("ask", lambda state: {"log": [interrupt("inside?")]})
    child.add_edge(START, "first").add_edge("first", "ask")
    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("child", child.compile()).add_node("after", lambda state: {"log": ["after"]})
    graph.add_edge(START, "child").add_edge("child", "after")
    app = graph.compile(checkpointer=store)
    call(app, "invoke", {"log": []}, CONFIG)
    nested = call(app, "get_state", CONFIG, subgraphs=True).tasks[0].state
    assert nested.values["log"] == ["first"]
    assert call(app, "invoke", Command(resume="yes"), CONFIG)["log"] == ["first", "yes", "after"]


def test_the_slower_of_two_runs_is_refused(store: PostgresCheckpointer, call: Call) -> None:
    def overtaken(state: State) -> Any:
        if len(state["log"]) == 1:
            with pytest.raises(ThreadBusy):
                app.update_state(CONFIG, {"log": ["too soon"]}, as_node="node")
            take_over(store, "a\0b 日本")
            app.update_state(CONFIG, {"log": ["faster"]}, as_node="node")
        return {"log": ["slower"]}

    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("node", overtaken).add_edge(START, "node")
    app = graph.compile(checkpointer=store)
    with pytest.raises(Fenced):
        call(app, "invoke", {"log": ["given"]}, CONFIG, durability="sync")
    assert call(app, "get_state", CONFIG).values["log"] == ["given", "faster"]


def test_a_long_thread_gets_a_snapshot_and_reads_the_same(
    store: PostgresCheckpointer, call: Call
) -> None:
    def count(state: State) -> Any:
        return {"verdict": str(int(state["verdict"]) + 1) + " " * 2000}

    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("count", count).add_edge(START, "count")
    graph.add_conditional_edges(
        "count", lambda state: "count" if int(state["verdict"]) < 60 else "__end__",
        ["count", "__end__"],
    )  # fmt: skip
    app = graph.compile(checkpointer=store)
    call(app, "invoke", {"verdict": "0"}, {**CONFIG, "recursion_limit": 99})
    branch = store.run(store.branches("a\0b 日本"))[0]
    assert store.run(store.snapshot(branch.id, branch.head)) is not None
    seen = [int(state.values["verdict"]) for state in call(app, "get_state_history", CONFIG)[:-1]]
    assert seen == list(range(60, -1, -1))
    assert int(call(app, "get_state", CONFIG).values["verdict"]) == 60
