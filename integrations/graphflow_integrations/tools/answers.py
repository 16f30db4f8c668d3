"""What a tool returned, as the message that answers its call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphflow.state.message import Message, new_message_id
from graphflow.state.message_parts import Content, ToolCall
from graphflow.state.messages import coerce_messages
from graphflow.types import Command

Answer = Message | Command[Any]

_PARTS = frozenset(("text", "image_url", "image", "input_audio", "file"))


def answer(output: Any, call: ToolCall, key: str) -> Answer:
    """Returns what a tool returned as a tool message; a message or a Command stays one.

    Raises:
        ValueError: A Command for this graph brings no message that answers the call.
    """
    if isinstance(output, Command):
        return _checked(output, call, key)
    if isinstance(output, Message):
        return replace(
            output,
            id=output.id or new_message_id(),
            tool_call_id=output.tool_call_id or call.id,
            name=output.name or call.name,
        )
    return _message(call, _content(output))


def failure(call: ToolCall, text: str) -> Message:
    """Returns the tool message that tells a model what went wrong."""
    return _message(call, text, status="error")


def _message(call: ToolCall, content: Content, **more: Any) -> Message:
    id = new_message_id()
    return Message.tool(content, id=id, tool_call_id=call.id, name=call.name, **more)


def _content(output: Any) -> Content:
    """Returns text and content parts as they are, anything else as JSON."""
    if isinstance(output, str):
        return output
    if isinstance(output, (list, tuple)) and output and all(map(_is_part, output)):
        return tuple(output)
    try:
        return json.dumps(output, ensure_ascii=False, default=_jsonable)
    except (TypeError, ValueError):  # keys that are no strings, cycles
        return str(output)


def _is_part(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") in _PARTS


def _jsonable(value: Any) -> Any:
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value, fallback=str)


def _checked(command: Command[Any], call: ToolCall, key: str) -> Command[Any]:
    said = coerce_messages(_said(command.update, key))
    answered = {message.tool_call_id for message in said if isinstance(message, Message)}
    if command.graph is None and call.id not in answered:
        raise ValueError(
            f"Tool '{call.name}' returned a Command that leaves its call unanswered, which models "
            f'refuse. Add the answer: Command(update={{"{key}": [ToolMessage("done", '
            "tool_call_id=runtime.tool_call_id)]}), with a parameter `runtime: ToolRuntime`."
        )
    return command


def _said(update: Any, key: str) -> Any:
    """Returns the messages of an update in any form that a Command takes."""
    if isinstance(update, Mapping):
        return update.get(key, ())
    if not isinstance(update, (list, tuple)):
        return getattr(update, key, ())
    pairs = [part[1] for part in update if isinstance(part, tuple) and part[0] == key]
    return pairs[-1] if pairs else [part for part in update if isinstance(part, Message)]
