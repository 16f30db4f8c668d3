"""How new messages become part of a conversation: by id, and telling what changed.

The cost depends on the new messages (plus one shallow copy of the list), not on the length of the
conversation; what changed is told as the engine stores it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Literal, TypeAlias, cast

from graphflow.state.message import REMOVE_ALL_MESSAGES, Message, RemoveMessage

MessageOrRemoval: TypeAlias = Message | RemoveMessage
MessageChange: TypeAlias = (
    tuple[Literal["append"], list[Message]] | tuple[Literal["splice"], int, int, list[Message]]
)
"""`("append", items)` or `("splice", index, count, items)`; applied in order to the old list."""


def merge_messages(
    left: list[Message], positions: dict[str, int], right: Sequence[MessageOrRemoval]
) -> tuple[list[Message], dict[str, int], list[MessageChange]]:
    """Merges identified messages into a list and tells what changed.

    Messages are values: an object that already stands in `left` counts as unchanged. To change a
    message, give a new one with its id.

    Args:
        left: The list so far; not changed.
        positions: Index of every id in `left`; belongs to the merge from here on, use the returned
            one.
        right: What `identify_messages` returned.

    Returns:
        The new list, its positions, and the changes: applied in order to `left` they give the new
        list.

    Raises:
        ValueError: A `RemoveMessage` names an id that neither `left` nor `right` has; `positions`
            is unchanged then.
    """
    if len(right) == 1 and type(right[0]) is Message and right[0].id not in positions:
        positions[cast("str", right[0].id)] = len(left)
        return [*left, right[0]], positions, [("append", [right[0]])]
    merge = _Merge(left, positions)
    for message in right:
        if type(message) is not RemoveMessage:
            merge.put(cast("Message", message))
        elif message.id == REMOVE_ALL_MESSAGES:
            merge.clear()
        else:
            merge.remove(message.id)
    return merge.result()


class _Merge:
    """The changes to a list so far; nothing is touched before `result`."""

    __slots__ = ("added", "cleared", "dropped", "left", "positions", "removed", "replaced")

    def __init__(self, left: list[Message], positions: dict[str, int]) -> None:
        self.left = left
        self.positions = positions
        self.added: dict[str, Message] = {}
        self.dropped: set[str] = set()
        self.replaced: dict[int, Message] = {}
        self.removed: set[int] = set()
        self.cleared = False

    def put(self, message: Message) -> None:
        id = cast("str", message.id)
        at = None if self.cleared else self.positions.get(id)
        if at is None:
            self.added[id] = message
        else:
            self.replaced[at] = message
            self.removed.discard(at)

    def remove(self, id: str) -> None:
        at = self.positions.get(id)
        if self.added.pop(id, None) is not None:
            self.dropped.add(id)
        elif at is not None:
            self.removed.add(at)
        elif id not in self.dropped:
            raise ValueError(
                f"Attempting to delete a message with an ID that doesn't exist ({id!r})"
            )

    def clear(self) -> None:
        self.dropped.update(self.added)
        self.added.clear()
        self.replaced.clear()
        self.cleared = True

    def result(self) -> tuple[list[Message], dict[str, int], list[MessageChange]]:
        changes = self._changes_to_left()
        messages = self._kept()
        kept = len(messages)
        if self.added:
            tail = list(self.added.values())
            messages += tail
            changes.append(("append", tail))
        return messages, self._new_positions(messages, kept), changes

    def _kept(self) -> list[Message]:
        if self.cleared:
            return []
        messages = self.left.copy()
        for at, message in self.replaced.items():
            messages[at] = message
        if self.removed:
            return [m for at, m in enumerate(messages) if at not in self.removed]
        return messages

    def _changes_to_left(self) -> list[MessageChange]:
        if self.cleared:
            return [("splice", 0, len(self.left), [])] if self.left else []
        changes: list[MessageChange] = [
            ("splice", at, 1, [message])
            for at, message in self.replaced.items()
            if at not in self.removed and message is not self.left[at]
        ]
        changes += [("splice", start, count, []) for start, count in _runs(self.removed)]
        return changes

    def _new_positions(self, messages: list[Message], kept: int) -> dict[str, int]:
        if self.cleared or self.removed:
            return {cast("str", message.id): at for at, message in enumerate(messages)}
        for at, id in enumerate(self.added, kept):
            self.positions[id] = at
        return self.positions


def _runs(indices: Iterable[int]) -> list[tuple[int, int]]:
    """Returns `(start, count)` of neighbouring indices, last run first."""
    runs = groupby(enumerate(sorted(indices)), key=lambda pair: pair[1] - pair[0])
    ordered = [[index for _, index in run] for _, run in runs]
    return [(run[0], len(run)) for run in reversed(ordered)]
