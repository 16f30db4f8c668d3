"""ChatModel through the real litellm over loopback HTTP: streams, usage, errors, cancelling."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

from graphflow.state.messages import AIMessage, Message, MessageChunk, ToolCall, Usage
from graphflow_integrations.chat import ChatModel, ChatRequest, ModelError, ModelInfo, Price

TEXT = "Summarise in 1 sentence:\nThe tide rises. The moon pulls the sea and makes the tide."
REFUSALS: dict[str, tuple[int, dict[str, Any]]] = {
    "refuse-400": (400, {"message": "no such parameter", "code": None}),
    "refuse-401": (401, {"message": "bad key", "code": "invalid_api_key"}),
    "refuse-404": (404, {"message": "no such model", "code": "model_not_found"}),
    "refuse-429": (429, {"message": "slow down", "code": "rate_limit_exceeded"}),
    "refuse-500": (500, {"message": "oh no", "code": None}),
    "refuse-long": (
        400,
        {"message": "This model's maximum context length is 9", "code": "context_length_exceeded"},
    ),
}
CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
STREAMS: dict[str, list[dict[str, Any]]] = {
    "tools": [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
    ],
    "thinking": [{"reasoning_content": "hm "}, {"reasoning_content": "ok"}, {"content": "4"}],
}


class Faults(BaseHTTPRequestHandler):
    """Does what the model's name says."""

    server: FaultServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        if body["model"] in REFUSALS:
            status, error = REFUSALS[body["model"]]
            self.send(status, json.dumps({"error": {"type": "x", "param": None, **error}}))
        elif body["model"] == "endless":
            self.stream_until_left()
        elif body["model"] == "cut":
            self.start_stream("Content-Length: 9999")
            self.send_chunk([{"index": 0, "delta": {"content": "x"}, "finish_reason": None}])
        else:
            self.stream(STREAMS[body["model"]])

    def send(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body.encode())

    def stream(self, deltas: list[dict[str, Any]]) -> None:
        self.start_stream()
        for delta in deltas:
            self.send_chunk([{"index": 0, "delta": delta, "finish_reason": None}])
        self.send_chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        self.send_chunk([], usage=usage)
        self.wfile.write(b"data: [DONE]\n\n")

    def stream_until_left(self) -> None:
        self.start_stream()
        try:
            while True:
                self.send_chunk([{"index": 0, "delta": {"content": "x "}, "finish_reason": None}])
                time.sleep(0.01)
        except ConnectionError:
            self.server.left.set()

    def start_stream(self, *headers: str) -> None:
        self.send_response(200)
        for header in headers:
            self.send_header(*header.split(": "))
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()

    def send_chunk(self, choices: list[Any], **more: Any) -> None:
        head = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        data = json.dumps({**head, "choices": choices, **more})
        self.wfile.write(f"data: {data}\n\n".encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


class FaultServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Faults)
        self.requests: list[dict[str, Any]] = []
        self.left = Event()

    def model(self, name: str, **settings: Any) -> ChatModel:
        url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        settings = {"api_base": url, "api_key": "k", **settings}
        return ChatModel(f"openai/{name}", **settings)


@pytest.fixture
def faults() -> Iterator[FaultServer]:
    with FaultServer() as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def local(**settings: Any) -> ChatModel:
    return ChatModel("local/summariser", **settings)


# --- answers ------------------------------------------------------------------------------------


def test_the_local_model_answers_without_key_or_network() -> None:
    message = local().complete(TEXT)
    assert message.text == "The moon pulls the sea and makes the tide."
    assert (message.role, message.model, message.finish) == (
        "assistant",
        "local/summariser",
        "stop",
    )


def test_usage_is_reported_and_a_local_call_is_free() -> None:
    usage = local().complete(TEXT).usage
    assert usage is not None
    assert usage.input > usage.output > 0
    assert (usage.calls, usage.cost) == (1, 0.0)


def test_the_cost_of_an_unlisted_model_is_unknown(faults: FaultServer) -> None:
    usage = faults.model("tools").complete("hi").usage
    assert usage == Usage(input=10, output=5, calls=1, cost=None)


def test_a_given_price_is_used(faults: FaultServer) -> None:
    message = faults.model("thinking", price=Price(input=1, output=2)).complete("hi")
    assert message.usage is not None
    assert message.usage.cost == pytest.approx(20e-6)


def test_pieces_are_emitted_as_they_come_and_add_up_to_the_message() -> None:
    emitted: list[tuple[MessageChunk, dict[str, Any]]] = []
    model = local(emit=lambda *piece: emitted.append(piece), tags=["writer"])
    message = model.complete(TEXT)
    chunks = [chunk for chunk, _ in emitted]
    assert sum(chunks[1:], start=chunks[0]).to_message() == message
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert len(chunks) > len(message.text.split())
    assert emitted[0][1] == {"tags": ["writer"], "model": "local/summariser"}


def test_nostream_keeps_the_pieces_back() -> None:
    emitted: list[Any] = []
    local(emit=lambda *piece: emitted.append(piece), tags=["nostream"]).complete(TEXT)
    assert emitted == []


def test_streamed_tool_calls_are_put_together(faults: FaultServer) -> None:
    message = faults.model("tools").complete("hi")
    assert message.tool_calls == (ToolCall(name="f", args={"x": 1}, id="c1"),)
    assert message.to_openai()["content"] == ""


def test_reasoning_is_kept_apart_from_the_answer(faults: FaultServer) -> None:
    message = faults.model("thinking").complete("hi")
    assert (message.content, message.meta["thinking"]) == ("4", "hm ok")


