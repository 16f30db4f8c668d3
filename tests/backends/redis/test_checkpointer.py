"""What is RedisCheckpointer's own: how threads lie in keys, and who may use one object."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from graphflow import (
    CheckpointError,
    CorruptCheckpointError,
    ForeignDatabaseError,
    HeadMoved,
    StoreTooNewError,
)
from graphflow.checkpoint.protocol import MAIN, Branch, Operation, StoredFrame, StoredRow
from graphflow.testing.material import BODY, answer, result, stored
from graphflow_checkpointers.redis import RedisCheckpointer

AWKWARD = ("\ud800", "{a}", "}{", "a:b", "a:b:frames", "[1]", "*", "?", "\0", "\r\n", "a" * 4096)
"""Names that could be taken for parts of keys, patterns or the protocol."""


@pytest.fixture
def store(url: str, prefix: str) -> Iterator[RedisCheckpointer]:
    """An empty store."""
    with RedisCheckpointer(url, prefix=prefix) as store:
        yield store


@pytest.fixture
def raw(url: str) -> Iterator[Any]:
    """A client that looks behind the store's back."""
    with redis.Redis.from_url(url) as client:
        yield client


def line(store: RedisCheckpointer, thread: str, *seqs: int) -> Branch:
    """Make a thread with one branch that holds these frames."""
    branch = store.run(store.create_branch(thread, "", MAIN, None, -1))
    store.run(store.append(branch.id, -1, stored(*seqs), drop_rows=False))
    return branch


def together(store: RedisCheckpointer, *operations: Operation[Any]) -> Any:
    """Do them in one transaction that writes; return the result of the first."""

    def all_of_them() -> Operation[Any]:
        yield from store.begin(write=True)
        results = []
        for operation in operations:
            results.append((yield from operation))  # noqa: PERF401  # a comprehension cannot yield
        yield from store.end()
        return results[0]

    return store.run(all_of_them())


# -- keys --------------------------------------------------------------------------------------


def test_frames_of_500_bytes_take_little_more_than_that(
    store: RedisCheckpointer, raw: Any, prefix: str
) -> None:
    branch = line(store, "t", 0)
    for seq in range(1, 1001):
        frame = StoredFrame(seq, 1.5, b"x" * 500)
        store.run(store.append(branch.id, seq - 1, [frame], drop_rows=False))
    keys = list(raw.scan_iter(match=f"{prefix}*"))
    assert len(keys) == 2
    assert sum(raw.memory_usage(key, samples=0) for key in keys) < 1000 * 560


def test_all_keys_of_a_thread_lie_on_one_server(
    store: RedisCheckpointer, raw: Any, prefix: str
) -> None:
    branch = line(store, "t", 0)
    store.run(store.put_rows(branch.id, 0, [result(0)], []))
    store.run(store.put_snapshot(branch.id, 0, BODY))
    keys = [key.decode() for key in raw.scan_iter(match=f"{prefix}*")]
    assert len(keys) == 4
    assert len({key[key.index("{") : key.index("}")] for key in keys}) == 1


def test_a_removed_thread_leaves_no_key(store: RedisCheckpointer, raw: Any, prefix: str) -> None:
    for scope in ("", "child"):
        branch = store.run(store.create_branch("t", scope, MAIN, None, -1))
        store.run(store.append(branch.id, -1, stored(0), drop_rows=False))
        store.run(store.put_rows(branch.id, 0, [result(0)], []))
        store.run(store.put_snapshot(branch.id, 0, BODY))
    store.run(store.remove_thread("t"))
    store.run(store.put_rows(line(store, "u").id, -1, [result(0)], []))
    with pytest.raises(HeadMoved):
        store.run(store.put_snapshot(branch.id, 0, BODY))
    store.run(store.remove_thread("u"))
    assert list(raw.scan_iter(match=f"{prefix}*")) == []


def test_a_thread_that_never_came_to_be_is_forgotten(
    store: RedisCheckpointer, raw: Any, prefix: str
) -> None:
    def dies() -> Operation[None]:
        yield from store.begin(write=True)
        yield from store.create_branch("t", "", MAIN, None, -1)

    store.run(dies())
    assert [raw.ttl(key) > 0 for key in raw.scan_iter(match=f"{prefix}*")] == [True]
    made = store.run(store.create_branch("t", "", MAIN, None, -1))
    assert made.ordinal == 0
    assert [raw.ttl(key) for key in raw.scan_iter(match=f"{prefix}*")] == [-1]


