"""Pushing: a node says a message before it returns."""

from __future__ import annotations

from typing import Any

from graphflow.runtime import current, emit_message
from graphflow.state.messages import Message, RemoveMessage, coerce_messages


def push_message(message: Any, *, state_key: str | None = "messages") -> Message:
    """Stream a message at once and write it to the state when the node returns.

    The write is one of the node's: applied before what it returns, and dropped when it fails or
    asks a person. A message that was pushed is not streamed again when it is returned, too.

    Args:
        message: Anything that `add_messages` takes as one message, with an id.
        state_key: Where it is written; None: nowhere.

    Returns:
        The message as it was streamed.

    Raises:
        ValueError: It has no id, or is none or several messages.
        RuntimeError: Called outside of a running graph.
    """
    context = current("push_message")
    said = _one_message(message)
    emit_message(said, is_whole=True)
    if state_key is not None:
        context.pushed.append((state_key, said))
    return said


def _one_message(given: Any) -> Message:
    messages = coerce_messages(given)
    if len(messages) != 1 or isinstance(messages[0], RemoveMessage):
        raise ValueError(f"push_message takes one message, got {given!r}")
    if messages[0].id is None:
        raise ValueError(
            "Message ID is required: without one, a pushed message could not be told from the "
            "same message in the state. Give it, as in AIMessage('…', id='1')."
        )
    return messages[0]
