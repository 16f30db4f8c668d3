"""What the codec says when it cannot keep its promise, and how it keeps an exception.

Two promises, two directions: writing refuses what it could not give back exactly (`NotStorable`),
reading refuses bytes it does not understand (`UnknownType`) or that cannot have been written by the
codec (`CorruptData`). Nothing is ever replaced by None, a string or a plain dict.
"""

from __future__ import annotations

from dataclasses import dataclass


class CodecError(Exception):
    """A value could not be turned into bytes, or bytes into a value."""


class NotStorable(CodecError, TypeError):
    """A value has no exact stored form; nothing was written.

    `path` leads from the stored value to the culprit, e.g. `['user'].sessions[3]`.
    """

    def __init__(self, reason: str, *, path: str = "", kind: type | None = None) -> None:
        """Keep the parts beside the message, so that a caller can prefix node and key."""
        super().__init__(_refusal(reason, path, kind))
        self.reason = reason
        self.path = path
        self.kind = kind


class UnknownType(CodecError):
    """The bytes name a type, version or field that the code of this process does not have."""


class CorruptData(CodecError):
    """The bytes are not what the codec wrote: cut short, changed, or made by something else."""


@dataclass(frozen=True, slots=True)
class StoredError:
    """An exception as it is kept: a record to read, never rebuilt into the exception."""

    type_name: str
    """Module and qualified name, as text: `builtins.ValueError`."""
    message: str
    traceback: str
    """The formatted traceback; empty if the exception was never raised."""


def type_name(kind: type) -> str:
    """Return the full name of a class, without the module for built-ins."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def shown(value: object) -> str:
    """Return the `repr` of a value; of one that has none, as huge ints have, its type."""
    try:
        return repr(value)
    except Exception:
        return f"<{type_name(type(value))}>"


def _refusal(reason: str, path: str, kind: type | None) -> str:
    if kind is None:
        return reason
    where = f" at {path}" if path else ""
    return f"cannot store the {type_name(kind)}{where}: {reason}"
