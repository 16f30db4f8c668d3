"""The demo's review: what a person types, and what the run is told."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from graphflow_integrations.demo.graph import Review
from graphflow_integrations.demo.review import Dialogue, prepared, read_answer

QUESTION = {"question": "Publish?", "draft": "The draft.", "number": 1}


class Person:
    """Types lines and keeps what was shown."""

    def __init__(
        self, *lines: str, editor: str | None = None, out: Path = Path("brief.md")
    ) -> None:
        self.lines = iter(lines)
        self.editor = editor
        self.out = out
        self.shown: list[str] = []

    def answer(self) -> Review | None:
        return Dialogue(self.lines, self.shown.append, self.out, self.editor).ask(QUESTION)


@pytest.mark.parametrize("typed", ["a", "approve", " Approve ", "y"])
def test_approval_takes_a_word_or_a_letter(typed: str) -> None:
    assert Person(typed).answer() == Review("approve")


def test_rejection_asks_for_feedback() -> None:
    person = Person("r", "shorter")
    assert person.answer() == Review("reject", feedback="shorter")
    assert "What shall the next draft do differently?" in person.shown[-1]


def test_rejection_takes_its_feedback_on_the_same_line() -> None:
    assert Person("reject: shorter: half of it").answer() == Review(
        "reject", feedback="shorter: half of it"
    )


def test_rejection_without_feedback_asks_again() -> None:
    assert Person("r", "", "a").answer() == Review("approve")


def test_edit_reads_lines_up_to_a_dot() -> None:
    assert Person("e", "# Mine", "", "Text.", ".").answer() == Review(
        "edit", text="# Mine\n\nText."
    )


def test_edit_without_text_changes_nothing() -> None:
    assert Person("e", ".", "a").answer() == Review("approve")


def test_edit_opens_the_editor_with_the_draft(tmp_path: Path) -> None:
    script = "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text() + 'X')"
    editor = shlex.join([sys.executable, "-c", script])
    assert Person("e", editor=editor).answer() == Review("edit", text="The draft.\nX")


def test_an_editor_that_changes_nothing_leaves_the_question_open() -> None:
    person = Person("e", "q", editor="true")
    assert person.answer() is None
    assert "as it was" in " ".join(person.shown)


def test_an_editor_that_fails_leaves_the_question_open() -> None:
    person = Person("e", "q", editor="false")
    assert person.answer() is None
    assert "The editor 'false' failed" in " ".join(person.shown)


@pytest.mark.parametrize("lines", [(), ("q",), ("later",), ("e",)])
def test_leaving_answers_nothing(lines: tuple[str, ...]) -> None:
    assert Person(*lines).answer() is None


def test_what_is_not_understood_is_asked_again() -> None:
    person = Person("maybe", "a")
    assert person.answer() == Review("approve")
    assert person.shown[-1] == "a, e, r or q?"


def test_the_menu_warns_of_a_file_that_is_there(tmp_path: Path) -> None:
    out = tmp_path / "brief.md"
    out.touch()
    person = Person("a", out=out)
    person.answer()
    assert f"{out} (replaces what is there)" in person.shown[1]


def test_answers_given_beforehand_are_read() -> None:
    given = [read_answer(text) for text in ("approve", "reject:too long", "edit:My: text")]
    assert given == [
        Review("approve"),
        Review("reject", feedback="too long"),
        Review("edit", text="My: text"),
    ]


@pytest.mark.parametrize("text", ["perhaps", "reject", "edit:", "reject: "])
def test_an_answer_that_lacks_something_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no answer|needs"):
        read_answer(text)


def test_answers_given_beforehand_belong_to_drafts_by_number() -> None:
    given = [Review("reject", feedback="shorter"), Review("approve")]
    assert [prepared(given, number) for number in (1, 2, 3)] == [*given, Review("approve")]


def test_a_rejection_given_beforehand_serves_once() -> None:
    assert prepared([Review("reject", feedback="shorter")], 2) is None
