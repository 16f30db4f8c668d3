"""Tags: values of a run's metadata, by which threads are found.

A store is told which keys are tags (`Checkpointer.tags`). What a run's metadata has under them is
stored with the thread, in the transaction of the commit that first carries it. A run that gives no
value goes on with the one that its thread has.

    key     16 bytes, a digest of the key
    value   32 bytes, a digest of the key, the type and the value

Stores see nothing else. So they can be asked for equality only, any text is a key or a value, and
1, True and "1" are three values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeAlias

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.protocol import Operation, Tag

TagValue: TypeAlias = str | int | bool
_TYPES: Final = (str, int, bool)
_MOST: Final = 1 << 30
"""Threads on a page."""
_CURSOR: Final = re.compile("[0-9a-f]{1,64}")


class ThreadPage(NamedTuple):
    """Some of the threads that were asked for, in the order of their creation."""

    threads: list[str]
    after: str | None
    """Given to the next call, it brings those that follow; None: there are no more."""


def checked_tags(keys: Iterable[str]) -> tuple[str, ...]:
    """Return keys as they are declared.

    Raises:
        TypeError: They are no texts, or a single one.
    """
    found = (keys,) if isinstance(keys, str) else tuple(keys)
    if isinstance(keys, str) or any(not isinstance(key, str) for key in found):
        raise TypeError(f'tags= names keys of the metadata, as in tags=("customer",), not {keys!r}')
    return found


def tags_of(declared: Sequence[str], metadata: Mapping[str, Any]) -> list[Tag]:
    """Return the tags that a run's metadata gives.

    Raises:
        TypeError: A value is none of the types that a tag can have.
    """
    return [_tag(key, metadata[key]) for key in declared if key in metadata]


def carried(declared: Sequence[str], metadata: Mapping[str, Any]) -> dict[str, TagValue]:
    """Return what of a checkpoint's metadata a run that goes on from it takes over."""
    return {key: metadata[key] for key in declared if type(metadata.get(key)) in _TYPES}


def _tag(key: str, value: Any) -> Tag:
    if type(value) not in _TYPES:
        raise TypeError(
            f"The tag {key!r} must be a str, an int or a bool, not {type(value).__name__}. Give "
            "such a value in the metadata, leave the key out, or do not declare it as a tag of the "
            "store."
        )
    text = value if type(value) is str else f"{value:x}"
    name = key.encode(errors="surrogatepass")
    told = f"{len(name)}:{type(value).__name__}:".encode() + name
    return Tag(
        blake2b(name, digest_size=16).digest(),
        blake2b(told + text.encode(errors="surrogatepass"), digest_size=32).digest(),
    )


def find_threads(
    store: Checkpointer,
    tags: Mapping[str, TagValue] | None = None,
    limit: int = 100,
    after: str | None = None,
) -> Operation[ThreadPage]:
    """Return threads that have all of these tags; without tags all threads.

    Raises:
        ValueError: A key was not declared, `limit` is below 1, or `after` is no cursor.
        TypeError: A value is none of the types that a tag can have.
        CheckpointError: The store keeps no tags.
    """
    wanted = dict(tags or {})
    if unknown := [key for key in wanted if key not in store.tags]:
        known = ", ".join(map(repr, store.tags)) or "none"
        raise ValueError(
            f"{unknown[0]!r} is not declared as a tag of this store (declared: {known}). Open it "
            "with tags=(…) and have the threads that are older than that indexed: "
            "store.run(index_all(store))."
        )
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit!r}")
    if after is not None and not _CURSOR.fullmatch(after):
        raise ValueError(f"after={after!r} is no cursor. Give the `after` of the page before.")
    told = tags_of(tuple(wanted), wanted)
    number = 0 if after is None else int(after, 16)
    limit = min(limit, _MOST)
    found = yield from store.tagged(told, number, limit + 1)
    page = found[:limit]
    more = f"{page[-1][0]:x}" if len(found) > limit else None
    return ThreadPage([name for _, name in page], more)
