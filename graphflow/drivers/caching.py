"""Caching: a node's result for an input that it has had before (contract §22).

What is kept is what the node wrote and where its Commands went; paths are asked anew. Keys are the
node's identity and what its policy makes of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from graphflow.checkpoint.records import Writes
from graphflow.engine.turn import Target
from graphflow.graph.plan import Node
from graphflow.graph.tasks import TaskSpec
from graphflow.types import Send

if TYPE_CHECKING:
    from graphflow.cache import BaseCache

Cached = Node | TaskSpec
Reading = tuple[Writes, Sequence[Target]]
FullKey = tuple[tuple[str, ...], str]


def namespace_of(node: Cached) -> tuple[str, ...]:
    """Return what all results of a node or task are kept under: its name and its function's."""
    origin = node.callee.origin
    module = getattr(origin, "__module__", "")
    function = getattr(origin, "__qualname__", type(origin).__qualname__)
    return (node.name, f"{module}.{function}")


def key_of(node: Cached, *args: Any, **kwargs: Any) -> FullKey:
    """Return the key of the result of a node for an input, or of a task for its arguments."""
    key = node.cache.key_func(*args, **kwargs)
    return namespace_of(node), key.hex() if isinstance(key, bytes) else key


def recalled(cache: BaseCache, key: FullKey) -> partial[Reading | None]:
    """Return the call that looks a result up."""

    def look() -> Reading | None:
        found = cache.get([key])
        if key not in found:
            return None
        writes, targets = found[key]
        return (
            tuple((name, value) for name, value in writes),
            [target if isinstance(target, str) else Send(*target) for target in targets],
        )

    return partial(look)


def remembered(cache: BaseCache, key: FullKey, reading: Reading, ttl: Any) -> partial[None]:
    """Return the call that keeps a result; `ttl` in seconds."""
    writes, targets = reading
    kept = [
        [list(pair) for pair in writes],
        [target if isinstance(target, str) else [target.node, target.arg] for target in targets],
    ]
    return partial(cache.set, {key: (kept, ttl)})
