"""A chat model as a node of a graph, or to be called by itself.

    graph.add_node("llm", ChatModel("openai/gpt-4o", temperature=0))
    reply = ChatModel("local/summariser").complete("Summarise in 1 sentence: ...")

Names are litellm's `provider/model`; `local/summariser` is served by graphflow itself, on this
machine, over the same wire. As a node it reads `state["messages"]` and returns the answer; while
the answer arrives, its pieces go to the run's `messages` stream. The run's config can name another
model: `{"configurable": {"model": "ollama/llama3"}}`. Retries belong to the node's retry policy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from graphflow.state.message import Message, RemoveMessage, new_message_id
from graphflow.state.message_chunk import MessageChunk, sum_chunks
from graphflow.state.messages import coerce_messages
from graphflow_integrations.chat_provider import (
    ChatRequest,
    ErrorKind,
    ModelError,
    ModelInfo,
    Price,
    Provider,
)
from graphflow_integrations.model_loop import wait_for
from graphflow_integrations.tools.schema import tool_schema

__all__ = ["ChatModel", "ChatRequest", "ErrorKind", "ModelError", "ModelInfo", "Price", "Provider"]

Emit = Callable[[MessageChunk, dict[str, Any]], None]
"""Takes a piece and its metadata."""

_SETTINGS = frozenset(field.name for field in fields(ChatRequest)) - {"model", "messages", "extra"}
_EXTRA_SETTINGS = frozenset(
    """api_version aws_region_name extra_body extra_headers frequency_penalty logit_bias logprobs
    metadata modalities parallel_tool_calls prediction presence_penalty reasoning_effort
    safety_settings service_tier thinking top_k top_logprobs user verbosity vertex_location
    vertex_project web_search_options""".split()  # noqa: SIM905
)
_FREE = Price(input=0, output=0)


class ChatModel:
    """A model with its settings; immutable, see `with_`.

    Args:
        model: `"provider/model"`, as litellm names it, or `"local/summariser"`.
        system: Instruction put before the messages of every call.
        tools: Functions, or mappings in OpenAI's form.
        price: Overrides litellm's price table.
        tags: Go with every streamed piece; `"nostream"` keeps the pieces back.
        provider: Speaks to the model instead of litellm.
        emit: Takes the streamed pieces instead of the run that is going on.
        settings: Those of `ChatRequest` (`temperature`, `max_tokens`, `timeout`, `api_base`, ...),
            and `reasoning_effort`, `extra_headers` and others that providers share.

    Raises:
        TypeError: A setting is not known; the text names the nearest one that is.
    """

    def __init__(
        self,
        model: str,
        *,
        system: str | None = None,
        tools: Iterable[Callable[..., Any] | Mapping[str, Any]] = (),
        price: Price | None = None,
        tags: Iterable[str] = (),
        provider: Provider | None = None,
        emit: Emit | None = None,
        **settings: Any,
    ) -> None:
        _refuse_unknown(settings)
        self.model = model
        self.tags = tuple(tags)
        self._given: dict[str, Any] = {
            "system": system, "tools": tuple(tools), "price": price, "tags": self.tags,
            "provider": provider, "emit": emit, **settings,
        }  # fmt: skip
        extra = {name: value for name, value in settings.items() if name in _EXTRA_SETTINGS}
        known = {name: value for name, value in settings.items() if name in _SETTINGS}
        schemas = tuple(map(tool_schema, self._given["tools"]))
        self._request = ChatRequest(model=model, tools=schemas, extra=extra, **known)
        self._system = () if system is None else (Message.system(system),)
        self._price = price
        self._provider = provider
        self._emit = emit or _emit_to_run

    @property
    def __name__(self) -> str:
        return self.model

    def __repr__(self) -> str:
        """Shows the model's name."""
        return f"ChatModel({self.model!r})"

    def with_(self, model: str | None = None, **changes: Any) -> ChatModel:
        """Returns a copy with another model or other settings."""
        return ChatModel(model or self.model, **{**self._given, **changes})

    def bind_tools(self, tools: Iterable[Callable[..., Any] | Mapping[str, Any]]) -> ChatModel:
        """Returns a copy that may call these tools."""
        return self.with_(tools=tools)

    async def __call__(self, state: Any, config: Any = None) -> dict[str, list[Message]]:
        """Answers `state["messages"]`: the model as a node."""
        configured = ((config or {}).get("configurable") or {}).get("model")
        return {"messages": [await self.acomplete(_messages_of(state), model=configured)]}

    async def acomplete(self, messages: Any, *, model: str | None = None) -> Message:
        """Asks the model and returns its answer.

        Args:
            messages: Anything that `add_messages` takes; a string is a message of the person.
            model: Another model for this call.

        Raises:
            ModelError: The call failed.
        """
        return sum_chunks(
            [piece async for piece in self.astream(messages, model=model)]
        ).to_message()

    async def astream(
        self, messages: Any, *, model: str | None = None
    ) -> AsyncIterator[MessageChunk]:
        """Asks the model and yields the pieces of its answer; they add up to the message."""
        request = self._request_for(messages, model)
        id = new_message_id()
        metadata = {"model": request.model} | ({"tags": list(self.tags)} if self.tags else {})
        pieces = self._provider_or_litellm().stream(_served(request))
        try:
            index = 0
            async for piece in pieces:
                usage = self._priced(piece, request)
                chunk = replace(piece, id=id, index=index, model=request.model, usage=usage)
                if "nostream" not in self.tags:
                    self._emit(chunk, metadata)
                yield chunk
                index += 1
        finally:
            await _close(pieces)

    def complete(self, messages: Any, *, model: str | None = None) -> Message:
        """Asks the model and waits for its answer; also from a notebook or a thread."""
        return wait_for(self.acomplete(messages, model=model))

    def describe(self) -> ModelInfo | None:
        """Returns what is known about the model, None if nothing."""
        return self._provider_or_litellm().describe(self.model)

    def _request_for(self, messages: Any, model: str | None) -> ChatRequest:
        asked = [m for m in coerce_messages(messages) if not isinstance(m, RemoveMessage)]
        if not asked:
            raise ValueError(f"{self!r} was called without any message; give it at least one.")
        return replace(self._request, model=model or self.model, messages=(*self._system, *asked))

    def _priced(self, piece: MessageChunk, request: ChatRequest) -> Any:
        price = self._price or (_FREE if request.model.startswith("local/") else None)
        if piece.usage is None or price is None:
            return piece.usage
        return replace(piece.usage, cost=price.cost(piece.usage))

    def _provider_or_litellm(self) -> Provider:
        if self._provider is not None:
            return self._provider
        from graphflow_integrations.litellm import LiteLLMProvider

        return LiteLLMProvider()


