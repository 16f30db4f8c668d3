"""The forms of classes with named fields: dataclasses, named tuples (the idea: stored_forms.py)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from enum import Enum
from operator import attrgetter
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from graphflow.checkpoint.codec_errors import CorruptData, NotStorable, UnknownType, type_name

Plain = Callable[[Any], Any]
Default = Callable[[], Any]

_SLOT = MemberDescriptorType
_IS_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class made by a class statement


class Form:
    """What is common to all forms: a class, and nothing to look into."""

    def __init__(self, kind: type) -> None:
        """Prepare the form of the instances of exactly this class."""
        self.kind = kind
        self.plain: Plain = self.to_plain

    def to_plain(self, value: Any) -> Any:
        """Return what is stored of the value."""
        raise NotImplementedError

    def build(self, data: Any) -> Any:
        """Make the value of what was stored."""
        raise NotImplementedError

    def migrate(self, data: Any, steps: Iterable[Callable[[Any], Any]]) -> Any:
        """Return the data of an older version as the present one would have written it."""
        for step in steps:
            data = step(data)
        return data

    def parts(self, value: Any) -> Iterable[tuple[str, Any]]:
        """Yield the path segments and values inside, for the search after a refusal."""
        return ()


def layout(kind: type) -> type:
    """Return the first base that is written in C: it decides what an instance holds."""
    return next(base for base in kind.__mro__ if not base.__flags__ & _IS_HEAP_TYPE)


class FieldForm(Form):
    """The shared part of everything with named fields."""

    names: tuple[str, ...]
    defaults: dict[str, Default]

    def ordered(self, data: Any) -> dict[str, Any]:
        """Return the stored fields in the class's order, completed by defaults."""
        if type(data) is not dict:
            raise CorruptData(f"the fields of {type_name(self.kind)} are not a map")
        unknown = [name for name in data if name not in self.names]
        if unknown:
            raise UnknownType(
                f"{type_name(self.kind)} has no field {unknown[0]!r}, but the stored object has: "
                f"raise its version and write an @upcast that says what becomes of it"
            )
        return {name: data[name] if name in data else self.default(name) for name in self.names}

    def default(self, name: str) -> Any:
        """Return the value of a field that the stored data lacks."""
        if name not in self.defaults:
            raise CorruptData(
                f"the stored {type_name(self.kind)} has no field {name!r} and the class gives it no"
                f" default: add one, or raise its version and write an @upcast"
            )
        return self.defaults[name]()

    def parts(self, value: Any) -> Iterable[tuple[str, Any]]:
        """Yield the fields that have a value."""
        for name in self.names:
            if hasattr(value, name):
                yield f".{name}", getattr(value, name)


class DataclassForm(FieldForm):
    """Dataclasses: frozen, slotted, with `init=False` fields, inherited or not."""

    def __init__(self, kind: type) -> None:
        """Look at the fields and at how instances hold them."""
        super().__init__(kind)
        fields = dataclasses.fields(kind)
        self.names = tuple(field.name for field in fields)
        self.defaults = {f.name: d for f in fields if (d := _dataclass_default(f)) is not None}
        self.values = values_getter(self.names)
        _check_layout(kind, self.names)
        self.setters = [_setter(kind, name) for name in self.names]
        self.known = frozenset(self.names)
        self.is_open = not any(isinstance(getattr(kind, n, None), _SLOT) for n in self.names)
        if not _has_dict(kind):
            self.plain = self.slots_to_plain

    def slots_to_plain(self, value: Any) -> dict[str, Any]:
        """Return the fields of an instance that can hold nothing else."""
        return dict(zip(self.names, self.values(value), strict=True))

    def to_plain(self, value: Any) -> dict[str, Any]:
        """Return the fields; refuse an instance that holds more than its fields."""
        if not value.__dict__.keys() <= self.known:
            refuse_extras(value, self.known)
        return dict(zip(self.names, self.values(value), strict=True))

    def build(self, data: Any) -> Any:
        """Make an instance and put the fields straight into it."""
        if type(data) is not dict or tuple(data) != self.names:
            data = self.ordered(data)
        made: Any = object.__new__(self.kind)
        if self.is_open:
            made.__dict__.update(data)
        else:
            for put, value in zip(self.setters, data.values(), strict=True):
                put(made, value)
        return made