def test_settings_system_and_tools_reach_the_wire(faults: FaultServer) -> None:
    def look_up(word: str, limit: int = 3) -> str:
        """Looks a word up.

        Not for the model.
        """
        return word

    model = faults.model("tools", system="Be kind.", temperature=0, seed=7)
    model.bind_tools([look_up]).complete(["hi"])
    (request,) = faults.requests
    assert request["messages"][0] == {"role": "system", "content": "Be kind."}
    assert (request["temperature"], request["seed"], request["stream"]) == (0, 7, True)
    function = request["tools"][0]["function"]
    assert (function["name"], function["description"]) == ("look_up", "Looks a word up.")
    assert function["parameters"]["required"] == ["word"]


def test_as_a_node_it_answers_the_messages_of_the_state() -> None:
    update = asyncio.run(local()({"messages": [Message.user(TEXT, id="1")]}))
    (message,) = update["messages"]
    assert isinstance(message, AIMessage)
    assert message.text.startswith("The moon")


def test_the_runs_config_names_another_model(faults: FaultServer) -> None:
    config = {"configurable": {"model": "openai/thinking"}}
    update = asyncio.run(faults.model("tools")({"messages": ["hi"]}, config))
    assert update["messages"][0].model == "openai/thinking"


def test_calls_on_different_loops_leave_nothing_behind() -> None:
    texts = {asyncio.run(local().acomplete(TEXT)).text for _ in range(3)}
    assert len(texts) == 1


def test_a_provider_of_ones_own_needs_no_litellm() -> None:
    class Echo:
        async def stream(self, request: ChatRequest) -> AsyncIterator[MessageChunk]:
            yield MessageChunk(content=f"{request.model}: {request.messages[-1].text}")

        def describe(self, model: str) -> ModelInfo | None:
            return None

    model = ChatModel("echo/1", provider=Echo())
    assert model.complete("hi").text == "echo/1: hi"


# --- misuse -------------------------------------------------------------------------------------


def test_an_unknown_setting_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(TypeError, match="Did you mean 'temperature'"):
        ChatModel("openai/gpt-4o", temprature=0)


def test_a_state_without_messages_is_refused() -> None:
    with pytest.raises(ValueError, match="reads the key 'messages'"):
        asyncio.run(local()({"text": "hi"}))


def test_no_message_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="without any message"):
        local().complete([])


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "retryable"),
    [
        ("refuse-400", "bad_request", False),
        ("refuse-401", "auth", False),
        ("refuse-404", "not_found", False),
        ("refuse-429", "rate_limit", True),
        ("refuse-500", "server", True),
        ("refuse-long", "context_window", False),
    ],
)
def test_a_refusal_is_a_model_error_after_one_request(
    faults: FaultServer, name: str, kind: str, retryable: bool
) -> None:
    with pytest.raises(ModelError) as caught:
        faults.model(name).complete("hi")
    error = caught.value
    assert (error.kind, error.provider, error.model) == (kind, "openai", f"openai/{name}")
    assert (error.retryable, type(error.cause).__module__.split(".")[0]) == (retryable, "litellm")
    assert len(faults.requests) == 1


def test_retry_after_is_read(faults: FaultServer) -> None:
    with pytest.raises(ModelError) as caught:
        faults.model("refuse-429").complete("hi")
    assert caught.value.retry_after == 7


def test_a_refused_connection_is_told_apart_from_a_server_error(faults: FaultServer) -> None:
    with pytest.raises(ModelError, match="Check that the server is up") as caught:
        faults.model("tools", api_base="http://127.0.0.1:9/v1").complete("hi")
    assert caught.value.kind == "connection"


def test_an_answer_that_breaks_off_is_not_taken_for_whole(faults: FaultServer) -> None:
    with pytest.raises(ModelError) as caught:
        faults.model("cut").complete("hi")
    assert (caught.value.kind, caught.value.retryable) == ("interrupted", True)


def test_a_slow_model_times_out() -> None:
    with pytest.raises(ModelError) as caught:
        local(timeout=0.2, extra_body={"delay": 1}).complete(TEXT)
    assert caught.value.kind == "timeout"


def test_cancelling_ends_the_call_on_the_wire(faults: FaultServer) -> None:
    async def cancel_after_some_pieces() -> None:
        pieces: list[MessageChunk] = []
        model = faults.model("endless", emit=lambda chunk, _: pieces.append(chunk))
        asking = asyncio.create_task(model.acomplete("hi"))
        while len(pieces) < 3:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asking

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel_after_some_pieces())
    assert faults.left.wait(5)


def test_leaving_a_stream_ends_the_call_on_the_wire(faults: FaultServer) -> None:
    async def read_one_piece() -> None:
        pieces = faults.model("endless").astream("hi")
        async for _ in pieces:
            break

    asyncio.run(read_one_piece())
    assert faults.left.wait(5)


# --- the process around it ------------------------------------------------------------------------


def test_importing_the_chat_model_imports_no_model_library() -> None:
    code = (
        "import sys, graphflow_integrations.chat\n"
        "print({'litellm', 'openai', 'pydantic', 'httpx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_call_prints_nothing_and_warns_of_nothing() -> None:
    code = (
        "from graphflow_integrations.chat import ChatModel, ModelError\n"
        "model = ChatModel('local/summariser')\n"
        "model.complete('Summarise: The tide rises.')\n"
        "try:\n"
        "    model.complete('hi', model='local/nobody')\n"
        "except ModelError as error:\n"
        "    assert error.kind == 'not_found', error\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_litellm_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['litellm'] = None\n"
        "from graphflow_integrations.chat import ChatModel\n"
        "ChatModel('openai/gpt-4o').complete('hi')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "graphflow[litellm]"' in done.stderr
