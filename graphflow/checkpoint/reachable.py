"""Which classes a type annotation can put into a state: found by walking it, registered at once.

A graph registers what its state schema reaches when it is compiled, so that nobody has to decorate
classes that the schema names anyway, and a class that cannot be stored shows before the first run.
Hints that do not resolve are passed over: their values fail loudly at the commit.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from graphflow.checkpoint.codec_errors import NotStorable
from graphflow.checkpoint.own_types import CODES, register_own_types
from graphflow.checkpoint.pydantic_form import is_pydantic
from graphflow.checkpoint.registry import Registry, registry
from graphflow.checkpoint.stored_forms import BuiltinForm, form_of


def register_reachable(annotation: Any, *, into: Registry = registry) -> tuple[type, ...]:
    """Register every class that can be reached from the annotation and return them all.

    Reached are dataclasses, pydantic models, enumerations and named tuples: through unions,
    `Annotated`, generics, TypedDicts, fields, and from a class to the subclasses it has by now.
    Classes that are registered already keep their tag.
    """
    register_own_types(into)
    found = tuple(kind for kind in _walk(annotation) if _has_form(kind))
    for kind in found:
        if kind not in into:
            into.register(kind)
    return found


def _walk(annotation: Any) -> Iterator[type]:
    """Yield every class that the annotation leads to, once, in the order it is met."""
    waiting: list[Any] = [annotation]
    # It holds what it saw, or the id of a short-lived alias would come again.
    seen: dict[int, Any] = {}
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen[id(current)] = current
        if isinstance(current, type) and typing.get_origin(current) is None:
            yield current
        if not (isinstance(current, type) and current in CODES):  # own records hold nothing new
            waiting.extend(_next(current))


def _next(annotation: Any) -> list[Any]:
    """Return what a hint is made of: arguments, fields, subclasses, the target of an alias."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return [type(value) for value in arguments]
    if origin is not None:
        return [origin, *_flat(arguments)]
    if isinstance(annotation, type):
        return [*_fields(annotation), *_subclasses(annotation)]
    named = (getattr(annotation, part, None) for part in _TARGETS)
    return [target for target in named if target is not None]


_TARGETS = ("__value__", "__supertype__", "__bound__")
"""Where a `type` alias, a NewType and a type variable keep what they stand for."""


def _flat(arguments: Iterable[Any]) -> list[Any]:
    return [part for item in arguments for part in (item if isinstance(item, list) else [item])]


def _fields(kind: type) -> list[Any]:
    if is_pydantic(kind):
        fields = kind.model_fields.values()  # type: ignore[attr-defined]
        return [info.annotation for info in fields] + [*_hints(kind).values()]
    if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind) or hasattr(kind, "_fields"):
        return [*_hints(kind).values()]
    return []


def _hints(kind: type) -> dict[str, Any]:
    """Return the type hints of a class; those that do not resolve are left out."""
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:  # a hint may be any expression, and fail in any way
        return dict(_resolved_one_by_one(kind))


def _resolved_one_by_one(kind: type) -> Iterator[tuple[str, Any]]:
    for base in reversed(kind.__mro__):
        scope = vars(sys.modules.get(base.__module__, typing))
        for name, hint in inspect.get_annotations(base).items():
            single = type("Hint", (), {"__annotations__": {name: hint}})
            try:
                yield from typing.get_type_hints(single, scope, include_extras=True).items()
            except Exception:  # as above: its values fail loudly when they are stored
                continue


def _subclasses(kind: type) -> list[type]:
    return type.__subclasses__(kind) if _has_form(kind) else []


def _has_form(kind: type) -> bool:
    """Tell whether instances can be stored once registered, and not already without."""
    package = kind.__module__.partition(".")[0]
    if typing.is_typeddict(kind) or package in ("builtins", "typing", "enum", "pydantic"):
        return False
    try:
        form = form_of(kind)
    except NotStorable:
        return False
    is_stdlib = package in sys.stdlib_module_names
    return form is not None and not (is_stdlib and isinstance(form, BuiltinForm))
