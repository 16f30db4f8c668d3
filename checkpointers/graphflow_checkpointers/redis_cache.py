"""Results of nodes and tasks in Redis or Valkey, shared by machines.

    app = graph.compile(cache=RedisCache("redis://localhost:6379/0"))

A cache may lose anything: a server that evicts, or that keeps nothing over a restart, serves as
well. A value that is damaged, or that this process cannot read, is not there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, TypeVar
from zlib import crc32

from graphflow.cache.cache import BaseCache, CacheNamespace, FullKey, entries, readable
from graphflow_checkpointers.redis_client import Client
from graphflow_checkpointers.redis_names import checked_prefix, pattern_of
from graphflow_checkpointers.redis_server import RedisServer, script

T = TypeVar("T")

_CRC: Final = 4
"""Bytes of checksum in front of a value."""
_LONGEST: Final = 2**53
"""Milliseconds; the server refuses to add much more to its clock."""

_SET = script("""
for place, key in ipairs(KEYS) do
  local body, life = ARGV[2 * place - 1], ARGV[2 * place]
  if life == '' then
    redis.call('SET', key, body)
  else
    redis.call('SET', key, body, 'PX', life)
  end
end""")


class RedisCache(BaseCache):
    """Keeps results under keys of their own, which the server forgets when their time is up.

    In a cluster all of one cache lies on one server, so that results that are kept together are
    kept all or none; give caches prefixes of their own to spread them.

    Args:
        url_or_client: `redis://…`, `rediss://…`, `unix://…`, or a client of redis-py, for blocking
            callers or asyncio, of one server or a cluster.
        prefix: What the names of all its keys begin with; a cache with another one is another.
        patience: Seconds for which a call is repeated while there is no server.
    """

    def __init__(
        self, url_or_client: str | Client, *, prefix: str = "graphflow", patience: float = 5.0
    ) -> None:
        self._prefix = b"{%b:cache}" % checked_prefix(prefix)
        self._server = RedisServer(
            url_or_client,
            patience=patience,
            lost="Threads are not touched by that; run again when it is back.",
            full="Let the server evict: CONFIG SET maxmemory-policy allkeys-lru.",
        )

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        if not keys:
            return {}
        bodies = self._server.ask("MGET", *map(self._address, keys))
        found = {key: body for key, body in zip(keys, bodies, strict=True) if _is_whole(body)}
        return readable({key: body[_CRC:] for key, body in found.items()})

    def set(self, pairs: Mapping[FullKey, tuple[Any, float | None]]) -> None:
        values: list[bytes | int] = []
        for entry in entries(pairs, now=0.0).values():  # so what is left to live, by any clock
            values += (_checksum(entry.body) + entry.body, _milliseconds(entry.expires))
        if pairs:
            self._server.evaluate(_SET, [self._address(key) for key in pairs], values)

    def clear(self, namespaces: Iterable[CacheNamespace] | None = None) -> None:
        wanted = None if namespaces is None else {_digest(namespace) for namespace in namespaces}
        for page in self._server.keys(pattern_of(self._prefix) + b":*"):
            found = [key for key in page if wanted is None or key.rsplit(b":", 2)[1] in wanted]
            if found:
                self._server.ask("UNLINK", *found)

    def _address(self, key: FullKey) -> bytes:
        return b":".join((self._prefix, _digest(key[0]), _digest(key[1])))

    async def aside(self, work: Callable[[], T]) -> T:
        return await self._server.aside(work)

    def close(self) -> None:
        self._server.close()

    def __enter__(self) -> RedisCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_whole(body: bytes | None) -> bool:
    return body is not None and body[:_CRC] == _checksum(body[_CRC:])


def _checksum(body: bytes) -> bytes:
    return crc32(body).to_bytes(_CRC, "big")


def _milliseconds(ttl: float | None) -> bytes | int:
    return b"" if ttl is None else max(1, int(min(ttl * 1000, _LONGEST)))


def _digest(name: CacheNamespace | str) -> bytes:
    """Return a short name that no other has, whatever is in it."""
    return blake2b(json.dumps(name).encode(), digest_size=16).hexdigest().encode()
