"""Tools as a model is told of them, and what it gives as the types they declare."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pydantic
import pytest
from typing_extensions import TypedDict

from graphflow import ToolCall
from graphflow_integrations.tools import (
    InjectedState,
    InvalidToolArguments,
    Tool,
    ToolRuntime,
    tool,
    tool_schema,
)


class Place(pydantic.BaseModel):
    name: str
    height: float = 0.0


def look_up(
    word: Annotated[str, "What to look for."],
    limit: Annotated[int, pydantic.Field(gt=0)] = 3,
    kind: Literal["noun", "verb"] | None = None,
    *,
    runtime: ToolRuntime,
    owner: Annotated[str, InjectedState("owner")] = "",
) -> str:
    """Look a word
    up.

    Not for the model.
    """
    return word


def parameters(described: Any) -> dict[str, Any]:
    return tool_schema(described)["function"]["parameters"]


def given(function: Any, **args: Any) -> dict[str, Any]:
    """Return the arguments with which a tool would be called."""
    return Tool.of(function).arguments(ToolCall(name="f", args=args))


def test_a_function_is_described_by_name_first_paragraph_and_parameters() -> None:
    assert tool_schema(look_up) == {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Look a word up.",
            "parameters": {
                "type": "object",
                "required": ["word"],
                "properties": {
                    "word": {"type": "string", "description": "What to look for."},
                    "limit": {"type": "integer", "default": 3, "exclusiveMinimum": 0},
                    "kind": {
                        "anyOf": [{"enum": ["noun", "verb"], "type": "string"}, {"type": "null"}],
                        "default": None,
                    },
                },
            },
        },
    }


def test_a_tool_is_described_as_its_function_is() -> None:
    assert tool_schema(tool(look_up)) == tool_schema(look_up)


def test_name_and_description_can_be_given() -> None:
    described = tool_schema(tool("find", description="Find it.")(look_up))["function"]
    assert (described["name"], described["description"]) == ("find", "Find it.")


def test_a_mapping_describes_itself() -> None:
    function = {"name": "f", "parameters": {}}
    assert tool_schema(function) == {"type": "function", "function": function}
    assert tool_schema({"type": "web_search"}) == {"type": "web_search"}


def test_what_describes_nothing_is_refused() -> None:
    nothing: Any = 3
    with pytest.raises(TypeError, match="A tool is a function or a mapping"):
        tool_schema(nothing)


def test_parameters_may_have_any_name() -> None:
    def odd(schema: int, json: int, _private: int, model_config: int = 1) -> None: ...

    names = ["schema", "json", "_private", "model_config"]
    assert list(parameters(odd)["properties"]) == names
    assert given(odd, schema=1, json="2", _private=3) == {"schema": 1, "json": 2, "_private": 3}


def test_a_default_that_json_cannot_say_is_not_told() -> None:
    def odd(given: Any = object()) -> None: ...  # noqa: B008  # the point of the test

    assert parameters(odd)["properties"] == {"given": {}}


def test_what_the_model_leaves_out_is_left_to_the_function() -> None:
    assert given(look_up, word="x") == {"word": "x"}


def test_arguments_come_as_the_declared_types() -> None:
    def climb(place: Place, times: list[int]) -> None: ...

    assert given(climb, place={"name": "Ulm"}, times=["1"]) == {
        "place": Place(name="Ulm"),
        "times": [1],
    }


class Where(TypedDict):
    name: str


@pytest.mark.parametrize(
    ("schema", "arguments"), [(Place, {"name": "x", "height": 0.0}), (Where, {"name": "x"})]
)
def test_the_arguments_may_be_declared_apart(schema: Any, arguments: dict[str, Any]) -> None:
    made: Tool = tool("go", args_schema=schema)(lambda **_: None)
    assert parameters(made)["properties"].keys() == arguments.keys()
    assert made.arguments(ToolCall(name="go", args={"name": "x"})) == arguments


def test_every_problem_is_told() -> None:
    with pytest.raises(InvalidToolArguments) as caught:
        given(look_up, limit=0, kind="noun")
    assert str(caught.value) == (
        "Invalid arguments for tool 'look_up': word: Field required; "
        "limit: Input should be greater than 0"
    )


def test_a_tool_can_be_called_as_the_function_it_was() -> None:
    @tool
    def double(x: int) -> int:
        return 2 * x

    assert double(4) == 8


def test_annotations_that_cannot_be_resolved_are_refused_with_the_reason() -> None:
    def lost(x: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    described: Callable[..., Any] = lost
    with pytest.raises(TypeError, match="Define the names that it uses at module level"):
        tool_schema(described)


def test_importing_the_tools_imports_no_pydantic() -> None:
    code = (
        "import sys\n"
        "from graphflow_integrations.tools import ToolNode, tool\n"
        "ToolNode([tool(lambda x: x)])\n"
        "print({'pydantic', 'litellm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
