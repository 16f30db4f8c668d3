"""What a tool may ask for besides the arguments that the model gives; the model never sees it.

    def note(text: str, runtime: ToolRuntime) -> str: ...
    def note(text: str, user: Annotated[str, InjectedState("user")]) -> str: ...

The node fills it in when it runs the tool.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar, get_origin, get_type_hints

from graphflow.injection import Runtime, runtime_of
from graphflow.runtime import TaskContext
from graphflow.state.message_parts import ToolCall
from graphflow.types import Config

Ctx = TypeVar("Ctx")
State = TypeVar("State")
Tell = Callable[[dict[str, Any]], None]
"""Streams an event in mode `tools`."""


@dataclass(frozen=True, slots=True)
class ToolRuntime(Runtime[Ctx], Generic[Ctx, State]):
    """Everything a tool may ask: declare a parameter `runtime: ToolRuntime`."""

    state: State = None  # type: ignore[assignment]  # fields before it have defaults
    """What the tools' node was given."""
    config: Config = field(default_factory=dict)
    tool_call_id: str = ""
    """The call that is being answered."""
    tell: Tell = field(default=lambda _: None, repr=False, compare=False)

    def emit_output_delta(self, delta: Any) -> None:
        """Stream a piece of the tool's output in mode `tools`."""
        call = self.tool_call_id
        self.tell({"event": "tool-output-delta", "tool_call_id": call, "delta": delta})


def tool_runtime(
    task: TaskContext | None, state: Any, call: ToolCall, tell: Tell
) -> ToolRuntime[Any, Any]:
    """Return the runtime of one tool call; `task` is None outside of a running graph."""
    given: Runtime[Any] = Runtime(None) if task is None else runtime_of(task)
    shared = {f.name: getattr(given, f.name) for f in fields(given)}
    config = {} if task is None else task.config()
    return ToolRuntime(**shared, state=state, config=config, tool_call_id=call.id, tell=tell)


class Injected(ABC):
    """Marks a parameter of a tool that its node fills in, as in `Annotated[type, mark]`."""

    @abstractmethod
    def value(self, runtime: ToolRuntime[Any, Any]) -> Any:
        """Return what the parameter gets."""


class InjectedState(Injected):
    """The state that the node was given, or one key of it."""

    def __init__(self, key: str | None = None) -> None:
        self.key = key

    def value(self, runtime: ToolRuntime[Any, Any]) -> Any:
        """Return the state or its key."""
        if self.key is None:
            return runtime.state
        if isinstance(runtime.state, Mapping):
            return runtime.state[self.key]
        return getattr(runtime.state, self.key)


class InjectedStore(Injected):
    """The store that the graph was compiled with."""

    def value(self, runtime: ToolRuntime[Any, Any]) -> Any:
        """Return the store.

        Raises:
            LookupError: The graph has none.
        """
        if runtime.store is None:
            raise LookupError("A tool asks for the store: compile the graph with store=.")
        return runtime.store


class InjectedToolCallId(Injected):
    """The id of the call that is being answered."""

    def value(self, runtime: ToolRuntime[Any, Any]) -> str:
        """Return the id."""
        return runtime.tool_call_id


class _WholeRuntime(Injected):
    def value(self, runtime: ToolRuntime[Any, Any]) -> Any:
        return runtime


def injections(function: Callable[..., Any]) -> dict[str, Injected]:
    """Return what fills in the parameters of a tool that the model does not give."""
    hints = hints_of(function)
    marks = {name: _mark(name, hints.get(name)) for name in inspect.signature(function).parameters}
    return {name: mark for name, mark in marks.items() if mark is not None}


def _mark(name: str, hint: Any) -> Injected | None:
    kind = get_origin(hint) or hint
    is_runtime = isinstance(kind, type) and issubclass(kind, Runtime)
    if is_runtime or (name == "runtime" and hint is None):
        return _WholeRuntime()
    for mark in getattr(hint, "__metadata__", ()):
        if isinstance(mark, Injected):
            return mark
        if isinstance(mark, type) and issubclass(mark, Injected):
            return mark()
    return None


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the type hints of a callable's parameters.

    Raises:
        TypeError: A hint names something that cannot be found.
    """
    while isinstance(function, functools.partial):
        function = function.func
    try:
        described = function if inspect.isroutine(function) else type(function).__call__
        return get_type_hints(described, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"Cannot resolve the annotations of tool {function!r}: {error}. Define the names that "
            "it uses at module level, or do not postpone annotations in this file."
        ) from error