def test_any_text_is_a_name(store: RedisCheckpointer) -> None:
    for name in AWKWARD:
        branch = store.run(store.create_branch(name, name, name, None, -1))
        store.run(store.append(branch.id, -1, stored(0), drop_rows=False))
    assert store.run(store.threads()) == list(AWKWARD)
    for name in AWKWARD:
        assert [(b.name, b.head) for b in store.run(store.branches(name, name))] == [(name, 0)]
        assert store.run(store.branches(name, name + " ")) == []


def test_branches_of_a_large_thread_come_in_the_order_they_were_made(
    store: RedisCheckpointer, raw: Any, prefix: str
) -> None:
    thread = "t" * 500
    for number in range(20):
        store.run(store.create_branch(thread, "", str(number), None, -1))
    (key,) = raw.scan_iter(match=f"{prefix}*")
    assert raw.object("ENCODING", key) == b"hashtable"  # which has no order
    assert [branch.name for branch in store.run(store.branches(thread))] == [*map(str, range(20))]


def test_rows_are_those_of_the_head_that_is_asked_for(store: RedisCheckpointer) -> None:
    branch = line(store, "t", 0, 1)
    store.run(store.put_rows(branch.id, 1, [result(0)], []))
    assert store.run(store.rows(branch.id, 0)) == store.run(store.rows(branch.id, 2)) == []


def test_a_number_that_cannot_be_is_behind_no_head(store: RedisCheckpointer) -> None:
    branch = line(store, "t", 0)
    with pytest.raises(HeadMoved):
        store.run(store.append(branch.id, -2, stored(-1), drop_rows=False))


def test_stores_with_other_prefixes_are_others(
    store: RedisCheckpointer, url: str, prefix: str
) -> None:
    line(store, "t", 0)
    for other in (f"{prefix}:{prefix}", f"*{prefix[1:]}", f"[{prefix[0]}]{prefix[1:]}"):
        with RedisCheckpointer(url, prefix=other) as apart:
            assert apart.run(apart.threads()) == []
            assert apart.run(apart.branches("t")) == []
            apart.run(apart.remove_thread("t"))
    assert store.run(store.threads()) == ["t"]


def test_a_prefix_with_braces_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="braces"):
        RedisCheckpointer(url, prefix="{a}")


# -- what is there already ---------------------------------------------------------------------


def test_a_key_of_somebody_else_is_left_alone(
    store: RedisCheckpointer, raw: Any, prefix: str
) -> None:
    line(store, "t", 0)
    (key,) = raw.scan_iter(match=f"{prefix}:{{*}}")
    raw.delete(key)
    raw.set(key, "theirs")
    for operation in (
        store.branches("t"),
        store.threads(),
        store.create_branch("t", "", MAIN, None, -1),
        store.remove_thread("t"),
    ):
        with pytest.raises(ForeignDatabaseError, match="prefix"):
            store.run(operation)
    assert raw.get(key) == b"theirs"


def test_a_thread_of_a_newer_version_is_told(
    store: RedisCheckpointer, raw: Any, prefix: str
) -> None:
    line(store, "t", 0)
    (key,) = raw.scan_iter(match=f"{prefix}:{{*}}")
    raw.hset(key, "thread", json.dumps([2, 0, "t", "more"]))
    for operation in (store.branches("t"), store.threads()):
        with pytest.raises(StoreTooNewError, match="upgrade"):
            store.run(operation)


@pytest.mark.parametrize("damage", [b"", b"\0" * 11, b"\0" * 12 + BODY])
def test_a_damaged_frame_is_found_and_its_address_told(
    store: RedisCheckpointer, raw: Any, prefix: str, damage: bytes
) -> None:
    branch = line(store, "t", 0)
    (key,) = raw.scan_iter(match=f"{prefix}*:frames")
    ((entry, _),) = raw.xrange(key)
    raw.delete(key)
    raw.xadd(key, {"f": damage}, id=entry)
    with pytest.raises(CorruptCheckpointError, match=rf"0-\d+ in {prefix}.*backup"):
        store.run(store.frames(branch.id, -1, 0))


