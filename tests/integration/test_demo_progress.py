"""The demo's progress: counts that survive the process, and what the terminal shows of them."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from graphflow import MessageChunk, Usage
from graphflow_integrations.demo.documents import Section
from graphflow_integrations.demo.graph import Review
from graphflow_integrations.demo.progress import NODES, Progress

SECTIONS = [Section(place, "a.md", f"Part {place}", "text") for place in range(3)]
REJECTED = {"reviews": [Review("reject", feedback="shorter")]}
DRAFTED = {"draft": "One two three.", "drafts": 1, "usage": Usage(input=5, output=3, calls=1)}


def progress(*updates: dict[str, Any], **values: Any) -> Progress:
    made = Progress.of({"sections": SECTIONS, "summaries": SECTIONS, **values})
    for update in updates:
        made.take("updates", update)
    return made


def marks(made: Progress) -> list[str]:
    return [made.mark(node) for node in NODES]


def test_a_saved_state_counts_as_done() -> None:
    made = Progress.of({"sections": SECTIONS, "summaries": SECTIONS[:1]})
    assert made.detail("summarise") == "1 of 3"
    assert marks(made) == ["done", "ahead", "ahead", "ahead", "ahead"]


def test_what_an_earlier_process_finished_is_not_counted_again() -> None:
    made = Progress.of({"sections": SECTIONS, "summaries": SECTIONS[:1]})
    told = {"summarise": {"summaries": SECTIONS[:1]}, "__metadata__": {"cached": True}}
    assert made.take("updates", told) == []
    assert made.summaries == 1


def test_a_task_is_named_while_it_runs() -> None:
    made = Progress.of({"sections": SECTIONS})
    made.take("custom", {"node": "summarise", "about": "a.md > Part 0"})
    assert made.mark("summarise") == "running"
    assert made.take("updates", {"summarise": {"summaries": SECTIONS[:1]}}) == [
        ("summarise", "1 of 3: a.md > Part 0")
    ]
    assert made.running == {"summarise": []}


def test_words_of_a_draft_are_counted_as_they_arrive() -> None:
    made = progress()
    made.take("custom", {"node": "draft", "about": "draft 1"})
    for piece in ("One ", "two "):
        made.take("messages", (MessageChunk(content=piece), {"langgraph_node": "draft"}))
    assert made.detail("draft") == "draft 1: 2 words"


def test_a_question_is_marked_at_its_node() -> None:
    made = progress({"draft": DRAFTED}, {"__interrupt__": ()})
    assert marks(made) == ["done", "done", "done", "asks", "ahead"]


def test_a_rejected_draft_is_not_done() -> None:
    made = progress({"draft": DRAFTED}, {"review": REJECTED})
    assert marks(made) == ["done", "done", "ahead", "done", "ahead"]


def test_the_draft_after_a_rejection_waits_for_a_review_of_its_own() -> None:
    made = progress(**{**DRAFTED, **REJECTED, "drafts": 2})
    assert marks(made) == ["done", "done", "done", "ahead", "ahead"]


@pytest.mark.parametrize(
    ("usage", "shown"),
    [
        (Usage(), "no model call has ended yet"),
        (Usage(input=1200, output=30, cost=0.0, calls=1), "1,200 tokens in, 30 out, free"),
        (Usage(input=1, output=1, cost=0.0123, calls=1), "1 tokens in, 1 out, $0.0123"),
        (Usage(input=1, output=1, calls=1), "1 tokens in, 1 out, price unknown"),
    ],
)
def test_cost_is_shown_as_far_as_it_is_known(usage: Usage, shown: str) -> None:
    assert Progress(usage=usage).cost() == shown


def test_at_a_terminal_a_person_sees_the_table_and_answers_at_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("The tide comes in twice a day. The moon pulls the sea.")
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "graphflow_integrations.cli", "demo", "notes.md"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "90"},
    )  # fmt: skip
    os.close(theirs)
    question = _seen(ours, until="\n> ")
    os.write(ours, b"approve\n")
    end = _seen(ours, until="drawn in")
    os.close(ours)
    assert process.wait(20) == 0
    assert "waits for you" in question
    assert "draft 1" in question
    assert "graphflow-demo/brief.md" in end


def _seen(terminal: int, until: str, seconds: float = 60) -> str:
    """Read the terminal until a text has been shown."""
    shown, deadline = "", time.monotonic() + seconds
    while until not in shown.replace("\r", ""):
        ready, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
        assert ready, f"{until!r} was not shown in {seconds} s, but this was:\n{shown}"
        shown += os.read(terminal, 4096).decode(errors="replace")
    return shown
