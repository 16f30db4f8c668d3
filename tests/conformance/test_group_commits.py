"""Commits that come at the same time share a transaction, and nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from graphflow import HeadMoved, StoreFullError
from graphflow.checkpoint.protocol import MAIN, Branch, Operation, StoredFrame
from graphflow.testing.material import lease, result, stored
from graphflow_checkpointers import sqlite_group
from graphflow_checkpointers.sqlite import SqliteCheckpointer

COUNT = 8


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteCheckpointer]:
    with SqliteCheckpointer(tmp_path / "threads.db") as made:
        yield made


def lines(store: SqliteCheckpointer, count: int = COUNT) -> list[Branch]:
    made = [store.run(store.create_branch(f"t{n}", "", MAIN, None, -1)) for n in range(count)]
    for branch in made:
        store.run(store.append(branch.id, -1, stored(0), drop_rows=False))
    return made


def at_once(
    store: SqliteCheckpointer, operations: list[Operation[Any]]
) -> tuple[list[Future[Any]], list[str]]:
    """Have all operations wait for the connection, then give it to one of them."""
    texts: list[str] = []
    store._connection.set_trace_callback(texts.append)
    with ThreadPoolExecutor(len(operations)) as pool, store._file.lock:
        futures = [pool.submit(store.run, operation) for operation in operations]
        while len(store._group._queue) < len(operations):
            time.sleep(0.001)
    store._connection.set_trace_callback(None)
    return futures, texts


def heads(store: SqliteCheckpointer) -> list[int]:
    return [store.run(store.branches(f"t{n}"))[0].head for n in range(COUNT)]


def test_commits_that_come_at_once_wait_for_the_disk_once(store: SqliteCheckpointer) -> None:
    operations = [store.append(b.id, 0, stored(1), drop_rows=False) for b in lines(store)]
    futures, texts = at_once(store, operations)
    assert [future.result() for future in futures] == [None] * COUNT
    assert heads(store) == [1] * COUNT
    assert texts.count("COMMIT") == 1


def test_more_commits_than_fit_into_one_transaction_are_all_carried_out(
    store: SqliteCheckpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the last one, whose caller is the one that works them off."""
    monkeypatch.setattr(sqlite_group, "AT_MOST", 2)
    branches = lines(store)
    tickets = [
        store._group.put(store.append(branch.id, 0, stored(1), drop_rows=False))
        for branch in branches
    ]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(store._group.finish, tickets[-1]).result()
    assert heads(store) == [1] * COUNT
    assert all(ticket.is_done for ticket in tickets)


def test_the_main_thread_does_only_its_own_so_ctrl_c_ends_nothing_else(
    store: SqliteCheckpointer,
) -> None:
    branches = lines(store)
    theirs = [
        store._group.put(store.append(branch.id, 0, stored(1), drop_rows=False))
        for branch in branches[1:]
    ]

    def interrupted() -> Operation[None]:
        yield from store.begin(write=True)
        yield from store.append(branches[0].id, 0, stored(1), drop_rows=False)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.run(interrupted())
    assert not any(ticket.is_done for ticket in theirs)
    assert heads(store) == [0] * COUNT
    with ThreadPoolExecutor(1) as pool:
        pool.submit(store._group.finish, theirs[0]).result()
    assert heads(store) == [0, *[1] * (COUNT - 1)]


def test_of_commits_in_one_transaction_each_is_refused_alone(store: SqliteCheckpointer) -> None:
    branches = lines(store)
    for branch in branches:
        store.run(store.put_rows(branch.id, 0, [result(0)], []))
    operations = [
        store.append(branch.id, 0 if n % 2 else 5, stored(6, 7), drop_rows=True)
        for n, branch in enumerate(branches)
    ]
    futures, texts = at_once(store, operations)
    errors = [type(future.exception()) for future in futures]
    assert errors == [HeadMoved, type(None)] * (COUNT // 2)
    assert heads(store) == [0, 7] * (COUNT // 2)
    standing = zip(branches, heads(store), strict=True)
    rows = [len(store.run(store.rows(branch.id, head))) for branch, head in standing]
    assert rows == [1, 0] * (COUNT // 2)
    assert texts.count("COMMIT") == 1


def test_what_else_comes_is_done_beside(store: SqliteCheckpointer) -> None:
    branches = lines(store)
    operations: list[Operation[Any]] = [
        store.append(branches[0].id, 0, stored(1), drop_rows=False),
        store.claim(lease(1), 60.0),
        store.branches("t3"),
        store.scrub(),
        store.append(branches[1].id, 0, stored(1), drop_rows=False),
        store.threads(),
    ]
    futures, _ = at_once(store, operations)
    results = [future.result() for future in futures]
    assert results[1] is None
    assert results[2][0].head == 0
    assert len(results[5]) == COUNT
    assert heads(store)[:3] == [1, 1, 0]


def test_when_the_disk_is_full_all_of_a_transaction_are_told_and_nothing_is_stored(
    store: SqliteCheckpointer,
) -> None:
    branches = lines(store)
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count={pages + 2}")
    big = StoredFrame(1, 0.0, b"x" * 3000)
    operations = [store.append(b.id, 0, [big], drop_rows=False) for b in branches]
    futures, _ = at_once(store, operations)
    told = [future.exception() for future in futures]
    kept = [head for head, error in zip(heads(store), told, strict=True) if error is None]
    assert any(isinstance(error, StoreFullError) for error in told)
    assert all(isinstance(error, StoreFullError) for error in told if error is not None)
    assert kept == [1] * len(kept)
    assert sum(heads(store)) == len(kept)
    store._connection.execute("PRAGMA max_page_count=1073741823")
    for branch, head in zip(branches, heads(store), strict=True):
        if head == 0:
            store.run(store.append(branch.id, 0, [big], drop_rows=False))
    assert heads(store) == [1] * COUNT


def test_tasks_of_a_loop_share_transactions(store: SqliteCheckpointer) -> None:
    branches = lines(store)
    texts: list[str] = []

    async def commit_all() -> None:
        store._file.lock.acquire()
        commits = [
            asyncio.ensure_future(store.arun(store.append(b.id, 0, stored(1), drop_rows=False)))
            for b in branches
        ]
        await asyncio.sleep(0)
        store._connection.set_trace_callback(texts.append)
        store._file.lock.release()
        await asyncio.gather(*commits)

    asyncio.run(commit_all())
    assert texts.count("COMMIT") <= 2  # the first may have gone ahead
    assert heads(store) == [1] * COUNT


def test_a_commit_whose_caller_was_cancelled_before_it_began_is_left_out(
    store: SqliteCheckpointer,
) -> None:
    (branch,) = lines(store, 1)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with store._file.lock:
            held.set()
            release.wait(10)

    async def cancelled() -> None:
        waiting = asyncio.ensure_future(
            store.arun(store.append(branch.id, 0, stored(1), drop_rows=False))
        )
        await asyncio.sleep(0.05)
        waiting.cancel()
        asyncio.get_running_loop().call_soon(release.set)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    threading.Timer(0.2, release.set).start()
    asyncio.run(cancelled())
    holder.join()
    assert store.run(store.branches("t0"))[0].head in (0, 1)  # left out, or done: never half
    assert len(store._group._queue) == 0
