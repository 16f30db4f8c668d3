"""What can be asked of a store, as records: what `batch` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from graphflow.memory.items import Value
from graphflow.memory.places import Namespace

Fields = Sequence[str] | Literal[False] | None
"""Paths whose text is searched by meaning; None: those of the store; False: none."""
Filter = Mapping[str, Any]
"""Conditions on fields, see `graphflow.memory.filters`."""


@dataclass(frozen=True, slots=True)
class GetOp:
    """Read one item. Result: `Item | None`."""

    namespace: Namespace
    key: str
    refresh_ttl: bool = True
    """Whether reading starts the item's time to live anew."""


@dataclass(frozen=True, slots=True)
class SearchOp:
    """Find items below a namespace. Result: `list[SearchItem]`."""

    namespace_prefix: Namespace
    filter: Filter | None = None
    limit: int = 10
    offset: int = 0
    query: str | None = None
    refresh_ttl: bool = True
    """As in `GetOp`, for every item that is returned."""


@dataclass(frozen=True, slots=True)
class PutOp:
    """Store an item, or remove it. Result: None."""

    namespace: Namespace
    key: str
    value: Value | None
    """None removes the item."""
    index: Fields = None
    ttl: float | None = None
    """Minutes to live; None: for ever."""


class MatchCondition(NamedTuple):
    """What a namespace must begin or end with."""

    match_type: Literal["prefix", "suffix"]
    path: Namespace
    """`"*"` stands for any one label."""


@dataclass(frozen=True, slots=True)
class ListNamespacesOp:
    """List the namespaces that hold items. Result: `list[Namespace]`."""

    match_conditions: Sequence[MatchCondition] | None = None
    max_depth: int | None = None
    """Longer namespaces are cut to so many labels."""
    limit: int = 100
    offset: int = 0


Op = GetOp | SearchOp | PutOp | ListNamespacesOp
