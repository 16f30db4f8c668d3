"""What a model is told when a tool fails: `ToolNode(handle_tool_errors=…)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from graphflow.graph.callables import first_hint

Types = tuple[type[Exception], ...]


class Handling:
    """Which errors of tools are answered, and how.

    Args:
        given: True or False; a text; a function of the error, called for what its parameter's type
            hint names; exception types.

    Raises:
        TypeError: It is none of these.
    """

    def __init__(self, given: Any) -> None:
        self.types = _types(given)
        self.say: Callable[[Exception], str] = _told
        if isinstance(given, str):
            self.say = lambda _: given
        elif callable(given) and not isinstance(given, type):
            self.say = given

    def text(self, error: Exception) -> str | None:
        """Returns what the model is told; None where the run shall fail."""
        return self.say(error) if isinstance(error, self.types) else None


def _told(error: Exception) -> str:
    said = f"Error: {type(error).__name__}: {error}"
    return f"{said}\nCorrect the call, or go on without this tool."


def _types(given: Any) -> Types:
    if isinstance(given, bool):
        return (Exception,) if given else ()
    if isinstance(given, (type, tuple)):
        return given if isinstance(given, tuple) else (given,)
    if isinstance(given, str):
        return (Exception,)
    if callable(given):
        return _hinted(given)
    raise TypeError(
        "handle_tool_errors takes True, False, a text, a function of the error, or exception "
        f"types; got {given!r}"
    )


def _hinted(handler: Callable[..., Any]) -> Types:
    hint = first_hint(handler, None)
    types = tuple(kind for kind in (get_args(hint) or (hint,)) if isinstance(kind, type))
    return types or (Exception,)
