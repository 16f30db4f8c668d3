"""The texts of a value that are searched by meaning, by path.

`"$"` is the whole value, `"user.name"` a field in a field, `"tags[*]"` every element of a list
by itself, `"tags[0]"` or `"tags[-1]"` one of them. What is not there has no text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

_STEP = re.compile(r"\[(\*|-?\d+)\]|([^.\[\]]+)")


def texts_of(value: Any, paths: Iterable[str]) -> list[str]:
    """Return the texts at the paths that are not blank, each once."""
    texts = [_text(found) for path in paths for found in _at(value, path)]
    return [text for text in dict.fromkeys(texts) if text.strip()]


def _at(value: Any, path: str) -> list[Any]:
    found = [value]
    for index, field in _STEP.findall(path.removeprefix("$")):
        found = [inner for one in found for inner in _inside(one, index, field)]
    return [one for one in found if one is not None]


def _inside(value: Any, index: str, field: str) -> list[Any]:
    if field:
        return [value[field]] if isinstance(value, dict) and field in value else []
    if not isinstance(value, (list, tuple)):
        return []
    if index == "*":
        return list(value)
    return [value[int(index)]] if -len(value) <= int(index) < len(value) else []


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):  # keys that JSON has not
        return str(value)
