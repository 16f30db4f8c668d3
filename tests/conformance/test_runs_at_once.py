"""Two calls on one branch: who has it, who waits, who gets a branch of his own.

Blocking and on an event loop, in memory and in SQLite; across processes: tests/crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from graphflow import (
    START,
    Checkpointer,
    CheckpointError,
    CompiledStateGraph,
    Fenced,
    HeadMoved,
    MemoryCheckpointer,
    StateGraph,
    ThreadBusy,
    interrupt,
)
from graphflow.checkpoint import leases
from graphflow.checkpoint.protocol import Lease
from graphflow.testing.material import lease, take_over
from graphflow_checkpointers.sqlite import SqliteCheckpointer

THREAD = {"configurable": {"thread_id": "t"}}
Call = Callable[..., Any]


def joined(left: list[str], right: list[str]) -> list[str]:
    return left + right


class State(TypedDict, total=False):
    log: Annotated[list[str], joined]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Checkpointer]:
    made: Checkpointer = MemoryCheckpointer()
    if request.param == "sqlite":
        made = SqliteCheckpointer(tmp_path / "threads.db")
    yield made
    made.close()


@pytest.fixture(params=["blocking", "on a loop"])
def invoke(request: pytest.FixtureRequest) -> Call:
    if request.param == "blocking":
        return lambda app, *given, **options: app.invoke(*given, **options)
    return lambda app, *given, **options: asyncio.run(app.ainvoke(*given, **options))


def single(node: Any, store: Checkpointer) -> CompiledStateGraph:
    return StateGraph(State).add_node("n", node).add_edge(START, "n").compile(store)


def says(word: str) -> Callable[[State], State]:
    return lambda _: {"log": [word]}


@contextlib.contextmanager
def held(store: Checkpointer, branch: str = "main") -> Iterator[None]:
    """Let somebody elsewhere run on a branch of the thread."""
    store.run(store.claim(lease(77, "t", branch), 60.0))
    yield
    store.run(store.release(lease(77, "t", branch)))


# -- who has it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_second_call_is_refused_before_any_node(
    store: Checkpointer, invoke: Call, durability: str
) -> None:
    app = single(says("n"), store)
    with held(store), pytest.raises(ThreadBusy) as busy:
        invoke(app, {}, THREAD, durability=durability)
    assert (busy.value.thread, busy.value.branch) == ("t", "main")
    assert busy.value.owner == lease(77).owner
    assert 50 < busy.value.retry_after <= 60
    assert store.run(store.branches("t")) == []
    assert invoke(app, {}, THREAD, durability=durability) == {"log": ["n"]}


def test_a_run_that_ended_in_any_way_has_left_its_branch(store: Checkpointer, invoke: Call) -> None:
    def ends(state: State) -> State:
        if state["log"][-1] == "fail":
            raise ValueError("boom")
        return {"log": [interrupt("?")] if state["log"][-1] == "ask" else []}

    app = single(ends, store)
    for word, ending in (("ask", None), ("fail", ValueError), ("end", None)):
        with pytest.raises(ending) if ending else contextlib.nullcontext():
            invoke(app, {"log": [word]}, THREAD)
        assert store.run(store.claim(lease(5), 60.0)) is None
        store.run(store.release(lease(5)))


def test_a_call_that_cannot_begin_has_left_the_branch(store: Checkpointer, invoke: Call) -> None:
    app = single(says("n"), store)
    with pytest.raises(Exception, match="no input"):
        invoke(app, None, THREAD)
    assert store.run(store.claim(lease(5), 60.0)) is None


def test_a_stream_has_its_branch_until_it_is_closed(store: Checkpointer) -> None:
    app = single(says("n"), store)
    stream = app.stream({}, THREAD, stream_mode="values")
    next(stream)
    with pytest.raises(ThreadBusy, match="close it"):
        app.invoke({}, THREAD)
    with pytest.raises(ThreadBusy):
        app.update_state(THREAD, {"log": ["edit"]}, "n")
    stream.close()
    assert app.invoke({}, THREAD)["log"][-1] == "n"


def test_a_stream_that_nobody_has_any_more_has_left_its_branch(store: Checkpointer) -> None:
    app = single(says("n"), store)
    stream = app.stream({}, THREAD, stream_mode="values")
    next(stream)
    del stream
    gc.collect()
    assert app.invoke({}, THREAD)["log"][-1] == "n"


def test_a_call_that_was_cancelled_has_left_its_branch(store: Checkpointer) -> None:
    async def n(_: State) -> State:
        await asyncio.sleep(60)
        return {}

    async def run() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(single(n, store).ainvoke({}, THREAD), 0.1)
        assert await single(says("next"), store).ainvoke({}, THREAD) == {"log": ["next"]}

    asyncio.run(run())


def test_other_threads_and_other_branches_are_free(store: Checkpointer, invoke: Call) -> None:
    app = single(says("n"), store)
    invoke(app, {}, THREAD)
    app.fork(THREAD, name="other")
    other = {"configurable": {"thread_id": "t", "branch": "other"}}
    with held(store):
        assert invoke(app, {}, {"configurable": {"thread_id": "u"}}) == {"log": ["n"]}
        assert invoke(app, {}, other)["log"] == ["n", "n"]
    with held(store, "other"), pytest.raises(ThreadBusy):
        invoke(app, {}, other)


def test_a_replay_runs_beside(store: Checkpointer, invoke: Call) -> None:
    app = single(says("n"), store)
    invoke(app, {}, THREAD)
    old = list(app.get_state_history(THREAD))[-1]
    with held(store):
        assert invoke(app, None, old.config) == {"log": ["n"]}


def test_edits_need_the_branch_and_leave_it(store: Checkpointer, invoke: Call) -> None:
    app = single(says("n"), store)
    invoke(app, {}, THREAD)
    with held(store):
        with pytest.raises(ThreadBusy):
            app.update_state(THREAD, {"log": ["edit"]}, "n")
        with pytest.raises(ThreadBusy):
            app.thread("t").edit({"log": []})
        assert app.get_state(THREAD).values == {"log": ["n"]}  # looking needs nothing
    app.update_state(THREAD, {"log": ["edit"]}, "n")
    app.thread("t").edit({"log": ["replaced"]})
    assert invoke(app, {}, THREAD)["log"] == ["replaced", "n"]


def test_of_many_calls_at_once_one_runs(store: Checkpointer) -> None:
    ran: list[int] = []
    refused = threading.Semaphore(0)

    def n(_: State) -> State:
        ran.append(1)
        for _ in range(7):
            assert refused.acquire(timeout=10)
        return {"log": ["n"]}

    app = single(n, store)

    def call(_: int) -> str:
        try:
            app.invoke({}, THREAD)
        except ThreadBusy:
            refused.release()
            return "busy"
        return "ran"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(call, range(8)))
    assert sorted(outcomes) == ["busy"] * 7 + ["ran"]
    assert ran == [1]


# -- who waits, and who goes aside -----------------------------------------------------------------


def test_a_call_waits_for_the_run_before_and_goes_on_from_its_end(
    store: Checkpointer, invoke: Call
) -> None:
    begun = threading.Event()

    def slow(_: State) -> State:
        begun.set()
        time.sleep(0.1)
        return {"log": ["slow"]}

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(single(slow, store).invoke, {}, THREAD)
        assert begun.wait(10)
        found = invoke(single(says("next"), store), {}, THREAD, on_busy="wait")
        assert found == {"log": ["slow", "next"]}
        assert first.result() == {"log": ["slow"]}


def test_a_call_waits_no_longer_than_it_was_told(store: Checkpointer, invoke: Call) -> None:
    with held(store):
        began = time.monotonic()
        with pytest.raises(ThreadBusy):
            invoke(single(says("n"), store), {}, THREAD, on_busy=0.1)
        assert time.monotonic() - began >= 0.1


def test_a_call_gets_a_branch_of_its_own(store: Checkpointer, invoke: Call) -> None:
    app = single(says("n"), store)
    invoke(app, {}, THREAD)
    with held(store):
        assert invoke(app, {"log": ["aside"]}, THREAD, on_busy="fork")["log"] == ["n", "aside", "n"]
    names = app.branches("t")
    assert list(names) == ["main", "fork-3"]
    assert app.thread("t", branch="main").values == {"log": ["n"]}


def test_a_call_gets_a_branch_of_its_own_where_nothing_is_stored_yet(
    store: Checkpointer, invoke: Call
) -> None:
    app = single(says("n"), store)
    with held(store):
        assert invoke(app, {}, THREAD, on_busy="fork") == {"log": ["n"]}
    assert list(app.branches("t")) == ["fork-main"]


@pytest.mark.parametrize("given", ["later", -1, True, None])
def test_an_on_busy_that_says_nothing_is_refused(store: Checkpointer, given: Any) -> None:
    with pytest.raises(ValueError, match="on_busy must be"):
        single(says("n"), store).invoke({}, THREAD, on_busy=given)


# -- how long --------------------------------------------------------------------------------------


def test_a_lease_is_renewed_while_a_node_takes_its_time(store: Checkpointer, invoke: Call) -> None:
    store.lease_seconds = 0.2
    seen: list[Any] = []

    def slow(_: State) -> State:
        for _ in range(4):
            time.sleep(0.15)
            seen.append(store.run(store.claim(lease(5), 60.0)))
        return {"log": ["slow"]}

    assert invoke(single(slow, store), {}, THREAD, durability="sync") == {"log": ["slow"]}
    assert all(holder is not None and holder.seconds_left > 0 for holder in seen)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_who_lost_the_branch_stores_nothing_more(
    store: Checkpointer, invoke: Call, durability: str
) -> None:
    def sleeper(_: State) -> State:
        take_over(store)
        single(says("successor"), store).update_state(THREAD, {"log": ["successor"]}, "n")
        return {"log": ["sleeper"]}

    refusals = {"sync": Fenced, "async": (Fenced, HeadMoved), "exit": HeadMoved}
    with pytest.raises(refusals[durability]):  # `HeadMoved`: its branch was not there yet
        invoke(single(sleeper, store), {"log": ["given"]}, THREAD, durability=durability)
    stored = single(says("n"), store).get_state(THREAD).values["log"]
    assert stored[-1] == "successor"
    assert "sleeper" not in stored


def test_who_lost_the_branch_and_was_told_runs_no_further_node(store: Checkpointer) -> None:
    """With durability `exit`, too, which would find out at the end only."""
    store.lease_seconds = 0.1
    ran: list[str] = []

    def sleeper(_: State) -> State:
        take_over(store)
        time.sleep(0.3)
        return {"log": ["sleeper"]}

    graph = StateGraph(State).add_sequence([("a", sleeper), ("b", lambda _: ran.append("b"))])
    with pytest.raises(Fenced):
        graph.add_edge(START, "a").compile(store).invoke({}, THREAD, durability="exit")
    assert ran == []


def test_a_graph_inside_of_who_lost_the_branch_stores_nothing(store: Checkpointer) -> None:
    def sleeper(_: State) -> State:
        take_over(store)
        return {"log": ["sleeper"]}

    inner = StateGraph(State).add_node("in", sleeper).add_edge(START, "in").compile(True)
    with pytest.raises(Fenced):
        single(inner, store).invoke({"log": ["given"]}, THREAD, durability="sync")
    (scope,) = [scope for scope in store.run(store.scopes("t")) if scope]
    (branch,) = store.run(store.branches("t", scope))
    assert len(store.run(store.frames(branch.id, -1, branch.head))) == 2  # its input, before


def test_a_store_that_fails_to_renew_is_asked_again(store: Checkpointer) -> None:
    store.lease_seconds = 0.2
    attempts: list[int] = []
    renew = store.renew

    def failing(lease: Lease, seconds: float) -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            take_nothing = store.append(12345, 7, [], drop_rows=True)
            yield from take_nothing  # raises a CheckpointError of some kind
            raise AssertionError
        return (yield from renew(lease, seconds))

    store.renew = failing  # type: ignore[method-assign]

    def slow(_: State) -> State:
        time.sleep(0.3)
        return {"log": ["slow"]}

    assert single(slow, store).invoke({}, THREAD) == {"log": ["slow"]}
    assert len(attempts) > 1


# -- who is gone -----------------------------------------------------------------------------------


def test_of_this_process_the_runs_that_are_going_on_are_known() -> None:
    store = MemoryCheckpointer()
    claim = leases.Claim(store)
    store.run(claim.take("t", "main"))
    assert claim.lease is not None
    owner = claim.lease.owner
    assert not leases.is_over(owner)
    claim.forget()
    assert leases.is_over(owner)


def test_of_this_machine_processes_are_known_and_of_others_not() -> None:
    machine, process, start = leases.own_place().split("/")
    assert leases.is_over(f"{machine}/999999999/{start}/1")
    assert leases.is_over(f"{machine}/{process}/{start}9/1")  # the number was given again
    assert not leases.is_over(f"{machine}/1/{leases._start_of(1)}/1")
    assert not leases.is_over(f"elsewhere/999999999/{start}/1")
    assert not leases.is_over("whatever somebody else writes there")
    assert leases.is_over(f"{machine}/999999999//1")
    assert not leases.is_over(f"{machine}/1//1")


# -- who is just leaving ---------------------------------------------------------------------------


def two_nodes(store: Checkpointer) -> CompiledStateGraph:
    async def n(_: State) -> State:
        return {"log": ["n"]}

    graph = StateGraph(State).add_node("a", n).add_node("b", n)
    return graph.add_edge(START, "a").add_edge("a", "b").compile(store)


def test_a_stream_that_was_left_is_no_obstacle_on_its_loop(store: Checkpointer) -> None:
    """It is closed by the loop a little later."""
    app = two_nodes(store)

    async def run() -> None:
        async for _ in app.astream({}, THREAD):
            break
        assert (await app.ainvoke(None, THREAD))["log"] == ["n", "n"]
        async for _ in app.astream({}, THREAD):
            break
        await app.aupdate_state(THREAD, {"log": ["edit"]}, "b")
        async for _ in app.astream({}, THREAD):
            break
        await app.thread("t").app.aedit_state(THREAD, {"log": []})

    asyncio.run(run())


def test_a_call_that_is_being_cancelled_is_no_obstacle_on_its_loop(store: Checkpointer) -> None:
    async def run() -> None:
        has_begun = asyncio.Event()

        async def endless(_: State) -> State:
            has_begun.set()
            await asyncio.Event().wait()
            return {}

        first = asyncio.ensure_future(single(endless, store).ainvoke({}, THREAD))
        await has_begun.wait()
        first.cancel()
        assert await single(says("next"), store).ainvoke({}, THREAD) == {"log": ["next"]}

    asyncio.run(run())


def test_a_run_that_goes_on_is_waited_for_no_longer_than_a_moment(store: Checkpointer) -> None:
    async def run() -> None:
        stream = two_nodes(store).astream({}, THREAD)
        await anext(stream)
        began = time.monotonic()
        with pytest.raises(ThreadBusy):
            await single(says("n"), store).ainvoke({}, THREAD)
        assert time.monotonic() - began >= leases.LEAVING_SECONDS
        await stream.aclose()

    asyncio.run(run())


def test_a_stream_may_outlive_its_store(tmp_path: Path) -> None:
    """Whoever forgets it must not read of it when it is collected."""
    store = SqliteCheckpointer(tmp_path / "threads.db")
    stream = single(says("n"), store).stream({}, THREAD, stream_mode="values", durability="sync")
    next(stream)
    store.close()
    stream.close()
    with pytest.raises(CheckpointError, match="closed"):
        store.run(store.threads())


def test_a_lease_that_is_waited_for_is_not_renewed_yet() -> None:
    """A database may let a claim wait for longer than a lease lasts."""
    store = MemoryCheckpointer()
    claim = leases.Claim(store)

    def slow(lease: Any, seconds: float, over: str = "") -> Any:
        claim.renew()
        return None
        yield

    store.claim = slow  # type: ignore[method-assign]  # a store that lets the claim wait
    store.run(claim.take("t", "main"))
    claim.check()
    claim.renew()  # nobody granted it
    with pytest.raises(Fenced):
        claim.check()
    claim.forget()
