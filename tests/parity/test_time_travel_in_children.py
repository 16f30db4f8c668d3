"""Checkpoints of graphs in graphs: replay, fork and edit from inside (contract §15.9, §15.10)."""

import operator
from typing import Annotated, Any

from typing_extensions import TypedDict

from .programs import THREAD, chain, parity, sides


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


class Inner(TypedDict, total=False):
    x: Any
    steps: Annotated[list[Any], operator.add]


def family(lib: Any, ran: list[str], **options: Any) -> Any:
    """Return `before` → a child of `one` → `ask` → `two` → `after`; the child's `ask` asks."""

    def node(name: str) -> Any:
        return lambda _: ran.append(name) or {"steps": [name]}

    nodes = [
        ("one", node("one")),
        ("ask", lambda _: ran.append("ask") or {"x": lib.interrupt("?"), "steps": ["ask"]}),
        ("two", node("two")),
    ]
    child = chain(lib, Inner, *nodes).compile(**options)
    outer = [
        ("before", lambda _: ran.append("before") or {"log": ["before"]}),
        ("child", child),
        ("after", lambda s: ran.append("after") or {"log": [s.get("x")]}),
    ]
    return chain(lib, State, *outer).compile(lib.InMemorySaver())


def inside(call: Any, app: Any, *nodes: str) -> Any:
    """Return the config of the child's newest checkpoint at which these nodes are next."""
    paused = next(s for s in call.history(app) if s.next == ("child",))
    state = call.state(app, paused.config, subgraphs=True).tasks[0].state
    place = {k: state.config["configurable"][k] for k in ("thread_id", "checkpoint_ns")}
    return next(s.config for s in call.history(app, {"configurable": place}) if s.next == nodes)


def asked(call: Any, app: Any) -> Any:
    """Return the config of the paused child."""
    return call.state(app, subgraphs=True).tasks[0].state.config


@parity
def test_replay_of_the_parent_runs_the_child_anew(lib, call):
    ran: list[str] = []
    app = family(lib, ran)
    call.invoke(app, {"log": []}, THREAD)
    call.invoke(app, lib.Command(resume="first"), THREAD)
    ran.clear()
    place = next(s.config for s in call.history(app) if s.next == ("child",))
    again = call.invoke(app, None, place)
    return again, call.invoke(app, lib.Command(resume="second"), THREAD), ran


@parity
def test_replay_from_a_checkpoint_of_a_child_with_memory(lib, call):
    ran: list[str] = []
    app = family(lib, ran, checkpointer=True)
    call.invoke(app, {"log": []}, THREAD)
    place = asked(call, app)
    ran.clear()
    again = call.invoke(app, None, place)
    return again, call.invoke(app, lib.Command(resume="yes"), THREAD), ran


def test_differs_child_without_memory_goes_on_from_its_own_checkpoint():
    """In LangGraph its namespace has the id of the parent's task, and a fork has another task."""

    def program(lib, call):
        ran: list[str] = []
        app = family(lib, ran)
        call.invoke(app, {"log": []}, THREAD)
        place = asked(call, app)
        ran.clear()
        call.invoke(app, None, place)
        return call.invoke(app, lib.Command(resume="yes"), THREAD)["log"], ran

    ours, theirs = sides(program)
    assert ours == (["before", "yes"], ["ask", "ask", "two", "after"])
    assert theirs == (["before", "yes"], ["one", "ask", "ask", "two", "after"])


@parity
def test_replay_from_an_earlier_checkpoint_of_the_child(lib, call):
    ran: list[str] = []
    app = family(lib, ran, checkpointer=True)
    call.invoke(app, {"log": []}, THREAD)
    place = inside(call, app, "one")
    ran.clear()
    again = call.invoke(app, None, place)
    return again, call.invoke(app, lib.Command(resume="yes"), THREAD), ran


@parity
def test_replay_from_the_child_after_all_has_ended(lib, call):
    ran: list[str] = []
    app = family(lib, ran, checkpointer=True)
    call.invoke(app, {"log": []}, THREAD)
    place = asked(call, app)
    call.invoke(app, lib.Command(resume="first"), THREAD)
    ran.clear()
    again = call.invoke(app, None, place)
    return again, call.invoke(app, lib.Command(resume="second"), THREAD), ran


@parity
def test_edit_of_the_childs_checkpoint_and_going_on(lib, call):
    ran: list[str] = []
    app = family(lib, ran, checkpointer=True)
    call.invoke(app, {"log": []}, THREAD)
    edited = call.update(app, asked(call, app), {"steps": ["edit"]})
    ran.clear()
    again = call.invoke(app, None, edited)
    values = call.state(app, subgraphs=True).tasks[0].state.values
    return again, values, call.invoke(app, lib.Command(resume="yes"), THREAD), ran


@parity
def test_edit_instead_of_the_asking_node(lib, call):
    ran: list[str] = []
    app = family(lib, ran, checkpointer=True)
    call.invoke(app, {"log": []}, THREAD)
    edited = call.update(app, asked(call, app), {"x": "by hand"}, "ask")
    ran.clear()
    return call.invoke(app, None, edited), ran


@parity
def test_child_with_memory_goes_on_from_before_the_replayed_checkpoint(lib, call):
    ran: list[str] = []
    app = family(lib, ran, checkpointer=True)
    kept = {"configurable": {"thread_id": "t", "checkpoint_ns": "child"}}
    for answer in ("first", "second"):
        call.invoke(app, {"log": []}, THREAD)
        call.invoke(app, lib.Command(resume=answer), THREAD)
    places = [s.config for s in call.history(app) if s.next == ("child",)]
    shown = []
    for place in (places[-1], places[0]):
        again = call.invoke(app, None, place)
        call.invoke(app, lib.Command(resume="again"), THREAD)
        shown.append((again, call.state(app, kept).values))
    return shown


@parity
def test_three_levels_deep(lib, call):
    ran: list[str] = []
    ask = ("ask", lambda _: ran.append("ask") or {"x": lib.interrupt("?")})
    inner = chain(lib, State, ("one", lambda _: ran.append("one") or None), ask)
    inner = inner.compile(checkpointer=True)
    middle = chain(lib, State, ("pre", lambda _: ran.append("pre") or None), ("inner", inner))
    app = chain(
        lib,
        State,
        ("middle", middle.compile(checkpointer=True)),
        ("end", lambda _: {"log": ["end"]}),
    )
    app = app.compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    state = call.state(app, subgraphs=True).tasks[0].state.tasks[0].state
    ran.clear()
    again = call.invoke(app, None, state.config)
    return again, call.invoke(app, lib.Command(resume="yes"), THREAD), ran, state.next
