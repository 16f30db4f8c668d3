"""The review: a person reads the draft and approves, edits or rejects it.

A `Reviewer` takes a question and returns a `Review`, or None to be asked another time. Answers may
also be given beforehand, as `approve`, `reject:FEEDBACK` or `edit:TEXT`: the n-th is for the n-th
draft, whichever process asks, so that a killed command repeats none; past the last, an answer that
ends the review serves again.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from graphflow_integrations.demo.graph import Review

MENU = """\
  a  approve   write it to {out}{replaces}
  e  edit      change the text yourself; your text is then written
  r  reject    say what to do differently, and get another draft
  q  later     stop here; the same command comes back to this question"""
HOW_TO_TYPE = "Type the whole brief. A line with a single dot ends it; no text takes it back."
_SHORT = {"a": "approve", "e": "edit", "r": "reject", "y": "approve", "yes": "approve"}
_LATER = frozenset(("q", "quit", "later", "exit"))

Say = Callable[[str], None]
"""Shows a line to the person."""


def read_answer(text: str) -> Review:
    """Read `approve`, `reject:FEEDBACK` or `edit:TEXT`.

    Raises:
        ValueError: It is none of these, or lacks its text; says what is missing.
    """
    word, _, rest = text.partition(":")
    verdict, rest = _verdict(word), rest.strip()
    if verdict == "approve":
        return Review("approve")
    if verdict == "edit":
        return Review("edit", text=rest)
    if verdict == "reject":
        return Review("reject", feedback=rest)
    raise ValueError(f"{text!r} is no answer: say approve, reject:FEEDBACK or edit:TEXT.")


def _verdict(word: str) -> str:
    word = word.strip().lower()
    return _SHORT.get(word, word)


def answer_of(review: Review) -> dict[str, Any]:
    """Return a review as the plain data that resumes a run."""
    return asdict(review)


def prepared(answers: Sequence[Review], number: int) -> Review | None:
    """Return the answer that was given beforehand for draft `number` (from 1), None if none was."""
    if number <= len(answers):
        return answers[number - 1]
    return answers[-1] if answers and answers[-1].verdict != "reject" else None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Asks a person at the terminal, line by line."""

    lines: Iterator[str]
    """What the person types; ends where the input ends."""
    say: Say
    out: Path
    """Where the brief will go."""
    editor: str | None = None
    """Command that opens a file to be edited; None: the text is typed here."""

    def ask(self, question: Mapping[str, Any]) -> Review | None:
        """Show the ways to answer and take one; None when the person leaves."""
        replaces = " (replaces what is there)" if self.out.exists() else ""
        self.say(question["question"])
        self.say(MENU.format(out=self.out, replaces=replaces))
        for line in self.lines:
            word, _, rest = line.partition(":")
            if _verdict(word) in _LATER:
                return None
            review = self._read(_verdict(word), rest.strip(), question["draft"])
            if review is not None:
                return review
            self.say("a, e, r or q?")
        return None

    def _read(self, verdict: str, rest: str, draft: str) -> Review | None:
        if verdict == "approve":
            return Review("approve")
        if verdict == "reject":
            return self._rejected(rest)
        if verdict == "edit":
            return self._edited(rest or self._new_text(draft), draft)
        return None

    def _rejected(self, feedback: str) -> Review | None:
        if not feedback:
            self.say("What shall the next draft do differently? (for example: shorter)")
            feedback = next(self.lines, "").strip()
        return Review("reject", feedback=feedback) if feedback else None

    def _edited(self, text: str, draft: str) -> Review | None:
        if not text.strip():
            self.say("No text, so nothing was changed.")
            return None
        if text.strip() == draft.strip():
            self.say("The text is as it was. To publish it so, approve it.")
            return None
        return Review("edit", text=text.strip())

    def _new_text(self, draft: str) -> str:
        if self.editor is not None:
            return self._from_editor(self.editor, draft)
        self.say(HOW_TO_TYPE)
        return "\n".join(until_dot(self.lines))

    def _from_editor(self, editor: str, draft: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "brief.md")
            path.write_text(draft.strip() + "\n", encoding="utf-8")
            try:
                subprocess.run([*shlex.split(editor), str(path)], check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                self.say(f"The editor {editor!r} failed: {error}.")
                return draft
            return path.read_text(encoding="utf-8")


def until_dot(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines up to one that is a single dot."""
    for line in lines:
        if line.strip() == ".":
            return
        yield line


def chosen_editor() -> str | None:
    """Return the person's editor, as `VISUAL` or `EDITOR` in the environment names it."""
    return os.environ.get("VISUAL") or os.environ.get("EDITOR") or None
