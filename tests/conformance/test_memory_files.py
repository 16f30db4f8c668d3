"""SQLite files of memory: they last, are shared, and nothing that is not ours is touched."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from graphflow import CheckpointError, ForeignDatabaseError, StoreTooNewError
from graphflow.memory import GetOp, IndexConfig, PutOp
from graphflow_checkpointers.sqlite import SqliteCheckpointer
from graphflow_checkpointers.sqlite_cache import SqliteCache
from graphflow_checkpointers.sqlite_store import SqliteStore

USERS = ("users", "42")


def embed(texts: list[str]) -> list[list[float]]:
    return [[float(text.count(letter)) for letter in "abcd"] for text in texts]


LETTERS: IndexConfig = {"embed": embed, "dims": 4, "fields": ["text"]}


def altered(path: Path, *statements: str) -> list[Any]:
    """Run statements on a file behind the store's back and return the last one's rows."""
    raw = sqlite3.connect(path)
    with raw:
        rows = [raw.execute(statement).fetchall() for statement in statements]
    raw.close()
    return rows[-1]


def test_a_file_remembers(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "m.db", index=LETTERS) as store:
        store.put(USERS, "price", {"text": "aab", "price": Decimal("1.10")})
    with SqliteStore(tmp_path / "m.db", index=LETTERS) as store:
        (item,) = store.search(USERS, query="aab")
    assert (item.value["price"], item.score) == (Decimal("1.10"), pytest.approx(1))


def test_two_stores_share_a_file(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "m.db") as one, SqliteStore(tmp_path / "m.db") as other:
        one.put(USERS, "a", {"n": 1})
        other.put(USERS, "a", {"n": 2})
        assert one.get(USERS, "a") == other.get(USERS, "a")


def test_the_embedding_of_a_file_cannot_change_size_unseen(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "m.db", index=LETTERS) as store:
        store.put(USERS, "a", {"text": "a"})
    wider: IndexConfig = {"embed": lambda texts: [[1.0] * 8 for _ in texts], "dims": 8}
    with (
        SqliteStore(tmp_path / "m.db", index=wider) as store,
        pytest.raises(ValueError, match="4 dimensions, the query has 8"),
    ):
        store.search(USERS, query="a")


@pytest.mark.parametrize("kind", [SqliteCheckpointer, SqliteCache])
def test_a_file_of_another_kind_is_left_alone(tmp_path: Path, kind: Any) -> None:
    kind(tmp_path / "x.db").close()
    before = (tmp_path / "x.db").read_bytes()
    with pytest.raises(ForeignDatabaseError, match="a file of its own"):
        SqliteStore(tmp_path / "x.db")
    assert (tmp_path / "x.db").read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database, " * 100)
    with pytest.raises(ForeignDatabaseError, match="no SQLite database"):
        SqliteStore(tmp_path / "x.db")
    assert (tmp_path / "x.db").read_bytes() == b"not a database, " * 100


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="folder exist"):
        SqliteStore(tmp_path / "no" / "m.db")


def test_a_damaged_item_is_named_and_others_can_be_read(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "m.db") as store:
        store.put(USERS, "good", {"n": 1})
        store.put(USERS, "bad", {"n": 2})
    altered(
        tmp_path / "m.db", "UPDATE graphflow_memory_item SET body = x'81A16E07' WHERE key = 'bad'"
    )
    with SqliteStore(tmp_path / "m.db") as store:
        assert store.get(USERS, "good") is not None
        with pytest.raises(CheckpointError, match=r"'bad' in 'users\.42' does not match"):
            store.get(USERS, "bad")


def test_what_is_gone_is_swept_from_the_file(tmp_path: Path) -> None:
    seconds = [0.0]
    with SqliteStore(tmp_path / "m.db", clock=lambda: seconds[0]) as store:
        store.put(USERS, "short", {}, ttl=1)
        seconds[0] = 120
        store.put(USERS, "long", {})
        left = altered(tmp_path / "m.db", "SELECT key FROM graphflow_memory_item")
    assert left == [("long",)]


def test_a_file_of_a_newer_graphflow_is_left_alone(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "m.db").close()
    altered(tmp_path / "m.db", "PRAGMA user_version = 99")
    with pytest.raises(StoreTooNewError, match="table format 99"):
        SqliteStore(tmp_path / "m.db")


def test_a_file_that_somebody_else_is_writing_to_is_named(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "m.db", busy_timeout=0) as store:
        raw = sqlite3.connect(tmp_path / "m.db", isolation_level=None)
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(CheckpointError, match="locked by another process"):
            store.put(USERS, "a", {})
        raw.close()
        store.put(USERS, "a", {})
        assert store.get(USERS, "a") is not None


def test_a_batch_that_fails_on_its_way_leaves_nothing(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "m.db") as store:
        store.put(USERS, "bad", {})
        altered(tmp_path / "m.db", "UPDATE graphflow_memory_item SET crc = 0")
        with pytest.raises(CheckpointError):
            store.batch([PutOp(USERS, "new", {}), GetOp(USERS, "bad")])
        assert store.get(USERS, "new") is None


def test_the_log_is_written_ahead(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "m.db"):
        assert altered(tmp_path / "m.db", "PRAGMA journal_mode") == [("wal",)]
