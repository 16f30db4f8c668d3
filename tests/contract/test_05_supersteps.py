"""Contract §5: the superstep loop."""

import asyncio
import operator
import threading
import time
from contextlib import suppress
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, EmptyInputError, InvalidUpdateError, Send, StateGraph, interrupt
from graphflow.testing.simulation import Crash, Simulation

pytestmark = pytest.mark.simulated


class Log(TypedDict):
    log: Annotated[list[Any], operator.add]


def says(name: str) -> Any:
    return lambda _: {"log": [name]}


def chain(*names: str) -> Any:
    nodes = [(name, says(name)) for name in names]
    return StateGraph(Log).add_sequence(nodes).add_edge(START, names[0])


def beside(**nodes: Any) -> Any:
    graph = StateGraph(Log)
    for name, node in nodes.items():
        graph.add_node(name, node).add_edge(START, name)
    return graph


def told(shots: list[Any]) -> list[tuple[str, int]]:
    """Return source and step of checkpoints, oldest first."""
    return [(shot.metadata["source"], shot.metadata["step"]) for shot in reversed(shots)]


def test_5_1_each_superstep_is_one_checkpoint(call, saver, thread):
    app = chain("a", "b").compile(saver)
    call.invoke(app, {"log": ["i"]}, thread)
    shots = call.history(app, thread)
    assert told(shots) == [("input", -1), ("loop", 0), ("loop", 1), ("loop", 2)]
    assert [shot.values["log"] for shot in reversed(shots)] == [
        [], ["i"], ["i", "a"], ["i", "a", "b"],
    ]  # fmt: skip
    assert [shot.next for shot in reversed(shots)] == [("__start__",), ("a",), ("b",), ()]


def test_5_1_step_numbers_continue_in_a_second_run(call, saver, thread):
    app = chain("a").compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.invoke(app, {"log": []}, thread)
    assert told(call.history(app, thread))[3:] == [("input", 2), ("loop", 3), ("loop", 4)]


def test_5_2_new_input_on_a_paused_thread_starts_over(call, saver, thread):
    app = chain("a", "b").compile(saver, interrupt_before=["b"])
    call.invoke(app, {"log": ["1"]}, thread)
    assert call.invoke(app, {"log": ["2"]}, thread) == {"log": ["1", "a", "2", "a"]}


def test_5_2_new_input_discards_what_finished_siblings_wrote(call, saver, thread):
    app = beside(a=says("a"), b=lambda _: {"log": [interrupt("?")]}).compile(saver)
    call.invoke(app, {"log": ["1"]}, thread)
    app_again = beside(a=says("a"), b=says("b")).compile(saver)
    assert call.invoke(app_again, {"log": ["2"]}, thread) == {"log": ["1", "2", "a", "b"]}


def test_5_2_new_input_on_a_failed_thread_starts_over(call, saver, thread):
    def bad(_: Log) -> None:
        raise ValueError("boom")

    app = beside(a=says("a"), bad=bad).compile(saver)
    for given in "12":
        with pytest.raises(ValueError, match="boom"):
            call.invoke(app, {"log": [given]}, thread)
    app = beside(a=says("a"), bad=says("good")).compile(saver)
    assert call.invoke(app, {"log": ["3"]}, thread) == {"log": ["1", "2", "3", "a", "good"]}


def test_5_2_new_input_works_where_the_graph_lost_the_node_that_was_next(call, saver, thread):
    call.invoke(chain("a", "b").compile(saver, interrupt_before=["b"]), {"log": ["1"]}, thread)
    app = chain("c").compile(saver)
    with pytest.raises(InvalidUpdateError, match="'b'"):
        call.invoke(app, None, thread)
    assert call.invoke(app, {"log": ["2"]}, thread) == {"log": ["1", "a", "2", "c"]}


@pytest.mark.simulated(False)  # its nodes wait for each other
def test_5_3_tasks_of_a_superstep_run_at_the_same_time(call):
    barrier = threading.Barrier(3, timeout=5)

    def meets(_: Log) -> None:
        barrier.wait()

    app = beside(a=meets, b=meets, c=meets).compile()
    assert call.invoke(app, {"log": []}) == {"log": []}


@pytest.mark.simulated(False)  # its nodes wait for each other
def test_5_3_async_tasks_of_a_superstep_run_at_the_same_time(call):
    async def meets(_: Log) -> None:
        arrived.append(1)
        async with asyncio.timeout(5):
            while len(arrived) < 2:
                await asyncio.sleep(0.001)

    arrived: list[int] = []
    call.invoke(beside(a=meets, b=meets).compile(), {"log": []})
    assert len(arrived) == 2


