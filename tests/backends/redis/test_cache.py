"""The cache in Redis keeps the promises of every cache, and those of its own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict
from zlib import crc32

import pytest
import redis

from graphflow import START, CachePolicy, CheckpointError, StateGraph, StoreFullError
from graphflow_checkpointers.redis_cache import RedisCache

from ...conformance.caches import NODE, CachePromises

STRANGE = bytes.fromhex("C7114093AA73686F702E4F726465720181A16E03")
"""An instance of `shop.Order`, which this program does not have."""


@pytest.fixture
def kept(url: str, prefix: str) -> Iterator[RedisCache]:
    """An empty cache."""
    with RedisCache(url, prefix=prefix) as cache:
        yield cache


@pytest.fixture
def raw(url: str) -> Iterator[redis.Redis]:
    """A client that looks behind the cache's back."""
    with redis.Redis.from_url(url) as client:
        yield client


class TestPromises(CachePromises):
    def test_a_value_serves_as_long_as_its_ttl(
        self, cache: Any, raw: redis.Redis, prefix: str
    ) -> None:
        cache.set(
            {(NODE, "short"): (1, 0.02), (NODE, "long"): (2, 3600.0), (NODE, "ever"): (3, None)}
        )
        last = time.monotonic() + 10
        while (NODE, "short") in cache.get([(NODE, "short")]):
            assert time.monotonic() < last
        assert len(cache.get([(NODE, "long"), (NODE, "ever")])) == 2
        lives = sorted(raw.pttl(key) for key in raw.scan_iter(match=f"*{prefix}*"))
        assert lives[0] == -1  # for ever
        assert 3_590_000 < lives[1] <= 3_600_000

    def test_setting_again_gives_a_new_ttl(self, cache: Any, raw: redis.Redis, prefix: str) -> None:
        cache.set({(NODE, "a"): (1, 10)})
        cache.set({(NODE, "a"): (1, 3600)})
        assert [raw.ttl(key) > 10 for key in raw.scan_iter(match=f"*{prefix}*")] == [True]
        cache.set({(NODE, "a"): (1, None)})
        assert [raw.ttl(key) for key in raw.scan_iter(match=f"*{prefix}*")] == [-1]

    @pytest.mark.parametrize("ttl", [0.0, 1e-9])
    def test_a_ttl_of_next_to_nothing_is_over_at_once(self, cache: Any, ttl: float) -> None:
        cache.set({(NODE, "a"): (1, ttl)})
        last = time.monotonic() + 10
        while cache.get([(NODE, "a")]):
            assert time.monotonic() < last

    @pytest.mark.parametrize("ttl", [1e30, float("inf")])
    def test_a_ttl_may_be_longer_than_the_server_can_count(self, cache: Any, ttl: float) -> None:
        cache.set({(NODE, "a"): (1, ttl)})
        assert cache.get([(NODE, "a")]) == {(NODE, "a"): 1}


# -- what this one promises --------------------------------------------------------------------


def test_many_tasks_of_one_loop_lose_nothing(kept: RedisCache) -> None:
    async def fill() -> None:
        await asyncio.gather(*(kept.aset({(NODE, str(n)): (n, None)}) for n in range(60)))

    asyncio.run(fill())
    assert len(kept.get([(NODE, str(n)) for n in range(60)])) == 60


def test_another_object_finds_what_was_set(kept: RedisCache, url: str, prefix: str) -> None:
    kept.set({(NODE, "a"): (1, None)})
    with RedisCache(url, prefix=prefix) as other:
        assert other.get([(NODE, "a")]) == {(NODE, "a"): 1}


def test_caches_with_other_prefixes_are_others(kept: RedisCache, url: str, prefix: str) -> None:
    kept.set({(NODE, "a"): (1, None)})
    for other in (f"{prefix}:cache", f"{prefix}*", f"[{prefix}]", "*"):
        with RedisCache(url, prefix=f"{other}-{prefix}") as cache:
            assert cache.get([(NODE, "a")]) == {}
            cache.set({(NODE, "a"): (2, None)})
            cache.clear()
            assert cache.get([(NODE, "a")]) == {}
    assert kept.get([(NODE, "a")]) == {(NODE, "a"): 1}


@pytest.mark.parametrize("prefix", ["{a}", "a}"])
def test_a_prefix_with_braces_is_refused(url: str, prefix: str) -> None:
    with pytest.raises(ValueError, match="braces"):
        RedisCache(url, prefix=prefix)


@pytest.mark.parametrize(
    "damage",
    [b"", b"\x07", b"\0\0\0\0\x01", crc32(STRANGE).to_bytes(4, "big") + STRANGE],
    ids=["nothing", "too short", "other checksum", "a class this process does not know"],
)
def test_what_cannot_be_read_is_not_there(
    kept: RedisCache, raw: redis.Redis, prefix: str, damage: bytes
) -> None:
    kept.set({(NODE, "a"): (1, None)})
    for key in raw.scan_iter(match=f"*{prefix}*"):
        raw.set(key, damage)
    kept.set({(NODE, "b"): (2, None)})
    assert kept.get([(NODE, "a"), (NODE, "b")]) == {(NODE, "b"): 2}


