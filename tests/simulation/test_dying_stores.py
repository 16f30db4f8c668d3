"""Whole runs on a store that dies at its n-th operation: resumed, they end as if nothing had been.

Real drivers, graphs inside graphs, every durability; `n` goes through all operations of the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import operator
from collections.abc import Callable
from itertools import count
from typing import Annotated, Any, ClassVar, Literal, TypedDict, TypeVar

import pytest
from pydantic import ValidationError

from graphflow import (
    START,
    Command,
    CompiledStateGraph,
    MemoryCheckpointer,
    Send,
    StateGraph,
    interrupt,
)
from graphflow.checkpoint.protocol import Operation
from graphflow.errors import StoreUnavailableError
from graphflow.testing.simulation import Crash

T = TypeVar("T")
THREAD = {"configurable": {"thread_id": "t"}}
INPUT = {"log": ["input"]}
Run = Callable[[CompiledStateGraph, Any], Any]
pytestmark = pytest.mark.filterwarnings("ignore::graphflow.errors.GraphWarning")


class State(TypedDict):
    log: Annotated[list[str], operator.add]


class DyingStore(MemoryCheckpointer):
    """Dies before or after its n-th operation, and stays dead until it is revived."""

    is_instant: ClassVar[bool] = False

    def __init__(self, moment: str, number: int) -> None:
        super().__init__()
        self.moment = moment
        self.number = number
        self.operations = count()
        self.is_dead = False
        self.has_died = False

    def run(self, operation: Operation[T]) -> T:
        number = next(self.operations)
        self.die_at("before", number)
        result = super().run(operation)
        self.die_at("after", number)
        return result

    def die_at(self, moment: str, number: int) -> None:
        if (moment, number) == (self.moment, self.number) and not self.has_died:
            self.is_dead = self.has_died = True
        if self.is_dead:
            raise Crash(f"{moment} operation {number}")


class FailingStore(DyingStore):
    """Fails once, before or after its n-th operation; the process lives on."""

    def die_at(self, moment: str, number: int) -> None:
        if (moment, number) == (self.moment, self.number) and not self.has_died:
            self.has_died = True
            raise StoreUnavailableError(f"{moment} operation {number}")


def writes(name: str) -> Callable[[State], Any]:
    return lambda state: {"log": [f"{name} after {len(state['log'])}"]}


def asks(name: str) -> Callable[[State], Any]:
    return lambda state: {"log": [f"{name}: {interrupt(name)}, {interrupt('and ' + name)}"]}


def line(*nodes: tuple[str, Any]) -> StateGraph[State]:
    graph: StateGraph[State] = StateGraph(State)
    graph.add_sequence(nodes)
    return graph.add_edge(START, nodes[0][0])


def side_by_side() -> StateGraph[State]:
    graph = line(("first", writes("first")))
    for name in ("left", "right"):
        graph.add_node(name, writes(name)).add_edge("first", name)
    graph.add_node("part", lambda packet: {"log": [f"part {packet}"]})
    graph.add_conditional_edges("left", lambda s: [Send("part", n) for n in range(2)], ["part"])
    return graph.add_node("end", writes("end")).add_edge(["left", "right", "part"], "end")


def asking() -> StateGraph[State]:
    graph = line(("first", writes("first")))
    for name in ("left", "right"):
        graph.add_node(name, asks(name)).add_edge("first", name)
    graph.add_node("quick", writes("quick")).add_edge("first", "quick")
    return graph.add_node("end", writes("end")).add_edge(["left", "right"], "end")


def nested(kept: bool | None = None) -> StateGraph[State]:
    inner = line(("a", writes("a")), ("b", asks("b")), ("c", writes("c"))).compile(kept)

    def call(state: State) -> Any:
        return {"log": inner.invoke({"log": [f"called after {len(state['log'])}"]})["log"]}

    graph = line(("first", writes("first")), ("call", call), ("last", writes("last")))
    return graph.add_node("beside", writes("beside")).add_edge("first", "beside")


def nested_and_kept() -> StateGraph[State]:
    return nested(True)


def blocking(durability: str) -> Run:
    return lambda app, given: app.invoke(given, THREAD, durability=durability)


def on_loop(durability: str) -> Run:
    return lambda app, given: asyncio.run(app.ainvoke(given, THREAD, durability=durability))


def play(graph: StateGraph[State], run: Run, store: DyingStore) -> dict[str, Any]:
    """Run to the end, answering what is asked; return the final state."""
    app, given = graph.compile(store), INPUT
    for _ in range(30):
        try:
            result = run(app, given)
        except (Crash, StoreUnavailableError):
            store.is_dead = False
            stored = app.get_state(THREAD).config["configurable"].get("checkpoint_id")
            given = None if stored else INPUT  # type: ignore[assignment]  # None goes on
            continue
        questions = result.get("__interrupt__")
        if not questions:
            store.moment = "never"
            return dict(app.get_state(THREAD).values)
        resume = {question.id: f"answer to {question.value}" for question in questions}
        given = Command(resume=resume)  # type: ignore[assignment]  # an input as well
    raise AssertionError("the run does not end")


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("driver", [blocking, on_loop])
@pytest.mark.parametrize("make", [side_by_side, asking, nested, nested_and_kept])
@pytest.mark.parametrize("kind", [DyingStore, FailingStore])
def test_a_store_that_dies_or_fails_at_any_operation_changes_nothing(
    kind: type[DyingStore],
    make: Callable[[], StateGraph[State]],
    driver: Callable[[str], Run],
    durability: str,
) -> None:
    graph, run = make(), driver(durability)
    expected = play(graph, run, DyingStore("never", 0))
    for number in count():
        before, after = kind("before", number), kind("after", number)
        for store in (before, after):
            ending = play(graph, run, store)
            assert ending == expected, f"{store.moment} operation {number}"
        if not before.has_died:
            break
    assert number > 1


def echoes(kept: bool | None) -> StateGraph[State]:
    """A graph whose child only says what it was given; asks when it is asked to."""

    def child(state: State) -> Any:
        said = state["log"][-1]
        return {"log": [f"child of {said}", *([interrupt(said)] if "ask" in said else ())]}

    inner = line(("child", child)).compile(kept)
    middle = line(("inner", inner)).compile()

    def call(state: State) -> Any:
        return {"log": [middle.invoke({"log": [state["log"][-1]]})["log"][-1]]}

    def first(state: State) -> Any:
        return {"log": [f"first of {state['log'][-1]}"]}

    return line(("first", first), ("call", call), ("last", writes("last")))


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("driver", [blocking, on_loop])
@pytest.mark.parametrize("kept", [None, True])
@pytest.mark.parametrize("what", ["say", "ask"])
@pytest.mark.parametrize("kind", [DyingStore, FailingStore])
def test_a_new_run_is_never_answered_by_the_nested_run_of_a_dead_one(
    kind: type[DyingStore],
    what: str,
    kept: bool | None,
    driver: Callable[[str], Run],
    durability: str,
) -> None:
    graph, run = echoes(kept), driver(durability)
    for number in count():
        stores = (kind("before", number), kind("after", number))
        for store in stores:
            app = graph.compile(store)
            with contextlib.suppress(Crash, StoreUnavailableError):
                run(app, {"log": [f"{what} old"]})
            store.is_dead, store.moment = False, "never"
            said = run(app, {"log": ["say new"]})["log"]
            new = said[said.index("say new") :]
            assert new[:3] == ["say new", "first of say new", "child of first of say new"], (
                f"operation {number}"
            )
        if not stores[0].has_died:
            break
    assert number > 1


class Choice(TypedDict):
    said: Literal["yes", "no"]


def choosing(kept: bool | None) -> StateGraph[State]:
    """A graph inside a graph that asks two questions; not every answer fits the second."""

    def choose(state: State) -> Any:
        name = interrupt("name?")
        return {"log": [f"{name}: {interrupt('choice?', response_schema=Choice)['said']}"]}

    inner = line(("choose", choose)).compile(kept)
    return line(("first", writes("first")), ("call", inner), ("last", writes("last")))


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("driver", [blocking, on_loop])
@pytest.mark.parametrize("kept", [None, True])
@pytest.mark.parametrize("kind", [DyingStore, FailingStore])
def test_an_answer_that_does_not_fit_outlives_no_crash(
    kind: type[DyingStore], kept: bool | None, driver: Callable[[str], Run], durability: str
) -> None:
    graph, run = choosing(kept), driver(durability)
    for number in count():
        stores = (kind("before", number), kind("after", number))
        for store in stores:
            store.moment, moment = "never", store.moment
            app = graph.compile(store)
            run(app, INPUT)
            run(app, Command(resume="Ada"))
            store.moment, store.operations = moment, count()
            with contextlib.suppress(Crash, StoreUnavailableError, ValidationError):
                run(app, Command(resume={"said": "perhaps"}))
            store.is_dead, store.moment = False, "never"
            if not app.get_state(THREAD).interrupts:  # the answer is stored: it is tried again
                with pytest.raises(ValidationError):
                    run(app, None)
            assert [each.value for each in app.get_state(THREAD).interrupts] == ["choice?"]
            said = run(app, Command(resume={"said": "no"}))["log"]
            assert "Ada: no" in said, f"{moment} operation {number}"
        if not stores[0].has_died:
            break
    assert number > 1