def _refuse_unknown(settings: Mapping[str, Any]) -> None:
    from difflib import get_close_matches

    for name in settings:
        if name not in _SETTINGS | _EXTRA_SETTINGS:
            near = get_close_matches(name, sorted(_SETTINGS | _EXTRA_SETTINGS), 1)
            hint = f"Did you mean {near[0]!r}?" if near else "Provider-only ones go in extra_body=."
            raise TypeError(f"ChatModel has no setting {name!r}. {hint}")


def _messages_of(state: Any) -> Any:
    found = (
        state.get("messages") if isinstance(state, Mapping) else getattr(state, "messages", None)
    )
    if found is None:
        raise ValueError(
            "A ChatModel as a node reads the key 'messages', which this state lacks. Declare it "
            "(MessagesState does), or call the model in a node of your own."
        )
    return found


def _served(request: ChatRequest) -> ChatRequest:
    """Returns the request with `local/...` addressed to this process's own server."""
    provider, _, name = request.model.partition("/")
    if provider != "local":
        return request
    from graphflow_integrations.local_model import shared_local_model

    url = request.api_base or shared_local_model()
    return replace(request, model=f"openai/{name}", api_base=url, api_key="local")


def _emit_to_run(chunk: MessageChunk, metadata: dict[str, Any]) -> None:
    from graphflow.runtime import emit_message

    emit_message(chunk, metadata)


async def _close(pieces: AsyncIterator[MessageChunk]) -> None:
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()
