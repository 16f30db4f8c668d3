"""The graphs that schedules run: small, with everything that a thread can stop or go on at.

Their nodes are pure functions of what they read and of the answers that they get, so a thread's
history depends on the answers alone.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from typing_extensions import TypedDict

from graphflow import (
    END,
    START,
    CompiledStateGraph,
    MemoryCheckpointer,
    Send,
    StateGraph,
    interrupt,
)

ANSWERS = ("yes", "no", "no", "perhaps")
FITTING = ("yes", "no")
"""Those that fit where a `Choice` is wanted."""
TURNS = 3
"""How often the graphs with a loop go around."""


class State(TypedDict):
    log: Annotated[list[str], operator.add]
    turns: int


class Choice(TypedDict):
    """An answer that may not fit."""

    said: Literal["yes", "no"]


class Scheduled(NamedTuple):
    """A graph, and the graphs that its nodes call."""

    name: str
    app: CompiledStateGraph
    inner: dict[str, Scheduled]
    """By the name of the node that does nothing but call it; see `given_inside`."""


def given_inside(values: dict[str, Any]) -> dict[str, Any]:
    """Return what a node that calls a graph gives it."""
    return {"log": [f"called after {len(values['log'])}"], "turns": 0}


def taken_outside(values: dict[str, Any]) -> dict[str, Any]:
    """Return what such a node returns."""
    return {"log": [f"inside: {', '.join(values['log'])}"]}


def writes(name: str) -> Callable[[State], Any]:
    return lambda state: {"log": [f"{name} after {len(state['log'])}"]}


def asks(name: str, *more: str) -> Callable[[State], Any]:
    """Ask several questions, one after the other."""

    def ask(state: State) -> Any:
        answers = [interrupt(f"{each} after {len(state['log'])}") for each in (name, *more)]
        return {"log": [f"{name}: {', '.join(answers)}"]}

    return ask


def chooses(name: str) -> Callable[[State], Any]:
    """Ask a question that not every answer fits."""

    def choose(state: State) -> Any:
        chosen = interrupt(f"{name} after {len(state['log'])}", response_schema=Choice)
        return {"log": [f"{name}: {chosen['said']}"]}

    return choose


def counts(state: State) -> Any:
    return {"turns": state["turns"] + 1, "log": [f"turn {state['turns'] + 1}"]}


def calls(state: State) -> Any:
    raise AssertionError("who runs schedules calls the graphs inside")


def graph(nodes: dict[str, Any], edges: Sequence[tuple[Any, str]]) -> StateGraph[State]:
    made: StateGraph[State] = StateGraph(State)
    for name, does in nodes.items():
        made.add_node(name, does)
    for before, after in edges:
        made.add_edge(before, after)
    return made


def scheduled(
    name: str, made: StateGraph[State], checkpointer: Any = None, **inner: Scheduled
) -> Scheduled:
    return Scheduled(name, made.compile(checkpointer), inner)


def root(name: str, made: StateGraph[State], **inner: Scheduled) -> Scheduled:
    """Return a graph that is run by itself; each schedule gives it another store."""
    return scheduled(name, made, MemoryCheckpointer(), **inner)


def wide() -> Scheduled:
    """Parallel nodes, Sends, a join; nobody is asked."""
    names = ("first", "left", "right", "middle", "join", "then", "end")
    made = graph(
        {**{name: writes(name) for name in names}, "part": lambda n: {"log": [f"part {n}"]}},
        [(START, "first"), *(("first", name) for name in ("left", "right", "middle")),
         (["left", "right", "part"], "join"), ("join", "then"), ("then", "end")],
    )  # fmt: skip
    made.add_conditional_edges("left", lambda s: [Send("part", n) for n in range(3)], ["part"])
    return root("wide", made)


def asking() -> Scheduled:
    """Parallel nodes that ask: one question, and two in a row."""
    made = graph(
        {
            "first": writes("first"),
            "left": asks("left", "and left"),
            "right": asks("right"),
            "quick": writes("quick"),
            "next": writes("next"),
            "last": chooses("last"),
            "end": writes("end"),
        },
        [(START, "first"), *(("first", name) for name in ("left", "right", "quick")),
         ("quick", "next"), (["left", "right", "next"], "last"), ("last", "end")],
    )  # fmt: skip
    return root("asking", made)


def looping() -> Scheduled:
    """A loop around parallel nodes, one of which asks each time."""
    made = graph(
        {"work": counts, "ask": asks("ask"), "beside": writes("beside"), "end": writes("end")},
        [(START, "work"), ("work", "ask"), ("work", "beside"), ("end", END)],
    )
    made.add_conditional_edges(
        "ask", lambda s: "work" if s["turns"] < TURNS else "end", ["work", "end"]
    )
    return root("looping", made)


def inside(kept: bool | None = None) -> Scheduled:
    made = graph(
        {"a": writes("a"), "b": chooses("b"), "c": writes("c"), "d": writes("d")},
        [(START, "a"), ("a", "b"), ("a", "c"), ("b", "d")],
    )
    return scheduled("inside", made, kept)


def nested() -> Scheduled:
    """A graph that asks, inside another, beside a node that asks as well."""
    made = graph(
        {
            "first": writes("first"),
            "call": calls,
            "beside": asks("beside"),
            "last": writes("last"),
        },
        [(START, "first"), ("first", "call"), ("first", "beside"), ("call", "last")],
    )
    return root("nested", made, call=inside())


def kept() -> Scheduled:
    """A loop around a graph that keeps its state, and around one that does not."""
    made = graph(
        {"work": counts, "call": calls, "other": calls, "end": writes("end")},
        [(START, "work"), ("work", "call"), ("work", "other")],
    )
    made.add_conditional_edges(
        "call", lambda s: "work" if s["turns"] < TURNS - 1 else "end", ["work", "end"]
    )
    quiet = graph({"e": writes("e")}, [(START, "e")])
    return root("kept", made, call=inside(True), other=scheduled("quiet", quiet))


def deep() -> Scheduled:
    """A graph that asks, inside a graph inside another."""
    middle = graph(
        {"begin": writes("begin"), "deeper": calls, "finish": writes("finish")},
        [(START, "begin"), ("begin", "deeper"), ("deeper", "finish")],
    )
    made = graph(
        {"first": writes("first"), "call": calls, "last": writes("last")},
        [(START, "first"), ("first", "call"), ("call", "last")],
    )
    return root("deep", made, call=scheduled("middle", middle, deeper=inside()))