def clients(url: str) -> dict[str, Callable[[], Any]]:
    """Return what makes each kind of thing that a cache can be made of."""
    return {
        "blocking": lambda: redis.Redis.from_url(url),
        "that decodes": lambda: redis.Redis.from_url(url, decode_responses=True),
        "RESP3": lambda: redis.Redis.from_url(url, protocol=3),
        "asyncio": lambda: redis.asyncio.Redis.from_url(url, decode_responses=True),
        "valkey scheme": lambda: url.replace("redis://", "valkey://"),
    }


@pytest.mark.parametrize("kind", clients(""))
def test_any_client_will_do(url: str, prefix: str, kind: str) -> None:
    with RedisCache(clients(url)[kind](), prefix=prefix) as cache:
        cache.set({(NODE, "a"): (b"\xff\0", 60)})
        assert cache.get([(NODE, "a")]) == {(NODE, "a"): b"\xff\0"}
        assert asyncio.run(cache.aget([(NODE, "a")])) == {(NODE, "a"): b"\xff\0"}
        cache.clear([NODE])
        assert cache.get([(NODE, "a")]) == {}


def test_a_client_that_was_given_stays_open(raw: redis.Redis, prefix: str) -> None:
    connection = raw.client_id()
    cache = RedisCache(raw, prefix=prefix)
    cache.close()
    assert raw.client_id() == connection
    with pytest.raises(CheckpointError, match="closed"):
        cache.get([(NODE, "a")])


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(TypeError, match="redis://"):
        RedisCache(object())  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
def test_a_cluster_serves_as_well(cluster_url: str, prefix: str, kind: str) -> None:
    made_by = redis.RedisCluster if kind == "blocking" else redis.asyncio.RedisCluster
    with RedisCache(made_by.from_url(cluster_url), prefix=prefix) as cache:
        pairs: Any = {((str(n % 3),), str(n)): (n, 60.0) for n in range(30)}
        cache.set(pairs)
        assert len(cache.get(list(pairs))) == 30
        cache.clear([("0",), ("1",)])
        assert len(asyncio.run(cache.aget(list(pairs)))) == 10


def test_one_server_of_a_cluster_does_not_do(cluster_url: str) -> None:
    with pytest.raises(CheckpointError, match=r"pass redis\.RedisCluster\.from_url"):
        look_everywhere(cluster_url)


def look_everywhere(url: str) -> None:
    """Look into so many caches that some are on another server."""
    for number in range(20):
        with RedisCache(url, prefix=str(number)) as cache:
            cache.get([(NODE, "a")])


def test_a_server_that_is_down_is_named(start_server: Callable[..., Any]) -> None:
    server = start_server(appendfsync="always")
    with RedisCache(server.url, patience=0) as cache:
        cache.set({(NODE, "a"): (1, None)})
        server.kill()
        with pytest.raises(CheckpointError, match=rf"127\.0\.0\.1:{server.port}.*not answer"):
            cache.get([(NODE, "a")])
        with pytest.raises(CheckpointError, match="run again"):
            asyncio.run(cache.aget([(NODE, "a")]))
        server.start()
        assert cache.get([(NODE, "a")]) == {(NODE, "a"): 1}


def test_a_call_waits_for_a_server_that_restarts(start_server: Callable[..., Any]) -> None:
    server = start_server()
    with RedisCache(server.url, patience=30) as cache, ThreadPoolExecutor(1) as pool:
        server.kill()
        setting = pool.submit(cache.set, {(NODE, "a"): (1, None)})
        server.start()
        setting.result(30)
        assert cache.get([(NODE, "a")]) == {(NODE, "a"): 1}


def test_a_server_without_memory_is_told_and_what_to_do(start_server: Callable[..., Any]) -> None:
    server = start_server(maxmemory="9mb", maxmemory_policy="noeviction")
    with RedisCache(server.url) as cache:
        with pytest.raises(StoreFullError, match="allkeys-lru"):
            cache.set({(NODE, "a"): (os.urandom(9_000_000), None)})
        assert cache.get([(NODE, "a")]) == {}


def test_a_wrong_password_is_told_at_once(start_server: Callable[..., Any]) -> None:
    server = start_server(requirepass="right")
    url = server.url.replace("right", "wrong")
    with (
        RedisCache(url, patience=3600) as cache,
        pytest.raises(CheckpointError, match="password") as caught,
    ):
        cache.get([(NODE, "a")])
    assert "wrong@" not in str(caught.value)


class State(TypedDict):
    n: int


def test_a_cached_node_is_not_called_again(kept: RedisCache) -> None:
    calls: list[int] = []

    def double(state: State) -> dict[str, int]:
        calls.append(state["n"])
        return {"n": state["n"] * 2}

    graph: StateGraph[State] = StateGraph(State)
    graph.add_node("double", double, cache_policy=CachePolicy(ttl=60)).add_edge(START, "double")
    app = graph.compile(cache=kept)
    assert app.invoke({"n": 2}) == {"n": 4}
    assert asyncio.run(app.ainvoke({"n": 2})) == {"n": 4}
    assert calls == [2]
    app.clear_cache(["double"])
    assert app.invoke({"n": 2}) == {"n": 4}
    assert calls == [2, 2]
