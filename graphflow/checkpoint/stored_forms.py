"""How the instances of a registered class become plain data, and plain data an instance again.

A form has three duties. `plain(value)` gives what is stored: for a class with fields the map name →
value, in the order of the fields and *complete*. Defaults are stored like any other value: were
they left out, changing a default in the code would change every stored object. `build(data)`
makes an instance without running `__init__`, `__post_init__`, `__setattr__` or a validator: the
values passed them once already, and reading must not have effects. `parts(value)` names the
attributes, for the path in a refusal.

Fields come and go with the code. A field that the stored data lacks gets its default; a stored
field that the class lacks is an error that asks for `@upcast`, for dropping it would lose data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from enum import Enum, Flag
from typing import Any

from graphflow.checkpoint.codec_errors import CorruptData, UnknownType, shown, type_name
from graphflow.checkpoint.field_forms import (
    DataclassForm,
    Form,
    NamedTupleForm,
    Plain,
    layout,
    refuse_extras,
)
from graphflow.checkpoint.pydantic_form import ModelForm, is_pydantic


def form_of(kind: type) -> Form | None:
    """Return the form that fits the class, or None if nothing says what to store of it."""
    if issubclass(kind, Enum):
        return FlagForm(kind) if issubclass(kind, Flag) else EnumForm(kind)
    if is_pydantic(kind):
        return ModelForm(kind)
    if dataclasses.is_dataclass(kind):
        return DataclassForm(kind)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return NamedTupleForm(kind)
    return BuiltinForm(kind) if layout(kind) in _BUILTIN_PARTS else None


class EnumForm(Form):
    """Members, stored by name: values may be changed, a name is what the code says."""

    def __init__(self, kind: Any) -> None:
        """Collect the members, aliases included."""
        super().__init__(kind)
        self.members = dict(kind.__members__)

    def to_plain(self, value: Any) -> Any:
        """Return the member's name."""
        return value._name_

    def build(self, data: Any) -> Any:
        """Find the member."""
        if data not in self.members:
            raise UnknownType(
                f"{type_name(self.kind)} has no member {data!r}: keep it, or write an @upcast"
            )
        return self.members[data]


class FlagForm(EnumForm):
    """Flags, stored by value, for a combination has no name of its own."""

    def to_plain(self, value: Any) -> Any:
        """Return the bits."""
        return int(value._value_)

    def build(self, data: Any) -> Any:
        """Combine the bits again."""
        if type(data) is not int:
            raise CorruptData(f"the bits of a {type_name(self.kind)} are not an int")
        return self.kind(data)


_BUILTIN_PARTS: dict[type, Plain] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    tuple: lambda value: list(tuple.__iter__(value)),
    list: list.copy,
    dict: dict.copy,
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: set(frozenset.__iter__(value)),
}


_STORED_AS: dict[type, type] = {tuple: list, frozenset: set}
"""Where that is not the type itself."""


class BuiltinForm(Form):
    """A subclass of a built-in type that adds behaviour but no data of its own."""

    def __init__(self, kind: type) -> None:
        """Find the built-in below the class."""
        super().__init__(kind)
        self.base: Any = layout(kind)

    def to_plain(self, value: Any) -> Any:
        """Return what the built-in part holds, by the built-in's own methods."""
        if getattr(value, "__dict__", None):
            refuse_extras(value, ())
        return _BUILTIN_PARTS[self.base](value)

    def build(self, data: Any) -> Any:
        """Fill an instance by the built-in's own methods."""
        if not isinstance(data, (self.base, _STORED_AS.get(self.base, self.base))):
            raise CorruptData(f"the content of a {type_name(self.kind)} is something else")
        if self.base in (list, dict, set):
            made: Any = self.base.__new__(self.kind)
            self.base.__init__(made, data)
            return made
        return self.base.__new__(self.kind, data)

    def parts(self, value: Any) -> Iterable[tuple[str, Any]]:
        """Yield the items of a list, tuple or dict."""
        if self.base not in (dict, list, tuple):
            return ()
        plain = _BUILTIN_PARTS[self.base](value)
        pairs = plain.items() if type(plain) is dict else enumerate(plain)
        return [(f"[{shown(key)}]", part) for key, part in pairs]


class HookForm(Form):
    """Any class, by two functions of its owner: `dump(value)` → storable data, `load(data)`."""

    def __init__(self, kind: type, dump: Plain, load: Callable[[Any], Any]) -> None:
        """Take the owner's word that `load(dump(value))` equals `value`."""
        super().__init__(kind)
        self.plain = dump
        self.load = load

    def build(self, data: Any) -> Any:
        """Let the owner make the value."""
        made = self.load(data)
        if type(made) is not self.kind:
            raise CorruptData(f"load= of {type_name(self.kind)} made a {type_name(type(made))}")
        return made
