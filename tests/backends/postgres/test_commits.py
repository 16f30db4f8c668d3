"""Commits to PostgreSQL: one round trip each, and one winner for a head."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from graphflow import HeadMoved
from graphflow.checkpoint.protocol import MAIN, Branch, Operation
from graphflow.testing.material import answer, result, stored
from graphflow_checkpointers import postgres_statements as statements
from graphflow_checkpointers.postgres import PostgresCheckpointer
from graphflow_checkpointers.postgres_statements import Statement

Ask = Callable[..., list[Any]]
Wait = Callable[[], None]


def line(store: PostgresCheckpointer, *seqs: int, thread: str = "t") -> Branch:
    """Make a thread with one branch that holds these frames."""
    branch = store.run(store.create_branch(thread, "", MAIN, None, -1))
    if seqs:
        store.run(store.append(branch.id, -1, stored(*seqs), drop_rows=False))
    return branch


# -- round trips ------------------------------------------------------------------------------


def trips(wire: Any, store: PostgresCheckpointer, operation: Operation[Any]) -> int:
    before = wire.trips
    store.run(operation)
    return int(wire.trips - before)


@pytest.mark.parametrize("drop_rows", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_a_commit_is_one_round_trip(
    wire: Any, far: PostgresCheckpointer, drop_rows: bool, count: int
) -> None:
    branch = line(far, 0)
    far.run(far.put_rows(branch.id, 0, [result(0)], []))
    frames = stored(*range(1, 1 + count))
    assert trips(wire, far, far.append(branch.id, 0, frames, drop_rows=drop_rows)) == 1
    assert far.run(far.frames(branch.id, 0, 9)) == frames


def test_a_transaction_is_a_round_trip_for_what_it_waits_for_and_one_for_its_end(
    wire: Any, far: PostgresCheckpointer
) -> None:
    def first() -> Operation[None]:
        yield from far.begin(write=True)
        branch = yield from far.create_branch("new", "", MAIN, None, -1)
        yield from far.append(branch.id, -1, stored(0), drop_rows=False)
        yield from far.end()

    assert trips(wire, far, first()) == 3
    branch = far.run(far.branches("new"))[0]
    assert trips(wire, far, far.put_rows(branch.id, 0, [result(0)], [answer(0)])) == 2
    assert trips(wire, far, far.remove_thread("new")) == 2


# -- races ------------------------------------------------------------------------------------

WRITER = """
import sys
from graphflow import HeadMoved
from graphflow.checkpoint.protocol import StoredFrame
from graphflow_checkpointers.postgres import PostgresCheckpointer

dsn, branch, stride, last = sys.argv[1], *map(int, sys.argv[2:])
store = PostgresCheckpointer(dsn)
head = store.run(store.branches("t"))[0].head
print("ready", flush=True)
sys.stdin.readline()
while head < last:
    frame = StoredFrame(head + stride, 0.0, b"%d" % stride)
    try:
        store.run(store.append(branch, head, [frame], drop_rows=False))
        print(head, frame.seq)
        head = frame.seq
    except HeadMoved:
        head = store.run(store.branches("t"))[0].head
store.close()
"""


def test_of_two_processes_exactly_one_wins_every_head(
    store: PostgresCheckpointer, dsn: str
) -> None:
    branch = line(store, 0)
    command = [sys.executable, "-c", WRITER, dsn, str(branch.id)]
    # Each numbers its frames in its own way, so that no number is ever asked for twice.
    writers = [
        subprocess.Popen(
            [*command, stride, "900"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for stride in ("1", "2")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    told = [writer.communicate(timeout=60)[0].splitlines() for writer in writers]
    won = [tuple(map(int, won.split())) for lines in told for won in lines]
    frames = store.run(store.frames(branch.id, -1, 1000))
    heads = [frame.seq for frame in frames]
    assert sorted(won) == list(pairwise(heads))
    assert [int(frame.body) for frame in frames[1:]] == [
        after - head for head, after in sorted(won)
    ]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_commit_waits_for_the_one_that_came_first(
    dsn: str, until_somebody_waits: Wait, isolation: str, is_kept: bool
) -> None:
    setting = isolation.replace(" ", "\\ ")
    there = psycopg.conninfo.make_conninfo(
        dsn, options=f"-c default_transaction_isolation={setting}"
    )
    with PostgresCheckpointer(there) as store, psycopg.connect(dsn) as other:
        branch = line(store, 0)
        first = (statements.place(branch.id, 0), 0.0, 7, 0, b"", branch.id, 0)
        other.execute(statements.append(1, False).encode(), first)
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(
                store.run, store.append(branch.id, 0, stored(1, 2), drop_rows=False)
            )
            until_somebody_waits()
            if is_kept:
                other.commit()
            else:
                other.rollback()
            error = second.exception(20)
        assert isinstance(error, HeadMoved) if is_kept else error is None
        assert store.run(store.branches("t"))[0].head == (7 if is_kept else 2)


def test_a_removal_waits_for_a_commit_and_leaves_nothing_of_it(
    store: PostgresCheckpointer, dsn: str, sql: Ask, until_somebody_waits: Wait
) -> None:
    branch = line(store, 0)
    with psycopg.connect(dsn) as other, ThreadPoolExecutor(1) as pool:
        late = (statements.place(branch.id, 0), 0.0, 1, 0, b"", branch.id, 0)
        other.execute(statements.append(1, False).encode(), late)
        removal = pool.submit(store.run, store.remove_thread("t"))
        until_somebody_waits()
        other.commit()
        removal.result(20)
    assert sql("SELECT count(*) FROM graphflow_frame") == [(0,)]
    with pytest.raises(HeadMoved):
        store.run(store.append(branch.id, 1, stored(2), drop_rows=False))


def test_branches_that_are_made_at_once_have_numbers_of_their_own(
    store: PostgresCheckpointer,
) -> None:
    def make(name: str) -> int:
        return store.run(store.create_branch("t", "", name, None, -1)).ordinal

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(make, "abcdefghijkl")) == list(range(12))


def test_equal_frames_of_two_runs_are_two_commits(store: PostgresCheckpointer) -> None:
    branch = line(store, 0)
    gate = threading.Barrier(4)

    def commit(_: int) -> bool:
        gate.wait(10)
        try:
            store.run(store.append(branch.id, 0, stored(1), drop_rows=False))
        except HeadMoved:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(commit, range(4))) == 1


def test_a_row_that_comes_with_the_frame_that_closes_its_superstep_is_not_seen(
    store: PostgresCheckpointer, dsn: str
) -> None:
    branch = line(store, 0)
    with psycopg.connect(dsn) as other:
        columns = ([0], [0], [0], [0], [b""])
        other.execute(
            statements.put_rows(False).encode(),
            (branch.id, 0, statements.place(branch.id, 0), *columns, 2),
        )
        store.run(store.append(branch.id, 0, stored(1), drop_rows=True))
        other.commit()
    assert store.run(store.rows(branch.id, 0)) == []


def test_a_transaction_of_a_process_that_was_stopped_is_ended_and_no_session_has_a_state(
    store: PostgresCheckpointer,
) -> None:
    show = Statement("SHOW idle_in_transaction_session_timeout")

    def limits() -> Operation[list[str]]:
        before = yield show
        yield from store.begin(write=True)
        inside = yield show
        yield from store.end()
        after = yield show
        return [found[0][0] for found in (before, inside, after)]

    assert store.run(limits()) == ["0", "10s", "0"]
