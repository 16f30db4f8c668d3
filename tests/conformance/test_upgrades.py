"""Threads of an earlier version of a program, met by a later one."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from graphflow import (
    START,
    Checkpointer,
    Command,
    InvalidUpdateError,
    MemoryCheckpointer,
    Send,
    StateGraph,
    Upgrade,
    interrupt,
    storable,
)
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.registry import Registry
from graphflow.upgrading import differences
from graphflow_checkpointers.sqlite import SqliteCheckpointer

THREAD = {"configurable": {"thread_id": "t"}}


class Before(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    price: str
    old: int


class After(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    price: int
    tags: Annotated[list[str], operator.add]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpointer:
    if request.param == "memory":
        return MemoryCheckpointer()
    return SqliteCheckpointer(tmp_path / "threads.db")


def before(store: Checkpointer) -> Any:
    """Draft, then ask; the thread waits for an answer."""
    graph = StateGraph(Before).add_sequence(
        [("draft", lambda _: {"log": ["drafted"], "price": "12"}), ("ask", asks)]
    )
    app = graph.add_edge(START, "draft").compile(checkpointer=store)
    app.invoke({"log": [], "old": 1}, THREAD)
    return app


def asks(_: Any) -> Any:
    return {"log": [interrupt("Send it?")]}


def after(store: Checkpointer, name: str = "ask", upgrade: Upgrade | None = None) -> Any:
    def send(state: After) -> After:
        return {"log": [f"sent for {state.get('price')!r}"], "tags": ["new"]}

    graph = StateGraph(After).add_sequence(
        [("draft", lambda _: None), (name, asks), ("send", send)]
    )
    return graph.add_edge(START, "draft").compile(checkpointer=store, upgrade=upgrade)


def in_numbers(values: dict[str, Any]) -> dict[str, Any]:
    price = values.get("price")
    return {**values, "price": int(price)} if isinstance(price, str) else values


def test_a_new_key_has_its_start_value_and_one_that_is_gone_stays_in_the_history(
    store: Checkpointer,
) -> None:
    before(store)
    app = after(store)
    assert app.invoke(Command(resume="yes"), THREAD)["tags"] == ["new"]
    shots = list(app.get_state_history(THREAD))
    assert [shot.values.get("old") for shot in shots][:2] == [1, 1]


def test_a_node_that_was_renamed_unsaid_is_refused_before_anything_runs(
    store: Checkpointer,
) -> None:
    before(store)
    with pytest.raises(InvalidUpdateError, match=r"'ask', which this graph does not have.*renamed"):
        after(store, "approve").invoke(Command(resume="yes"), THREAD)
    assert before_is_unchanged(store)


def before_is_unchanged(store: Checkpointer) -> bool:
    (branch,) = store.run(store.branches("t"))
    return branch.head == 2


def test_a_node_that_was_renamed_goes_on_with_its_answer(store: Checkpointer) -> None:
    before(store)
    app = after(store, "approve", Upgrade(renamed={"ask": "approve"}))
    result = app.invoke(Command(resume="yes"), THREAD)
    assert result["log"] == ["drafted", "yes", "sent for '12'"]


def test_an_answer_by_its_question_reaches_a_renamed_node(store: Checkpointer) -> None:
    (question,) = before(store).get_state(THREAD).interrupts
    app = after(store, "approve", Upgrade(renamed={"ask": "approve"}))
    assert app.invoke(Command(resume={question.id: "yes"}), THREAD)["log"][1] == "yes"


def test_renamed_joins_wait_for_whom_they_waited(store: Checkpointer) -> None:
    def made(left: str, right: str, upgrade: Upgrade | None = None) -> Any:
        graph = StateGraph(Before).add_node(left, lambda _: {"log": ["left"]})
        graph.add_node("slow", asks).add_node(right, lambda _: {"log": ["right"]})
        graph.add_node("both", lambda _: {"log": ["both"]}).add_edge(START, left)
        graph.add_edge(START, "slow").add_edge("slow", right).add_edge([left, right], "both")
        return graph.compile(checkpointer=store, upgrade=upgrade)

    made("l", "r").invoke({"log": []}, THREAD)
    renamed = made("left", "right", Upgrade(renamed={"l": "left", "r": "right"}))
    log = renamed.invoke(Command(resume="slow"), THREAD)["log"]
    assert log[-2:] == ["right", "both"]


def test_sends_to_a_renamed_node_arrive(store: Checkpointer) -> None:
    def made(name: str, upgrade: Upgrade | None = None) -> Any:
        graph = StateGraph(Before).add_node(name, lambda packet: {"log": [packet]})
        graph.add_node("split", lambda _: Command(goto=[Send(name, "a"), Send(name, "b")]),
                       destinations=(name,))  # fmt: skip
        app = graph.add_edge(START, "split")
        return app.compile(checkpointer=store, interrupt_before=[name], upgrade=upgrade)

    made("part").invoke({"log": []}, THREAD)
    app = made("piece", Upgrade(renamed={"part": "piece"}))
    assert app.invoke(None, THREAD)["log"] == ["a", "b"]


def test_values_of_another_form_are_brought_into_the_new_one(store: Checkpointer) -> None:
    before(store)
    app = after(store, upgrade=Upgrade(values=in_numbers))
    assert app.invoke(Command(resume="yes"), THREAD)["log"][-1] == "sent for 12"
    later = after(store)  # the upgrade is not needed any more
    assert later.get_state(THREAD).values["price"] == 12
    assert [shot.values.get("price") for shot in later.get_state_history(THREAD)][-3:] == [
        "12", None, None,
    ]  # fmt: skip


def test_upgraded_lists_grow_from_their_new_form(store: Checkpointer) -> None:
    before(store)

    def shouted(values: dict[str, Any]) -> dict[str, Any]:
        if all(entry.isupper() for entry in values["log"]):
            return values
        return {**values, "log": [entry.upper() for entry in values["log"]]}

    app = after(store, upgrade=Upgrade(values=shouted))
    assert app.invoke(Command(resume="YES"), THREAD)["log"][:2] == ["DRAFTED", "YES"]
    assert after(store).get_state(THREAD).values["log"][:2] == ["DRAFTED", "YES"]


def test_an_upgrade_that_fails_says_so_and_leaves_the_thread(store: Checkpointer) -> None:
    before(store)

    def fails(values: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("price")

    with pytest.raises(KeyError) as raised:
        after(store, upgrade=Upgrade(values=fails)).invoke(Command(resume="yes"), THREAD)
    assert raised.value.__notes__ == ["This was raised by upgrade.values; no node was run."]
    assert before_is_unchanged(store)
    assert after(store).invoke(Command(resume="yes"), THREAD)["log"][1] == "yes"


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_upgraded_values_are_stored_in_every_durability(
    store: Checkpointer, durability: str
) -> None:
    before(store)
    app = after(store, upgrade=Upgrade(values=in_numbers))
    app.invoke(Command(resume="yes"), THREAD, durability=durability)
    assert after(store).get_state(THREAD).values["price"] == 12


def test_an_edit_of_a_thread_knows_of_the_upgrade(store: Checkpointer) -> None:
    before(store)
    app = after(store, "approve", Upgrade({"ask": "approve"}, in_numbers))
    app.update_state(THREAD, {"log": ["by hand"]}, "approve")
    assert app.get_state(THREAD).next == ("send",)
    assert app.get_state(THREAD).values["price"] == 12


# -- told beforehand -------------------------------------------------------------------------------


def told(app: Any, store: Checkpointer) -> dict[str, bool]:
    plan_of: Callable[[str], Any] = lambda scope: app.plan  # noqa: E731
    found = store.run(differences(plan_of, store, app.codec, "t"))
    return {difference.what: difference.is_problem for difference in found}


def test_every_difference_is_told_at_once(store: Checkpointer) -> None:
    before(store)
    assert told(after(store, "approve"), store) == {
        "waits to run 'ask', which is no node": True,
        "key 'old' is gone": False,
        "key 'tags' is new": False,
        "key 'price': Input should be a valid integer": True,
    }


def test_an_upgrade_settles_what_it_is_for(store: Checkpointer) -> None:
    before(store)
    app = after(store, "approve", Upgrade({"ask": "approve"}, in_numbers))
    assert not any(told(app, store).values())


def test_a_class_that_is_not_there_any_more_is_told(store: Checkpointer) -> None:
    @storable("upgrades.Order")
    @dataclass
    class Order:
        number: int

    graph = StateGraph(Before).add_node("n", lambda _: {"log": [Order(1)]}).add_edge(START, "n")
    graph.compile(checkpointer=store).invoke({"log": []}, THREAD)
    app = after(store)
    app.codec = Codec(Registry())
    (what,) = told(app, store)
    assert "upgrades.Order" in what
