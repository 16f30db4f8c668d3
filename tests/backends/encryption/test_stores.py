"""An encrypted store and what somebody may do to the one inside."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from graphflow import Checkpointer, HeadMoved, MemoryCheckpointer
from graphflow.checkpoint.protocol import (
    MAIN,
    Branch,
    Lease,
    Operation,
    StoredFrame,
    StoredRow,
    Verbs,
)
from graphflow.checkpoint.records import RowKind
from graphflow.checkpoint.transfer import read_whole, write_whole
from graphflow.testing.material import BODY, answer, result, stored
from graphflow_checkpointers.encryption import (
    DecryptionError,
    EncryptedCheckpointer,
    Keys,
    new_key,
)
from graphflow_checkpointers.sqlite import SqliteCheckpointer
from graphflow_checkpointers.statements import key, key_behind

OLD = new_key()


def filled(store: Checkpointer, thread: str, scope: str = "", name: str = MAIN) -> Branch:
    """Make a branch with frames 0 and 1, two rows at its head and a snapshot."""
    branch = store.run(store.create_branch(thread, scope, name, None, -1))
    store.run(store.append(branch.id, -1, stored(0, 1), drop_rows=False))
    store.run(store.put_rows(branch.id, 1, [result(0), result(1), answer(0)], []))
    store.run(store.put_snapshot(branch.id, 1, BODY))
    return branch


def readings(store: Checkpointer, thread: str, scope: str = "") -> list[Any]:
    """Return what reading each thing of a thread gives: the thing, or the error."""
    found: list[Any] = []
    for branch in store.run(store.branches(thread, scope)):
        number = branch.id
        found += [told(store, store.frames(number, seq - 1, seq)) for seq in (0, 1)]
        found += [told(store, store.rows(number, 1)), told(store, store.snapshot(number, 1))]
    return found


def told(store: Checkpointer, operation: Operation[Any]) -> Any:
    try:
        return store.run(operation)
    except DecryptionError as error:
        return error


def swap(path: Path, one: tuple[str, str], other: tuple[str, str]) -> None:
    """Swap two bodies with their checksums, as somebody with a database client would."""
    connection = sqlite3.connect(path)
    with connection:
        (first,), (second,) = (
            connection.execute(f"SELECT crc, body FROM {table} WHERE {where}").fetchall()
            for table, where in (one, other)
        )
        for (table, where), values in ((one, second), (other, first)):
            connection.execute(f"UPDATE {table} SET crc = ?, body = ? WHERE {where}", values)
    connection.close()


def places(branch: Branch) -> list[tuple[str, str]]:
    """Return where the bodies of a branch lie in SQLite, in the order of `readings`."""
    number = int(branch.id)
    at = key(number, 1)
    return [
        ("graphflow_frame", f"id = {key_behind(number, -1)}"),
        ("graphflow_frame", f"id = {key_behind(number, 0)}"),
        ("graphflow_row", f"frame = {at} AND task = 0 AND kind = {RowKind.RESULT.value}"),
        ("graphflow_snapshot", f"id = {at}"),
    ]


def test_bodies_that_were_swapped_are_both_refused(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "threads.db"
    with EncryptedCheckpointer(SqliteCheckpointer(path, synchronous="normal"), keys) as store:
        lines = [("t", "", MAIN), ("t", "", "fork"), ("t", "child", MAIN), ("u", "", MAIN)]
        all_places = [place for line in lines for place in places(filled(store, *line))]
        for one, other in combinations(range(len(all_places)), 2):
            swap(path, all_places[one], all_places[other])
            assert refused(store) == [one, other]
            swap(path, all_places[one], all_places[other])
        assert refused(store) == []


def refused(store: Checkpointer) -> list[int]:
    """Return which readings of the threads `t` and `u` are refused."""
    found = [*readings(store, "t"), *readings(store, "t", "child"), *readings(store, "u")]
    return [place for place, it in enumerate(found) if isinstance(it, DecryptionError)]


def test_rows_of_one_superstep_that_were_swapped_are_refused(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "threads.db"
    with EncryptedCheckpointer(SqliteCheckpointer(path, synchronous="normal"), keys) as store:
        table, where = places(filled(store, "t"))[2]
        for other in (where.replace("task = 0", "task = 1"), where.replace("kind = 0", "kind = 2")):
            swap(path, (table, where), (table, other))
            assert refused(store) == [2]
            swap(path, (table, where), (table, other))


def test_a_fork_reads_the_past_that_it_shares(keys: Keys) -> None:
    store = EncryptedCheckpointer(MemoryCheckpointer(), keys)
    main = filled(store, "t")
    fork = store.run(store.create_branch("t", "", "fork", main.id, 0))
    store.run(store.append(fork.id, 0, stored(2), drop_rows=False))
    found = {branch.id: branch for branch in store.run(store.branches("t"))}
    origin = found[found[fork.id].parent or -1]
    assert store.run(store.frames(origin.id, -1, 0)) == stored(0)
    assert store.run(store.frames(fork.id, -1, 9)) == stored(2)


# -- what goes to the store inside --------------------------------------------------------------


def test_a_branch_of_another_store_is_refused(keys: Keys) -> None:
    inner = MemoryCheckpointer()
    store = EncryptedCheckpointer(inner, keys)
    number = int(filled(store, "t").id)
    snapshot = store.snapshot(number, 9)
    frames, rows = store.frames(number, -1, 9), store.rows(number, 1)
    for operation in (snapshot, frames, rows):
        with pytest.raises(HeadMoved, match="load the thread again"):
            store.run(operation)
    with pytest.raises(HeadMoved, match="load the thread again"):
        store.run(store.put_snapshot(number, 1, BODY))


def test_a_store_that_is_opened_anew_reads_and_goes_on(keys: Keys) -> None:
    inner = MemoryCheckpointer()
    filled(EncryptedCheckpointer(inner, keys), "t")
    store = EncryptedCheckpointer(inner, keys)
    (branch,) = store.run(store.branches("t"))
    store.run(store.append(branch.id, 1, stored(2), drop_rows=True))
    assert store.run(store.frames(branch.id, -1, 9)) == stored(0, 1, 2)


class Watched(MemoryCheckpointer):
    """Remembers what it is given beside bodies that are encrypted."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Any] = []

    def create_branch(self, *place: Any) -> Operation[Branch]:
        self.given += [type(part) for part in place]
        return super().create_branch(*place)

    def put_rows(
        self,
        branch: int,
        head: int,
        rows: Sequence[StoredRow],
        withdrawn: Sequence[StoredRow],
        *,
        lease: Lease | None = None,
    ) -> Operation[None]:
        self.given += [type(branch), *(row.body for row in withdrawn)]
        return super().put_rows(branch, head, rows, withdrawn, lease=lease)


