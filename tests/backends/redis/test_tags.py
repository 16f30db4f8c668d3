"""Tags in Redis: the sorted sets lead to what the hashes of threads say, and never past it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from graphflow import HeadMoved
from graphflow.checkpoint.indexing import index_all
from graphflow.checkpoint.protocol import MAIN, Branch, Operation, Tag
from graphflow.checkpoint.tags import tags_of
from graphflow.testing.material import stored
from graphflow_checkpointers import redis_tags
from graphflow_checkpointers.redis import RedisCheckpointer

from ...conformance.test_erasing import talk


@pytest.fixture
def store(proxy: Any, prefix: str) -> Iterator[RedisCheckpointer]:
    """An empty store behind a proxy."""
    with RedisCheckpointer(proxy.url, prefix=prefix, tags=("customer",)) as store:
        yield store


@pytest.fixture
def other(url: str, prefix: str) -> Iterator[RedisCheckpointer]:
    """The same store, without the proxy."""
    with RedisCheckpointer(url, prefix=prefix, tags=("customer",)) as store:
        yield store


@pytest.fixture
def raw(url: str) -> Iterator[Any]:
    """A client that looks behind the store's back."""
    with redis.Redis.from_url(url) as client:
        yield client


def tags(customer: str) -> list[Tag]:
    return tags_of(("customer",), {"customer": customer})


def committed(store: RedisCheckpointer, branch: Branch, head: int, customer: str) -> Any:
    def commit() -> Operation[None]:
        yield from store.begin(write=True)
        yield from store.put_tags("t", tags(customer))
        yield from store.append(branch.id, head, stored(head + 1), drop_rows=False)
        yield from store.end()

    return store.run(commit())


def found(store: RedisCheckpointer, customer: str) -> list[str]:
    return store.find_threads({"customer": customer}).threads


@pytest.mark.parametrize("number", range(3))
def test_tags_whose_answer_was_lost_do_not_come_back_over_what_came_since(
    store: RedisCheckpointer, other: RedisCheckpointer, proxy: Any, number: int
) -> None:
    branch = store.run(store.create_branch("t", "", MAIN, None, -1))
    committed(store, branch, -1, "nobody")  # the server has the scripts
    is_stored = number == 2

    def then() -> None:
        if is_stored:
            committed(other, branch, 1, "ben")

    proxy.lose(number, then)
    committed(store, branch, 0, "ada")
    assert proxy.has_lost
    assert (found(store, "ben"), found(store, "ada")) == ((["t"], []) if is_stored else ([], ["t"]))


def test_what_a_commit_that_was_refused_has_left_is_passed_over_and_goes_later(
    store: RedisCheckpointer, raw: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch = store.run(store.create_branch("t", "", MAIN, None, -1))
    with pytest.raises(HeadMoved):
        committed(store, branch, 7, "ada")
    (key,) = raw.scan_iter(match=f"{prefix}:tag:*", count=1000)
    assert found(store, "ada") == []
    assert raw.zcard(key) == 1
    monkeypatch.setattr(redis_tags, "_SETTLED", 0)
    assert found(store, "ada") == []
    assert raw.exists(key) == 0


def test_an_entry_whose_commit_has_come_stays(
    store: RedisCheckpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_tags, "_SETTLED", 0)
    branch = store.run(store.create_branch("t", "", MAIN, None, -1))
    for head, name in ((-1, "ada"), (0, "ben"), (1, "ada")):
        committed(store, branch, head, name)
        assert found(store, name) == ["t"]
        assert found(store, {"ada": "ben", "ben": "ada"}[name]) == []


def test_a_removed_thread_leaves_no_key(store: RedisCheckpointer, raw: Any, prefix: str) -> None:
    branch = store.run(store.create_branch("t", "", MAIN, None, -1))
    for head, name in ((-1, "ada"), (0, "ben"), (1, "cem")):
        committed(store, branch, head, name)
    assert len([*raw.scan_iter(match=f"{prefix}*", count=1000)]) == 5
    store.delete_thread("t")
    assert [*raw.scan_iter(match=f"{prefix}*", count=1000)] == []


def test_a_thread_that_is_made_anew_while_it_is_removed_is_found(
    store: RedisCheckpointer, other: RedisCheckpointer, proxy: Any
) -> None:
    def anew() -> None:
        other.run(other.remove_thread("t"))
        made = other.run(other.create_branch("t", "", MAIN, None, -1))
        committed(other, made, -1, "ada")

    committed(store, store.run(store.create_branch("t", "", MAIN, None, -1)), -1, "ada")
    for thread in ("u", "v"):  # the server has the scripts
        store.run(store.create_branch(thread, "", MAIN, None, -1))
        store.run(store.put_tags(thread, tags("ada")))
    store.delete_thread("v")
    proxy.lose(2, anew)  # what REMOVE answers
    store.delete_thread("t")
    assert proxy.has_lost
    assert found(store, "ada") == ["u", "t"]


def test_threads_that_got_a_tag_at_the_same_moment_come_once(
    store: RedisCheckpointer, raw: Any, prefix: str
) -> None:
    names = [f"t{number}" for number in range(230)]
    for name in names:
        store.run(store.create_branch(name, "", MAIN, None, -1))
        store.run(store.put_tags(name, tags("ada")))
    (key,) = raw.scan_iter(match=f"{prefix}:tag:*", count=1000)
    raw.zadd(key, dict.fromkeys(raw.zrange(key, 0, -1), 1700000000000001))
    seen, page = [], store.find_threads({"customer": "ada"}, limit=7)
    seen += page.threads
    while page.after is not None:
        page = store.find_threads({"customer": "ada"}, limit=7, after=page.after)
        seen += page.threads
    assert sorted(seen) == sorted(names)


def test_sorted_sets_that_were_lost_are_made_anew_by_indexing(
    store: RedisCheckpointer, raw: Any, prefix: str
) -> None:
    talk(store, "t", "hello", customer="ada")
    raw.delete(*raw.scan_iter(match=f"{prefix}:tag:*", count=1000))
    assert found(store, "ada") == []
    store.run(index_all(store))
    assert found(store, "ada") == ["t"]
