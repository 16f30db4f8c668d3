"""Two processes that answer one question at the same moment, again and again, on any store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from graphflow import Checkpointer

from .racing_worker import made

RACES = int(os.environ.get("GRAPHFLOW_RACES", "200"))
WORKER = Path(__file__).with_name("racing_worker.py")
HEAD_START = 0.002
"""Seconds from the word to the stroke."""


def raced(url: str, folder: Path, races: int = RACES) -> Counter[str]:
    """Race two workers and check that one wins each time; return what losers were told.

    Raises:
        AssertionError: Both won, nobody won, a node ran for the loser, or the thread forked.
    """
    log = folder / "log"
    store = Checkpointer.from_url(url)
    app = made(store, os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), url, str(log), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in ("one", "other")
    ]  # fmt: skip
    told: Counter[str] = Counter()
    try:
        for worker in workers:
            assert _line(worker) == ["ready"]
        for number in range(races):
            told[_race(app, store, f"race-{number}", workers)] += 1
    finally:
        for worker in workers:
            worker.stdin.close()  # type: ignore[union-attr]
            worker.wait(30)
            worker.stdout.close()  # type: ignore[union-attr]
    paid = [line.split("/")[0] for line in log.read_text().splitlines()]
    assert Counter(paid) == Counter(f"race-{number}" for number in range(races))
    store.close()
    return told


def _race(
    app: object, store: Checkpointer, thread: str, workers: list[subprocess.Popen[str]]
) -> str:
    config = {"configurable": {"thread_id": thread}}
    app.invoke({}, config, durability="sync")  # type: ignore[attr-defined]
    moment = time.time() + HEAD_START
    for worker in workers:
        worker.stdin.write(f"{thread} {moment}\n")  # type: ignore[union-attr]
        worker.stdin.flush()  # type: ignore[union-attr]
    outcomes = {
        name: _line(worker)[1] for name, worker in zip(("one", "other"), workers, strict=True)
    }
    (winner,) = (name for name, outcome in outcomes.items() if outcome == "won")
    (loser,) = (outcome for outcome in outcomes.values() if outcome != "won")
    assert loser in ("ThreadBusy", "AlreadyAnswered"), outcomes
    state = app.get_state(config).values  # type: ignore[attr-defined]
    assert state == {"answer": f"{thread}/{winner}", "paid": f"{thread}/{winner}"}
    assert len(store.run(store.branches(thread))) == 1
    return loser


def _line(worker: subprocess.Popen[str]) -> list[str]:
    return worker.stdout.readline().split()  # type: ignore[union-attr]
