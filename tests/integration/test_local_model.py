"""The local model server: its wire format over real HTTP, and what its summariser writes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from graphflow_integrations.local_model import LocalModelServer, shared_local_model
from graphflow_integrations.summariser_prompt import NOTHING, answer

TIDES = """# Tides

The tides are the rise and fall of sea levels caused by the pull of the Moon and the Sun. Most
coasts see two high tides a day, e.g. at Dover. The Bay of Fundy has the largest tidal range.

Sailors have used **tide tables** for centuries. A tide table gives the time of high water for a
[port](https://example.org). Dr. Thomson built the first tide-predicting machine in 1872.

Tidal power is clean. The first large tidal power station opened in France in 1966.
"""
BRIEF = """Write a brief from these section summaries.
Topic: Tides

## Causes
The Moon pulls the sea. The pull of the Moon and the Sun makes the tides of the sea.

## Prediction
Tide tables tell the time of high water. Thomson built a machine for it.

## Power
Tidal power is clean. Its cost was high.
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalModelServer]:
    with LocalModelServer() as server:
        yield server


def ask(server: LocalModelServer, method: str, path: str, body: Any = None) -> tuple[int, str]:
    data = body if isinstance(body, str) or body is None else json.dumps(body)
    connection = HTTPConnection(server.base_url.split("/")[2], timeout=10)
    try:
        connection.request(method, path, data)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def chat(server: LocalModelServer, text: str, **more: Any) -> tuple[int, str]:
    body = {"model": "summariser", "messages": [{"role": "user", "content": text}], **more}
    return ask(server, "POST", "/v1/chat/completions", body)


def events(stream: str) -> list[Any]:
    data = [line.removeprefix("data: ") for line in stream.splitlines() if line]
    assert data[-1] == "[DONE]"
    return [json.loads(event) for event in data[:-1]]


def said(text: str, *, system: str | None = None) -> str:
    messages = [{"role": "user", "content": text}]
    return answer([{"role": "system", "content": system}, *messages] if system else messages)


# --- wire ---------------------------------------------------------------------------------------


def test_models_are_listed(server: LocalModelServer) -> None:
    status, body = ask(server, "GET", "/v1/models")
    assert (status, [model["id"] for model in json.loads(body)["data"]]) == (200, ["summariser"])


def test_a_stream_is_the_whole_answer_word_by_word(server: LocalModelServer) -> None:
    prompt = f"Summarise in 2 sentences.\n\n{TIDES}"
    whole = json.loads(chat(server, prompt)[1])["choices"][0]["message"]["content"]
    chunks = events(chat(server, prompt, stream=True)[1])
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(pieces) == whole
    assert len(pieces) > len(whole.split())


def test_the_last_chunk_tells_usage_only_if_asked(server: LocalModelServer) -> None:
    without = events(chat(server, TIDES, stream=True)[1])
    options = {"include_usage": True}
    *_, last = events(chat(server, TIDES, stream=True, stream_options=options)[1])
    assert all("usage" not in chunk for chunk in without)
    assert last["choices"] == []
    assert last["usage"] == json.loads(chat(server, TIDES)[1])["usage"]


def test_max_tokens_cuts_the_answer(server: LocalModelServer) -> None:
    choice = json.loads(chat(server, TIDES, max_tokens=3)[1])["choices"][0]
    assert (choice["message"]["content"].split(), choice["finish_reason"]) == (
        ["The", "tides", "are"],
        "length",
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "/v1/chat/completions", "{oops", 400, "not JSON"),
        ("POST", "/v1/chat/completions", {"model": "summariser"}, 400, "'messages' must be"),
        ("POST", "/v1/chat/completions", {"model": "summariser", "messages": [1]}, 400, "'role'"),
        ("POST", "/v1/chat/completions", {"model": "gpt-9"}, 404, "does not exist"),
        ("POST", "/v1/embeddings", {}, 404, "Unknown path POST"),
        ("GET", "/", None, 404, "Unknown path GET"),
    ],
)
def test_a_bad_request_gets_openais_error_body(
    server: LocalModelServer, method: str, path: str, body: Any, status: int, text: str
) -> None:
    got, answered = ask(server, method, path, body)
    error = json.loads(answered)["error"]
    assert (got, error["type"]) == (status, "invalid_request_error")
    assert text in error["message"]


def test_a_process_shares_one_server() -> None:
    assert shared_local_model() == shared_local_model()


def test_it_runs_as_a_process() -> None:
    command = [sys.executable, "-m", "graphflow_integrations.local_model", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
    assert line.startswith("Serving model 'summariser' on http://127.0.0.1:")


# --- the summariser -----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_budget_of_sentences_is_kept_and_quotes_are_exact(count: int) -> None:
    bullets = said(f"Summarise as {count} bullets.\n\n{TIDES}").splitlines()
    source = " ".join(TIDES.replace("**", "").split()).replace(
        "[port](https://example.org)", "port"
    )
    assert len(bullets) == count
    assert all(bullet.removeprefix("- ") in source for bullet in bullets)


def test_the_budget_of_words_is_kept() -> None:
    assert 5 < len(said(f"Summarise in at most 20 words.\n\n{TIDES}").split()) <= 20


def test_a_budget_may_stand_in_the_system_message() -> None:
    assert said(TIDES, system="You summarise texts in one sentence.").count(".") == 1


def test_abbreviations_do_not_end_a_sentence() -> None:
    assert "e.g. at Dover." in said(f"Summarise in 8 sentences:\n{TIDES}")


def test_a_brief_has_a_title_and_a_line_for_each_section() -> None:
    title, _, *lines = said(BRIEF).splitlines()
    assert title == "# Brief: Tides"
    assert [line.split("**")[1] for line in lines] == ["Causes", "Prediction", "Power"]


@pytest.mark.parametrize(
    ("feedback", "present", "absent"),
    [
        ("Please mention Thomson.", "Thomson", "high water"),
        ('Say something about "cost"', "cost was high", "clean"),
        ("leave out the Sun", "The Moon pulls the sea", "the Sun"),
        ("as a paragraph", "Tidal power is clean.", "- **"),
        ("mention whales", "says nothing about 'whales'", "whales."),
    ],
)
def test_a_brief_follows_feedback(feedback: str, present: str, absent: str) -> None:
    draft = said(BRIEF)
    revised = said(f"{BRIEF}\nPrevious draft:\n{draft}\n\nReviewer feedback: {feedback}\n")
    assert present in revised
    assert absent not in revised.replace("(The text says", "")


def test_shorter_and_longer_change_the_length() -> None:
    lengths = [
        len(said(f"{BRIEF}\nReviewer feedback: {wish}\n").split())
        for wish in ("make it shorter", "fine", "longer, please")
    ]
    assert lengths == sorted(set(lengths))


def test_a_message_after_an_answer_is_feedback() -> None:
    first = [{"role": "user", "content": f"Summarise in 1 sentence:\n{TIDES}"}]
    draft = answer(first)
    follow_up = {"role": "user", "content": "longer, and mention Fundy"}
    revised = answer([*first, {"role": "assistant", "content": draft}, follow_up])
    assert "Fundy" not in draft
    assert "Fundy" in revised


@pytest.mark.parametrize("text", ["", "Summarise this:"])
def test_without_a_text_it_asks_for_one(text: str) -> None:
    assert said(text) == NOTHING
