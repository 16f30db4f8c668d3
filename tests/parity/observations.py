"""Reduces what a program saw to plain data that two libraries can share.

Ids, namespaces and times differ from run to run; what they have in common is which of them are
equal. So each id becomes the number of its first appearance, and a time becomes a word.
"""

import dataclasses
import difflib
import enum
import pprint
import re
from collections.abc import Callable, Mapping
from typing import Any

import pydantic

_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}|\b\d{10}-\d+\b"
)
"""UUIDs, hashes of 32 digits, and checkpoint ids of graphflow."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(\+00:00|Z)")
_ROLES = {"user": "human", "assistant": "ai"}
_UNSEEN = {"checkpoint_map", "created_at", "__pregel_task_id"}
"""Keys of records that no program compares; `checkpoint_map` has a program of its own."""


def plain(observed: Any) -> Any:
    """Return `observed` as comparable data, ids numbered in order of appearance."""
    return _Reduction().of(observed)


def nameless(observed: Any) -> Any:
    """Return `observed` as comparable data without ids: for tasks that cannot be told apart."""
    return _Nameless().of(observed)


def difference(ours: Any, theirs: Any) -> str:
    """Return the lines in which graphflow and LangGraph do not agree."""
    lines = [pprint.pformat(side, width=100).splitlines() for side in (theirs, ours)]
    return "\n".join(difflib.unified_diff(*lines, "LangGraph", "graphflow", lineterm="", n=2))


def by_task(chunks: Any) -> list[Any]:
    """Sort what tasks showed that ran side by side: in which order they finish is not promised."""
    return sorted(chunks, key=lambda chunk: repr(nameless(chunk)))


def is_message(value: Any) -> bool:
    """Whether `value` is a message of either library."""
    return hasattr(value, "content") and (hasattr(value, "role") or hasattr(value, "type"))


class _Reduction:
    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}

    def of(self, value: Any) -> Any:
        for kinds, reduce in self._reductions():
            if isinstance(value, kinds):
                return reduce(value)
        return self._record(value)

    def _reductions(self) -> list[tuple[Any, Callable[[Any], Any]]]:
        return [
            (enum.Enum, lambda value: value.value),
            ((bool, int, float, bytes, type(None)), lambda value: value),
            (str, self._text),
            (Mapping, self._mapping),
            (list, lambda value: [self.of(item) for item in value]),
            (tuple, self._tuple),
            ((set, frozenset), lambda value: ("set", sorted(map(self.of, value), key=repr))),
            (BaseException, lambda value: (type(value).__name__, self.of(str(value)))),
            (type, lambda value: f"class {value.__name__}"),
        ]

    def _record(self, value: Any) -> Any:
        name = type(value).__name__
        if is_message(value):
            return self._message(value)
        if isinstance(value, pydantic.BaseModel):
            return (name, self.of(dict(value)))
        if dataclasses.is_dataclass(value):
            names = [field.name for field in dataclasses.fields(value) if field.compare]
            return (name, self.of({field: getattr(value, field) for field in names}))
        if name == "Send":
            return (name, value.node, self.of(value.arg))
        return f"a {name}"

    def _message(self, value: Any) -> Any:
        role = getattr(value, "role", None) or value.type
        calls = [(call["name"], call["args"]) for call in map(_as_dict, _calls(value))]
        seen = {"role": _ROLES.get(role, role), "content": value.content, "id": value.id}
        return self.of({**seen, "tool_calls": calls} if calls else seen)

    def _tuple(self, value: Any) -> Any:
        fields = getattr(value, "_asdict", None)
        if fields is not None:
            return (type(value).__name__, self._mapping(fields()))
        return tuple(self.of(item) for item in value)

    def _mapping(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        reduced = {}
        for key in sorted(value, key=str):
            if key in _UNSEEN:
                continue
            if key == "checkpoint_id":
                place = f"{value.get('thread_id')}/{value.get('checkpoint_ns', '')}"
                reduced[key] = self._number(place, value[key])
            elif key == "parents":
                reduced[key] = {self.of(ns): self._number(ns, at) for ns, at in value[key].items()}
            else:
                reduced[self.of(key)] = self.of(value[key])
        return reduced

    def _text(self, value: str) -> str:
        return _ID.sub(lambda found: self._number("", found[0]), _TIME.sub("TIME", value))

    def _number(self, namespace: str, identifier: str | None) -> str:
        """Number an id; those of checkpoints only differ within their namespace."""
        key = (namespace, str(identifier))
        return f"#{self._numbers.setdefault(key, len(self._numbers) + 1)}"


class _Nameless(_Reduction):
    def _number(self, namespace: str, identifier: str | None) -> str:
        return "#"


def _calls(message: Any) -> Any:
    return getattr(message, "tool_calls", None) or ()


def _as_dict(call: Any) -> dict[str, Any]:
    return call if isinstance(call, dict) else {"name": call.name, "args": call.args}
