"""The form of pydantic models, with pydantic itself never imported (the idea: stored_forms.py)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from graphflow.checkpoint.codec_errors import CorruptData, NotStorable
from graphflow.checkpoint.field_forms import FieldForm, refuse_extras


def is_pydantic(kind: type) -> bool:
    """Tell whether the class is a pydantic model, without importing pydantic."""
    pydantic = sys.modules.get("pydantic.main")
    model = getattr(pydantic, "BaseModel", None)
    return model is not None and issubclass(kind, model)


class ModelForm(FieldForm):
    """Pydantic models: `[fields, names that were set, extra, private]`, less the None at its end.

    Private attributes and extra values are part of the object; so is which fields were set, for
    `exclude_unset`: None says that all were, and nothing else.
    """

    def __init__(self, kind: Any) -> None:
        """Wait with the fields: types that are named before they exist are resolved later."""
        super().__init__(kind)
        self.defaults = {}
        self.is_complete = False
        self.model: Any = kind

    def look(self) -> None:
        """Look at the fields of the class as it is now."""
        self.names = tuple(self.model.model_fields)
        self.known = frozenset(self.names)
        self.infos = dict(self.model.model_fields)
        self.privates = dict(self.model.__private_attributes__)
        self.is_root = self.model.__pydantic_root_model__
        self.allows_extra = self.model.model_config.get("extra") == "allow"
        self.is_complete = self.model.__pydantic_complete__

    def to_plain(self, value: Any) -> list[Any]:
        """Return everything that a pydantic model keeps about itself."""
        if not self.is_complete:
            self.look()
        held = value.__dict__
        if not held.keys() <= self.known:
            refuse_extras(value, self.known)
        fields = {name: held[name] for name in self.names if name in held}
        if len(fields) < len(self.names):
            raise NotStorable(f"its field {(self.known - held.keys()).pop()!r} has no value")
        chosen = value.__pydantic_fields_set__
        listed = None if chosen == self.known else sorted(chosen)
        row = [fields, listed, value.__pydantic_extra__, value.__pydantic_private__]
        while row[-1] is None:
            row.pop()
        return row

    def build(self, data: Any) -> Any:
        """Put back the four things a model consists of; no validator runs."""
        if not self.is_complete:
            self.look()
        stored, chosen, extra, private = (*_list(data), None, None, None)[:4]
        fields = stored
        if type(stored) is not dict or tuple(stored) != self.names:
            fields = self.ordered(stored)
        made: Any = object.__new__(self.kind)
        put = object.__setattr__
        put(made, "__dict__", fields)
        put(made, "__pydantic_fields_set__", set(stored if chosen is None else _list(chosen)))
        if not self.is_root:  # a RootModel has neither of the other two
            put(made, "__pydantic_extra__", self.extra(extra))
            put(made, "__pydantic_private__", self.private(private))
        return made

    def extra(self, stored: Any) -> dict[str, Any] | None:
        """Return the extra values: a dict, also an empty one, where the model allows them."""
        if stored is None:
            return {} if self.allows_extra else None
        return _map(stored)

    def private(self, stored: Any) -> dict[str, Any] | None:
        """Return the private attributes, those that are new in the class at their defaults."""
        if not self.privates:
            return None if stored is None else _map(stored)
        held = {} if stored is None else _map(stored)
        fresh = {name: _default(info) for name, info in self.privates.items() if name not in held}
        undefined = sys.modules["pydantic_core"].PydanticUndefined
        return {name: part for name, part in fresh.items() if part is not undefined} | held

    def default(self, name: str) -> Any:
        """Ask pydantic, whose defaults may be factories."""
        if self.infos[name].is_required():
            return super().default(name)
        if getattr(self.infos[name], "default_factory_takes_validated_data", False):
            return super().default(name)
        return self.infos[name].get_default(call_default_factory=True)

    def migrate(self, data: Any, steps: Iterable[Callable[[Any], Any]]) -> Any:
        """Show an upcast the fields only; a field that it adds counts as set."""
        old, chosen, *rest = (*_list(data), None)[: max(2, len(data))]
        new = super().migrate(dict(_map(old)), steps)
        if chosen is not None:
            kept = [name for name in _list(chosen) if name in new or name not in old]
            chosen = kept + [name for name in new if name not in old]
        return [new, chosen, *rest]

    def parts(self, value: Any) -> Iterable[tuple[str, Any]]:
        """Yield the fields, extra values and private attributes."""
        yield from super().parts(value)
        for held in (value.__pydantic_extra__, value.__pydantic_private__):
            yield from ((f".{name}", part) for name, part in (held or {}).items())


def _default(private: Any) -> Any:
    factory = private.default_factory
    return private.get_default() if factory is None else factory()


def _list(data: Any) -> list[Any]:
    if type(data) is not list:
        raise CorruptData("the parts of a model are not a list")
    return data


def _map(data: Any) -> dict[str, Any]:
    if type(data) is not dict:
        raise CorruptData("attributes that are not a map")
    return data
