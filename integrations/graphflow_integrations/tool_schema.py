"""The description of a tool that a model gets, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def tool_schema(tool: Callable[..., Any] | Mapping[str, Any]) -> dict[str, Any]:
    """Describes a tool: a function by its signature and docstring, a mapping as it is.

    An object with `name`, `description` and `args_schema` (a pydantic model) describes itself.

    Raises:
        TypeError: `tool` is none of these.
    """
    if isinstance(tool, Mapping):
        described = "type" in tool
        return dict(tool) if described else {"type": "function", "function": dict(tool)}
    if hasattr(tool, "args_schema"):
        schema = tool.args_schema.model_json_schema()
        return _described(str(getattr(tool, "name", "")), getattr(tool, "description", ""), schema)
    if callable(tool):
        return _described(tool.__name__, _first_paragraph(tool.__doc__), _parameters(tool))
    raise TypeError(f"A tool is a function or a mapping in OpenAI's form, not {tool!r}")


def _described(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": name, "description": description, "parameters": _untitled(parameters)}
    return {"type": "function", "function": function}


def _first_paragraph(doc: str | None) -> str:
    return " ".join((doc or "").strip().partition("\n\n")[0].split())


def _parameters(function: Callable[..., Any]) -> dict[str, Any]:
    from inspect import Parameter, signature
    from typing import get_type_hints

    from pydantic import create_model

    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        name: (
            hints.get(name, Any),
            ... if parameter.default is Parameter.empty else parameter.default,
        )
        for name, parameter in signature(function).parameters.items()
        if parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    }
    schema: dict[str, Any] = create_model(function.__name__, **fields).model_json_schema()
    return schema


def _untitled(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the schema without the titles that pydantic makes up from the names."""
    properties = {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in schema.get("properties", {}).items()
    }
    rest = {key: value for key, value in schema.items() if key not in ("title", "description")}
    return {**rest, "properties": properties}
