"""What a store gives back: a copy of what was put, and when."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from graphflow.memory.places import Namespace

Value = dict[str, Any]
"""What is remembered: a dict of anything the codec can store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing remembered."""

    value: Value
    """A copy of its own: changing it changes nothing in the store."""
    key: str
    namespace: Namespace
    created_at: datetime
    """When the key was first put; in UTC."""
    updated_at: datetime
    """When it was last put; in UTC."""

    def dict(self) -> Value:
        """Return the fields for JSON: times as ISO text, the namespace as a list."""
        fields = asdict(self)
        times = {name: fields[name].isoformat() for name in ("created_at", "updated_at")}
        return {**fields, **times, "namespace": list(self.namespace)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchItem(Item):
    """One thing found."""

    score: float | None = None
    """Cosine similarity to the query, -1 to 1; None where there was no query."""
