"""Workers: the threads of one run.

A run of small tasks is best served by few threads, a run of slow ones by many, and nobody knows
beforehand. So a few start at once, and more are added only while tasks are queued and nothing
finishes (`grow`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

Job = Callable[[], object]

AT_ONCE = 4
"""Threads that start without hesitation."""
AT_MOST = 64
"""Threads of one run, unless `max_concurrency` says otherwise."""


class Workers:
    """A growing set of daemon threads that take jobs from one queue.

    Args:
        limit: The most threads there may be.
        at_once: How many start without hesitation, one with each job.
    """

    def __init__(self, limit: int | None, at_once: int = AT_ONCE) -> None:
        self.limit = limit or AT_MOST
        self.at_once = min(at_once, self.limit)
        self.count = 0
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()

    def submit(self, job: Job) -> None:
        """Queue a job, which must not raise."""
        self.jobs.put(job)
        if self.count < self.at_once:
            self._add()

    def grow(self) -> None:
        """Double the threads if jobs are waiting."""
        for _ in range(min(self.count, self.limit - self.count, self.jobs.qsize())):
            self._add()

    def withdraw(self) -> int:
        """Take back the jobs that no thread has begun; return how many."""
        taken = 0
        if self.jobs.empty():
            return taken
        with suppress(Empty):
            while True:
                self.jobs.get_nowait()
                taken += 1
        return taken

    def close(self) -> None:
        """Let the threads end when they have done what is queued."""
        for _ in range(self.count):
            self.jobs.put(None)
        self.count = 0

    def _add(self) -> None:
        self.count += 1
        threading.Thread(target=self._work, name="graphflow-node", daemon=True).start()

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            job()
