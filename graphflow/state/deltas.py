"""Structural deltas: what a superstep changed, in a form that needs no user code to apply.

An op is a tuple `(code, *arguments)`; a delta maps keys to ops in order. The codes are part of the
storage format and are never given a new meaning.

| code | arguments | the key afterwards |
|---|---|---|
| SET | value | is `value` |
| APPEND | items | the list has `items` added at its end (an absent key counts as `[]`) |
| SPLICE | index, count, items | the list has `count` items from `index` on replaced by `items` |
| PUT | entries | the dict has `entries` set (new keys at the end) |
| DROP | keys | the dict lacks `keys` |
| CLEAR | | has no value |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SET, APPEND, SPLICE, PUT, DROP, CLEAR = range(6)

Op = tuple[Any, ...]
Delta = Mapping[str, Sequence[Op]]


def apply_delta(values: dict[str, Any], delta: Delta) -> None:
    """Change `values` in place; containers that change are replaced, never mutated."""
    for key, ops in delta.items():
        for op in ops:
            _apply(values, key, op)


def _apply(values: dict[str, Any], key: str, op: Op) -> None:
    code = op[0]
    if code == SET:
        values[key] = op[1]
    elif code == APPEND:
        values[key] = [*values.get(key, ()), *op[1]]
    elif code == SPLICE:
        _, index, count, items = op
        old = values.get(key, [])
        values[key] = [*old[:index], *items, *old[index + count :]]
    elif code == PUT:
        values[key] = {**values[key], **op[1]}
    elif code == DROP:
        gone = set(op[1])
        values[key] = {k: v for k, v in values[key].items() if k not in gone}
    elif code == CLEAR:
        values.pop(key, None)
    else:
        raise ValueError(f"op code {code!r} at key {key!r} is not known to this version")


class Folder:
    """Folds many deltas into one state in linear time.

    Lists and dicts that it made itself it extends in place; `values()` hands out copies, so that
    no state that was given away changes afterwards.
    """

    __slots__ = ("_own", "_values", "replaced")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] = dict(values)
        self._own: set[str] = set()
        self.replaced: set[str] = set()
        """Keys to which something else was done than adding items at the end."""

    def apply(self, delta: Delta) -> None:
        """Apply one frame's delta."""
        for key, ops in delta.items():
            for op in ops:
                if op[0] == APPEND:
                    self.extend(key, op[1])
                else:
                    self._own.discard(key)
                    self.replaced.add(key)
                    _apply(self._values, key, op)

    def put(self, key: str, value: Any) -> None:
        """Apply one SET."""
        self._own.discard(key)
        self.replaced.add(key)
        self._values[key] = value

    def extend(self, key: str, items: Sequence[Any]) -> None:
        """Apply one APPEND.

        Raises:
            TypeError: `items` is a `range`, which nobody appends and which may be endless.
        """
        if type(items) is range:
            raise TypeError("a range cannot be appended")
        if key not in self._own:
            self._values[key] = list(self._values.get(key, ()))
            self._own.add(key)
        self._values[key].extend(items)

    def values(self) -> dict[str, Any]:
        """Return the state so far; later `apply` calls do not change it."""
        self._own.clear()
        return dict(self._values)


class Unfolder:
    """Folds deltas forward and then takes them back one by one, newest first."""

    __slots__ = ("_undo", "_values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] = {
            key: value[:] if type(value) is list else value for key, value in values.items()
        }
        self._undo: list[list[tuple[str, Any, bool]]] = []
        """What each delta replaced: key, value or length before, whether that is a length."""

    def apply(self, delta: Delta) -> None:
        """Apply one frame's delta and remember how to take it back."""
        values, undo = self._values, []
        for key, ops in delta.items():
            for op in ops:
                old = values.get(key, _ABSENT)
                if op[0] == APPEND and type(old) is list:
                    undo.append((key, len(old), True))
                    old.extend(op[1])
                    continue
                undo.append((key, old, False))
                _apply(values, key, op)
                if type(values.get(key)) is list:
                    values[key] = list(values[key])  # extended in place from now on
        self._undo.append(undo)

    def undo(self) -> None:
        """Take back the newest delta."""
        values = self._values
        for key, before, is_length in reversed(self._undo.pop()):
            if is_length:
                del values[key][before:]
            elif before is _ABSENT:
                values.pop(key, None)
            else:
                values[key] = before

    def values(self) -> dict[str, Any]:
        """Return the state as it is now, not touched by what comes later."""
        return {
            key: value[:] if type(value) is list else value for key, value in self._values.items()
        }


_ABSENT = object()
