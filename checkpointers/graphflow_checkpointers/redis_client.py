"""From whatever a program has of Redis, a URL or a client, to a client that blocks.

A blocking client is used as it is. Of an asyncio client only the settings are taken, because its
connections belong to the loop that it is used on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

try:
    import redis as redis  # for its neighbours, which then need not say how to install it
    import redis.asyncio
    import redis.connection
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise ImportError(f'{error}. Install it with: pip install "graphflow[redis]"') from error

BlockingClient: TypeAlias = redis.Redis | redis.RedisCluster
Client: TypeAlias = BlockingClient | redis.asyncio.Redis | redis.asyncio.RedisCluster

_TIMEOUT: Final = 5.0
"""Seconds without an answer after which a connection counts as dead, where nothing else is said."""
_SETTINGS: Final = frozenset({
    "host", "port", "path", "db", "username", "password", "credential_provider", "client_name",
    "socket_timeout", "socket_connect_timeout", "socket_keepalive", "health_check_interval",
    "protocol",
})  # fmt: skip
"""What says where a server is and who asks; the rest of an asyncio client belongs to asyncio."""
_untyped: Any = redis
"""redis-py, where it leaves types out."""


def blocking_client(source: str | Client) -> BlockingClient:
    """Return a client that any thread can use.

    Raises:
        TypeError: It is not known how to make one of this.
    """
    if isinstance(source, BlockingClient):
        return source
    if isinstance(source, str):
        return _of_url(source)
    if isinstance(source, redis.asyncio.RedisCluster):
        return _of_cluster(source)
    if isinstance(source, redis.asyncio.Redis):
        return _of_pool(source.connection_pool)
    raise TypeError(f"Not {source!r}, but a URL like 'redis://localhost:6379/0' or a client.")


def address_of(source: str | Client) -> str:
    """Return where a server is, for messages; without its password."""
    if isinstance(source, str):
        return _address(_untyped.connection.parse_url(_known(source)))
    if isinstance(source, redis.RedisCluster | redis.asyncio.RedisCluster):
        return f"Redis cluster at {', '.join(node.name for node in _nodes(source))}"
    pool = getattr(source, "connection_pool", None)
    return _address(getattr(pool, "connection_kwargs", {}))


def _address(settings: Mapping[str, Any]) -> str:
    place = (
        settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
    )
    return f"Redis at {place}"


def _known(url: str) -> str:
    return url.replace("valkey", "redis", 1) if url.startswith("valkey") else url


def _of_url(url: str) -> redis.Redis:
    times = {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT}
    pools = _untyped.BlockingConnectionPool
    return _owner(pools.from_url(_known(url), retry=_once(), **times))


def _of_pool(pool: Any) -> redis.Redis:
    kind = getattr(redis.connection, pool.connection_class.__name__, None)
    if kind is None:
        raise TypeError(
            f"It is not known how to connect as {pool.connection_class.__name__} does without "
            "asyncio: pass a URL or a blocking client, which serves asyncio as well."
        )
    settings = _settings(pool.connection_kwargs)
    pools = _untyped.BlockingConnectionPool
    return _owner(pools(connection_class=kind, retry=_once(), **settings))


def _owner(pool: Any) -> redis.Redis:
    """Return a client that closes its pool when it is closed."""
    return redis.Redis.from_pool(pool)


def _once() -> Retry:
    """Return redis-py's rule to try once: trying again is `RedisServer`'s."""
    return Retry(NoBackoff(), 0)


def _of_cluster(client: redis.asyncio.RedisCluster) -> redis.RedisCluster:
    known = client.connection_kwargs
    nodes = [_untyped.cluster.ClusterNode(node.host, node.port) for node in _nodes(client)]
    is_secure = issubclass(known["connection_class"], redis.asyncio.SSLConnection)
    return redis.RedisCluster(startup_nodes=nodes, ssl=is_secure, **_settings(known))


def _nodes(client: redis.RedisCluster | redis.asyncio.RedisCluster) -> list[Any]:
    return list(client.nodes_manager.startup_nodes.values())


def _settings(known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in known.items()
        if (name in _SETTINGS or name.startswith("ssl_")) and value is not None
    }
