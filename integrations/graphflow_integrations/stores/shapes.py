"""Stored values as plain data: to look at, and for `--json`. There is no way back."""

from __future__ import annotations

import dataclasses
import math
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from graphflow.checkpoint.raw import Unregistered


def plain(value: Any) -> Any:
    """Return a value as JSON can say it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (bytes, bytearray)):
        return {"base64": b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {key if type(key) is str else _key(key): plain(item) for key, item in value.items()}
    return _composed(value)


def _composed(value: Any) -> Any:
    if isinstance(value, Unregistered):
        return {"class": value.tag, "version": value.version, "data": plain(value.data)}
    if dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value)]
        shown = {name: plain(getattr(value, name)) for name in fields}
        told = {name: item for name, item in shown.items() if item not in (None, "", [], {})}
        return {"class": type(value).__name__, **told}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return str(value)


def _key(key: Any) -> str:
    return str(plain(key))


def moment(created: float | None) -> str:
    """Return a time as text, to the second; empty for None."""
    if created is None:
        return ""
    try:
        return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # no time that there can be
        return str(created)


def size(count: int) -> str:
    """Return a number of bytes as people say it."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