@pytest.mark.simulated(False)  # its nodes wait for each other
@pytest.mark.parametrize("limit", [1, 2])
def test_5_3_max_concurrency_bounds_the_tasks_at_once(call, limit):
    barrier = threading.Barrier(limit, timeout=5)
    running: list[int] = []
    most: list[int] = []

    def node(arg: int) -> None:
        running.append(arg)
        most.append(len(running))
        barrier.wait()
        running.remove(arg)

    graph = StateGraph(Log).add_node("n", node)
    graph.add_conditional_edges(START, lambda _: [Send("n", i) for i in range(6)], ["n"])
    call.invoke(graph.compile(), {"log": []}, {"max_concurrency": limit})
    assert max(most) == limit


@pytest.mark.simulated(False)  # its nodes wait for each other
def test_5_3_max_concurrency_bounds_async_tasks_too(call):
    running: list[int] = []
    most: list[int] = []

    async def node(arg: int) -> None:
        running.append(arg)
        most.append(len(running))
        await asyncio.sleep(0.002)
        running.remove(arg)

    graph = StateGraph(Log).add_node("n", node)
    graph.add_conditional_edges(START, lambda _: [Send("n", i) for i in range(6)], ["n"])
    call.invoke(graph.compile(), {"log": []}, {"max_concurrency": 2})
    assert max(most) == 2


@pytest.mark.simulated(False)  # its tasks take no time on the driver's clock
@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_5_4_superstep_that_takes_too_long_fails_the_run(call, saver, thread, kind):
    gate = threading.Event()

    async def stuck(_: Log) -> None:
        await asyncio.sleep(60)

    def blocked(_: Log) -> None:
        gate.wait(60)

    nodes = {"stuck": stuck if kind == "async" else blocked, "quick": says("quick")}
    app = beside(**nodes).compile(saver)
    app.step_timeout = 0.5
    try:
        with pytest.raises(TimeoutError, match=r"Superstep 1 took longer than 0\.5 s"):
            call.invoke(app, {"log": []}, thread)
    finally:
        gate.set()
    assert call.state(app, thread).next == ("stuck",)


@pytest.mark.simulated(False)  # its tasks take no time on the driver's clock
def test_5_4_async_tasks_of_a_late_superstep_are_cancelled():
    seen: list[str] = []

    async def stuck(_: Log) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    app = beside(stuck=stuck).compile()
    app.step_timeout = 0.05
    with pytest.raises(TimeoutError):
        asyncio.run(app.ainvoke({"log": []}))
    assert seen == ["cancelled"]


@pytest.mark.simulated(False)  # its tasks take no time on the driver's clock
def test_5_4_time_is_that_of_each_superstep(call):
    async def brief(_: Log) -> Log:
        await asyncio.sleep(0.5)
        return {"log": ["brief"]}

    nodes = [(name, brief) for name in "abc"]
    app = StateGraph(Log).add_sequence(nodes).add_edge(START, "a").compile()
    app.step_timeout = 1.2
    assert call.invoke(app, {"log": []}) == {"log": ["brief"] * 3}


@pytest.mark.simulated(False)  # its tasks take no time on the driver's clock
def test_5_4_time_of_a_slow_consumer_counts(call):
    goes_on = threading.Event()

    async def slow(_: Log) -> Log:
        while not goes_on.is_set():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # less than what a superstep may take
        return {"log": ["done"]}

    app = beside(quick=says("quick"), slow=slow).compile()
    app.step_timeout = 0.3

    def dawdle() -> None:
        time.sleep(0.4)
        goes_on.set()

    def consume() -> None:
        for _ in app.stream({"log": []}):
            dawdle()

    async def aconsume() -> None:
        async for _ in app.astream({"log": []}):
            dawdle()

    on_loop = type(call).__name__ == "OnLoop"
    with pytest.raises(TimeoutError):
        asyncio.run(aconsume()) if on_loop else consume()


@pytest.mark.simulated(False)  # its tasks take no time on the driver's clock
def test_5_4_thread_goes_on_after_a_late_superstep(call, saver, thread):
    pauses = [60.0, 0.0]

    async def stuck_once(_: Log) -> Log:
        await asyncio.sleep(pauses.pop(0))
        return {"log": ["at last"]}

    app = beside(stuck=stuck_once, quick=says("quick")).compile(saver)
    app.step_timeout = 0.5
    with pytest.raises(TimeoutError):
        call.invoke(app, {"log": []}, thread)
    app.step_timeout = 60
    assert call.invoke(app, None, thread) == {"log": ["quick", "at last"]}


