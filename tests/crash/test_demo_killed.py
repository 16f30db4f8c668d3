"""The demo killed with SIGKILL at ten moments of one run: it goes on, and does nothing twice."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL
from typing import Any

SEED = 14
SECTIONS = 18
COMMAND = [
    *(sys.executable, "-m", "graphflow_integrations.cli", "demo", "notes.md", "--parallel", "2"),
    *("--slow", "0.05", "--answer", "reject:shorter", "--answer", "approve"),
]
NOTES = "\n".join(
    f"## Harbour {number}\n\nThe lighthouse of harbour {number} has stood there for {number * 10} "
    f"years, is seen from {number + 7} miles away, and is lit by hand on clear nights by {number} "
    "grandchildren of the last keeper.\n"
    for number in range(1, SECTIONS + 1)
)

Line = dict[str, Any]
Moment = Callable[[list[Line]], bool]
"""Takes what was written down since the process started; true when it is to be killed."""


def test_killed_at_ten_moments_the_demo_ends_as_if_undisturbed(tmp_path: Path) -> None:
    undisturbed, disturbed = _folder(tmp_path, "undisturbed"), _folder(tmp_path, "disturbed")
    other = subprocess.Popen(COMMAND, cwd=undisturbed, stdout=subprocess.DEVNULL)
    kills, briefs = 0, set[tuple[int, int]]()
    for moment in _moments(random.Random(SEED), disturbed):
        kills += _run_until(moment, disturbed)
        briefs |= _identity(disturbed)
    last = subprocess.run(COMMAND, cwd=disturbed, capture_output=True, timeout=60, check=False)
    assert (last.returncode, other.wait(60)) == (0, 0)
    briefs |= _identity(disturbed)

    assert kills >= 10
    assert _brief(disturbed) == _brief(undisturbed)
    assert len(briefs) == 1, "the brief was put in its place more than once"
    _assert_nothing_twice(_journal(disturbed))
    assert len(_journal(undisturbed)) == 2 * (SECTIONS + 2) + 1


def _moments(dice: random.Random, folder: Path) -> list[Moment]:
    """At the start; six times among the sections; in both drafts; at the review; at the end.

    The last is one more than is counted: the process may have ended before the kill arrives.
    """
    state = folder / "graphflow-demo" / "state.db"
    among = [_after(dice.randint(1, 6)) for _ in range(6)]
    named = [_at("asked", "draft 1"), _at("kept", "draft 1"), _at("asked", "draft 2")]
    end = _at("wrote", "graphflow-demo/brief.md")
    return [lambda journal: state.exists(), *among, *named, end]


def _after(lines: int) -> Moment:
    return lambda journal: len(journal) >= lines


def _at(event: str, what: str) -> Moment:
    return lambda journal: any((line["event"], line["what"]) == (event, what) for line in journal)


def _run_until(moment: Moment, folder: Path) -> bool:
    """Run the command and kill it at the moment; return whether the kill was what ended it."""
    before = len(_journal(folder))
    with (folder / "output.txt").open("a") as output:
        process = subprocess.Popen(COMMAND, cwd=folder, stdout=output, stderr=output)
        while process.poll() is None and not moment(_journal(folder)[before:]):
            time.sleep(0.002)
        process.kill()
        return process.wait() == -SIGKILL


def _assert_nothing_twice(journal: list[Line]) -> None:
    finished = set[str]()
    for line in journal:
        if line["event"] == "asked":
            assert line["what"] not in finished, f"{line['what']} was asked for again (seed {SEED})"
        else:
            finished.add(line["what"])
    assert [line["event"] for line in journal].count("wrote") == 1


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    (folder / "notes.md").write_text(NOTES)
    return folder


def _brief(folder: Path) -> str:
    return (folder / "graphflow-demo" / "brief.md").read_text()


def _identity(folder: Path) -> set[tuple[int, int]]:
    """Which file the brief is, once it is there: writing it again makes another."""
    brief = folder / "graphflow-demo" / "brief.md"
    return {(brief.stat().st_ino, brief.stat().st_mtime_ns)} if brief.exists() else set()


def _journal(folder: Path) -> list[Line]:
    path = folder / "graphflow-demo" / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
