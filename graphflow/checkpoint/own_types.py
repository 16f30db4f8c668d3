"""graphflow's own records as the codec stores them.

Each has an extension code, so it needs no tag, and is a list of its fields in their order, cut
after the last that differs from its default. The codes and orders are part of the storage format:
a field may be added at the end, none may move.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from graphflow.checkpoint.codec_errors import CorruptData
from graphflow.checkpoint.registry import Registry
from graphflow.state.message import Message, RemoveMessage, message_of
from graphflow.state.message_parts import ToolCall, Usage
from graphflow.types import Overwrite

CODES = {Message: 65, ToolCall: 66, Usage: 67, RemoveMessage: 68, Overwrite: 69}
MAKERS: dict[Any, Callable[..., Any]] = {Message: message_of}
"""What makes a record of its fields faster than setting them one by one."""


def register_own_types(registry: Registry) -> None:
    """Let a registry store graphflow's own records."""
    for kind, code in CODES.items():
        if code not in registry.makers:
            dump, load = _forms(kind)
            registry.register(kind, f"graphflow.{kind.__name__}", dump=dump, load=load, code=code)
            registry.makers[code] = _maker(load, registry.makers[code])


def _maker(load: Callable[[Any], Any], general: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what makes a value of `[version, fields]`; the usual version without detours."""

    def make(data: Any) -> Any:
        if type(data) is list and len(data) == 2 and data[0] == 1:
            return load(data[1])
        return general(data)

    return make


def _forms(kind: Any) -> tuple[Callable[[Any], list[Any]], Callable[[Any], Any]]:
    names = [field.name for field in dataclasses.fields(kind)]
    defaults = [_default(field) for field in dataclasses.fields(kind)]
    required = sum(default is dataclasses.MISSING for default in defaults)
    setters = [getattr(kind, name).__set__ for name in names]
    make = MAKERS.get(kind) or partial(_made, kind, setters, defaults)

    def dump(value: Any) -> list[Any]:
        parts = [getattr(value, name) for name in names]
        place = len(parts) - 1
        while place >= required and _is_default(parts[place], defaults[place]):
            place -= 1
        return parts[: place + 1]

    def load(parts: list[Any]) -> Any:
        if type(parts) is not list or not required <= len(parts) <= len(names):
            raise CorruptData(f"{kind.__name__} has {len(names)} fields, not {parts!r}")
        return make(*parts)

    return dump, load


def _made(kind: Any, setters: list[Any], defaults: list[Any], *parts: Any) -> Any:
    """Return a record with these fields and the defaults of the others."""
    made = object.__new__(kind)
    for put, part in zip(setters, parts, strict=False):
        put(made, part)
    for place in range(len(parts), len(setters)):
        default = defaults[place]
        setters[place](made, {} if type(default) is dict else default)
    return made


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _is_default(part: Any, default: Any) -> bool:
    return part is default or (type(part) is type(default) and not part and part == default)
