"""Servers that die, hang or restart, and connections that break when a commit has been sent."""

from __future__ import annotations

import asyncio
import operator
import signal
from collections.abc import Callable, Iterator
from itertools import count
from typing import Annotated, Any, TypedDict

import pytest

from graphflow import (
    START,
    AlreadyAnswered,
    CheckpointError,
    CompiledStateGraph,
    HeadMoved,
    StateGraph,
    StoreFullError,
)
from graphflow.checkpoint.protocol import MAIN, Branch, Operation
from graphflow.testing.material import BODY, answer, result, stored
from graphflow_checkpointers.redis import RedisCheckpointer

THREAD: Any = {"configurable": {"thread_id": "t"}}
Servers = Callable[..., Any]
pytestmark = pytest.mark.filterwarnings("ignore::graphflow.errors.GraphWarning")


class State(TypedDict):
    log: Annotated[list[str], operator.add]


def line(*nodes: tuple[str, Callable[[State], Any]]) -> StateGraph[State]:
    """Return a graph that runs these one after the other."""
    graph: StateGraph[State] = StateGraph(State)
    graph.add_sequence(nodes)
    return graph.add_edge(START, nodes[0][0])


def writes(name: str) -> Callable[[State], Any]:
    return lambda state: {"log": [f"{name} after {len(state['log'])}"]}


def does(work: Callable[[], object]) -> Callable[[State], Any]:
    """Return a node that does something the first time it is called."""
    calls = count()

    def node(state: State) -> Any:
        if next(calls) == 0:
            work()
        return {"log": ["done"]}

    return node


def blocking(app: CompiledStateGraph, given: Any, durability: Any = "sync") -> Any:
    return app.invoke(given, THREAD, durability=durability)


def on_loop(app: CompiledStateGraph, given: Any, durability: Any = "sync") -> Any:
    return asyncio.run(app.ainvoke(given, THREAD, durability=durability))


either = pytest.mark.parametrize("run", [blocking, on_loop])

# -- servers -----------------------------------------------------------------------------------


@either
def test_a_run_survives_a_crash_of_the_server(start_server: Servers, run: Any) -> None:
    server = start_server(appendfsync="always")

    def restart() -> None:
        server.kill()
        server.start()

    graph = line(("a", writes("a")), ("restart", does(restart)), ("b", writes("b")))
    with RedisCheckpointer(server.url, durability="full", patience=30) as store:
        app = graph.compile(store)
        assert run(app, {"log": []})["log"] == ["a after 0", "done", "b after 2"]
        assert len(list(app.get_state_history(THREAD))) == 5


@either
def test_a_server_that_is_down_ends_the_run_and_loses_nothing(
    start_server: Servers, run: Any
) -> None:
    server = start_server(appendfsync="always")
    graph = line(("a", writes("a")), ("kill", does(server.kill)), ("b", writes("b")))
    with RedisCheckpointer(server.url, durability="full", patience=0) as store:
        app = graph.compile(store)
        with pytest.raises(CheckpointError, match=rf"127\.0\.0\.1:{server.port} does not answer"):
            run(app, {"log": []})
        with pytest.raises(CheckpointError, match=r"invoke\(None, config\)"):
            app.get_state(THREAD)
        server.start()
        assert app.get_state(THREAD).values == {"log": ["a after 0"]}
        assert run(app, None)["log"] == ["a after 0", "done", "b after 2"]


def test_a_store_is_not_made_without_a_server(start_server: Servers) -> None:
    server = start_server()
    server.kill()
    with pytest.raises(CheckpointError, match=rf"127\.0\.0\.1:{server.port} does not answer"):
        RedisCheckpointer(server.url, patience=0)


def test_a_server_that_hangs_is_told(start_server: Servers) -> None:
    server = start_server()
    with RedisCheckpointer(f"{server.url}?socket_timeout=0.1", patience=0) as store:
        server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(CheckpointError, match="does not answer"):
                store.run(store.threads())
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert store.run(store.threads()) == []


