"""Messages of other makers in OpenAI's form: `add_messages(format="langchain-openai")`.

Others put into a content what OpenAI's format keeps beside it: an Anthropic content holds the tool
calls of the assistant (`tool_use`), and the person's turn the answers to them (`tool_result`). So
one message may become several, the answers first: they have to follow the calls directly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from graphflow.state.message import Message
from graphflow.state.message_parts import Content, Part, ToolCall

_APART = ("tool_use", "tool_result")


def in_openai_form(message: Message) -> list[Message]:
    """Returns what an identified message says as one or several in OpenAI's form.

    The first keeps the id; further ones have it with their number behind, so that reading the same
    message again gives the same ids. A message that is in OpenAI's form is returned itself.
    """
    parts = message.content
    if isinstance(parts, str):
        return [message]
    calls = _calls(message.tool_calls, _of_type("tool_use", parts))
    answers = list(map(_answer, _of_type("tool_result", parts)))
    spoken = tuple(part for part in parts if part.get("type") not in _APART)
    rest = replace(message, content=openai_content(spoken), tool_calls=calls)
    said = [*answers, rest] if spoken or calls or not answers else answers
    named = [one.with_id(_numbered(message, n)) for n, one in enumerate(said)]
    return [message] if named == [message] else named


def _numbered(message: Message, number: int) -> str:
    return f"{message.id}:{number}" if number else f"{message.id}"


def _of_type(kind: str, parts: Iterable[Part]) -> list[Part]:
    return [part for part in parts if part.get("type") == kind]


def _calls(known: tuple[ToolCall, ...], uses: Iterable[Part]) -> tuple[ToolCall, ...]:
    ids = {call.id for call in known}
    made = [
        ToolCall(name=use["name"], args=use.get("input") or {}, id=use.get("id") or "")
        for use in uses
    ]
    return (*known, *(call for call in made if call.id not in ids))


def _answer(part: Part) -> Message:
    content = part.get("content") or ""
    return Message.tool(
        content if isinstance(content, str) else openai_content(tuple(content)),
        tool_call_id=part["tool_use_id"],
        status="error" if part.get("is_error") else "ok",
    )


def openai_content(content: Content) -> Content:
    """Returns the content in OpenAI's blocks, or as one string if there is nothing but text."""
    if isinstance(content, str):
        return content
    parts = tuple(_openai_part(part) for part in content)
    if all(part.get("type") == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _openai_part(part: Part | str) -> Part:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if part.get("type") == "text":
        return {"type": "text", "text": part.get("text", "")}
    if part.get("type") == "image":
        return {"type": "image_url", "image_url": {"url": _image_url(part)}}
    return part


def _image_url(part: Part) -> str:
    source = part.get("source", part)
    if "url" in source:
        return str(source["url"])
    kind = source.get("media_type") or source.get("mime_type") or "image/png"
    return f"data:{kind};base64,{source.get('data') or source.get('base64', '')}"
