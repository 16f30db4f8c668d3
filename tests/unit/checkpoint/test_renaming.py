"""A copy is what the program would have made, had it run under the other name."""

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest

from graphflow import (
    START,
    Checkpointer,
    Command,
    MemoryCheckpointer,
    Send,
    StateGraph,
    entrypoint,
    interrupt,
    task,
)
from graphflow.checkpoint import renaming
from graphflow.checkpoint.archive import StoredThread
from graphflow.checkpoint.transfer import copy_thread, read_whole


class State(TypedDict):
    log: Annotated[list[Any], operator.add]


Program = Callable[[Checkpointer, str], None]


def at(name: str) -> Any:
    return {"configurable": {"thread_id": name}}


def note(state: State) -> State:
    return {"log": ["noted"]}


def ask(state: State) -> State:
    return {"log": [interrupt("Good?"), interrupt("Really?")]}


def asking(**options: Any) -> Any:
    graph = StateGraph(State).add_sequence([note, ask]).add_edge(START, "note")
    return graph.compile(**options)


def around(inner: Any) -> StateGraph:
    return StateGraph(State).add_node("inner", inner).add_edge(START, "inner")


def paused(store: Checkpointer, name: str) -> None:
    asking(checkpointer=store).invoke({"log": []}, at(name))


def answered(store: Checkpointer, name: str) -> None:
    app = asking(checkpointer=store)
    app.invoke({"log": []}, at(name))
    app.invoke(Command(resume="yes"), at(name))
    app.invoke(Command(resume="yes"), at(name))


def deep(store: Checkpointer, name: str) -> None:
    app = around(around(asking()).compile()).compile(checkpointer=store)
    app.invoke({"log": []}, at(name))
    app.invoke(Command(resume="yes"), at(name))


def kept(store: Checkpointer, name: str) -> None:
    app = around(around(asking(checkpointer=True)).compile()).compile(checkpointer=store)
    for _ in range(2):
        app.invoke({"log": []}, at(name))
        app.invoke(Command(resume="yes"), at(name))
        app.invoke(Command(resume="yes"), at(name))


def replayed(store: Checkpointer, name: str) -> None:
    app = around(asking()).compile(checkpointer=store)
    app.invoke({"log": []}, at(name))
    first = list(app.get_state_history(at(name)))[-1]
    app.invoke(None, first.config)


def sent(store: Checkpointer, name: str) -> None:
    graph = StateGraph(State).add_node("inner", asking())
    graph.add_conditional_edges(START, lambda state: [Send("inner", {"log": []})] * 3, ["inner"])
    graph.compile(checkpointer=store).invoke({"log": []}, at(name))


def called(store: Checkpointer, name: str) -> None:
    inner = asking()

    @task
    def work(number: int) -> Any:
        return inner.invoke({"log": [number]})["log"] if number else interrupt("Which?")

    @entrypoint(checkpointer=store)
    def flow(numbers: list[int]) -> Any:
        return [work(number).result() for number in numbers]

    flow.invoke([0, 1], at(name))
    flow.invoke(Command(resume="this"), at(name))


def thread_of(store: Checkpointer, name: str) -> StoredThread:
    whole = store.run(read_whole(store, name))
    branches = [  # tasks side by side end in any order, and so their rows come
        branch._replace(
            frames=[frame._replace(created=0.0) for frame in branch.frames],
            rows=sorted(branch.rows),
        )
        for branch in whole.branches
    ]
    return whole._replace(branches=branches)


@pytest.mark.parametrize(
    "program", [paused, answered, deep, kept, replayed, sent, called], ids=lambda p: p.__name__
)
def test_a_copy_is_what_would_have_been_made_under_its_name(program: Program):
    store, native = MemoryCheckpointer(), MemoryCheckpointer()
    program(store, "old")
    program(native, "new name")
    store.run(copy_thread(store, "old", "new name"))
    assert thread_of(store, "new name") == thread_of(native, "new name")


def test_a_copy_of_a_paused_graph_inside_runs_nothing_again():
    ran, store = [], MemoryCheckpointer()

    def work(state: State) -> State:
        ran.append("work")
        return {"log": ["worked"]}

    inner = StateGraph(State).add_sequence([work, ask]).add_edge(START, "work").compile()
    app = around(inner).compile(checkpointer=store)
    app.invoke({"log": []}, at("old"))
    store.run(copy_thread(store, "old", "new"))
    for name in ("new", "old"):
        app.invoke(Command(resume="yes"), at(name))
        log = app.invoke(Command(resume="of course"), at(name))["log"]
        assert log == ["worked", "yes", "of course"]
    assert ran == ["work"]


def test_there_and_back_is_the_same_thread():
    store = MemoryCheckpointer()
    deep(store, "a")
    whole = store.run(read_whole(store, "a"))
    assert renaming.renamed(renaming.renamed(whole, "b"), "a") == whole