def test_a_server_that_became_a_replica_is_left_for_the_one_at_its_address(
    start_server: Servers, proxy: Any
) -> None:
    old, new = start_server(), start_server()
    proxy.server_port = old.port
    with RedisCheckpointer(proxy.url, patience=30) as store:
        store.run(wish("REPLICAOF", "127.0.0.1", new.port))
        proxy.server_port = new.port
        store.run(store.create_branch("t", "", MAIN, None, -1))
    with RedisCheckpointer(new.url) as store:
        assert store.run(store.threads()) == ["t"]


def test_a_replica_is_told_and_what_to_do(start_server: Servers) -> None:
    old, new = start_server(), start_server()
    with RedisCheckpointer(old.url, patience=0) as store:
        store.run(wish("REPLICAOF", "127.0.0.1", new.port))
        with pytest.raises(CheckpointError, match="address of the primary"):
            store.run(store.create_branch("t", "", MAIN, None, -1))


def test_a_full_server_keeps_what_was_committed_and_the_run_goes_on_later(
    start_server: Servers,
) -> None:
    server = start_server()
    with RedisCheckpointer(server.url) as store:
        limits = iter(["1mb", "0"])

        def limit() -> None:
            store.run(wish("CONFIG SET", "maxmemory", next(limits)))

        app = line(("a", writes("a")), ("fill", does(limit)), ("b", writes("b"))).compile(store)
        with pytest.raises(StoreFullError, match="This superstep is not stored"):
            blocking(app, {"log": []})
        assert app.get_state(THREAD).values == {"log": ["a after 0"]}
        limit()
        assert blocking(app, None)["log"] == ["a after 0", "done", "b after 2"]


def wish(*command: str | int) -> Operation[None]:
    """Have the server do something that no store asks for."""
    yield lambda session: session.ask(*command)


# -- answers that are lost ---------------------------------------------------------------------


@pytest.fixture
def other(url: str, prefix: str) -> Iterator[RedisCheckpointer]:
    """A store that reaches the server."""
    with RedisCheckpointer(url, prefix=prefix) as store:
        yield store


@pytest.fixture
def store(proxy: Any, prefix: str, other: RedisCheckpointer) -> Iterator[RedisCheckpointer]:
    """The same one, whose answers may be lost; it asks again."""
    with RedisCheckpointer(proxy.url, prefix=prefix, patience=30) as store:
        yield store


@pytest.fixture
def branch(store: RedisCheckpointer) -> Branch:
    """A branch with a frame, an answer in its open superstep, and a snapshot."""
    made = store.run(store.create_branch("t", "", MAIN, None, -1))
    store.run(store.append(made.id, -1, stored(0), drop_rows=False))
    store.run(store.put_rows(made.id, 0, [answer(0)], []))
    store.run(store.put_snapshot(made.id, 0, BODY))
    return made


def test_frames_whose_answer_was_lost_are_stored_once(
    store: RedisCheckpointer, branch: Branch, proxy: Any
) -> None:
    proxy.lose()
    store.run(store.append(branch.id, 0, stored(1, 2), drop_rows=True))
    assert proxy.has_lost
    store.run(store.append(branch.id, 2, stored(3), drop_rows=False))
    assert store.run(store.frames(branch.id, -1, 9)) == stored(0, 1, 2, 3)


def test_frames_whose_answer_was_lost_are_known_when_somebody_went_on_from_them(
    store: RedisCheckpointer, other: RedisCheckpointer, branch: Branch, proxy: Any
) -> None:
    proxy.lose(then=lambda: other.run(other.append(branch.id, 1, stored(2), drop_rows=False)))
    store.run(store.append(branch.id, 0, stored(1), drop_rows=False))
    assert proxy.has_lost
    assert store.run(store.frames(branch.id, -1, 9)) == stored(0, 1, 2)


def test_the_same_frame_of_somebody_else_is_somebody_elses(
    store: RedisCheckpointer, other: RedisCheckpointer, branch: Branch
) -> None:
    other.run(other.append(branch.id, 0, stored(1), drop_rows=False))
    with pytest.raises(HeadMoved, match="is at 1, not at 0"):
        store.run(store.append(branch.id, 0, stored(1), drop_rows=False))


