"""One operation's way to the server: what it yields, and what it has not yet written.

An operation yields calls of a `Session`. Reads go to the server at once. What is written between
`begin` and `end` is gathered and sent as one script, so that a commit is one round trip and there
is nothing to take back: an operation that fails or dies before has written nothing. (Two things go
ahead: the ordinal of a new branch, see `RESERVE`, and what `redis_tags` says.) Reads do not see
what is gathered.

A transaction that reads sees one moment: frames never change, and what could go while it reads, the
rows, is fetched with the branches in one step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from graphflow.checkpoint.protocol import Lease
from graphflow.errors import AlreadyAnswered, CheckpointConflict, Fenced, HeadMoved
from graphflow_checkpointers.redis_entries import Fields
from graphflow_checkpointers.redis_scripts import COMMIT
from graphflow_checkpointers.redis_server import RedisServer, Script, Word

Wish: TypeAlias = Callable[["Session"], Any]
"""What an operation yields."""


_WRITING: Final = (
    "rdb_bgsave_in_progress",
    "aof_rewrite_in_progress",
    "aof_rewrite_scheduled",
)
"""What a server says while it writes its files anew."""


class Step(NamedTuple):
    """Something to write, in the words of `COMMIT`."""

    kind: str
    keys: tuple[bytes, ...]
    values: Sequence[Word]
    subject: str = ""
    """What a refusal is about: "Thread 't' has a branch 'main'"."""
    lease: Lease | None = None
    """What must be held."""


def asked(*command: Word) -> Wish:
    """Return the wish for an answer to a command that reads."""
    return lambda session: session.ask(*command)


def asked_each(commands: Iterable[tuple[Word, ...]]) -> Wish:
    """Return the wish for the answers to commands that read, and do not depend on each other."""
    return lambda session: session.ask_each(commands)


def evaluated(called: Script, keys: Sequence[bytes], *values: Word) -> Wish:
    """Return the wish for what a script answers."""
    return lambda session: session.evaluate(called, keys, values)


def written(step: Step) -> Wish:
    """Return the wish to take a step."""
    return lambda session: session.write(step)


class Session:
    """Carries out what one operation yields."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._gathered: list[Step] | None = None
        self.view: dict[int, Fields] | None = None
        """In a transaction that reads: rows by branch, as of the moment when these were read."""

    def begin(self, write: bool) -> None:
        """Open a transaction."""
        self._gathered = [] if write else None
        self.view = None if write else {}

    def end(self) -> None:
        """Write what was gathered."""
        gathered, self._gathered, self.view = self._gathered, None, None
        if gathered:
            self._commit(gathered)

    def ask(self, *command: Word) -> Any:
        """Return what the server answers to a command that reads."""
        return self._server.ask(*command)

    def ask_each(self, commands: Iterable[tuple[Word, ...]]) -> list[Any]:
        """Return what the server answers to commands that read."""
        return self._server.ask_each(commands)

    def evaluate(self, called: Script, keys: Sequence[bytes], values: Sequence[Word] = ()) -> Any:
        """Return what a script answers."""
        return self._server.evaluate(called, keys, values)

    def ask_of_each(self, pattern: bytes, command: str, *rest: Word) -> list[Any]:
        """Return what the server answers to a command about each key that matches a pattern."""
        answers: dict[bytes, Any] = {}
        for page in self._server.keys(pattern):
            told = self._server.ask_each((command, key, *rest) for key in page)
            answers |= dict(zip(page, told, strict=True))  # a scan may come by a key twice
        return list(answers.values())

    def rewrite_files(self) -> None:
        """Have every server write its append-only file, or its dump, anew, and wait for it."""
        for node in self._server.nodes():
            self._wait_for_files(node)
            has_log = self._server.ask("INFO", "persistence", of=node)["aof_enabled"]
            self._server.ask("BGREWRITEAOF" if has_log else "BGSAVE", of=node)
            self._wait_for_files(node)

    def _wait_for_files(self, node: Any) -> None:
        while True:
            told = self._server.ask("INFO", "persistence", of=node)
            if not any(told[word] for word in _WRITING):
                return
            time.sleep(0.01)

    def write(self, step: Step) -> None:
        """Take a step, or gather it.

        Raises:
            CheckpointConflict: Somebody else was first; nothing was written.
        """
        if self._gathered is None:
            self._commit([step])
        else:
            self._gathered.append(step)

    def _commit(self, steps: Sequence[Step]) -> None:
        keys = [key for step in steps for key in step.keys]
        values = [word for step in steps for word in (step.kind, *step.values)]
        code, *details = self._server.evaluate(COMMIT, keys, values)
        if code != b"done":
            raise _refused(steps[details[0] - 1], code.decode(), *details[1:])


def _refused(step: Step, code: str, found: bytes, wanted: bytes) -> CheckpointConflict:
    """Return what a refusal means."""
    if code == "answered":
        number = int(found.rpartition(b".")[2]) + 1
        return AlreadyAnswered(
            f"Question {number} of this task was answered by somebody else; this answer was not "
            "used."
        )
    if code == "fenced" and step.lease is not None:
        return Fenced(step.lease.thread, step.lease.branch)
    if code == "taken":
        return name_taken(step.subject)
    if code == "gone":
        return HeadMoved("The thread was deleted while a run was going on; nothing was stored.")
    return HeadMoved(
        f"The branch is at {found.decode()}, not at {wanted.decode()}: another run or edit "
        "committed first. Nothing was stored; load the thread again."
    )


def name_taken(subject: str) -> HeadMoved:
    """Return the refusal of a branch; the subject is "Thread 't' has a branch 'main'"."""
    return HeadMoved(
        f"{subject} already: another run made it first. Nothing was stored; load the thread again."
    )
