"""A model server on this machine: the summariser behind OpenAI's chat-completions wire format.

It speaks real HTTP on 127.0.0.1, streams word by word, reports usage and refuses bad requests with
OpenAI's error bodies, so that everything above it runs as it would against a hosted model, with no
key and no network. `ChatModel("local/summariser")` starts one per process on first use.

Run it by itself with `python -m graphflow_integrations.local_model --port 8000`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Self

from graphflow_integrations.summariser_prompt import answer

MODEL = "summariser"
_numbers = count(1)


def count_tokens(text: str) -> int:
    """Returns the number of words and punctuation marks."""
    return len(re.findall(r"\w+|[^\w\s]", text))


class BadRequest(Exception):
    """A request that the server refuses.

    Args:
        status: HTTP status.
        message: For the person who sent it.
        code: OpenAI's `error.code`.
    """

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def body(self) -> dict[str, Any]:
        """Returns OpenAI's error body."""
        error = {"message": str(self), "type": "invalid_request_error", "param": None}
        return {"error": {**error, "code": self.code}}


class Completion:
    """One answer, whole or as a stream of chunks."""

    def __init__(self, request: dict[str, Any]) -> None:
        _check(request)
        words = re.findall(r"\S+\s*", answer(request["messages"]))
        limit = request.get("max_completion_tokens") or request.get("max_tokens")
        self.words = words[:limit]
        self.finish = "stop" if self.words == words else "length"
        self.usage_wanted = bool((request.get("stream_options") or {}).get("include_usage"))
        self._prompt = json.dumps(request["messages"], ensure_ascii=False)
        self._head = {"id": f"chatcmpl-local-{next(_numbers)}", "created": int(time.time())}

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(self.words)

    def usage(self) -> dict[str, int]:
        """Returns the token counts of the request and the answer."""
        prompt, completion = count_tokens(self._prompt), count_tokens(self.text)
        total = prompt + completion
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}

    def whole(self) -> dict[str, Any]:
        """Returns the body of a response that is not streamed."""
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        return self._body("chat.completion", [choice], usage=self.usage())

    def chunks(self) -> Iterator[dict[str, Any]]:
        """Yields the bodies of a streamed response."""
        yield self._chunk({"role": "assistant", "content": ""})
        for word in self.words:
            yield self._chunk({"content": word})
        yield self._chunk({}, self.finish)
        if self.usage_wanted:
            yield self._body("chat.completion.chunk", [], usage=self.usage())

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return self._body("chat.completion.chunk", [choice])

    def _body(self, kind: str, choices: list[Any], **more: Any) -> dict[str, Any]:
        return {**self._head, "object": kind, "model": MODEL, "choices": choices, **more}


def _check(request: Any) -> None:
    if not isinstance(request, dict):
        raise BadRequest(400, "The body must be a JSON object.")
    if request.get("model") != MODEL:
        message = f"The model {request.get('model')!r} does not exist; this server has {MODEL!r}."
        raise BadRequest(404, message, "model_not_found")
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest(400, "'messages' must be an array of at least one message.")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or "role" not in message:
            raise BadRequest(400, f"'messages[{number}]' must be an object with a 'role'.")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        if self.path.rstrip("/") != "/v1/models":
            return self._refuse(self._unknown_path())
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "graphflow"}
        return self._send(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        request = self._read()
        try:
            if self.path.rstrip("/") != "/v1/chat/completions":
                raise self._unknown_path()
            self._complete(_parse(request))
        except BadRequest as refusal:
            self._refuse(refusal)
        except ConnectionError:
            self.close_connection = True  # the client has gone; nobody is left to tell

    def _complete(self, request: dict[str, Any]) -> None:
        completion = Completion(request)
        if request.get("stream"):
            self._stream(completion, float(request.get("delay") or self.server.delay))
        else:
            self._send(200, completion.whole())

    def _stream(self, completion: Completion, delay: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in completion.chunks():
            self._send_event(json.dumps(chunk))
            time.sleep(delay)
        self._send_event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _send_event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _unknown_path(self) -> BadRequest:
        return BadRequest(404, f"Unknown path {self.command} {self.path}.", "unknown_url")

    def _refuse(self, refusal: BadRequest) -> None:
        self._send(refusal.status, refusal.body())

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps the terminal quiet."""


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise BadRequest(400, f"The body is not JSON: {error}") from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a fan-out connects all at once; the default of 5 resets the rest
    delay = 0.0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that went away; anything else is a fault of ours and is shown."""
        import sys

        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class LocalModelServer:
    """The server in a thread of this process; a context manager.

    Args:
        port: 0 takes any free port.
        delay: Seconds to wait after each streamed word, so that a person can watch; a request may
            say its own in `"delay"`.
    """

    def __init__(self, *, port: int = 0, delay: float = 0.0) -> None:
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.delay = delay
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="local-model", daemon=True
        )

    @property
    def base_url(self) -> str:
        """What clients take as `api_base`: `http://127.0.0.1:PORT/v1`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def start(self) -> Self:
        """Starts serving; returns at once."""
        self._thread.start()
        return self

    def serve(self) -> None:
        """Serves in the calling thread until it is interrupted."""
        with self._server:
            self._server.serve_forever()

    def stop(self) -> None:
        """Stops serving and frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()


_shared: dict[int, LocalModelServer] = {}
_shared_lock = threading.Lock()


def shared_local_model() -> str:
    """Returns the base url of this process's server, started on the first call.

    `GRAPHFLOW_LOCAL_MODEL_DELAY` in the environment sets its delay, in seconds.
    """
    with _shared_lock:
        process = os.getpid()
        if process not in _shared:
            delay = float(os.environ.get("GRAPHFLOW_LOCAL_MODEL_DELAY") or 0)
            _shared[process] = LocalModelServer(delay=delay).start()
        return _shared[process].base_url


def main() -> None:
    """Serves until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m graphflow_integrations.local_model")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds per streamed word")
    options = parser.parse_args()
    server = LocalModelServer(port=options.port, delay=options.delay)
    print(f"Serving model {MODEL!r} on {server.base_url}", flush=True)
    try:
        server.serve()
    except KeyboardInterrupt:
        print("Stopped.")


if __name__ == "__main__":
    main()
