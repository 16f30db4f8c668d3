"""A thread's ids under another name.

The ids of tasks and questions are hashes that begin with the thread's name, so that those of two
threads are never the same. By them a graph finds the lines of the graphs inside it, and a question
its answer: a thread that gets another name must get its ids, too, or it would begin them anew.

All ids have one length, so the old are exchanged for the new wherever they stand in the bytes; all
else stays as it is. Not found are ids of graphs that keep nothing, and of questions and graphs
deep inside calls of tasks: what they asked is asked again.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

from graphflow.checkpoint.archive import StoredBranch, StoredThread
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.frames import open_frames
from graphflow.checkpoint.raw import raw_codec
from graphflow.checkpoint.records import RowKind
from graphflow.ids import digest, run_identity, task_id

_ID = re.compile(rb"[0-9a-f]{32}")
_ID_IN_TEXT = re.compile("[0-9a-f]{32}")
_CALLS = 64
"""Calls that a task makes are looked for up to this number."""
_QUESTIONS = 4
"""Questions that a task asks are looked for up to so many behind the last that was found."""


class _Task(NamedTuple):
    """A task under both names."""

    name: str
    old: str
    new: str


def renamed(whole: StoredThread, name: str) -> StoredThread:
    """Return a thread under another name.

    Raises:
        CorruptCheckpointError: A frame cannot be read.
        CodecError: As above.
    """
    if name == whole.name:
        return whole
    renaming = _Renaming(whole.name, name)
    for branch in whole.branches:  # graphs come before those inside them
        renaming.learn_tasks(branch)
    for branch in whole.branches:
        renaming.learn_questions(branch)
    branches = sorted(map(renaming.applied, whole.branches), key=lambda branch: branch[:2])
    return StoredThread(name, branches)


class _Renaming:
    """Which id becomes which."""

    def __init__(self, old: str, new: str) -> None:
        self._names = old, new
        self._codec: Codec = raw_codec()
        self._tasks: dict[str, list[_Task]] = {}
        """By scope."""
        self._new: dict[str, str] = {}

    def learn_tasks(self, branch: StoredBranch) -> None:
        """Find the ids of a branch's tasks."""
        self._learn_call(branch.scope)
        tasks = self._tasks.setdefault(branch.scope, [])
        scopes = branch.scope, self._text(branch.scope)
        old, new = map(run_identity, self._names, scopes, [branch.ordinal] * 2)
        for frame in branch.frames:
            body = open_frames(self._codec, [frame])[0]
            for place, packed in enumerate(body[4] or ()):
                name, is_send = (packed, False) if isinstance(packed, str) else packed[:2]
                key = frame.seq, body[2] + 1, name, is_send, place
                tasks.append(_Task(name, task_id(old, *key), task_id(new, *key)))
        self._new |= {task.old: task.new for task in tasks}

    def _learn_call(self, scope: str) -> None:
        """Find the id at the end of a scope, if that is of a call that a task has made."""
        around, _, own = scope.rpartition("|")
        name, _, identity = own.partition(":")
        if _ID_IN_TEXT.fullmatch(identity) and identity not in self._new:
            calls = (call for task in self._tasks.get(around, ()) for call in _calls(task, name))
            self._new |= {call.old: call.new for call in calls if call.old == identity}

    def learn_questions(self, branch: StoredBranch) -> None:
        """Find the ids of what a branch's tasks asked, be it in graphs inside it."""
        wanted: dict[tuple[str, tuple[str, ...]], set[str]] = {}
        for _, identity, _, node, ns, _ in self._asked(branch):
            if identity not in self._new:
                wanted.setdefault((node, tuple(ns)), set()).add(identity)
        for (node, ns), identities in wanted.items():
            for scope, task in self._askers(node, ns):
                self._learn_questions_of(scope, task, identities)

    def _asked(self, branch: StoredBranch) -> Iterator[list[Any]]:
        for row in branch.rows:
            if row.kind == RowKind.QUESTION:
                yield self._codec.decode(row.body)
        for frame in branch.frames:
            body = open_frames(self._codec, [frame])[0]
            for asked in (*(body[5] or ())[2::3], *(body[10] or ())[2::4]):
                yield from asked or ()

    def _askers(self, node: str, ns: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], _Task]]:
        """Yield who can have asked a question, with the graphs around: tasks and their calls."""
        for task in self._tasks.get("|".join(ns), ()):
            if task.name == node:
                yield ns, task
        for task in self._tasks.get("|".join(ns[:-1]), ()) if ns else ():
            if ns[-1] == f"{task.name}:{task.old}":
                for call in _calls(task, node):
                    yield ns[:-1], call

    def _learn_questions_of(
        self, scope: tuple[str, ...], task: _Task, wanted: Container[str]
    ) -> None:
        before = "|".join((*scope, f"{task.name}:{task.old}"))
        after = "|".join((*map(self._text, scope), f"{task.name}:{task.new}"))
        number, last = 0, _QUESTIONS
        while number < last:
            identity = digest(before, str(number))
            if identity in wanted:
                self._new |= {identity: digest(after, str(number)), task.old: task.new}
                last = number + 1 + _QUESTIONS
            number += 1

    # -- exchanging ----------------------------------------------------------------------------

    def applied(self, branch: StoredBranch) -> StoredBranch:
        """Return a branch with the new ids."""
        return branch._replace(
            scope=self._text(branch.scope),
            frames=[frame._replace(body=self._bytes(frame.body)) for frame in branch.frames],
            rows=[row._replace(body=self._bytes(row.body)) for row in branch.rows],
            snapshots=[(seq, self._bytes(body)) for seq, body in branch.snapshots],
        )

    def _text(self, text: str) -> str:
        return _ID_IN_TEXT.sub(lambda found: self._new.get(found[0], found[0]), text)

    def _bytes(self, body: bytes) -> bytes:
        def exchanged(found: re.Match[bytes]) -> bytes:
            new = self._new.get(found[0].decode())
            return found[0] if new is None else new.encode()

        return _ID.sub(exchanged, body)


def _calls(task: _Task, name: str) -> Iterator[_Task]:
    """Yield the calls that a task can have made, as tasks."""
    for number in map(str, range(_CALLS)):
        yield _Task(name, digest(task.old, name, number), digest(task.new, name, number))
