"""Every hosted and local model through litellm; the only file that names it.

litellm is heavy (seconds to import, hundreds of megabytes installed), so it is an extra
(`graphflow[litellm]`) and is imported on the first call, in a thread.
Only its wire is used: no retries, callbacks, caches, routers or budgets of its own, because those
are recorded in graphflow's state. It is told not to go online by itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from graphflow.state.message_chunk import MessageChunk
from graphflow.state.message_parts import ToolCallChunk, Usage
from graphflow_integrations.chat_provider import (
    ChatRequest,
    ErrorKind,
    ModelError,
    ModelInfo,
    Price,
    wire_settings,
)
from graphflow_integrations.model_loop import iterate, run_at_exit

_KINDS: dict[str, ErrorKind] = {
    "AuthenticationError": "auth",
    "PermissionDeniedError": "auth",
    "ContextWindowExceededError": "context_window",
    "ContentPolicyViolationError": "content_policy",
    "UnsupportedParamsError": "bad_request",
    "BadRequestError": "bad_request",
    "UnprocessableEntityError": "bad_request",
    "NotFoundError": "not_found",
    "RateLimitError": "rate_limit",
    "Timeout": "timeout",
    "MidStreamFallbackError": "interrupted",
    "APIConnectionError": "connection",
    "ServiceUnavailableError": "server",
    "BadGatewayError": "server",
    "InternalServerError": "server",
    "APIError": "server",
}
_ONE_ATTEMPT = {"num_retries": 0, "max_retries": 0}
"""Retries are the scheduler's; without both, the client inside litellm sends a failure thrice."""
_WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}

_NO_MCP = {"_skip_mcp_handler": True}
"""Without it, a request with tools imports litellm's proxy, which needs packages of its own."""


@cache
def load_litellm() -> Any:
    """Imports litellm, quiet and offline; takes seconds. Servers may call it at their start.

    Raises:
        ModelError: litellm is not installed.
    """
    os.environ.setdefault("LITELLM_OFFLINE_MODE", "true")
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        litellm: Any = import_module("litellm")
    except ImportError as error:
        detail = f'{error}. Install it with: pip install "graphflow[litellm]"'
        raise ModelError("missing_library", "litellm", detail) from error
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_aiohttp_transport = True  # takes an answer that broke off for a whole one
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Its own clean-up runs on another loop than the connections and leaves them half closed.
    run_at_exit(litellm.close_litellm_async_clients)
    return litellm


def _mute_warnings() -> None:
    """Ignores warnings raised by litellm's own lines.

    It reads attributes that pydantic has deprecated, for every piece of a stream. With warnings as
    errors that would break the stream, and nobody but litellm can change it. Set on every call,
    because test runners reset the filters.
    """
    warnings.filterwarnings("ignore", module=r"litellm(\.|$)")


class LiteLLMProvider:
    """Speaks to any model that litellm knows, by its `provider/model` names."""

    def stream(self, request: ChatRequest) -> AsyncIterator[MessageChunk]:
        """Asks the model once and yields its answer as it arrives; see `Provider`."""
        return iterate(lambda: _ask(request))

    def describe(self, model: str) -> ModelInfo | None:
        """Returns litellm's own entry for the model; imports litellm."""
        try:
            known = load_litellm().get_model_info(model)
        except Exception:  # litellm raises a bare Exception for a model it has no entry for
            return None
        price = Price(
            input=(known.get("input_cost_per_token") or 0) * 1e6,
            output=(known.get("output_cost_per_token") or 0) * 1e6,
        )
        tools = known.get("supports_function_calling")
        return ModelInfo(context_window=known.get("max_input_tokens"), price=price, tools=tools)


async def _ask(request: ChatRequest) -> AsyncGenerator[MessageChunk, None]:
    if load_litellm.cache_info().currsize == 0:
        await asyncio.to_thread(load_litellm)
    litellm = load_litellm()
    _mute_warnings()
    response = None
    try:
        settings = {**wire_settings(request), **(_NO_MCP if request.tools else {})}
        response = await litellm.acompletion(**settings, **_WITH_USAGE, **_ONE_ATTEMPT)
        async for chunk in _pieces(response, request.model):
            yield chunk
    except Exception as error:
        raise _model_error(error, request.model) from error
    finally:
        if response is not None:
            await response.aclose()


