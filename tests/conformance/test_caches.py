"""Every cache keeps the same promises, to blocking callers and to asyncio."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphflow import ForeignDatabaseError
from graphflow.cache import BaseCache, InMemoryCache
from graphflow_checkpointers.sqlite import SqliteCheckpointer
from graphflow_checkpointers.sqlite_cache import SqliteCache

from .caches import NODE, CachePromises


class Clock:
    """A clock that is set by hand; in seconds."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "sqlite in memory"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[BaseCache]:
    """An empty cache."""
    paths = {"sqlite": tmp_path / "cache.db", "sqlite in memory": ":memory:"}
    path = paths.get(request.param)
    cache = InMemoryCache(clock=clock) if path is None else SqliteCache(path, clock=clock)
    yield cache
    cache.close()


class TestCaches(CachePromises):
    def test_a_value_serves_as_long_as_its_ttl(self, cache: Any, clock: Clock) -> None:
        cache.set({(NODE, "short"): (1, 10), (NODE, "long"): (2, None)})
        clock.now += 9.5
        assert len(cache.get([(NODE, "short"), (NODE, "long")])) == 2
        clock.now += 0.5
        assert cache.get([(NODE, "short"), (NODE, "long")]) == {(NODE, "long"): 2}

    def test_setting_again_gives_a_new_ttl(self, cache: Any, clock: Clock) -> None:
        cache.set({(NODE, "a"): (1, 10)})
        clock.now += 9
        cache.set({(NODE, "a"): (1, 10)})
        clock.now += 9
        assert cache.get([(NODE, "a")]) == {(NODE, "a"): 1}


# -- files ------------------------------------------------------------------------------------


def altered(path: Path, statement: str) -> list[Any]:
    """Run a statement on a file behind the cache's back and return its rows."""
    raw = sqlite3.connect(path)
    with raw:
        rows = raw.execute(statement).fetchall()
    raw.close()
    return rows


def test_a_file_remembers(tmp_path: Path) -> None:
    with SqliteCache(tmp_path / "c.db") as cache:
        cache.set({(NODE, "a"): (1, None)})
    with SqliteCache(tmp_path / "c.db") as cache:
        assert cache.get([(NODE, "a")]) == {(NODE, "a"): 1}


@pytest.mark.parametrize(
    "damage",
    [
        "body = x'07'",
        "crc = 0",
        "body = x'C7114093AA73686F702E4F726465720181A16E03', crc = 1449932475",
    ],
    ids=["other bytes", "other checksum", "a class this process does not know"],
)
def test_what_cannot_be_read_is_not_there(tmp_path: Path, damage: str) -> None:
    with SqliteCache(tmp_path / "c.db") as cache:
        cache.set({(NODE, "a"): (1, None), (NODE, "b"): (2, None)})
        altered(tmp_path / "c.db", f"UPDATE graphflow_cache_entry SET {damage} WHERE key = '\"a\"'")
        assert cache.get([(NODE, "a"), (NODE, "b")]) == {(NODE, "b"): 2}


def test_stale_values_are_swept_from_the_file(tmp_path: Path, clock: Clock) -> None:
    with SqliteCache(tmp_path / "c.db", clock=clock) as cache:
        cache.set({(NODE, "a"): (1, 10)})
        clock.now += 11
        cache.set({(NODE, "b"): (1, 10)})
        left = altered(tmp_path / "c.db", "SELECT key FROM graphflow_cache_entry")
    assert left == [('"b"',)]


def test_a_checkpointers_file_is_left_alone(tmp_path: Path) -> None:
    SqliteCheckpointer(tmp_path / "x.db").close()
    before = (tmp_path / "x.db").read_bytes()
    with pytest.raises(ForeignDatabaseError, match="no cache of graphflow"):
        SqliteCache(tmp_path / "x.db")
    assert (tmp_path / "x.db").read_bytes() == before