def test_the_store_inside_gets_its_own_numbers_and_no_body_that_it_does_not_keep(
    keys: Keys,
) -> None:
    inner = Watched()
    store = EncryptedCheckpointer(inner, keys)
    branch = filled(store, "t")
    inner.given.clear()
    store.run(store.create_branch("t", "", "fork", branch.id, 1))
    store.run(store.put_rows(branch.id, 1, [], [answer(0)]))
    assert inner.given == [str, str, str, int, int, int, b""]
    assert store.run(store.rows(branch.id, 1)) == [result(0), result(1)]


class Counted(SqliteCheckpointer):
    """Counts what operations ask the database."""

    asked = 0

    def run(self, operation: Operation[Any]) -> Any:
        def counted() -> Operation[Any]:
            answer = None
            while True:
                try:
                    statement = operation.send(answer)
                except StopIteration as stop:
                    return stop.value
                self.asked += 1
                answer = yield statement

        return super().run(counted())


def test_encryption_asks_the_store_nothing(keys: Keys) -> None:
    counts = []
    for is_encrypted in (False, True):
        inner = Counted()
        with EncryptedCheckpointer(inner, keys) if is_encrypted else inner as store:
            filled(store, "t")
            readings(store, "t")
            counts.append(inner.asked)
    assert counts[0] == counts[1] > 10


def test_every_verb_of_the_protocol_is_passed_on() -> None:
    verbs = {
        name
        for name, member in vars(Verbs).items()
        if inspect.isfunction(member)
        and (
            getattr(member, "__isabstractmethod__", False)
            or str(member.__annotations__.get("return", "")).startswith("Operation[")
        )
    }
    assert verbs >= {"begin", "end", "append", "threads"}
    assert verbs - set(vars(EncryptedCheckpointer)) == set()


def test_it_is_as_instant_as_the_store_inside_and_closes_it(tmp_path: Path, keys: Keys) -> None:
    assert EncryptedCheckpointer(MemoryCheckpointer(), keys).is_instant
    with EncryptedCheckpointer(SqliteCheckpointer(tmp_path / "threads.db"), keys) as store:
        assert not store.is_instant
    with pytest.raises(Exception, match="closed"):
        store.run(store.threads())


