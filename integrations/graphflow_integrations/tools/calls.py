"""Which tools a conversation asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from graphflow.state.message import Message
from graphflow.state.message_parts import ToolCall
from graphflow.state.messages import coerce_messages


def open_calls(given: Any, key: str) -> list[ToolCall]:
    """Returns the calls of the last assistant message that no tool message answers yet.

    Args:
        given: A state with messages under `key`, a list of messages, or a list of tool calls.
        key: Where a state keeps its messages.

    Raises:
        ValueError: There is no assistant message.
    """
    if is_call_list(given):
        return [ToolCall.of(call) for call in given]
    said = messages_of(given, key)
    asked = next((at for at in reversed(range(len(said))) if said[at].role == "assistant"), None)
    if asked is None:
        raise ValueError(
            f"There is no assistant message under {key!r}, so no tool was called. Lead to the "
            "tools only behind a model, with tools_condition."
        )
    answered = {message.tool_call_id for message in said[asked:]}
    return [call for call in said[asked].tool_calls if call.id not in answered]


def is_call_list(given: Any) -> bool:
    """Whether a node was sent tool calls alone, as in `Send("tools", [call])`."""
    return isinstance(given, list) and bool(given) and all(map(_is_call, given))


def _is_call(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "args" in value and "name" in value
    return isinstance(value, ToolCall)


def messages_of(given: Any, key: str) -> list[Message]:
    """Returns the messages of a state, or of a list of them.

    Raises:
        ValueError: The state has no such key.
    """
    found: Any = given
    if not isinstance(given, list):
        found = given.get(key) if isinstance(given, Mapping) else getattr(given, key, None)
    if found is None:
        raise ValueError(f"The state has no messages under {key!r}: name the key, messages_key=.")
    return [message for message in coerce_messages(found) if isinstance(message, Message)]


def tools_condition(state: Any, messages_key: str = "messages") -> Literal["tools", "__end__"]:
    """Leads to the node `tools` when the last message calls tools, otherwise to the end.

    Raises:
        ValueError: There is no message.
    """
    said = messages_of(state, messages_key)
    if not said:
        raise ValueError(f"There is no message under {messages_key!r} to decide by.")
    return "tools" if said[-1].role == "assistant" and said[-1].tool_calls else "__end__"
