"""Every cache keeps the same promises, to blocking callers and to asyncio."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from graphflow import ForeignDatabaseError, NotStorable
from graphflow.cache import BaseCache, InMemoryCache
from graphflow_checkpointers.sqlite import SqliteCheckpointer
from graphflow_checkpointers.sqlite_cache import SqliteCache

NODE = ("node", "fetch")
AWKWARD = ("", "a.b", "a:b", "%", "*", "\0", "ünï-🙂", "\ud800", "'; DROP TABLE x; --", '","', "[]")
"""Texts that a careless cache would mix up, cut off or obey."""


class Clock:
    """A clock that is set by hand; in seconds."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class AsyncFace:
    """A cache whose every call goes through its a-form."""

    def __init__(self, cache: BaseCache) -> None:
        self.cache = cache

    def __getattr__(self, name: str) -> Any:
        form = getattr(self.cache, f"a{name}")
        return lambda *args: asyncio.run(form(*args))


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


@pytest.fixture(params=["sync", "async"])
def cache(request: pytest.FixtureRequest, kept: BaseCache) -> Any:
    """An empty cache, and how it is called."""
    return kept if request.param == "sync" else AsyncFace(kept)


def test_what_was_set_is_got(cache: Any) -> None:
    cache.set({(NODE, "a"): ({"n": (1, 2)}, None), (NODE, "b"): (None, None)})
    assert cache.get([(NODE, "a"), (NODE, "b"), (NODE, "c")]) == {
        (NODE, "a"): {"n": (1, 2)},
        (NODE, "b"): None,
    }


def test_nothing_asked_is_nothing_got(cache: Any) -> None:
    assert cache.get([]) == {}


def test_setting_again_replaces(cache: Any) -> None:
    cache.set({(NODE, "a"): (1, None)})
    cache.set({(NODE, "a"): (2, None)})
    assert cache.get([(NODE, "a")]) == {(NODE, "a"): 2}


def test_values_are_copies(cache: Any) -> None:
    value = ["a"]
    cache.set({(NODE, "a"): (value, None)})
    value.append("b")
    cache.get([(NODE, "a")])[NODE, "a"].append("c")
    assert cache.get([(NODE, "a")]) == {(NODE, "a"): ["a"]}


def test_what_cannot_be_stored_is_refused_with_all_that_came_with_it(cache: Any) -> None:
    with pytest.raises(NotStorable) as caught:
        cache.set({(NODE, "a"): (1, None), (NODE, "b"): (object(), None)})
    assert "('node', 'fetch')" in caught.value.__notes__[0]
    assert cache.get([(NODE, "a")]) == {}


def test_a_value_serves_as_long_as_its_ttl(cache: Any, clock: Clock) -> None:
    cache.set({(NODE, "short"): (1, 10), (NODE, "long"): (2, None)})
    clock.now += 9.5
    assert len(cache.get([(NODE, "short"), (NODE, "long")])) == 2
    clock.now += 0.5
    assert cache.get([(NODE, "short"), (NODE, "long")]) == {(NODE, "long"): 2}


def test_setting_again_gives_a_new_ttl(cache: Any, clock: Clock) -> None:
    cache.set({(NODE, "a"): (1, 10)})
    clock.now += 9
    cache.set({(NODE, "a"): (1, 10)})
    clock.now += 9
    assert cache.get([(NODE, "a")]) == {(NODE, "a"): 1}


def test_clearing_forgets_exactly_the_namespaces_named(cache: Any) -> None:
    places = [("a",), ("a", "b"), ("b",), ("a.b",)]
    cache.set({(place, "k"): (1, None) for place in places})
    cache.clear([("a",), ("b",), ("unknown",)])
    assert set(cache.get([(place, "k") for place in places])) == {
        (("a", "b"), "k"),
        (("a.b",), "k"),
    }


def test_clearing_without_names_forgets_everything(cache: Any) -> None:
    cache.set({(("a",), "k"): (1, None), (("b",), "k"): (1, None)})
    cache.clear()
    assert cache.get([(("a",), "k"), (("b",), "k")]) == {}


def test_clearing_nothing_forgets_nothing(cache: Any) -> None:
    cache.set({(NODE, "k"): (1, None)})
    cache.clear([])
    assert len(cache.get([(NODE, "k")])) == 1


def test_any_text_is_a_key_and_a_namespace(cache: Any) -> None:
    pairs = {((label, "x"), key): (label + key, None) for label in AWKWARD for key in AWKWARD}
    cache.set(pairs)
    assert cache.get(list(pairs)) == {key: value for key, (value, _) in pairs.items()}


def test_many_threads_lose_nothing(kept: BaseCache) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: kept.set({(NODE, str(n)): (n, None)}), range(60)))
    assert len(kept.get([(NODE, str(n)) for n in range(60)])) == 60


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