def test_a_url_is_opened_with_the_keys_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'threads.db'}"
    monkeypatch.delenv("GRAPHFLOW_KEYS", raising=False)
    with pytest.raises(ValueError, match="GRAPHFLOW_KEYS"):
        EncryptedCheckpointer.from_url(url)
    monkeypatch.setenv("GRAPHFLOW_KEYS", f"old:{OLD}")
    with EncryptedCheckpointer.from_url(url) as store:
        filled(store, "t")
        assert store.run(store.keys_in_use("t")) == {"old"}


# -- keys that change ---------------------------------------------------------------------------


def test_rotation_reads_with_all_keys_and_writes_with_the_current_one() -> None:
    inner = MemoryCheckpointer()
    old = EncryptedCheckpointer(inner, Keys({"old": OLD}))
    filled(old, "t", "child")
    filled(old, "t")
    both = EncryptedCheckpointer(inner, Keys({"new": new_key(), "old": OLD}, current="new"))
    assert both.run(both.keys_in_use("t")) == {"old"}
    (branch,) = both.run(both.branches("t"))
    both.run(both.put_rows(branch.id, 1, [result(2)], []))
    assert both.run(both.keys_in_use("t")) == {"old", "new"}
    both.run(both.append(branch.id, 1, stored(2), drop_rows=True))
    assert both.run(both.frames(branch.id, -1, 9)) == stored(0, 1, 2)
    assert both.run(both.keys_in_use("t")) == {"old", "new"}
    (branch,) = old.run(old.branches("t"))
    with pytest.raises(DecryptionError, match=r"frame 2 .*'new', .*: 'old'\. Add it"):
        old.run(old.frames(branch.id, -1, 9))


def test_a_thread_that_is_carried_over_needs_only_the_current_key() -> None:
    new = new_key()
    before = EncryptedCheckpointer(MemoryCheckpointer(), Keys({"old": OLD}))
    filled(before, "t", "child")
    filled(before, "t")
    after = EncryptedCheckpointer(MemoryCheckpointer(), Keys({"new": new}))
    after.run(write_whole(after, before.run(read_whole(before, "t"))))
    assert after.run(after.keys_in_use("t")) == {"new"}
    assert readings(after, "t") == readings(before, "t")
    assert readings(after, "t", "child") == readings(before, "t", "child")


def test_a_store_with_plaintext_is_refused_or_read_and_then_written_encrypted(keys: Keys) -> None:
    inner = MemoryCheckpointer()
    filled(inner, "t")
    strict = EncryptedCheckpointer(inner, keys)
    assert {type(found) for found in readings(strict, "t")} == {DecryptionError}
    assert strict.run(strict.keys_in_use("t")) == {None}
    mild = EncryptedCheckpointer(inner, keys, allow_plaintext=True)
    assert readings(mild, "t") == readings(inner, "t")
    (branch,) = mild.run(mild.branches("t"))
    row = StoredRow(2, RowKind.RESULT, 0, BODY)
    mild.run(mild.append(branch.id, 1, [StoredFrame(2, 1.5, BODY)], drop_rows=True))
    mild.run(mild.put_rows(branch.id, 2, [row], []))
    mild.run(mild.put_snapshot(branch.id, 2, BODY))
    (frame,) = inner.run(inner.frames(branch.id, 1, 2))
    (kept,) = inner.run(inner.rows(branch.id, 2))
    snapshot = inner.run(inner.snapshot(branch.id, 2))
    assert [body for body in (frame.body, kept.body, snapshot[1]) if BODY in body] == []  # type: ignore[index]
    assert strict.run(strict.frames(strict.run(strict.branches("t"))[0].id, 1, 2))[0].body == BODY
    assert mild.run(mild.keys_in_use("t")) == {None, keys.current}


def test_a_checksum_that_fits_is_no_proof(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "threads.db"
    with EncryptedCheckpointer(SqliteCheckpointer(path, synchronous="normal"), keys) as store:
        branch = filled(store, "t")
    table, where = places(branch)[1]
    connection = sqlite3.connect(path)
    with connection:
        ((body,),) = connection.execute(f"SELECT body FROM {table} WHERE {where}").fetchall()
        changed = body[:-1] + bytes((body[-1] ^ 1,))
        told = (crc32(changed), changed)
        connection.execute(f"UPDATE {table} SET crc = ?, body = ? WHERE {where}", told)
    connection.close()
    with EncryptedCheckpointer(SqliteCheckpointer(path), keys) as store:
        (branch,) = store.run(store.branches("t"))
        with pytest.raises(DecryptionError, match="Thread 't', branch number 0: frame 1"):
            store.run(store.frames(branch.id, -1, 1))