def test_a_damaged_row_or_snapshot_is_found(
    store: RedisCheckpointer, raw: Any, prefix: str
) -> None:
    branch = line(store, "t", 0)
    store.run(store.put_rows(branch.id, 0, [result(7)], []))
    store.run(store.put_snapshot(branch.id, 0, BODY))
    raw.hset(next(raw.scan_iter(match=f"{prefix}*:rows")), "7.0.0", b"00000001" + BODY)
    (key,) = raw.scan_iter(match=f"{prefix}*:snapshot")
    ((entry, _),) = raw.xrange(key)
    raw.delete(key)
    raw.xadd(key, {"f": BODY}, id=entry)
    with pytest.raises(CorruptCheckpointError, match=r"7\.0\.0"):
        store.run(store.rows(branch.id, 0))
    with pytest.raises(CorruptCheckpointError, match="snapshot"):
        store.run(store.snapshot(branch.id, 0))


# -- transactions ------------------------------------------------------------------------------


def test_a_refused_step_takes_the_whole_transaction_back(store: RedisCheckpointer) -> None:
    branch = line(store, "t", 0)
    store.run(store.put_rows(branch.id, 0, [result(0)], []))
    with pytest.raises(HeadMoved, match="is at 1, not at 0"):
        together(
            store,
            store.create_branch("t", "", "fork", branch.id, 0),
            store.append(branch.id, 0, stored(1), drop_rows=True),
            store.put_rows(branch.id, 0, [result(0)], []),
        )
    assert [found.name for found in store.run(store.branches("t"))] == [MAIN]
    assert store.run(store.frames(branch.id, -1, 9)) == stored(0)
    assert store.run(store.rows(branch.id, 0)) == [result(0)]


def test_steps_of_a_transaction_see_those_before_them(store: RedisCheckpointer) -> None:
    branch = line(store, "t", 0)
    store.run(store.put_rows(branch.id, 0, [answer(0)], []))
    together(
        store,
        store.put_rows(branch.id, 0, [answer(1)], [answer(0)]),
        store.put_rows(branch.id, 0, [answer(0, b"again")], []),
        store.append(branch.id, 0, stored(1), drop_rows=True),
        store.append(branch.id, 1, stored(2), drop_rows=False),
        store.put_rows(branch.id, 2, [answer(0, b"other")], []),
    )
    assert store.run(store.frames(branch.id, -1, 9)) == stored(0, 1, 2)
    assert store.run(store.rows(branch.id, 2)) == [answer(0, b"other")]


def test_forks_that_are_made_at_once_are_all_made(store: RedisCheckpointer) -> None:
    main = line(store, "t", 0)

    def fork(number: int) -> int:
        made: Branch = together(store, store.create_branch("t", "", str(number), main.id, 0))
        return made.ordinal

    with ThreadPoolExecutor(8) as pool:
        ordinals = list(pool.map(fork, range(1, 25)))
    found = {branch.name: branch.ordinal for branch in store.run(store.branches("t"))}
    assert found == {MAIN: 0} | {str(place + 1): number for place, number in enumerate(ordinals)}
    assert sorted(ordinals) == list(range(1, 25))


def test_a_fork_of_a_removed_thread_is_refused(store: RedisCheckpointer) -> None:
    main = line(store, "t", 0)
    store.run(store.remove_thread("t"))
    with pytest.raises(HeadMoved, match="deleted"):
        store.run(store.create_branch("t", "", "fork", main.id, 0))
    assert store.run(store.threads()) == []


def test_a_thread_that_is_removed_while_a_branch_is_made_stays_removed(
    store: RedisCheckpointer,
) -> None:
    line(store, "t", 0)

    def interrupted() -> Operation[None]:
        yield from store.begin(write=True)
        yield from store.create_branch("t", "child", MAIN, None, -1)
        store.run(store.remove_thread("t"))
        yield from store.end()

    with pytest.raises(HeadMoved, match="deleted"):
        store.run(interrupted())
    assert store.run(store.threads()) == []