def test_5_4_superstep_in_time_is_not_disturbed(call):
    app = chain("a", "b").compile()
    app.step_timeout = 60
    assert call.invoke(app, {"log": []}) == {"log": ["a", "b"]}


@pytest.mark.simulated(False)  # its nodes wait for each other
def test_5_5_writes_of_finished_siblings_survive_a_failure(call, saver, thread):
    runs, good_ran = {"good": 0, "bad": 0}, threading.Event()

    def good(_: Log) -> Log:
        runs["good"] += 1
        good_ran.set()
        return {"log": ["good"]}

    def bad(_: Log) -> Log:
        runs["bad"] += 1
        assert good_ran.wait(5)
        if runs["bad"] == 1:
            time.sleep(0.02)
            raise RuntimeError("once")
        return {"log": ["bad"]}

    app = beside(good=good, bad=bad).compile(saver)
    with pytest.raises(RuntimeError, match="once"):
        call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, None, thread) == {"log": ["bad", "good"]}
    assert runs == {"good": 1, "bad": 2}


def test_5_5_failure_cancels_async_siblings():
    cancelled = []

    async def slow(_: Log) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append("slow")
            raise

    async def bad(_: Log) -> None:
        await asyncio.sleep(0.005)
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        asyncio.run(beside(slow=slow, bad=bad).compile().ainvoke({"log": []}))
    assert cancelled == ["slow"]


def test_5_5_tasks_beside_an_interrupt_run_to_the_end(call, saver, thread):
    def slow(_: Log) -> Log:
        time.sleep(0.02)
        return {"log": ["slow"]}

    app = beside(asks=lambda _: {"log": [interrupt("?")]}, slow=slow).compile(saver)
    assert call.invoke(app, {"log": []}, thread)["log"] == ["slow"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("seed", range(3))
def test_5_5_what_was_finished_before_a_crash_does_not_run_again(
    saver, thread, moment, number, seed
):
    ran: list[str] = []

    def notes(name: str) -> Any:
        return lambda _: ran.append(name) or {"log": [name]}

    graph = StateGraph(Log).add_sequence([("a", notes("a")), ("b", notes("b"))])
    graph.add_node("c", notes("c")).add_edge("a", "c").add_node("d", notes("d"))
    app = graph.add_edge(START, "a").add_edge(["b", "c"], "d").compile(saver)
    with suppress(Crash):
        Simulation(app, seed, lambda *now: now == (moment, number)).invoke({"log": []}, thread)
    found = app.get_state(thread)
    finished = {task.name for task in found.tasks if task.result is not None}
    ran.clear()
    given = None if found.metadata else {"log": []}
    assert Simulation(app, seed).invoke(given, thread) == {"log": ["a", "b", "c", "d"]}
    assert finished.isdisjoint(ran)


def test_5_6_empty_input_is_valid(call, saver, thread):
    assert call.invoke(chain("a").compile(saver), {}, thread) == {"log": ["a"]}


def test_5_6_none_as_input_of_a_fresh_thread_is_refused(call, saver, thread):
    with pytest.raises(EmptyInputError, match="Received no input for __start__"):
        call.invoke(chain("a").compile(saver), None, thread)


def test_5_6_none_as_input_without_checkpointer_is_refused(call):
    with pytest.raises(EmptyInputError):
        call.invoke(chain("a").compile(), None)


@pytest.mark.parametrize("given", ["text", 5, ["x"]])
def test_5_6_input_without_keys_is_refused(call, given):
    with pytest.raises(InvalidUpdateError):
        call.invoke(chain("a").compile(), given)


@pytest.mark.parametrize("given", [[], [("log", ["x"])], ()], ids=repr)
def test_5_6_list_of_pairs_is_no_input(call, given):
    with pytest.raises(InvalidUpdateError):
        call.invoke(chain("a").compile(), given)


def test_5_7_snapshots_list_sends_first_then_nodes_as_they_were_added(call, saver, thread):
    graph = beside(z=says("z"), a=says("a")).add_node("s", says("s"))
    graph.add_conditional_edges(START, lambda _: [Send("s", 1)], ["s"])
    app = graph.compile(saver, interrupt_before="*")
    call.invoke(app, {"log": []}, thread)
    assert call.state(app, thread).next == ("s", "z", "a")
