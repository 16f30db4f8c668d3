"""Filters: conditions on the fields of a value.

    {"kind": "fact", "user.age": {"$gte": 18, "$lt": 65}, "tags": {"$in": [["a"], ["b"]]}}

Every condition must hold. A field is a key of the value, else a path of keys with dots between; one
that is not there counts as None. A condition is a value to be equal to, a dict of operators, or a
dict of conditions on the fields of a dict. What cannot be ordered is neither more nor less.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from graphflow.memory.requests import Filter

Compare = Callable[[Any, Any], Any]


def _ordered(compare: Compare) -> Compare:
    def holds(found: Any, wanted: Any) -> Any:
        try:
            return compare(found, wanted)
        except TypeError:
            return False

    return holds


OPERATORS: dict[str, Compare] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$gt": _ordered(operator.gt),
    "$gte": _ordered(operator.ge),
    "$lt": _ordered(operator.lt),
    "$lte": _ordered(operator.le),
    "$in": lambda found, wanted: any(found == one for one in wanted),
}


def check_filter(conditions: Filter) -> None:
    """Refuse a filter with operators that there are not.

    Raises:
        ValueError: It has one, or one where a field is expected, or a field beside operators.
    """
    for field, condition in conditions.items():
        if field.startswith("$"):
            raise ValueError(f"{field!r} is no field: write {{'field': {{{field!r}: …}}}}.")
        _check_condition(field, condition)


def _check_condition(field: str, condition: Any) -> None:
    if not isinstance(condition, Mapping):
        return
    if not _has_operators(condition):
        check_filter(condition)
        return
    if unknown := [name for name in condition if name not in OPERATORS]:
        raise ValueError(
            f"The filter on {field!r} has {unknown[0]!r}, which is none of {', '.join(OPERATORS)}."
        )
    if not isinstance(condition.get("$in", []), (list, tuple, set, frozenset)):
        raise ValueError(f"The filter on {field!r}: $in takes a list, not {condition['$in']!r}.")


def _has_operators(condition: Mapping[Any, Any]) -> bool:
    return any(isinstance(name, str) and name.startswith("$") for name in condition)


def matches(value: Mapping[str, Any], conditions: Filter) -> bool:
    """Tell whether all conditions hold for a value."""
    return all(_holds(_found(value, field), wanted) for field, wanted in conditions.items())


def _found(value: Mapping[str, Any], field: str) -> Any:
    if field in value:
        return value[field]
    found: Any = value
    for name in field.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _holds(found: Any, wanted: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return bool(found == wanted)
    if _has_operators(wanted):
        return all(OPERATORS[name](found, operand) for name, operand in wanted.items())
    return isinstance(found, Mapping) and matches(found, wanted)
