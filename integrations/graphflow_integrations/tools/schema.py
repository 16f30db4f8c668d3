"""The description of a tool that a model gets, in OpenAI's form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NotRequired

from graphflow_integrations.tools.injected import hints_of, injections


def tool_schema(tool: Callable[..., Any] | Mapping[str, Any]) -> dict[str, Any]:
    """Describes a tool: a function by its signature and docstring, a mapping as it is.

    An object with `name`, `description` and `args_schema` (a pydantic model, or another type that
    pydantic knows) describes itself.

    Raises:
        TypeError: `tool` is none of these.
    """
    if isinstance(tool, Mapping):
        described = "type" in tool
        return dict(tool) if described else {"type": "function", "function": dict(tool)}
    if hasattr(tool, "args_schema"):
        name, description = getattr(tool, "name", ""), getattr(tool, "description", "")
        return _described(str(name), str(description), tool.args_schema)
    if callable(tool):
        return _described(tool.__name__, first_paragraph(tool.__doc__), arguments_type(tool))
    raise TypeError(f"A tool is a function or a mapping in OpenAI's form, not {tool!r}")


def _described(name: str, description: str, arguments: Any) -> dict[str, Any]:
    from pydantic import TypeAdapter

    parameters = _plain(TypeAdapter(arguments).json_schema())
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def first_paragraph(doc: str | None) -> str:
    """Returns the first paragraph of a docstring as one line."""
    return " ".join((doc or "").strip().partition("\n\n")[0].split())


def arguments_type(function: Callable[..., Any]) -> Any:
    """Returns a TypedDict of the arguments that a model gives: all but those filled in for it.

    A TypedDict has no names of its own that a parameter could not have, and what was not given is
    left to the function's defaults. Arguments that the function does not have are refused.
    """
    from pydantic import ConfigDict, with_config
    from typing_extensions import TypedDict

    hints, injected = hints_of(function), injections(function)
    keys = {
        name: _key(hints.get(name, Any), parameter)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and name not in injected
    }
    made = TypedDict("Arguments", keys)  # type: ignore[misc]  # its functional form
    return with_config(ConfigDict(extra="forbid"))(made)


def _key(hint: Any, parameter: inspect.Parameter) -> Any:
    from pydantic import Field

    texts = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, str)]
    about: dict[str, Any] = {"description": texts[0]} if texts else {}
    if parameter.default is parameter.empty:
        return Annotated[hint, Field(**about)]
    about["json_schema_extra"] = _default(parameter.default)
    return NotRequired[Annotated[hint, Field(**about)]]


def _default(value: Any) -> dict[str, Any]:
    """Returns the mention of a default that JSON can say."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        return {"default": to_jsonable_python(value)}
    except PydanticSerializationError:
        return {}


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a schema without what pydantic makes up: titles, and that nothing may be added."""
    properties = {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in schema.get("properties", {}).items()
    }
    made_up = ("title", "description", "additionalProperties")
    return {**{key: schema[key] for key in schema if key not in made_up}, "properties": properties}