def test_an_answer_that_was_lost_on_its_way_back_is_taken_once(
    store: RedisCheckpointer, other: RedisCheckpointer, branch: Branch, proxy: Any
) -> None:
    proxy.lose()
    store.run(store.put_rows(branch.id, 0, [answer(1, b"mine")], []))
    assert proxy.has_lost
    with pytest.raises(AlreadyAnswered, match="Question 2"):
        other.run(other.put_rows(branch.id, 0, [answer(1, b"mine")], []))
    assert store.run(store.rows(branch.id, 0)) == [answer(0), answer(1, b"mine")]


def test_a_withdrawal_whose_answer_was_lost_does_not_withdraw_what_came_since(
    store: RedisCheckpointer, other: RedisCheckpointer, branch: Branch, proxy: Any
) -> None:
    later = other.put_rows(branch.id, 0, [answer(0, b"better")], [])
    proxy.lose(then=lambda: other.run(later))
    store.run(store.put_rows(branch.id, 0, [], [answer(0)]))
    assert proxy.has_lost
    assert store.run(store.rows(branch.id, 0)) == [answer(0, b"better")]


@pytest.mark.parametrize("number", [0, 1])
def test_a_branch_whose_answer_was_lost_is_made_once(
    store: RedisCheckpointer, branch: Branch, proxy: Any, number: int
) -> None:
    proxy.lose(number)
    fork = store.run(store.create_branch("t", "", "fork", branch.id, 0))
    assert proxy.has_lost
    assert store.run(store.branches("t"))[1:] == [fork]
    assert fork.ordinal == 1


@pytest.mark.parametrize("number", [0, 1])
def test_a_transaction_whose_answer_was_lost_is_there_once(
    store: RedisCheckpointer, branch: Branch, proxy: Any, number: int
) -> None:
    def fork() -> Operation[Branch]:
        yield from store.begin(write=True)
        made = yield from store.create_branch("t", "", "fork", branch.id, 0)
        yield from store.append(made.id, 0, stored(1), drop_rows=False)
        yield from store.put_rows(made.id, 1, [answer(0)], [])
        yield from store.end()
        return made

    proxy.lose(number)
    made = store.run(fork())
    assert proxy.has_lost
    assert store.run(store.branches("t"))[1:] == [made._replace(head=1)]
    assert store.run(store.frames(made.id, -1, 9)) == stored(1)
    assert store.run(store.rows(made.id, 1)) == [answer(0)]


@pytest.mark.parametrize("number", [0, 1])
def test_a_thread_whose_removal_is_repeated_is_gone(
    store: RedisCheckpointer, branch: Branch, proxy: Any, number: int
) -> None:
    proxy.lose(number)
    store.run(store.remove_thread("t"))
    assert proxy.has_lost
    assert store.run(store.threads()) == []


def test_a_thread_that_is_made_anew_before_its_removal_is_repeated_stays(
    store: RedisCheckpointer, other: RedisCheckpointer, branch: Branch, proxy: Any
) -> None:
    anew = other.create_branch("t", "", MAIN, None, -1)
    proxy.lose(1, then=lambda: other.run(anew))
    store.run(store.remove_thread("t"))
    assert proxy.has_lost
    assert [found.head for found in store.run(store.branches("t"))] == [-1]


def test_everything_that_is_read_can_be_read_again(
    store: RedisCheckpointer, branch: Branch, proxy: Any
) -> None:
    store.run(store.put_rows(branch.id, 0, [result(7)], []))
    seen: list[tuple[Callable[[], Operation[Any]], Any]] = [
        (lambda: store.branches("t"), [branch._replace(head=0)]),
        (lambda: store.frames(branch.id, -1, 0), stored(0)),
        (lambda: store.rows(branch.id, 0), [answer(0), result(7)]),
        (lambda: store.snapshot(branch.id, 0), (0, BODY)),
        (store.threads, ["t"]),
    ]
    for look, expected in seen:
        proxy.lose()
        assert store.run(look()) == expected
        assert proxy.has_lost
