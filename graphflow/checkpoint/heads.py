"""States that a store object has read already: going on with a long thread reads only what is new.

A state is kept when its branch is read for the second time. It is never handed out itself, nor is
anything in it that could be changed: whoever reads gets copies, as if they had been decoded. That a
kept state still stands is seen from the bytes of the frame that it was read at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.protocol import StoredFrame
from graphflow.checkpoint.registry import Registry
from graphflow.state.deltas import Folder
from graphflow.state.message import Message, message_of

_FINAL = frozenset(
    (str, int, float, bool, type(None), bytes, complex, Decimal, date, datetime, timedelta, UUID)
)
"""Types whose values nobody can change."""
Copy = Callable[[Any], Any]


class Head(NamedTuple):
    """The state that a frame leaves."""

    frame: StoredFrame
    values: Mapping[str, Any]
    """Nobody has a reference to what is in here."""
    copies: Mapping[str, Copy]
    """By key, what makes a copy of its value."""
    metadata: Mapping[str, Any]
    copy_metadata: Copy
    cost: int
    """Of the chain in the store that leads to it."""
    size: int
    """Bytes that were read for it."""

    def copied(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the state, and the metadata, as something that may be changed."""
        copies = self.copies
        values = {key: copies[key](value) for key, value in self.values.items()}
        return values, self.copy_metadata(self.metadata)


def head_after(
    before: Head | None,
    folder: Folder,
    frame: StoredFrame,
    metadata: Mapping[str, Any],
    cost: int,
    size: int,
    codec: Codec,
) -> Head:
    """Return the state that was folded onto another one, or onto nothing."""
    values = folder.values()
    old: Mapping[str, Any] = {} if before is None else before.values
    copies: dict[str, Copy] = {}
    for key, value in values.items():
        if before is None or key in folder.replaced or key not in old:
            copies[key] = _copy_of(value, codec)
        elif value is old[key]:
            copies[key] = before.copies[key]
        else:  # a list that was extended
            copies[key] = _either(before.copies[key], value, len(old[key]), codec)
    return Head(frame, MappingProxyType(values), copies, metadata, _Deep(codec), cost, size)


class Heads:
    """The states that one store object keeps; those that were not asked for longest go first."""

    room = 32 * 1024 * 1024
    """Bytes of chains, encoded, whose states are kept."""
    short = 16 * 1024
    """Bytes; chains up to here are read about as fast as they are copied."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, Registry], Head | None] = {}
        """By branch and classes; None: the branch was read once."""
        self._size = 0

    def find(self, branch: int, upto: int, codec: Codec) -> Head | None:
        """Return the state of a branch that is kept, if it is not newer than `upto`."""
        head = self._kept.get((branch, codec.classes))
        return head if head is not None and head.frame.seq <= upto else None

    def wants(self, branch: int, size: int, codec: Codec) -> bool:
        """Whether a state shall be kept that was read from so many bytes."""
        if not self.short < size <= self.room:
            return False
        place = branch, codec.classes
        if place in self._kept:
            return True
        self._put(place, None)
        return False

    def keep(self, branch: int, head: Head, codec: Codec) -> None:
        """Keep a state in place of an older one of the branch."""
        self._put((branch, codec.classes), head)

    def forget(self, branch: int, codec: Codec) -> None:
        """Keep the branch's state no longer; it is read from a snapshot more cheaply."""
        if (branch, codec.classes) in self._kept:
            self._put((branch, codec.classes), None)

    def _put(self, place: tuple[int, Registry], head: Head | None) -> None:
        kept = self._kept
        before = kept.pop(place, None)
        kept[place] = head
        self._size += _size(head) - _size(before)
        while self._size > self.room or len(kept) > _AT_MOST:
            try:
                self._size -= _size(kept.pop(next(iter(kept))))
            except (KeyError, StopIteration, RuntimeError):  # another thread is at it, too
                return

    def clear(self) -> None:
        """Keep nothing of what was read so far."""
        self._kept.clear()
        self._size = 0


_AT_MOST = 4096
"""Branches."""


def _size(head: Head | None) -> int:
    return 0 if head is None else head.size


# -- copies ----------------------------------------------------------------------------------------


def _copy_of(value: Any, codec: Codec) -> Copy:
    """Return what copies a value, and would copy others like it."""
    if type(value) in _FINAL:
        return _same
    if type(value) is list:
        return _copy_of_items(value, codec)
    if type(value) is dict and _is_flat(value):
        return dict.copy
    return _Deep(codec)


def _copy_of_items(items: list[Any], codec: Codec) -> Copy:
    kinds = set(map(type, items))
    if _FINAL.issuperset(kinds):
        return list.copy
    if kinds == {dict} and all(map(_is_flat, items)):
        return _copied_dicts
    return _Deep(codec)


def _either(copy: Copy, items: list[Any], known: int, codec: Codec) -> Copy:
    """Return what copies a list of which `copy` copies the first items."""
    if isinstance(copy, _Deep):
        return copy
    added = _copy_of_items(items[known:], codec)
    return added if copy is added or not known else _Deep(codec)


def _is_flat(value: dict[Any, Any]) -> bool:
    return _FINAL.issuperset(map(type, value)) and _FINAL.issuperset(map(type, value.values()))


def _same(value: Any) -> Any:
    return value


def _copied_dicts(items: list[dict[Any, Any]]) -> list[dict[Any, Any]]:
    return [item.copy() for item in items]


class _Deep:
    """Copies anything that has a stored form; what is not plain, by way of its bytes."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    def __call__(self, value: Any) -> Any:
        kind = type(value)
        if kind in _FINAL:
            return value
        if kind is list:
            return [self(item) for item in value]
        if kind is dict:
            return {self(key): self(item) for key, item in value.items()}
        if kind is Message and not (value.meta or value.tool_calls) and type(value.content) is str:
            return message_of(
                value.role, value.content, value.id, (), value.tool_call_id, value.name,
                value.status, value.usage, value.model, value.finish,
            )  # fmt: skip
        return self.codec.decode(self.codec.encode(value))
