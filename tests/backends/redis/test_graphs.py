"""Whole graphs on RedisCheckpointer: a thread there is what it would be in memory."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import pytest

from graphflow import (
    START,
    AIMessage,
    CheckpointConflict,
    Checkpointer,
    Command,
    CompiledStateGraph,
    MemoryCheckpointer,
    MessagesState,
    Send,
    StateGraph,
    interrupt,
)
from graphflow_checkpointers.redis import RedisCheckpointer

THREAD: Any = {"configurable": {"thread_id": "t"}}
pytestmark = pytest.mark.filterwarnings("ignore::graphflow.errors.GraphWarning")


class State(TypedDict):
    log: Annotated[list[str], operator.add]
    n: int


class Blocking:
    """Calls a graph from plain code."""

    def invoke(self, app: CompiledStateGraph, given: Any, config: Any = THREAD) -> Any:
        return app.invoke(given, config)

    def state(self, app: CompiledStateGraph, config: Any = THREAD) -> Any:
        return app.get_state(config)

    def history(self, app: CompiledStateGraph) -> list[Any]:
        return list(app.get_state_history(THREAD))

    def update(self, app: CompiledStateGraph, config: Any, values: Any, as_node: str) -> Any:
        return app.update_state(config, values, as_node)


class OnLoop(Blocking):
    """Calls it from coroutines, each on a loop of its own."""

    def invoke(self, app: CompiledStateGraph, given: Any, config: Any = THREAD) -> Any:
        return asyncio.run(app.ainvoke(given, config))

    def state(self, app: CompiledStateGraph, config: Any = THREAD) -> Any:
        return asyncio.run(app.aget_state(config))

    def history(self, app: CompiledStateGraph) -> list[Any]:
        async def gather() -> list[Any]:
            return [snapshot async for snapshot in app.aget_state_history(THREAD)]

        return asyncio.run(gather())

    def update(self, app: CompiledStateGraph, config: Any, values: Any, as_node: str) -> Any:
        return asyncio.run(app.aupdate_state(config, values, as_node))


@pytest.fixture(params=[Blocking, OnLoop])
def call(request: pytest.FixtureRequest) -> Blocking:
    """How a graph is called."""
    made: Blocking = request.param()
    return made


@pytest.fixture
def store(url: str, prefix: str) -> Iterator[RedisCheckpointer]:
    """An empty store."""
    with RedisCheckpointer(url, prefix=prefix) as store:
        yield store


def reviewed(store: Checkpointer) -> CompiledStateGraph:
    """Return a graph with parallel work, a graph inside, and a person who is asked."""
    inner: StateGraph[State] = StateGraph(State)
    inner.add_node("look", lambda state: {"log": [f"look: {interrupt('inside')}"]})
    inner.add_edge(START, "look")

    def plan(state: State) -> Any:
        return Command(update={"log": ["plan"], "n": 2}, goto=[Send("part", i) for i in range(2)])

    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("plan", plan, destinations=("part",)).add_edge(START, "plan")
    graph.add_node("part", lambda number: {"log": [f"part {number}"]}).add_edge("part", "review")
    graph.add_node("review", lambda state: {"log": [f"review: {interrupt(state['log'])}"]})
    graph.add_node("inner", inner.compile()).add_edge("review", "inner")
    return (
        graph.add_node("end", lambda state: {"log": ["end"]})
        .add_edge("inner", "end")
        .compile(store)
    )


def told(snapshot: Any) -> tuple[Any, ...]:
    """Return what a snapshot says, but for the time."""
    asked = [(question.id, question.value) for question in snapshot.interrupts]
    return (*snapshot[:4], snapshot.parent_config, asked)


def everything(store: Checkpointer, call: Blocking) -> list[Any]:
    """Interrupt, resume, look back, fork, edit; return all that was to be seen."""
    app = reviewed(store)
    seen = [call.invoke(app, {"log": ["input"]}), told(call.state(app))]
    seen += [call.invoke(app, Command(resume="fine")), call.invoke(app, Command(resume="seen"))]
    seen += map(told, call.history(app))
    past = next(old for old in call.history(app) if old.next == ("review",))
    seen += [call.invoke(app, None, past.config), told(call.state(app))]
    seen += [call.invoke(app, Command(resume="anew")), call.invoke(app, Command(resume="again"))]
    edited = call.update(app, past.config, {"log": ["edited"]}, "review")
    seen += [edited, told(call.state(app, edited)), call.invoke(app, None, edited)]
    seen += map(told, call.history(app))
    return [repr(part) for part in seen]


def test_a_thread_is_what_it_would_be_in_memory(store: RedisCheckpointer, call: Blocking) -> None:
    expected = everything(MemoryCheckpointer(), call)
    assert len(expected) > 25
    assert everything(store, call) == expected


def test_another_process_would_go_on(
    store: RedisCheckpointer, url: str, prefix: str, call: Blocking
) -> None:
    call.invoke(reviewed(store), {"log": []})
    with RedisCheckpointer(url, prefix=prefix) as other:
        call.invoke(reviewed(other), Command(resume="fine"))
        assert call.invoke(reviewed(other), Command(resume="seen"))["log"][-1] == "end"
    assert call.state(reviewed(store)).next == ()


def test_an_answer_is_used_once(store: RedisCheckpointer) -> None:
    app = reviewed(store)
    app.invoke({"log": []}, THREAD)
    (question,) = app.get_state(THREAD).interrupts

    def reply(number: int) -> bool:
        try:
            app.invoke(Command(resume={question.id: f"answer {number}"}), THREAD)
        except CheckpointConflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(reply, range(6))) == 1
    assert sum("review" in entry for entry in app.get_state(THREAD).values["log"]) == 1


def test_a_thread_is_deleted_with_all_its_graphs(store: RedisCheckpointer, call: Blocking) -> None:
    app = reviewed(store)
    call.invoke(app, {"log": []})
    call.invoke(app, Command(resume="fine"))
    store.delete_thread("t")
    assert call.state(app).values == {}
    assert call.invoke(app, {"log": ["new"]})["log"][0] == "new"


def test_many_threads_run_at_once_on_one_object(store: RedisCheckpointer) -> None:
    app = reviewed(store)

    def config(number: int) -> Any:
        return {"configurable": {"thread_id": str(number)}}

    def finish(number: int) -> list[str]:
        app.invoke({"log": [str(number)]}, config(number))
        app.invoke(Command(resume="fine"), config(number))
        log: list[str] = app.invoke(Command(resume="seen"), config(number))["log"]
        return log

    async def afinish(number: int) -> list[str]:
        await app.ainvoke({"log": [str(number)]}, config(number))
        await app.ainvoke(Command(resume="fine"), config(number))
        log: list[str] = (await app.ainvoke(Command(resume="seen"), config(number)))["log"]
        return log

    async def all_of(numbers: range) -> list[list[str]]:
        return await asyncio.gather(*map(afinish, numbers))

    with ThreadPoolExecutor(6) as pool:
        on_loop = pool.submit(asyncio.run, all_of(range(10, 20)))
        logs = [*pool.map(finish, range(10)), *on_loop.result(60)]
    assert [log[0] for log in logs] == [str(number) for number in range(20)]
    assert {log[-1] for log in logs} == {"end"}


def test_10_000_supersteps_would_take_less_than_8_mb(
    store: RedisCheckpointer, raw_memory: Callable[[], int]
) -> None:
    supersteps = 500

    def say(state: MessagesState) -> Any:
        return {"messages": [AIMessage("x" * 500, id=str(len(state["messages"])))]}

    def path(state: MessagesState) -> str:
        return "say" if len(state["messages"]) < supersteps else "__end__"

    graph: StateGraph[MessagesState] = StateGraph(MessagesState)
    graph.add_node("say", say).add_edge(START, "say")
    graph.add_conditional_edges("say", path, ["say", "__end__"])
    config: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": supersteps + 1}
    graph.compile(store).invoke({"messages": []}, config)
    assert raw_memory() < supersteps * 800
    assert len(list(store.list(THREAD))) == supersteps + 2


@pytest.fixture
def raw_memory(url: str, prefix: str) -> Callable[[], int]:
    """What the keys of this test take on the server, in bytes."""
    import redis

    def measure() -> int:
        with redis.Redis.from_url(url) as client:
            keys = list(client.scan_iter(match=f"*{prefix}*"))
            return sum(client.memory_usage(key, samples=0) or 0 for key in keys)

    return measure
