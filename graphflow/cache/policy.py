"""The cache policy: which inputs of a node count as the same, and how long a result serves.

The default key is a hash of the stored form of the input. Dicts that are equal but for the order of
their items have one key, anywhere in the input; values of different types have different ones, like
1, 1.0 and True.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any

from graphflow.checkpoint.careful_writer import MAX_LEVELS
from graphflow.checkpoint.codec import codec
from graphflow.checkpoint.msgpack_pure import Ext, packb, unpackb


def default_key(*args: Any, **kwargs: Any) -> str:
    """Return a hash of everything a node or task is called with.

    Raises:
        NotStorable: A value has no exact stored form: give the policy a `key_func` of your own.
    """
    tree = unpackb(
        codec.encode([args, kwargs]), ext_hook=Ext, nested=_wrappers(), max_levels=MAX_LEVELS
    )
    return blake2b(_in_order(tree), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """When a result of a node may serve again."""

    key_func: Callable[..., str | bytes] = default_key
    """What the node is called with to a key; equal keys, one result."""
    ttl: float | None = None
    """Seconds that a result serves; None: for ever."""

    def __post_init__(self) -> None:
        if self.ttl is not None and not self.ttl > 0:
            raise ValueError(f"CachePolicy(ttl=…) is in seconds, more than none; not {self.ttl!r}.")


# ----------------------------------------------------------------------- dicts in order, as bytes


@cache
def _wrappers() -> dict[int, Callable[[Any], Ext]]:
    """Return for every type whose payload is MessagePack what writes its dicts in order."""
    from graphflow.checkpoint.builtin_types import COUNTER, DEFAULT_DICT, MAP, RAW

    def plain(code: int) -> Callable[[Any], Ext]:
        return lambda data: Ext(code, _in_order(data))

    wrappers = {code: plain(code) for code in range(128) if code not in RAW}
    for code in (MAP, COUNTER):
        wrappers[code] = lambda data, code=code: Ext(code, _pairs_in_order(data))  # type: ignore[misc]  # a loop variable bound
    wrappers[DEFAULT_DICT] = lambda data: Ext(
        DEFAULT_DICT, _in_order(data[0]) + _pairs_in_order(data[1])
    )
    return wrappers


def _in_order(tree: Any) -> bytes:
    """Return bytes that tell what is in a tree, but not the order of its dicts.

    They are no MessagePack, only as unmistakable: nothing but the hash reads them.
    """
    if type(tree) is list:
        return b"".join((b"l%d:" % len(tree), *map(_in_order, tree)))
    if type(tree) is dict:
        pairs = sorted(packb(key) + _in_order(value) for key, value in tree.items())
        return b"".join((b"d%d:" % len(pairs), *pairs))
    if type(tree) is Ext:
        return b"x%d,%d:" % (tree.tag, len(tree.data)) + tree.data
    return b"a" + packb(tree)


def _pairs_in_order(flat: list[Any]) -> bytes:
    """Return as `_in_order` a dict that was written as key, value, key, value."""
    pairs = sorted(
        _in_order(key) + _in_order(value) for key, value in zip(flat[::2], flat[1::2], strict=True)
    )
    return b"".join((b"p%d:" % len(pairs), *pairs))
