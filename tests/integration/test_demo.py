"""The demo command, through the real model path: documents in, a reviewed brief out."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from subprocess import PIPE

import pytest

from graphflow_integrations.cli import main

NOTES = """\
# The sea

Twice a day the sea rises and falls. The moon pulls hardest on the side of the earth that faces it,
and the water there heaps up. A second bulge forms on the far side, where the pull is weakest.

## The coast

How high a tide gets depends on the coast more than on the sky. A bay that narrows squeezes the
water upwards. The Mediterranean, which is nearly closed, hardly has any tides at all.

## The harbour

Ships wait for the flood before they enter. The pilot knows the sandbanks and takes them in one by
one, and those that come too late lie outside until the next tide lifts them over the bar.
"""


class Desk:
    """A folder with a document in it, and a person at the terminal."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.patch = patch
        self.capture = capture
        Path("notes.md").write_text(NOTES)

    def demo(
        self, *arguments: str, typed: str = "", stdin: io.StringIO | None = None
    ) -> tuple[int, str]:
        """Run the command; return its exit status and what it showed."""
        self.patch.setattr("sys.stdin", stdin or io.StringIO(typed))
        self.capture.readouterr()
        try:
            status = main(["demo", *arguments])
        except SystemExit as exit:
            status = int(exit.code or 0)
        shown = self.capture.readouterr()
        return status, shown.out + shown.err

    def happened(self) -> Counter[str]:
        """Count the journal's events."""
        lines = Path("graphflow-demo/log.jsonl").read_text().splitlines()
        return Counter(json.loads(line)["event"] for line in lines)

    def brief(self) -> str:
        return Path("graphflow-demo/brief.md").read_text()


@pytest.fixture
def desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Desk:
    monkeypatch.chdir(tmp_path)
    return Desk(monkeypatch, capsys)


def test_approval_writes_the_brief_and_the_picture(desk: Desk) -> None:
    status, shown = desk.demo("notes.md", typed="approve\n")
    assert status == 0
    assert desk.brief().startswith("# Brief: notes\n\n- **The sea**: ")
    assert "The brief is in graphflow-demo/brief.md" in shown
    assert Path("graphflow-demo/brief.svg").read_text().startswith("<svg")


def test_every_section_is_summarised_once(desk: Desk) -> None:
    desk.demo("notes.md", "--answer", "approve")
    assert desk.happened() == {"asked": 3 + 1, "kept": 3 + 1, "wrote": 1}


def test_rejection_leads_to_a_draft_that_follows_the_feedback(desk: Desk) -> None:
    desk.demo("notes.md", typed="reject\nshorter\napprove\n")
    assert (desk.brief().count("- **"), desk.happened()["asked"]) == (2, 3 + 2)


def test_edit_publishes_the_persons_text(desk: Desk) -> None:
    desk.demo("notes.md", typed="edit\n# Mine\n.\n")
    assert desk.brief() == "# Mine\n"


def test_an_open_question_waits_for_the_next_command(desk: Desk) -> None:
    first = desk.demo("notes.md")
    before = desk.happened()
    second = desk.demo("notes.md", "--answer", "approve")
    assert (first[0], second[0]) == (3, 0)
    assert "the same command goes on from here" in first[1]
    assert "a draft waits for your review" in second[1]
    assert desk.happened() == before + Counter(wrote=1)


def test_a_finished_brief_is_not_made_again(desk: Desk) -> None:
    desk.demo("notes.md", "--answer", "approve")
    before = desk.happened()
    status, shown = desk.demo("notes.md")
    assert status == 0
    assert "This brief is finished: graphflow-demo/brief.md" in shown
    assert desk.happened() == before


def test_a_finished_brief_that_was_deleted_comes_back_from_the_state(desk: Desk) -> None:
    desk.demo("notes.md", "--answer", "approve")
    brief = desk.brief()
    Path("graphflow-demo/brief.md").unlink()
    desk.demo("notes.md")
    assert desk.brief() == brief


def test_fresh_starts_again_and_the_next_command_goes_on_with_it(desk: Desk) -> None:
    desk.demo("notes.md", "--answer", "approve")
    assert desk.demo("notes.md", "--fresh")[0] == 3
    status, shown = desk.demo("notes.md", "--answer", "edit:Second.")
    assert (status, desk.brief()) == (0, "Second.\n")
    assert "-2.\n" in shown


def test_a_changed_document_is_a_new_brief(desk: Desk) -> None:
    desk.demo("notes.md", "--answer", "approve")
    Path("notes.md").write_text(NOTES.replace("bulge", "hump"))
    assert "This brief is finished" not in desk.demo("notes.md", "--answer", "approve")[1]


def test_a_model_that_fails_is_named_with_what_to_do(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    status, shown = desk.demo("notes.md", "--model", "anthropic/claude-x")
    assert status == 1
    assert "anthropic/claude-x" in shown
    assert "Check the API key" in shown
    assert "the same command goes on from here" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.md"], "Cannot read missing.md: No such file"),
        (["."], "is a folder"),
        (["notes.md", "--out", "./notes.md"], "would overwrite what is to be read"),
        (["notes.md", "--model", "gpt-4o"], "names no provider"),
        (["notes.md", "--answer", "reject"], "needs feedback"),
        (["empty.md"], "no prose to summarise in empty.md"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_made(
    desk: Desk, arguments: list[str], said: str
) -> None:
    Path("empty.md").touch()
    status, shown = desk.demo(*arguments)
    assert status == 2
    assert said in " ".join(shown.split())
    assert not Path("graphflow-demo").exists()


def test_a_file_that_is_no_database_is_refused_and_left_alone(desk: Desk) -> None:
    Path("state.db").write_text("my diary " * 100)
    status, shown = desk.demo("notes.md", "--state", "state.db")
    assert status == 1
    assert "state.db is no SQLite database" in shown
    assert Path("state.db").read_text() == "my diary " * 100


class Impatient(io.StringIO):
    """A person who presses Ctrl-C at the question."""

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]  # as io.TextIOBase
        raise KeyboardInterrupt


def test_ctrl_c_says_that_nothing_is_lost(desk: Desk) -> None:
    status, shown = desk.demo("notes.md", stdin=Impatient())
    assert status == 130
    assert "Nothing is lost: the same command goes on from here." in shown


def test_a_reader_that_goes_away_ends_the_command_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text(NOTES)
    command = [sys.executable, "-m", "graphflow_integrations.cli", "demo", "notes.md"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
