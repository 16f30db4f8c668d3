"""A model that calls tools, over loopback HTTP: model, tools, model, until it answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from graphflow import START, Command, MemoryCheckpointer, MessagesState, StateGraph, interrupt
from graphflow_integrations.chat import ChatModel
from graphflow_integrations.tools import ToolNode, ToolRuntime, tools_condition

Reply = str | list[tuple[str, dict[str, Any]]]
"""What the model says: a text, or the tools it calls."""


class Scripted(BaseHTTPRequestHandler):
    """Streams the replies of its server in OpenAI's wire format, one for each request."""

    server: ScriptServer

    def do_POST(self) -> None:
        self.server.requests.append(
            json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        )
        reply = self.server.script[len(self.server.requests) - 1]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for delta in deltas(reply, len(self.server.requests)):
            self.send_choice({"delta": delta, "finish_reason": None})
        self.send_choice({"delta": {}, "finish_reason": "stop"})
        self.wfile.write(b"data: [DONE]\n\n")

    def send_choice(self, choice: dict[str, Any]) -> None:
        head = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        data = json.dumps({**head, "choices": [{"index": 0, **choice}]})
        self.wfile.write(f"data: {data}\n\n".encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


def deltas(reply: Reply, turn: int) -> Iterator[dict[str, Any]]:
    """Yield a reply in pieces; arguments come in two, ids tell turn and number."""
    if isinstance(reply, str):
        yield from ({"content": word} for word in reply.split(" "))
        return
    for index, (name, args) in enumerate(reply):
        raw, function = json.dumps(args), {"name": name, "arguments": ""}
        opened = {"index": index, "id": f"{turn}.{index}", "type": "function", "function": function}
        yield {"tool_calls": [opened]}
        for piece in (raw[:3], raw[3:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


class ScriptServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Scripted)
        self.script: list[Reply] = []
        self.requests: list[dict[str, Any]] = []


@pytest.fixture
def server() -> Iterator[ScriptServer]:
    with ScriptServer() as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def population(city: str) -> int:
    """Tell how many people live in a city."""
    return {"Ulm": 128_000, "Bern": 134_000}[city]


async def area(city: str, runtime: ToolRuntime) -> str:
    """Tell the area of a city."""
    runtime.emit_output_delta("measuring")
    return "119 km2"


def react(server: ScriptServer, *script: Reply, tools: Any = (population, area)) -> Any:
    """Return the graph model -> tools -> model, with a model that follows the script."""
    server.script = list(script)
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    model = ChatModel("openai/scripted", api_base=url, api_key="k", tools=tools)
    graph = StateGraph(MessagesState).add_node("model", model).add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model").add_conditional_edges("model", tools_condition)
    return graph.add_edge("tools", "model")


BOTH: Reply = [("population", {"city": "Ulm"}), ("area", {"city": "Ulm"})]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_the_loop_runs_until_the_model_answers(server: ScriptServer, is_async: bool) -> None:
    app = react(server, BOTH, [("population", {"city": "Bern"})], "Bernislarger.").compile()
    given = {"messages": "Which is larger?"}
    result = asyncio.run(app.ainvoke(given)) if is_async else app.invoke(given)
    assert [(message.role, message.text) for message in result["messages"]] == [
        ("user", "Which is larger?"),
        ("assistant", ""),
        ("tool", "128000"),
        ("tool", "119 km2"),
        ("assistant", ""),
        ("tool", "134000"),
        ("assistant", "Bernislarger."),
    ]


def test_the_wire_carries_the_tools_and_every_answer_under_its_call(server: ScriptServer) -> None:
    react(server, BOTH, "done").compile().invoke({"messages": "?"})
    first, second = server.requests
    described = {tool["function"]["name"]: tool["function"] for tool in first["tools"]}
    assert described["area"]["parameters"]["properties"].keys() == {"city"}
    assert [
        (sent["role"], sent.get("tool_call_id"), sent["content"]) for sent in second["messages"][2:]
    ] == [("tool", "1.0", "128000"), ("tool", "1.1", "119 km2")]


@pytest.mark.parametrize(
    ("name", "args", "problem"),
    [
        ("population", {"city": "Rome"}, "KeyError: 'Rome'"),
        ("people", {}, "there is no tool 'people'. Known tools: population, area."),
        ("population", {"town": "Ulm"}, "city: Field required"),
    ],
)
def test_a_model_is_told_why_a_call_failed_and_goes_on(
    server: ScriptServer, name: str, args: dict[str, Any], problem: str
) -> None:
    result = react(server, [(name, args)], "sorry").compile().invoke({"messages": "?"})
    assert problem in server.requests[1]["messages"][-1]["content"]
    assert result["messages"][-1].text == "sorry"


def test_tokens_and_tool_events_are_told_in_their_order(server: ScriptServer) -> None:
    app = react(server, [("area", {"city": "Ulm"})], "so large").compile()
    told = []
    for mode, data in app.stream({"messages": "?"}, stream_mode=["messages", "tools"]):
        told.append(data["event"] if mode == "tools" else data[0].text)
    assert list(filter(None, told)) == [
        "tool-started",
        "tool-output-delta",
        "tool-finished",
        "119 km2",
        "so",
        "large",
    ]


def test_a_person_approves_a_tool_in_the_middle_of_the_loop(server: ScriptServer) -> None:
    def book(city: str) -> str:
        """Book a trip."""
        return f"booked {city}" if interrupt(f"Book {city}?") else "declined"

    script: list[Reply] = [[("book", {"city": "Ulm"}), ("book", {"city": "Bern"})], "done"]
    app = react(server, *script, tools=[book]).compile(MemoryCheckpointer())
    config = {"configurable": {"thread_id": "1"}}
    asked = app.invoke({"messages": "?"}, config)["__interrupt__"]
    asked += app.invoke(Command(resume=True), config)["__interrupt__"]
    assert [question.value for question in asked] == ["Book Ulm?", "Book Bern?"]
    ended = app.invoke(Command(resume=False), config)["messages"]
    assert [message.text for message in ended[2:]] == ["booked Ulm", "declined", "done"]
    assert len(server.requests) == 2
