"""Channels: how the writes to one key of the state become its next value.

A channel is immutable and shared by all runs of a graph. `fold` gets the key's current value (or
`MISSING`) and the superstep's writes in their fixed order, and returns the next value together
with the structural delta (`state.deltas`), or None where the delta is not known exactly and
the recorder has to compare. What a channel needs to remember from superstep to superstep it keeps
in `memo`, a dict that belongs to one run.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from operator import is_
from typing import Any, Final

from graphflow.errors import InvalidUpdateError
from graphflow.state.deltas import APPEND, SPLICE, Op
from graphflow.types import Overwrite


class _Missing:
    """The value of a key that was never written."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final[Any] = _Missing()
Fold = tuple[Any, Sequence[Op] | None]
Memo = dict[str, Any]


class UntrackedValue:
    """`Annotated[T, UntrackedValue]`: lives during a run, is never stored."""


class EphemeralValue:
    """`Annotated[T, EphemeralValue]`: visible only in the superstep after the write."""


class Channel:
    """A key that keeps the last value written; the base of the other kinds."""

    __slots__ = ("kept_for_one_step", "stored")

    def __init__(self, *, stored: bool = True, kept_for_one_step: bool = False) -> None:
        self.stored = stored
        self.kept_for_one_step = kept_for_one_step

    @property
    def kind(self) -> tuple[object, ...]:
        """What two declarations of one key must agree on."""
        return (type(self), self.stored, self.kept_for_one_step)

    def initial(self) -> Any:
        """Return the value before any write, or `MISSING`."""
        return MISSING

    def prepare(self, write: Any) -> Any:
        """Return `write` in the form in which everybody shall see it, before it is folded."""
        return write

    def fold(self, key: str, current: Any, writes: Sequence[Any], memo: Memo) -> Fold:
        """Return the next value and its delta.

        Raises:
            InvalidUpdateError: More than one write in the superstep.
        """
        if len(writes) != 1:
            raise InvalidUpdateError(
                f"At key '{key}': Can receive only one value per step. {len(writes)} writes came "
                "together; declare the key as Annotated[type, reducer] to combine them."
            )
        return writes[0], None


class ReducedChannel(Channel):
    """A key whose writes are combined by a function of two arguments."""

    __slots__ = ("reducer", "start")

    def __init__(self, reducer: Callable[[Any, Any], Any], start: Callable[[], Any] | None) -> None:
        super().__init__()
        self.reducer = reducer
        self.start = start

    @property
    def kind(self) -> tuple[object, ...]:
        return (type(self), self.reducer)

    def initial(self) -> Any:
        return MISSING if self.start is None else self.start()

    def fold(self, key: str, current: Any, writes: Sequence[Any], memo: Memo) -> Fold:
        writes, overwritten = _after_overwrite(key, writes)
        if overwritten:
            return writes[0], None
        return self.reduce(key, current, writes, memo)

    def reduce(self, key: str, current: Any, writes: Sequence[Any], memo: Memo) -> Fold:
        """Combine `writes`, none of which is an `Overwrite`, with the current value."""
        for write in writes:
            current = write if current is MISSING else self.reducer(current, write)
        return current, None


class AppendChannel(ReducedChannel):
    """`Annotated[list, operator.add]`: the delta is the list that was added."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(operator.add, list)

    def reduce(self, key: str, current: Any, writes: Sequence[Any], memo: Memo) -> Fold:
        ops: list[Op] = []
        exact = type(current) is list
        for write in writes:
            exact = exact and type(write) is list
            current = current + write
            ops.append((APPEND, write))
        return current, ops if exact else None


class MessagesChannel(ReducedChannel):
    """`Annotated[list, add_messages]`: appends in O(new messages), replaces and removes by id."""

    __slots__ = ("identify", "merge")

    def __init__(self, reducer: Callable[[Any, Any], Any]) -> None:
        from graphflow.state.messages import merge_messages

        super().__init__(reducer, list)
        self.identify: Callable[[Any], Any] = reducer.__graphflow_messages__  # type: ignore[attr-defined]  # its mark
        self.merge = merge_messages

    def prepare(self, write: Any) -> Any:
        return write if _is_overwrite(write) else self.identify(write)

    def reduce(self, key: str, current: Any, writes: Sequence[Any], memo: Memo) -> Fold:
        known = memo.get(key)
        if known is None or known[0] is not current:
            current = self.merge([], {}, self.identify(current or []))[0]
            positions = {message.id: index for index, message in enumerate(current)}
        else:
            positions = known[1]
        ops: list[Op] = []
        for write in writes:
            right = self.identify(write)
            current, positions, delta = self.merge(current, positions, right)
            ops.extend([_message_op(change, write) for change in delta])
        memo[key] = (current, positions)
        return current, ops


def _message_op(change: tuple[Any, ...], write: Any) -> Op:
    """Return the op of a change; items that are the write itself stay it, and are stored once."""
    if change[0] != "append":
        return (SPLICE, *change[1:])
    items = change[1]
    is_write = type(write) is list and len(write) == len(items) and all(map(is_, items, write))
    return (APPEND, write if is_write else items)


def _is_overwrite(write: Any) -> bool:
    return isinstance(write, Overwrite) or (
        isinstance(write, dict)
        and (
            (len(write) == 1 and "__overwrite__" in write)
            or (len(write) == 2 and write.get("type") == "__overwrite__" and "value" in write)
        )
    )


def _overwrite_value(write: Any) -> Any:
    if isinstance(write, Overwrite):
        return write.value
    return write["__overwrite__"] if "__overwrite__" in write else write["value"]


def _after_overwrite(key: str, writes: Sequence[Any]) -> tuple[Sequence[Any], bool]:
    found = [write for write in writes if type(write) in (Overwrite, dict) and _is_overwrite(write)]
    if not found:
        return writes, False
    if len(found) > 1:
        raise InvalidUpdateError(
            f"At key '{key}': Can receive only one Overwrite value per super-step."
        )
    return [_overwrite_value(found[0])], True


def agree(key: str, known: Channel, declared: Channel) -> Channel:
    """Return the channel of a key that two schemas declare; a plain declaration gives way.

    Raises:
        ValueError: The two are of different kinds.
    """
    if known.kind == declared.kind or type(declared) is Channel:
        return known
    if type(known) is Channel:
        return declared
    raise ValueError(
        f"Channel '{key}' already exists with a different type: two schemas of the graph give it "
        "different reducers. Use one reducer, or leave the second declaration without any."
    )
