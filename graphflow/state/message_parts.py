"""What a message is made of: content parts, tool calls, usage.

A *part* is a plain mapping in OpenAI's block form (`{"type": "text", "text": ...}`,
`{"type": "image_url", ...}`), so that blocks this library has never heard of are kept as they came.
Tool calls keep the argument string the model wrote beside the parsed arguments: it is sent back
byte for byte, and arguments that are not JSON are data, not an exception.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Part: TypeAlias = Mapping[str, Any]
Content: TypeAlias = str | tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A model's request to call one tool; `call["name"]` reads like `call.name`."""

    name: str
    """Name of the tool, as given to the model."""
    args: dict[str, Any] | None = field(default_factory=dict, hash=False)
    """Parsed arguments; None when the model wrote no JSON object (see `error`)."""
    id: str = ""
    """Pairs the call with the tool message that answers it."""
    raw: str = field(default="", compare=False, repr=False)
    """The argument string as the model wrote it; empty when the call was made in Python."""
    error: str | None = None
    """Why `raw` could not be read as arguments."""
    extra: dict[str, Any] | None = field(default=None, hash=False)
    """Wire keys without a field here, sent back as they came (some providers sign calls)."""

    def __getitem__(self, key: str) -> Any:
        """Returns the field `key`; `call["type"]` is `"tool_call"`."""
        if key == "type":
            return "tool_call"
        if key not in type(self).__slots__:
            raise KeyError(key)
        return getattr(self, key)

    @classmethod
    def parse(
        cls, *, name: str, raw: str, id: str = "", extra: dict[str, Any] | None = None
    ) -> ToolCall:
        """Reads an argument string; if it is no JSON object, `error` says so."""
        args, error = _read_arguments(raw)
        return cls(name=name, args=args, id=id, raw=raw, error=error, extra=extra or None)

    @classmethod
    def of(cls, value: ToolCall | Mapping[str, Any]) -> ToolCall:
        """Accepts a ToolCall, OpenAI's `{"id", "function": {...}}`, or `{"name", "args", "id"}`."""
        if isinstance(value, ToolCall):
            return value
        if "function" in value:
            return cls._of_openai(value)
        return cls(name=value["name"], args=value.get("args") or {}, id=value.get("id") or "")

    @classmethod
    def _of_openai(cls, value: Mapping[str, Any]) -> ToolCall:
        called = value["function"]
        return cls.parse(
            name=called.get("name") or "",
            raw=called.get("arguments") or "",
            id=value.get("id") or "",
            extra={key: value[key] for key in value if key not in ("id", "type", "function")},
        )

    def to_openai(self) -> dict[str, Any]:
        """Returns the call in OpenAI's form."""
        called = {"name": self.name, "arguments": self.raw or _write_arguments(self.args)}
        return {"id": self.id, "type": "function", "function": called, **(self.extra or {})}


def _read_arguments(raw: str) -> tuple[dict[str, Any] | None, str | None]:
    import json

    try:
        args = json.loads(raw) if raw.strip() else {}
    except ValueError as error:
        return None, f"arguments are not JSON: {error}"
    if not isinstance(args, dict):
        return None, f"arguments are a JSON {type(args).__name__}, not an object"
    return args, None


def _write_arguments(args: Mapping[str, Any] | None) -> str:
    import json

    return json.dumps(args or {}, ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallChunk:
    """A piece of a tool call; pieces with the same `index` belong to one call."""

    index: int | None = None
    """Position of the call within its message."""
    id: str | None = None
    """Call id; providers send it with the first piece only."""
    name: str = ""
    """Piece of the tool's name."""
    args: str = ""
    """Piece of the argument string."""
    extra: dict[str, Any] | None = field(default=None, hash=False)
    """Other wire keys of the call."""

    def __add__(self, other: ToolCallChunk) -> ToolCallChunk:
        """Joins two pieces of the same call."""
        return ToolCallChunk(
            index=self.index,
            id=self.id or other.id,
            name=self.name + other.name,
            args=self.args + other.args,
            extra={**(self.extra or {}), **(other.extra or {})} or None,
        )

    def to_call(self, fallback_id: str) -> ToolCall:
        """Returns the finished call; `fallback_id` serves when the provider sent no id."""
        id = self.id or fallback_id
        return ToolCall.parse(name=self.name, raw=self.args, id=id, extra=self.extra)


def join_call_pieces(pieces: Iterable[ToolCallChunk]) -> tuple[ToolCallChunk, ...]:
    """Joins pieces into one chunk per call, in order of first appearance.

    A piece with a new id opens a new call even under a known index: some providers number every
    parallel call 0.
    """
    calls: list[ToolCallChunk] = []
    latest: dict[int | None, int] = {}
    for piece in pieces:
        at = latest.get(piece.index)
        if at is None or (piece.id and calls[at].id and piece.id != calls[at].id):
            latest[piece.index] = len(calls)
            calls.append(piece)
        else:
            calls[at] += piece
    return tuple(calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and money of some model calls; `+` adds them up."""

    input: int = 0
    """Prompt tokens, cached ones included."""
    output: int = 0
    """Generated tokens, reasoning included."""
    cache_read: int = 0
    """Prompt tokens served from the provider's cache."""
    cache_write: int = 0
    """Prompt tokens written to the provider's cache."""
    reasoning: int = 0
    """Generated tokens spent on thinking."""
    cost: float | None = None
    """Dollars; None when the price of any of the calls is unknown."""
    calls: int = 0
    """Number of model calls counted here."""

    @property
    def total(self) -> int:
        """Prompt plus generated tokens."""
        return self.input + self.output

    def __add__(self, other: Usage) -> Usage:
        """Adds field by field; an unpriced call makes the cost of the sum unknown."""
        return Usage(
            input=self.input + other.input,
            output=self.output + other.output,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            reasoning=self.reasoning + other.reasoning,
            cost=_add_costs(self, other),
            calls=self.calls + other.calls,
        )


def _add_costs(left: Usage, right: Usage) -> float | None:
    counted = [usage for usage in (left, right) if usage.calls or usage.cost is not None]
    costs = [usage.cost for usage in counted]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else None


def text_of(content: Content) -> str:
    """Returns the text of a content, other parts left out."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")
