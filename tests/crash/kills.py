"""Workers that are killed or stopped at any moment, on any store: what must be true afterwards.

`GRAPHFLOW_KILLS` sets how often that happens, `GRAPHFLOW_SEED` repeats a failure.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from graphflow import Checkpointer
from graphflow.checkpoint.check import check_thread
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.transfer import read_whole

KILLS = int(os.environ.get("GRAPHFLOW_KILLS", "20"))
SEED = int(os.environ.get("GRAPHFLOW_SEED", "0")) or random.randrange(1, 10**9)
WORKER = Path(__file__).with_name("worker.py")
KILLS_OF_ONE_THREAD = 5
LEASE = 0.3
"""Seconds, where workers are stopped instead of killed."""


class Workers:
    """Workers on one thread of one store, one after the other."""

    def __init__(self, url: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.url = url
        self.log = folder / "log"
        self.log.touch()
        self.kills = 0

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(WORKER), self.url, str(self.log), *more]
        return subprocess.Popen(command, stderr=subprocess.PIPE)

    def after(self, worker: subprocess.Popen[bytes], seconds: float, lines: int) -> None:
        """Wait until `seconds` after a worker has added `lines` lines to the log, or ended."""
        wanted = len(self.lines()) + lines
        while worker.poll() is None and len(self.lines()) < wanted:
            time.sleep(0.0005)
        time.sleep(seconds)

    def kill_after(self, seconds: float, lines: int) -> None:
        """Start a worker, and kill it then."""
        worker = self.start()
        self.after(worker, seconds, lines)
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

    def ending(self) -> Any:
        """Return all that is stored but for the times; the thread is removed."""
        store = Checkpointer.from_url(self.url)
        try:
            assert store.run(check_thread(store, Codec(), "t")) == []
            branches = store.run(read_whole(store, "t")).branches
            found = [
                ([(frame.seq, frame.body) for frame in branch.frames], len(branch.rows))
                for branch in branches
            ]
            store.delete_thread("t")
            return found
        finally:
            store.close()


def undisturbed(url: str, folder: Path) -> Any:
    """Return how a thread ends that nobody disturbs."""
    workers = Workers(url, folder / "undisturbed")
    workers.finish()
    assert not run_after_being_kept(workers.lines())
    return workers.ending()


def run_after_being_kept(lines: list[list[str]]) -> list[str]:
    """Return the tasks that ran although the store had acknowledged their results."""
    kept: set[str] = set()
    again: list[str] = []
    for word, *tasks in lines:
        if word == "kept":
            kept.update(tasks)
        elif word == "ran":
            again += kept.intersection(tasks)
    return again


def killed(url: str, folder: Path, kills: int = KILLS) -> int:
    """Kill workers until so many were; check each thread, and return how many there were."""
    expected, dice, done, thread = undisturbed(url, folder), random.Random(SEED), 0, 0
    while done < kills:
        workers = Workers(url, folder / f"killed-{thread}")
        while not workers.is_done() and workers.kills < KILLS_OF_ONE_THREAD:
            workers.kill_after(dice.uniform(0, 0.006), dice.randint(0, 14))
        workers.finish()
        _check(workers, expected, thread)
        done, thread = done + workers.kills, thread + 1
    return thread


def stopped(url: str, folder: Path, times: int) -> int:
    """Stop workers past their lease, let others go on, and wake them; return how many were fenced.

    A worker that is woken says nothing more to the store, unless nobody had taken over.
    """
    expected, dice, fenced = undisturbed(url, folder), random.Random(SEED), 0
    for thread in range(times):
        workers = Workers(url, folder / f"stopped-{thread}")
        zombie = workers.start(str(LEASE))
        # Two lines: it has the branch, and will not find the thread ended when it is woken.
        workers.after(zombie, dice.uniform(0, 0.006), dice.randint(2, 10))
        zombie.send_signal(signal.SIGSTOP)
        successor = workers.start(str(LEASE))
        with suppress(subprocess.TimeoutExpired):  # then it waits for what the zombie has locked
            successor.wait(timeout=20)
        zombie.send_signal(signal.SIGCONT)
        _, errors = successor.communicate(timeout=60)
        _, last_words = zombie.communicate(timeout=60)
        if successor.returncode != 0:  # the zombie was stopped in the middle of a transaction
            assert b"locked" in errors, errors.decode()
            workers.finish()
        elif zombie.returncode != 0:
            # The server may have ended its transaction, which it was stopped in the middle of.
            reasons = (b"Fenced", b"HeadMoved", b"StoreUnavailableError")
            assert any(reason in last_words for reason in reasons), last_words.decode()
            fenced += b"Fenced" in last_words
        assert workers.ending() == expected, f"GRAPHFLOW_SEED={SEED}, thread {thread}"
    return fenced


def server_killed(
    url: str, folder: Path, kill: Callable[[], object], start: Callable[[], object], times: int
) -> None:
    """Kill the server under workers, start it again, and check that nothing kept was lost."""
    expected, dice, done, thread = undisturbed(url, folder), random.Random(SEED), 0, 0
    while done < times:
        workers = Workers(url, folder / f"server-{thread}")
        for _ in range(KILLS_OF_ONE_THREAD):
            worker = workers.start()
            workers.after(worker, dice.uniform(0, 0.006), dice.randint(1, 10))
            kill()
            start()
            worker.communicate(timeout=60)  # it went on, or was told what is the matter
            done += 1
        workers.finish()
        _check(workers, expected, thread)
        thread += 1


def _check(workers: Workers, expected: Any, thread: int) -> None:
    told = f"GRAPHFLOW_SEED={SEED}, thread {thread}"
    assert not run_after_being_kept(workers.lines()), told
    assert workers.ending() == expected, told
