"""A tool: a function with what a model is told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from graphflow.graph.callables import callee_of
from graphflow.state.message_parts import ToolCall
from graphflow_integrations.tools.errors import InvalidToolArguments
from graphflow_integrations.tools.injected import Injected, injections
from graphflow_integrations.tools.schema import arguments_type, first_paragraph


@dataclass(frozen=True)
class Tool:
    """A function that a model may ask for; it can still be called as one."""

    name: str
    """What the model calls it."""
    description: str
    """What the model is told of it."""
    function: Callable[..., Any]
    """Blocking or async."""
    declared: Any = None
    """The type of its arguments, if that is not to be read from its signature."""

    @classmethod
    def of(cls, given: Any) -> Tool:
        """Returns a tool of a function; a tool is one already.

        Raises:
            TypeError: `given` cannot be called, or has no name.
        """
        if isinstance(given, Tool):
            return given
        name = getattr(given, "__name__", None)
        if not callable(given) or name is None:
            raise TypeError(
                f"{given!r} is no tool that can be run: give a function with a name, or Tool(...)."
            )
        return cls(name, first_paragraph(given.__doc__), given)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Calls the function."""
        return self.function(*args, **keywords)

    @cached_property
    def args_schema(self) -> Any:
        """The type of the arguments that a model gives: what `tool_schema` describes."""
        return arguments_type(self.function) if self.declared is None else self.declared

    @cached_property
    def injections(self) -> dict[str, Injected]:
        """What fills in the other parameters."""
        return injections(self.function)

    @cached_property
    def is_async(self) -> bool:
        """Whether calling the function does not block, and gives something to be awaited."""
        return callee_of(self.function, where=f"Tool '{self.name}'").call is None

    @cached_property
    def _reading(self) -> Any:
        from pydantic import TypeAdapter

        return TypeAdapter(self.args_schema)

    def arguments(self, call: ToolCall) -> dict[str, Any]:
        """Returns what a model gave as the types that the function declares.

        Raises:
            InvalidToolArguments: It does not fit.
        """
        from pydantic import ValidationError

        if call.args is None:
            raise InvalidToolArguments(self.name, call.error or "they are missing")
        try:
            return dict(self._reading.validate_python(call.args))
        except ValidationError as error:
            raise InvalidToolArguments(self.name, _problems(error)) from error


def _problems(error: Any) -> str:
    told = error.errors(include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'all'}: {one['msg']}" for one in told)


@overload
def tool(given: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    given: str | None = None, /, *, description: str | None = None, args_schema: Any = None
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(given: Any = None, /, *, description: str | None = None, args_schema: Any = None) -> Any:
    """Makes a function a tool: `@tool`, `@tool("name")` or `@tool(description=…)`.

    Args:
        given: The function, or the name to be used instead of the function's.
        description: Told to the model instead of the docstring's first paragraph.
        args_schema: A pydantic model or TypedDict of the arguments, instead of the signature.
    """

    def make(function: Callable[..., Any]) -> Tool:
        read = Tool.of(function)
        name = given if isinstance(given, str) else read.name
        return Tool(name, description or read.description, function, args_schema)

    return make(given) if callable(given) else make
