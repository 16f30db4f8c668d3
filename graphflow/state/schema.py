"""Schemas: what a TypedDict, a dataclass, a pydantic model or a bare type says about the state.

`schema_of(annotation)` reads one declaration. A `Schema` knows its keys and their channels, how
to show current values to a node (`view`), and how to take apart what a user hands in (`writes`).
Rules: contract §2. pydantic is touched only where a declaration is a pydantic model.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import operator
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NotRequired, Required, get_args, get_origin, get_type_hints

from typing_extensions import ReadOnly, is_typeddict

from graphflow.state.channels import (
    AppendChannel,
    Channel,
    EphemeralValue,
    MessagesChannel,
    ReducedChannel,
    UntrackedValue,
)
from graphflow.types import ROOT


class LastStep:
    """Marks the managed value `IsLastStep`."""


class StepsLeft:
    """Marks the managed value `RemainingSteps`."""


IsLastStep = Annotated[bool, LastStep]
RemainingSteps = Annotated[int, StepsLeft]

_QUALIFIERS = (Required, NotRequired, ReadOnly)
_CONCRETE = {
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
    collections.abc.Mapping: dict,
    collections.abc.MutableMapping: dict,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Schema:
    """One declaration of keys."""

    declared: Any
    """The annotation it was read from."""
    kind: str
    """`dict`, `dataclass`, `pydantic`, `object` (annotated class), or `root` (a bare type)."""
    channels: Mapping[str, Channel]
    managed: Mapping[str, type]
    """Keys that the engine fills in: `LastStep` or `StepsLeft`."""

    @property
    def name(self) -> str:
        """How an error message calls the schema."""
        return getattr(self.declared, "__name__", None) or str(self.declared)

    def view(self, values: dict[str, Any]) -> Any:
        """Return `values`, a fresh dict of this schema's keys, as what a node shall get.

        Raises:
            pydantic.ValidationError: The values do not fit the pydantic model.
            TypeError: A dataclass lacks a value for a field without default.
        """
        if self.kind == "dict":
            return values
        if self.kind == "root":
            return values.get(ROOT)
        return self.declared(**values)

    def validate_input(self, value: Any) -> None:
        """Refuse input that the model could not hold.

        Raises:
            pydantic.ValidationError: The input does not fit the pydantic model.
        """
        if self.kind == "pydantic" and isinstance(value, Mapping):
            self.declared(**{key: value[key] for key in value if key in self.channels})

    def check(self, values: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
        """Refuse changed values that the model could never hand to the next node.

        Raises:
            pydantic.ValidationError: With a note that names the key and the value.
        """
        if self.kind != "pydantic":
            return
        for key, value in changed.items():
            if key in self.channels:
                _check_field(self.declared, key, value, {**values, **changed})


def _check_field(model: Any, key: str, value: Any, values: Mapping[str, Any]) -> None:
    from pydantic import ValidationError

    probe = model.model_construct(**{k: v for k, v in values.items() if k in model.model_fields})
    try:
        model.__pydantic_validator__.validate_assignment(probe, key, value)
    except ValidationError as error:
        if any(not detail["loc"] or detail["loc"][0] == key for detail in error.errors()):
            error.add_note(f"Key '{key}' was given {value!r}; nothing of this superstep is stored.")
            raise


def is_pydantic(declared: Any) -> bool:
    """Whether `declared` is a pydantic model class; never imports pydantic to find out."""
    pydantic = sys.modules.get("pydantic")
    return (
        pydantic is not None
        and isinstance(declared, type)
        and issubclass(declared, pydantic.BaseModel)
    )


def is_annotated_class(declared: Any) -> bool:
    """Whether `declared` is a class that can serve as a schema with keys of its own."""
    return isinstance(declared, type) and (
        is_typeddict(declared)
        or dataclasses.is_dataclass(declared)
        or is_pydantic(declared)
        or bool(getattr(declared, "__annotations__", None))
    )


def schema_of(declared: Any) -> Schema:
    """Read one declaration.

    Raises:
        ValueError: A reducer does not take exactly two positional parameters.
        TypeError: The class declares no keys, or a hint cannot be resolved.
    """
    if not is_annotated_class(declared):
        return _root_schema(declared)
    hints = _hints(declared)
    managed = {key: kind for key, hint in hints.items() if (kind := _managed(hint))}
    channels = {key: channel_of(key, hint) for key, hint in hints.items() if key not in managed}
    return Schema(declared, _kind(declared), channels, managed)


def _kind(declared: Any) -> str:
    if is_typeddict(declared):
        return "dict"
    if dataclasses.is_dataclass(declared):
        return "dataclass"
    return "pydantic" if is_pydantic(declared) else "object"


def _root_schema(declared: Any) -> Schema:
    if (
        declared is dict
        or get_origin(declared) is dict
        or get_origin(declared)
        or declared
        in (
            list,
            int,
            str,
            float,
            bool,
            set,
            tuple,
            object,
            Any,
        )
    ):
        return Schema(declared, "root", {ROOT: channel_of(ROOT, declared)}, {})
    raise TypeError(
        f"{declared!r} declares no state keys. Give a TypedDict, a dataclass, a pydantic model, or "
        "a bare type such as Annotated[list, operator.add]."
    )


def _hints(declared: Any) -> dict[str, Any]:
    if is_pydantic(declared):
        return {key: _field_hint(field) for key, field in declared.model_fields.items()}
    try:
        return get_type_hints(declared, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"Cannot resolve the annotations of {declared.__qualname__}: {error}. Define the names "
            "it uses at module level, or do not postpone annotations in this file."
        ) from error


def key_annotations(declared: Any) -> dict[str, Any]:
    """Return what each key of a declaration is annotated with, without what only marks it."""
    if not is_annotated_class(declared):
        return {ROOT: declared}
    hints = {key: _bare(hint) for key, hint in _hints(declared).items() if not _managed(hint)}
    return {
        key: get_args(hint)[0] if get_origin(hint) is Annotated else hint
        for key, hint in hints.items()
    }


def _field_hint(field: Any) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _bare(hint: Any) -> Any:
    while get_origin(hint) in _QUALIFIERS:
        hint = get_args(hint)[0]
    return hint


def _managed(hint: Any) -> type | None:
    hint = _bare(hint)
    last = get_args(hint)[-1] if get_origin(hint) is Annotated else None
    return last if last in (LastStep, StepsLeft) else None


def channel_of(key: str, hint: Any) -> Channel:
    """Return the channel that a key's annotation asks for.

    Raises:
        ValueError: A reducer does not take exactly two positional parameters.
    """
    hint = _bare(hint)
    if get_origin(hint) is not Annotated:
        return Channel()
    kind, *_, mark = get_args(hint)
    if mark is UntrackedValue or isinstance(mark, UntrackedValue):
        return Channel(stored=False)
    if mark is EphemeralValue or isinstance(mark, EphemeralValue):
        return Channel(kept_for_one_step=True)
    return _reduced(key, _bare(kind), mark) if callable(mark) else Channel()


def _reduced(key: str, kind: Any, reducer: Callable[..., Any]) -> Channel:
    if reducer is not operator.add and _positional_count(reducer) != 2:
        raise ValueError(
            f"Invalid reducer signature. At key '{key}': expected (a, b) -> c, got "
            f"{getattr(reducer, '__name__', reducer)!r}."
        )
    start = _start(kind)
    if start is list and reducer is operator.add:
        return AppendChannel()
    if start is list and getattr(reducer, "__graphflow_messages__", False):
        return MessagesChannel(reducer)
    return ReducedChannel(reducer, start)


def _positional_count(reducer: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(reducer).parameters.values()
    except ValueError:
        return -1
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _start(kind: Any) -> Callable[[], Any] | None:
    kind = get_origin(kind) or kind
    kind = _CONCRETE.get(kind, kind)
    try:
        kind()
    except Exception:  # whatever the type objects to, it has no start value
        return None
    return kind  # type: ignore[no-any-return]  # the call above showed that it takes no argument


def fields_written(value: Any) -> dict[str, Any]:
    """Return what a returned instance of an annotated class writes, key by key."""
    if is_pydantic(type(value)):
        return {
            key: getattr(value, key)
            for key, field in type(value).model_fields.items()
            if not (
                getattr(value, key) is None
                and field.default is None
                and key not in value.model_fields_set
            )
        }
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return {key: getattr(value, key) for key in _hints(type(value)) if hasattr(value, key)}
