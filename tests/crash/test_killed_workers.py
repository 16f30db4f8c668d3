"""kill -9 at any moment: what was acknowledged is not run again, and the end is the same.

`GRAPHFLOW_KILLS` sets how many workers are killed, `GRAPHFLOW_SEED` repeats a failure.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

KILLS = int(os.environ.get("GRAPHFLOW_KILLS", "24"))
SEED = int(os.environ.get("GRAPHFLOW_SEED", "0")) or random.randrange(1, 10**9)
WORKER = Path(__file__).with_name("killed_worker.py")


class Workers:
    """Workers on one database file, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "threads.db"
        self.log = folder / "log"
        self.log.touch()
        self.kills = 0

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(WORKER), str(self.database), str(self.log)]
        return subprocess.Popen(command, stderr=subprocess.PIPE)

    def kill_after(self, seconds: float, lines: int) -> None:
        """Start a worker; kill it `seconds` after it has added `lines` lines to the log."""
        wanted, worker = len(self.lines()) + lines, self.start()
        while worker.poll() is None and len(self.lines()) < wanted:
            time.sleep(0.0005)
        time.sleep(seconds)
        worker.send_signal(signal.SIGKILL)
        _, errors = worker.communicate()
        assert worker.returncode in (0, -signal.SIGKILL), errors.decode()
        self.kills += worker.returncode != 0

    def finish(self) -> None:
        worker = self.start()
        _, errors = worker.communicate(timeout=60)
        assert worker.returncode == 0, errors.decode()

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.log.read_text().splitlines()]

    def is_done(self) -> bool:
        return ["done"] in self.lines()


def runs_after_being_kept(lines: list[list[str]]) -> list[str]:
    kept: set[str] = set()
    again: list[str] = []
    for word, *tasks in lines:
        if word == "kept":
            kept.update(tasks)
        elif word == "ran":
            again += kept.intersection(tasks)
    return again


def ending(database: Path) -> Any:
    """Return all that is stored but for the times."""
    connection = sqlite3.connect(database)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    frames = connection.execute("SELECT id, body FROM graphflow_frame ORDER BY id").fetchall()
    rows = connection.execute("SELECT count(*) FROM graphflow_row").fetchall()
    connection.close()
    return frames, rows


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    workers = Workers(tmp_path_factory.mktemp("undisturbed"))
    workers.finish()
    return ending(workers.database)


def test_killed_workers_lose_nothing_and_repeat_nothing(tmp_path: Path, undisturbed: Any) -> None:
    dice, kills, thread = random.Random(SEED), 0, 0
    while kills < KILLS:
        folder = tmp_path / str(thread)
        folder.mkdir()
        workers = Workers(folder)
        while not workers.is_done() and workers.kills < 5:
            workers.kill_after(dice.uniform(0, 0.006), dice.randint(0, 14))
        workers.finish()
        told = f"GRAPHFLOW_SEED={SEED}, thread {thread}"
        assert not runs_after_being_kept(workers.lines()), told
        assert ending(workers.database) == undisturbed, told
        kills, thread = kills + workers.kills, thread + 1
    assert thread > 1


@pytest.mark.parametrize("attempt", range(3))
def test_workers_that_compete_for_a_thread_end_as_one_would(
    tmp_path: Path, undisturbed: Any, attempt: int
) -> None:
    workers = Workers(tmp_path)
    rivals = [workers.start() for _ in range(3)]
    for rival in rivals:
        _, errors = rival.communicate(timeout=60)
        assert rival.returncode == 0 or b"ThreadBusy" in errors, errors.decode()
    workers.finish()
    assert any(rival.returncode == 0 for rival in rivals)
    assert ending(workers.database) == undisturbed
