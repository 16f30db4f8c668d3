"""Identities: of threads, checkpoints, tasks and questions.

A checkpoint is `thread / branch @ seq`. `seq` is given by compare-and-set when the frame is
committed and counts on over all branches of a thread, so that checkpoint ids sort by creation
(as strings, too) without any clock. Everything else is derived by hashing, hence stable: the same
task of the same checkpoint has the same id in every process and every replay.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final, NewType

ThreadId = NewType("ThreadId", str)
"""What the user calls a thread, as text."""
BranchId = NewType("BranchId", int)
"""The store's own number of a branch."""
CheckpointId = NewType("CheckpointId", str)
"""`{seq:010d}-{ordinal}`: the frame's number, then the number of its branch in the thread."""

FRAMES: Final = 1 << 28
"""So many can a thread have: their numbers are below this in every store."""
_CHECKPOINT_ID: Final = re.compile(r"[0-9]{1,10}-[0-9]{1,9}")


def checkpoint_id(seq: int, ordinal: int) -> CheckpointId:
    """Return the text form of a checkpoint's place in its thread."""
    return CheckpointId(f"{seq:010d}-{ordinal}")


def parse_checkpoint_id(text: str) -> tuple[int, int] | None:
    """Return `(seq, ordinal)`, or None when `text` was never a checkpoint id."""
    if _CHECKPOINT_ID.fullmatch(text) is None:
        return None
    seq, ordinal = map(int, text.split("-"))
    return (seq, ordinal) if seq < FRAMES else None


def digest(*parts: str) -> str:
    """Return 32 hex digits that depend on every part and on where one ends."""
    return blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def task_id(identity: str, seq: int, step: int, name: str, is_send: bool, place: int) -> str:
    """Return the id of a task: the same in every process that looks at the same checkpoint."""
    return digest(identity, str(seq), str(step), name, f"send:{place}" if is_send else "node")


def run_identity(thread: str, scope: str, ordinal: int) -> str:
    """Return what makes the task ids of one branch its own."""
    return "\x1f".join((thread, scope, str(ordinal)))
