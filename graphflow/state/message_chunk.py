"""A piece of a message while it streams; pieces add up to the message.

The sum of all pieces of a message is independent of how the stream was cut. Only finished messages
go into a graph's state; pieces are what `stream_mode="messages"` shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

from graphflow.state.message import Message, new_message_id
from graphflow.state.message_parts import Part, ToolCallChunk, Usage, join_call_pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageChunk:
    """A piece of an assistant message; every piece carries the id of the message to come."""

    content: str = ""
    """Piece of the text."""
    id: str | None = None
    """Id of the message."""
    index: int | None = None
    """Number of the piece within its message, from 0."""
    thinking: str = ""
    """Piece of the model's reasoning, where the provider shows it."""
    thinking_blocks: tuple[Part, ...] = ()
    """Reasoning as the provider wants it back, signatures included."""
    tool_calls: tuple[ToolCallChunk, ...] = ()
    """Pieces of tool calls."""
    usage: Usage | None = None
    """Cost of the call; on one piece of a message only."""
    model: str | None = None
    """The model that writes."""
    finish: str | None = None
    """On the last piece: why the model stopped."""
    meta: dict[str, Any] = field(default_factory=dict, hash=False)
    """Anything else, for `Message.meta`."""

    @property
    def type(self) -> str:
        """Always `"ai"`: nobody else streams."""
        return "ai"

    @property
    def text(self) -> str:
        """Piece of the text."""
        return self.content

    def __add__(self, other: MessageChunk) -> MessageChunk:
        """Joins two neighbouring pieces."""
        return sum_chunks((self, other))

    def to_message(self) -> Message:
        """Returns the finished message."""
        id = self.id or new_message_id()
        return Message(
            role="assistant",
            content=self.content,
            id=id,
            tool_calls=tuple(
                call.to_call(f"call_{id}_{n}") for n, call in enumerate(self.tool_calls)
            ),
            usage=self.usage,
            model=self.model,
            finish=self.finish,
            meta=self._message_meta(),
        )

    def _message_meta(self) -> dict[str, Any]:
        meta = dict(self.meta)
        if self.thinking:
            meta["thinking"] = self.thinking
        if self.thinking_blocks:
            blocks = [dict(block) for block in self.thinking_blocks]
            meta["openai"] = {**meta.get("openai", {}), "thinking_blocks": blocks}
        return meta


def sum_chunks(chunks: Sequence[MessageChunk]) -> MessageChunk:
    """Joins any number of pieces, in their order, in linear time."""
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    return MessageChunk(
        content="".join([chunk.content for chunk in chunks]),
        id=next((chunk.id for chunk in chunks if chunk.id is not None), None),
        index=chunks[0].index if chunks else None,
        thinking="".join([chunk.thinking for chunk in chunks]),
        thinking_blocks=_join_blocks([b for chunk in chunks for b in chunk.thinking_blocks]),
        tool_calls=join_call_pieces([c for chunk in chunks for c in chunk.tool_calls]),
        usage=reduce(add, usages) if usages else None,
        model=_last([chunk.model for chunk in chunks]),
        finish=_last([chunk.finish for chunk in chunks]),
        meta={key: value for chunk in chunks for key, value in chunk.meta.items()},
    )


def _last(values: list[str | None]) -> str | None:
    return next((value for value in reversed(values) if value is not None), None)


def _join_blocks(pieces: list[Part]) -> tuple[Part, ...]:
    """Joins pieces of thinking up to and including the one that signs them."""
    blocks: list[Part] = []
    for piece in pieces:
        open_block = bool(blocks) and "thinking" in blocks[-1] and not blocks[-1].get("signature")
        if open_block and "thinking" in piece:
            blocks[-1] = _joined_block(blocks[-1], piece)
        else:
            blocks.append(piece)
    return tuple(blocks)


def _joined_block(left: Part, right: Part) -> Part:
    thinking = (left.get("thinking") or "") + (right.get("thinking") or "")
    return {**left, **right, "thinking": thinking}
