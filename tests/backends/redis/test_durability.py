"""A server that would lose threads is refused, or warned of."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import redis

from graphflow import CheckpointError
from graphflow_checkpointers.redis import RedisCheckpointer, RedisDurabilityWarning

Servers = Callable[..., Any]


def open_and_close(url_or_client: Any, **options: Any) -> None:
    RedisCheckpointer(url_or_client, **options).close()


def limited(server: Any, *rules: str) -> str:
    """Return the address of a server for somebody who may not do everything."""
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "somebody", "on", ">pw", "~*", "+@all", *rules)
    return f"redis://somebody:pw@127.0.0.1:{server.port}/0"


def test_a_server_that_logs_is_taken_without_a_word(url: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_and_close(url)


def test_a_server_that_keeps_no_log_is_warned_of(start_server: Servers) -> None:
    server = start_server(appendonly="no")
    with pytest.warns(RedisDurabilityWarning, match="CONFIG SET appendonly yes"):
        open_and_close(server.url)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
@pytest.mark.parametrize("durability", ["process", "full"])
def test_a_server_that_evicts_is_refused(
    start_server: Servers, policy: str, durability: str
) -> None:
    server = start_server(maxmemory="100mb", maxmemory_policy=policy, appendfsync="always")
    with pytest.raises(CheckpointError, match="CONFIG SET maxmemory-policy noeviction"):
        open_and_close(server.url, durability=durability)


@pytest.mark.parametrize(
    "settings",
    [
        {"maxmemory": "100mb", "maxmemory_policy": "volatile-lru"},
        {"maxmemory": "100mb", "maxmemory_policy": "noeviction"},
        {"maxmemory": "0", "maxmemory_policy": "allkeys-lru"},
    ],
)
def test_a_server_that_evicts_no_thread_is_taken(
    start_server: Servers, settings: dict[str, str]
) -> None:
    open_and_close(start_server(**settings).url)


def test_a_server_that_writes_each_commit_is_durable_in_full(start_server: Servers) -> None:
    open_and_close(start_server(appendfsync="always").url, durability="full")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"appendfsync": "everysec"}, "appendonly yes, appendfsync everysec"),
        ({"appendfsync": "always", "appendonly": "no"}, "appendonly no, appendfsync always"),
    ],
)
def test_a_server_that_does_not_is_refused_and_what_to_set_is_told(
    start_server: Servers, settings: dict[str, str], told: str
) -> None:
    server = start_server(**settings)
    with pytest.raises(CheckpointError, match=rf"{told}.*CONFIG SET appendfsync always"):
        open_and_close(server.url, durability="full")


def test_a_server_that_does_not_tell_how_it_writes_is_warned_of(start_server: Servers) -> None:
    url = limited(start_server(appendfsync="always"), "-config")
    open_and_close(url)
    with pytest.warns(RedisDurabilityWarning, match="see that it has appendfsync always"):
        open_and_close(url, durability="full")


def test_a_server_that_tells_nothing_is_warned_of(start_server: Servers) -> None:
    url = limited(start_server(), "-config", "-info")
    with pytest.warns(RedisDurabilityWarning, match="INFO is not permitted"):
        open_and_close(url)


def test_every_server_of_a_cluster_is_looked_at(cluster: Any) -> None:
    first, last = map(cluster.get_redis_connection, cluster.get_primaries())
    try:
        last.config_set("appendfsync", "always")
        with pytest.raises(CheckpointError, match="appendfsync everysec"):
            open_and_close(cluster, durability="full")
        first.config_set("appendfsync", "always")
        open_and_close(cluster, durability="full")
    finally:
        first.config_set("appendfsync", "everysec")
        last.config_set("appendfsync", "everysec")


def test_another_durability_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="neither 'process' nor 'full'"):
        open_and_close(url, durability="fulll")


def test_the_warning_points_at_who_made_the_store(start_server: Servers) -> None:
    server = start_server(appendonly="no")
    with pytest.warns(RedisDurabilityWarning) as caught:
        store = RedisCheckpointer(server.url)
    store.close()
    assert caught[0].filename == __file__
