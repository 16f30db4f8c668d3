"""The conversation in a graph's state: `MessagesState`, and `add_messages` which keeps it.

`add_messages` merges by id: a message with a known id replaces the old one where it stands, a new
one is appended, `RemoveMessage` takes one out. Everything message-like is accepted and turned into
`Message`. Ids are given by `identify_messages` before a write is saved or streamed, so that all
observers see the same ones.

How two lists become one is said in `message_merge`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypedDict, cast, overload

from graphflow.state.message import (
    REMOVE_ALL_MESSAGES,
    ROLES,
    AIMessage,
    HumanMessage,
    Message,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    new_message_id,
)
from graphflow.state.message_chunk import MessageChunk
from graphflow.state.message_format import in_openai_form
from graphflow.state.message_merge import MessageOrRemoval, merge_messages
from graphflow.state.message_parts import Part, ToolCall, ToolCallChunk, Usage

__all__ = [
    # the reducer
    "MessagesState",
    "add_messages",
    "coerce_messages",
    "identify_messages",
    "merge_messages",
    # messages
    "Message",
    "MessageChunk",
    "RemoveMessage",
    "REMOVE_ALL_MESSAGES",
    "HumanMessage",
    "AIMessage",
    "SystemMessage",
    "ToolMessage",
    # their pieces
    "Part",
    "ToolCall",
    "ToolCallChunk",
    "Usage",
]


def coerce_messages(value: Any) -> list[MessageOrRemoval]:
    """Reads one message-like value, or many.

    A list, or any other iterable that is not itself a message, is many; a `(role, text)` tuple,
    a string, a mapping and an object with `type` and `content` are one.

    Raises:
        TypeError: Something in it is not message-like.
        ValueError: A mapping or tuple names no known role.
    """
    if isinstance(value, list):
        return [_coerce(item) for item in value]
    if _is_single(value):
        return [_coerce(value)]
    return [_coerce(item) for item in value]


def identify_messages(value: Any) -> list[MessageOrRemoval]:
    """Reads message-like values and gives an id to every message that has none."""
    if type(value) is list and len(value) == 1 and type(value[0]) is Message:
        message = value[0]
        return [message if message.id is not None else message.with_id(new_message_id())]
    return [
        message if message.id is not None else message.with_id(new_message_id())
        for message in coerce_messages(value)
    ]


def _is_single(value: Any) -> bool:
    if isinstance(value, tuple):
        return _is_pair(value)
    return isinstance(value, str | Mapping) or hasattr(value, "type") or not _is_iterable(value)


def _is_pair(value: Any) -> bool:
    return len(value) == 2 and isinstance(value[0], str) and value[0] in ROLES


def _is_iterable(value: Any) -> bool:
    return hasattr(value, "__iter__")


def _coerce(value: Any) -> MessageOrRemoval:
    kind = type(value)
    if kind is Message or kind is RemoveMessage:
        return cast("MessageOrRemoval", value)
    if isinstance(value, MessageChunk):
        return value.to_message()
    if isinstance(value, str):
        return Message(role="user", content=value)
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if isinstance(value, tuple | list) and len(value) == 2:
        return _from_mapping({"role": value[0], "content": value[1]})
    return _from_object(value)


def _from_mapping(value: Mapping[str, Any]) -> MessageOrRemoval:
    role = value.get("role") or value.get("type")
    if role == "remove":
        return RemoveMessage(value["id"])
    if role not in ROLES:
        raise ValueError(
            f"A message needs a 'role' out of {sorted(ROLES)} and a 'content'; got {value!r}"
        )
    fields = {key: item for key, item in value.items() if key != "type"}
    return Message.from_openai({**fields, "role": role})


def _from_object(value: Any) -> MessageOrRemoval:
    """Reads an object of another library by its attributes, LangChain's message classes first."""
    if not hasattr(value, "type") or not hasattr(
        value, "id" if value.type == "remove" else "content"
    ):
        raise TypeError(
            f"{type(value).__name__} is not message-like: give a Message, a dict with 'role' and "
            "'content', a (role, text) tuple or a string"
        )
    names = ("id", "content", "name", "tool_calls", "tool_call_id")
    fields = {name: getattr(value, name, None) for name in names}
    fields = {name: item for name, item in fields.items() if item}
    status = "error" if getattr(value, "status", None) == "error" else "ok"
    meta = dict(getattr(value, "response_metadata", None) or {})
    role = str(value.type).removesuffix("MessageChunk").lower()
    return _from_mapping({**fields, "role": role, "status": status, "meta": meta})


_ABSENT: Any = object()


@overload
def add_messages(
    *, format: Literal["langchain-openai"] | None = None
) -> Callable[[Any, Any], list[Message]]: ...
@overload
def add_messages(
    left: Any, right: Any, *, format: Literal["langchain-openai"] | None = None
) -> list[Message]: ...
def add_messages(
    left: Any = _ABSENT, right: Any = _ABSENT, *, format: Literal["langchain-openai"] | None = None
) -> list[Message] | Callable[[Any, Any], list[Message]]:
    """Merges two lists of messages by id and returns a new list.

    Without both sides it returns a reducer that applies `format`.

    Args:
        left: The messages so far: one message-like value, or many.
        right: The new ones, likewise.
        format: `"langchain-openai"` turns contents into OpenAI's blocks.

    Raises:
        ValueError: A side is None; `format` is unknown; a `RemoveMessage` names no known id.
    """
    if format not in _READINGS:
        raise ValueError(f"Unrecognized format={format!r}. Use 'langchain-openai' or None.")
    if left is _ABSENT and right is _ABSENT:
        return _reducer(format)
    _refuse_missing(left, right)
    read = _READINGS[format]
    old, positions, _ = merge_messages([], {}, read(left))
    merged, _, _ = merge_messages(old, positions, read(right))
    return merged


def identify_in_openai_form(value: Any) -> list[MessageOrRemoval]:
    """As `identify_messages`; messages of other makers become one or several in OpenAI's form."""
    messages = identify_messages(value)
    return [
        part
        for message in messages
        for part in (in_openai_form(message) if isinstance(message, Message) else [message])
    ]


_READINGS: dict[str | None, Callable[[Any], list[MessageOrRemoval]]] = {
    None: identify_messages,
    "langchain-openai": identify_in_openai_form,
}

# The mark by which a schema knows that the key can be merged in O(new messages): how it is read.
add_messages.__graphflow_messages__ = identify_messages  # type: ignore[attr-defined]


@cache
def _reducer(format: Literal["langchain-openai"] | None) -> Callable[[Any, Any], list[Message]]:
    """Returns the reducer that applies `format`; the same one each time, so that schemas agree."""

    def reducer(left: Any, right: Any) -> list[Message]:
        return add_messages(left, right, format=format)

    reducer.__graphflow_messages__ = _READINGS[format]  # type: ignore[attr-defined]
    return reducer


def _refuse_missing(left: Any, right: Any) -> None:
    for side, value in (("left", left), ("right", right)):
        if value is None or value is _ABSENT:
            given = "None" if value is None else "missing"
            raise ValueError(f"add_messages needs both sides; {side!r} is {given}. [] is nothing.")


AnyMessage = Message
"""The name that LangChain users know."""


class MessagesState(TypedDict):
    """A state with one key, the conversation; subclass it to add keys."""

    messages: Annotated[list[Message], add_messages]
    """Merged by id: see `add_messages`."""
