"""The seam between `ChatModel` and whatever speaks to models.

A provider gets a `ChatRequest` and yields `MessageChunk`s as they arrive: text, reasoning, pieces
of tool calls, one usage, one finish. It does not retry. Failures leave it as `ModelError`, so that
nobody above it imports a model library. A call that is not streamed is the sum of the stream: there
is one code path.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from graphflow.state.message import Message
from graphflow.state.message_chunk import MessageChunk
from graphflow.state.message_parts import Usage

ErrorKind: TypeAlias = Literal[
    "auth",
    "bad_request",
    "connection",
    "content_policy",
    "context_window",
    "interrupted",
    "missing_library",
    "not_found",
    "rate_limit",
    "server",
    "timeout",
    "unknown",
]

_NEXT_MOVE: dict[str, str] = {
    "auth": "Check the API key: the provider's environment variable, or api_key=.",
    "bad_request": "The provider refuses the request as it is; sending it again will not help.",
    "connection": "Check that the server is up, and api_base= if it is your own.",
    "content_policy": "Change the prompt, or use another model.",
    "context_window": "Trim the messages, or use a model with a larger window.",
    "interrupted": "The answer broke off half-way; ask again.",
    "not_found": "Check the model's name and api_base=.",
    "rate_limit": "Wait, or ask less often; a retry policy on the node does.",
    "server": "The provider failed; ask again later.",
    "timeout": "Ask again, or allow more time with timeout=.",
}
_PASSING = frozenset(("connection", "interrupted", "rate_limit", "server", "timeout"))


class ModelError(Exception):
    """A model call failed.

    Args:
        kind: What went wrong, in one word.
        model: `"provider/model"`.
        detail: What the provider said.
        retry_after: Seconds to wait before asking again, if the provider said so.
    """

    def __init__(
        self, kind: ErrorKind, model: str, detail: str = "", *, retry_after: float | None = None
    ) -> None:
        said = [f"Model {model!r}: {kind.replace('_', ' ')}", detail, _NEXT_MOVE.get(kind, "")]
        super().__init__("\n".join(filter(None, said)))
        self.kind = kind
        self.model = model
        self.retry_after = retry_after

    @property
    def provider(self) -> str:
        """The part of the model's name before the first slash."""
        return self.model.partition("/")[0]

    @property
    def cause(self) -> BaseException | None:
        """The model library's own exception."""
        return self.__cause__

    @property
    def retryable(self) -> bool:
        """Whether the same request may well succeed later."""
        return self.kind in _PASSING


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One question to a model; None leaves a setting to the provider."""

    model: str
    """`"provider/model"`."""
    messages: tuple[Message, ...] = ()
    """The conversation, oldest first."""
    tools: tuple[dict[str, Any], ...] = ()
    """Tools in OpenAI's form."""
    tool_choice: str | dict[str, Any] | None = None
    """`"auto"`, `"required"`, `"none"`, or one tool in OpenAI's form."""
    response_format: Any = None
    """A pydantic model, or OpenAI's `response_format`."""
    temperature: float | None = None
    """Randomness, from 0."""
    top_p: float | None = None
    """Share of the probability mass to choose from."""
    max_tokens: int | None = None
    """Longest answer."""
    stop: str | list[str] | None = None
    """Texts that end the answer."""
    seed: int | None = None
    """For providers that can repeat an answer."""
    timeout: float | None = None
    """Seconds until the call is given up."""
    api_base: str | None = None
    """Address of the server."""
    api_key: str | None = field(default=None, repr=False)
    """Secret; the provider's environment variable serves otherwise."""
    extra: dict[str, Any] = field(default_factory=dict, hash=False)
    """Settings that only some providers know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What is known about a model; None is "not known", never "no"."""

    context_window: int | None = None
    """Most tokens of prompt and answer together."""
    price: Price | None = None
    """What it costs."""
    tools: bool | None = None
    """Whether it calls tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Dollars for a million tokens."""

    input: float
    """Prompt tokens."""
    output: float
    """Generated tokens."""
    cache_read: float | None = None
    """Prompt tokens from the cache; None: as `input`."""

    def cost(self, usage: Usage) -> float:
        """Returns the dollars for one call."""
        cached = self.input if self.cache_read is None else self.cache_read
        fresh = usage.input - usage.cache_read
        prompt = fresh * self.input + usage.cache_read * cached
        return (prompt + usage.output * self.output) / 1_000_000


class Provider(Protocol):
    """What speaks to models."""

    def stream(self, request: ChatRequest) -> AsyncIterator[MessageChunk]:
        """Asks the model and yields pieces of its answer as they arrive.

        Cancelling the consumer, or closing the iterator, must end the call.

        Raises:
            ModelError: The call failed, before or while streaming.
        """
        ...

    def describe(self, model: str) -> ModelInfo | None:
        """Returns what is known about a model without asking anybody, or None."""
        ...


def wire_settings(request: ChatRequest) -> Mapping[str, Any]:
    """Returns the request in the keywords of OpenAI's API, settings that are None left out."""
    settings: dict[str, Any] = {
        "model": request.model,
        "messages": [message.to_openai() for message in request.messages],
        "tools": list(request.tools) or None,
        "tool_choice": request.tool_choice,
        "response_format": request.response_format,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "stop": request.stop,
        "seed": request.seed,
        "timeout": request.timeout,
        "api_base": request.api_base,
        "api_key": request.api_key,
        **request.extra,
    }
    return {name: value for name, value in settings.items() if value is not None}