def test_a_branch_that_is_made_while_its_thread_is_removed_is_removed_too(
    store: RedisCheckpointer, raw: Any, prefix: str
) -> None:
    line(store, "t", 0)

    def interrupted() -> Operation[None]:
        removing = store.remove_thread("t")
        fields = yield next(removing)
        fork = store.run(store.create_branch("t", "", "fork", None, -1))
        store.run(store.append(fork.id, -1, stored(1), drop_rows=False))
        yield from driven(removing, fields)

    store.run(interrupted())
    assert list(raw.scan_iter(match=f"{prefix}*")) == []


def test_what_is_read_in_a_transaction_is_of_one_moment(store: RedisCheckpointer) -> None:
    branch = line(store, "t", 0)
    store.run(store.put_rows(branch.id, 0, [result(0)], []))

    def reads() -> Operation[tuple[list[StoredFrame], list[StoredRow]]]:
        yield from store.begin()
        (found,) = yield from store.branches("t")
        store.run(store.append(branch.id, 0, stored(1), drop_rows=True))
        frames = yield from store.frames(found.id, -1, found.head)
        rows = yield from store.rows(found.id, found.head)
        yield from store.end()
        return frames, rows

    assert store.run(reads()) == (stored(0), [result(0)])
    assert store.run(store.rows(branch.id, 0)) == []


def test_rows_that_come_while_branches_are_read_are_read_with_them(
    store: RedisCheckpointer,
) -> None:
    main = line(store, "t", 0)
    fork = store.run(store.create_branch("t", "", "fork", main.id, 0))
    store.run(store.put_rows(main.id, 0, [result(0)], []))

    def reads() -> Operation[list[list[StoredRow]]]:
        yield from store.begin()
        reading = store.branches("t")
        fields = yield next(reading)
        view = yield reading.send(fields)
        store.run(store.append(main.id, 0, stored(1), drop_rows=True))
        store.run(store.put_rows(fork.id, 0, [result(9)], []))
        found = yield from driven(reading, view)
        rows = []
        for branch in found:
            rows.append((yield from store.rows(branch.id, branch.head)))  # noqa: PERF401  # as above
        yield from store.end()
        return rows

    assert store.run(reads()) == [[], [result(9)]]


def driven(operation: Operation[Any], received: Any) -> Operation[Any]:
    """Go on with an operation that waits for this."""
    try:
        while True:
            received = yield operation.send(received)
    except StopIteration as stop:
        return stop.value


@pytest.mark.parametrize(("size", "pages"), [(0, 3), (10_000, 7)])
def test_frames_are_read_in_pages_and_long_ones_in_more(
    store: RedisCheckpointer, raw: Any, size: int, pages: int
) -> None:
    branch = store.run(store.create_branch("t", "", MAIN, None, -1))
    frames = [StoredFrame(seq, 1.5, bytes(size)) for seq in range(650)]
    store.run(store.append(branch.id, -1, frames, drop_rows=False))
    calls = raw.info("commandstats").get("cmdstat_xrange", {"calls": 0})["calls"]
    assert store.run(store.frames(branch.id, -1, 9999)) == frames
    assert raw.info("commandstats")["cmdstat_xrange"]["calls"] - calls == pages
    assert store.run(store.frames(branch.id, 10, 500)) == frames[11:501]


def test_a_commit_is_one_round_trip_and_the_first_one_of_a_thread_two(
    proxy: Any, prefix: str
) -> None:
    with RedisCheckpointer(proxy.url, prefix=prefix) as store:
        branch = line(store, "known", 0)
        before = proxy.answers
        together(
            store,
            store.append(branch.id, 0, stored(1, 2), drop_rows=True),
            store.put_rows(branch.id, 2, [result(0)], []),
        )
        assert proxy.answers - before == 1
        together(store, store.create_branch("t", "", MAIN, None, -1))
        assert proxy.answers - before == 3