async def _pieces(response: Any, model: str) -> AsyncIterator[MessageChunk]:
    """Yields what each chunk says, and one usage at the end: some providers repeat it."""
    usage = None
    async for chunk in response:
        usage = getattr(chunk, "usage", None) or usage
        piece = _piece(chunk)
        if piece is not None:
            yield piece
    if usage is not None:
        yield MessageChunk(usage=_usage(usage, model))


def _piece(chunk: Any) -> MessageChunk | None:
    """Returns what one chunk says; None if nothing. Usage-only chunks have no choices."""
    if not chunk.choices:
        return None
    choice = chunk.choices[0]
    delta = choice.delta
    piece = MessageChunk(
        content=delta.content or "",
        thinking=getattr(delta, "reasoning_content", None) or "",
        thinking_blocks=tuple(dict(b) for b in getattr(delta, "thinking_blocks", None) or ()),
        tool_calls=tuple(map(_call_piece, delta.tool_calls or ())),
        finish=choice.finish_reason,
    )
    return None if piece == MessageChunk() else piece


def _call_piece(call: Any) -> ToolCallChunk:
    fields = getattr(call, "provider_specific_fields", None)
    return ToolCallChunk(
        index=call.index,
        id=call.id,
        name=call.function.name or "",
        args=call.function.arguments or "",
        extra={"provider_specific_fields": fields} if fields else None,
    )


def _usage(reported: Any, model: str) -> Usage:
    prompt = getattr(reported, "prompt_tokens_details", None)
    answer = getattr(reported, "completion_tokens_details", None)
    return Usage(
        input=reported.prompt_tokens,
        output=reported.completion_tokens,
        cache_read=getattr(prompt, "cached_tokens", None) or 0,
        cache_write=getattr(reported, "cache_creation_input_tokens", None) or 0,
        reasoning=getattr(answer, "reasoning_tokens", None) or 0,
        cost=_cost(reported, model),
        calls=1,
    )


def _cost(reported: Any, model: str) -> float | None:
    """Returns litellm's price in dollars; None for a model it has no price for."""
    try:
        prompt, answer = load_litellm().cost_per_token(model=model, usage_object=reported)
    except Exception:  # ModelNotMappedError derives from Exception itself
        return None
    return float(prompt + answer)


def _model_error(error: Exception, model: str) -> ModelError:
    kind = _kind(error)
    detail = str(error).strip().partition("\n")[0]
    return ModelError(kind, model, detail, retry_after=_retry_after(error))


def _kind(error: Exception) -> ErrorKind:
    """Returns the kind; litellm's own class is right only for what a provider said.

    It reports a refused connection as an internal server error, and whatever happens in the middle
    of a stream as one kind of its own.
    """
    kind = _kind_by_name(error)
    if kind not in ("connection", "interrupted", "server"):
        return kind
    if "Missing credentials" in str(error):  # no server was asked: the key is not set
        return "auth"
    causes = list(_causes(error))
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return "timeout"
    if kind == "server" and any(isinstance(cause, OSError) for cause in causes):
        return "connection"
    return kind


def _kind_by_name(error: BaseException) -> ErrorKind:
    names = [kind.__name__ for kind in type(error).__mro__]
    return next((_KINDS[name] for name in names if name in _KINDS), "unknown")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields the exception and those that led to it, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            original = getattr(found, "original_exception", None)
            waiting += [found.__cause__, found.__context__, original]


def _retry_after(error: Exception) -> float | None:
    """Returns the seconds of a `Retry-After` header; a date in it is not read."""
    response = getattr(error, "response", None)
    found = [getattr(error, "litellm_response_headers", None), getattr(response, "headers", None)]
    for headers in found:
        if isinstance(headers, Mapping) and (said := headers.get("retry-after")):
            return float(said) if said.replace(".", "", 1).isdecimal() else None
    return None