class CompactDataclassForm(DataclassForm):
    """A dataclass that leaves out what equals its default: a constant, or an empty container.

    Only for classes whose defaults never change within a version: the defaults of today fill in
    what was left out then. The library's own records keep that promise (tests/histories).
    """

    def __init__(self, kind: type) -> None:
        """Sort the defaults into constants and empty containers; all others are stored."""
        super().__init__(kind)
        made = {name: default() for name, default in self.defaults.items()}
        self.constants = [(n, v) for n, v in made.items() if isinstance(v, _CONSTANTS)]
        self.empties = [(n, type(v)) for n, v in made.items() if type(v) in _EMPTY and not v]
        self.required = frozenset(self.names) - {name for name, _ in self.constants + self.empties}
        self.template = {name: made.get(name) for name in self.names}
        self.full, self.plain = self.plain, self.short

    def short(self, value: Any) -> dict[str, Any]:
        """Return the fields that differ from their default."""
        data: dict[str, Any] = self.full(value)
        for name, constant in self.constants:
            part = data[name]
            if part is constant or (type(part) is type(constant) and part == constant):
                del data[name]
        for name, kind in self.empties:
            if not (part := data[name]) and type(part) is kind:
                del data[name]
        return data

    def ordered(self, data: Any) -> dict[str, Any]:
        """Return all fields in the class's order."""
        if type(data) is not dict or not self.required <= data.keys():
            return super().ordered(data)
        full = self.template | data
        if len(full) != len(self.names):
            return super().ordered(data)
        for name, kind in self.empties:
            if name not in data:
                full[name] = kind()
        return full


_CONSTANTS = (type(None), bool, int, str, Enum)
_EMPTY = (list, dict, set, tuple, frozenset)


def _dataclass_default(field: Any) -> Default | None:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory  # type: ignore[no-any-return]
    if field.default is not dataclasses.MISSING:
        return functools.partial(_same, field.default)
    return None


def _same(value: Any) -> Any:
    return value


def values_getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads these attributes at once."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _setter(kind: type, name: str) -> Callable[[Any, Any], None]:
    found = getattr(kind, name, None)
    if isinstance(found, _SLOT):
        return found.__set__
    return lambda value, part: object.__setattr__(value, name, part)


def _has_dict(kind: type) -> bool:
    return any("__dict__" in base.__dict__ for base in kind.__mro__)


def _check_layout(kind: type, names: tuple[str, ...]) -> None:
    """Refuse a class whose instances hold something that its fields do not tell."""
    hint = "pass dump= and load= to @storable"
    if layout(kind) is not object:
        raise NotStorable(f"{type_name(kind)} is also a {layout(kind).__name__}: {hint}")
    for base in kind.__mro__:
        for slot, member in base.__dict__.items():
            if isinstance(member, _SLOT) and slot not in names:
                raise NotStorable(
                    f"{type_name(kind)} has a slot {slot!r} beside its fields: {hint}"
                )
    for name in names:
        member = getattr(kind, name, None)
        if hasattr(type(member), "__set__") and not isinstance(
            member, MemberDescriptorType | GetSetDescriptorType
        ):
            raise NotStorable(f"{type_name(kind)}.{name} is computed: {hint}")


def refuse_extras(value: Any, names: Iterable[str]) -> None:
    """Refuse attributes that are not fields, unless they are cached properties."""
    derived = {"__orig_class__"}  # what typing notes on `Box[int](1)`
    for name in vars(value).keys() - set(names) - derived:
        if not isinstance(getattr(type(value), name, None), functools.cached_property):
            raise NotStorable(f"its attribute {name!r} is not a field and would be lost")


class NamedTupleForm(FieldForm):
    """Named tuples, stored by field name so that fields can be added."""

    def __init__(self, kind: Any) -> None:
        """Take the names and defaults that every named tuple publishes."""
        super().__init__(kind)
        self.names = kind._fields
        self.defaults = {n: functools.partial(_same, d) for n, d in kind._field_defaults.items()}

    def to_plain(self, value: Any) -> dict[str, Any]:
        """Return the fields; a subclass may have attributes beside them."""
        if getattr(value, "__dict__", None):
            refuse_extras(value, ())
        return dict(zip(self.names, value, strict=True))

    def build(self, data: Any) -> Any:
        """Make the tuple without calling a `__new__` that somebody wrote."""
        if type(data) is not dict or tuple(data) != self.names:
            data = self.ordered(data)
        return tuple.__new__(self.kind, data.values())