def test_reading_branches_without_rows_is_one_round_trip(proxy: Any, prefix: str) -> None:
    with RedisCheckpointer(proxy.url, prefix=prefix) as store:
        branch = line(store, "t", 0)
        store.run(store.put_rows(branch.id, 0, [result(0)], []))
        store.run(store.append(branch.id, 0, stored(1), drop_rows=True))

        def reads() -> Operation[list[StoredRow]]:
            yield from store.begin()
            (found,) = yield from store.branches("t")
            rows = yield from store.rows(found.id, found.head)
            yield from store.end()
            return rows

        before = proxy.answers
        assert store.run(reads()) == []
        assert proxy.answers - before == 1


# -- callers -----------------------------------------------------------------------------------


def clients(url: str) -> dict[str, Callable[[], Any]]:
    """Return what makes each kind of thing that a store can be made of."""
    return {
        "blocking": lambda: redis.Redis.from_url(url),
        "that decodes": lambda: redis.Redis.from_url(url, decode_responses=True),
        "RESP2": lambda: redis.Redis.from_url(url, protocol=2),
        "RESP3": lambda: redis.Redis.from_url(url, protocol=3),
        "one connection": lambda: redis.Redis.from_url(url, single_connection_client=True),
        "asyncio": lambda: redis.asyncio.Redis.from_url(url, decode_responses=True),
    }


@pytest.mark.parametrize("kind", clients(""))
def test_any_client_will_do(url: str, prefix: str, kind: str) -> None:
    with RedisCheckpointer(clients(url)[kind](), prefix=prefix) as store:
        branch = line(store, "t", 0, 1)
        store.run(store.put_rows(branch.id, 1, [result(0)], []))
        store.run(store.put_snapshot(branch.id, 0, BODY))
        found = asyncio.run(store.arun(store.branches("t")))
        assert [b.head for b in found] == [1]
        assert store.run(store.frames(branch.id, -1, 1)) == stored(0, 1)
        assert store.run(store.rows(branch.id, 1)) == [result(0)]
        assert store.run(store.snapshot(branch.id, 1)) == (0, BODY)
        assert store.run(store.threads()) == ["t"]
        store.run(store.remove_thread("t"))


def test_threads_and_loops_share_one_object(store: RedisCheckpointer) -> None:
    def commit(thread: str) -> int:
        branch = line(store, thread, 0)
        for seq in range(1, 10):
            store.run(store.append(branch.id, seq - 1, stored(seq), drop_rows=False))
        return len(store.run(store.frames(branch.id, -1, 99)))

    async def acommit(thread: str) -> int:
        branch = await store.arun(store.create_branch(thread, "", MAIN, None, -1))
        for seq in range(10):
            await store.arun(store.append(branch.id, seq - 1, stored(seq), drop_rows=False))
        return len(await store.arun(store.frames(branch.id, -1, 99)))

    async def many(loop: int) -> list[int]:
        return await asyncio.gather(*(acommit(f"loop {loop}, {n}") for n in range(8)))

    with ThreadPoolExecutor(12) as pool:
        blocking = [pool.submit(commit, f"thread {n}") for n in range(8)]
        on_loops = [pool.submit(asyncio.run, many(n)) for n in range(4)]
        counts = [each.result(30) for each in blocking]
        counts += [count for each in on_loops for count in each.result(30)]
    assert counts == [10] * 40
    assert len(store.run(store.threads())) == 40


FORKS = """
import asyncio, os, sys
from graphflow_checkpointers.redis import RedisCheckpointer

store = RedisCheckpointer(sys.argv[1], prefix=sys.argv[2])
asyncio.run(store.arun(store.create_branch("parent", "", "main", None, -1)))
child = os.fork()
asyncio.run(store.arun(store.create_branch(f"after {child == 0}", "", "main", None, -1)))
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(sorted(store.run(store.threads())))
"""


def test_both_processes_go_on_after_a_fork(url: str, prefix: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKS, url, prefix]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.strip() == "['after False', 'after True', 'parent']"


def test_a_closed_store_says_so(url: str, prefix: str) -> None:
    store = RedisCheckpointer(url, prefix=prefix)
    asyncio.run(store.arun(store.threads()))
    store.close()
    store.close()
    with pytest.raises(CheckpointError, match="closed"):
        store.run(store.threads())
    with pytest.raises(CheckpointError, match="closed"):
        asyncio.run(store.arun(store.threads()))
