"""Threads as a file, to be kept or carried to another store. This is the format of such files.

A file is any number of threads, one after the other. A thread is lines of JSON in ASCII, each a
list whose first item says what it is; what a store keeps as bytes is base64:

    ["graphflow-thread", FORMAT, thread]
    ["branch", scope, ordinal, name, parent's ordinal or null, parent_seq]
    ["frame", seq, created, body]            of the branch before it, oldest first
    ["row", place, kind, number, body]       in the order they came
    ["snapshot", seq, body]                  the newest, if there is one
    ["end", lines before this one, BLAKE2b of them in hex, 16 bytes]

Branches come by scope, those inside a scope after it, and by ordinal. The bodies are what
`checkpoint.frames` and `checkpoint.codec` say; nothing in here reads them.
"""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from graphflow.checkpoint.protocol import StoredFrame, StoredRow
from graphflow.errors import CorruptCheckpointError, StoreTooNewError

FORMAT = 1
_MAGIC = "graphflow-thread"
_LIMIT = 1 << 28
"""Frames of a branch have numbers below this in every store."""
_TEXT, _NUMBER, _PARENT = (str,), (int,), (int, type(None))
_SHAPES: dict[str, tuple[tuple[type, ...], ...]] = {
    "branch": (_TEXT, _NUMBER, _TEXT, _PARENT, _NUMBER),
    "frame": (_NUMBER, (float, int), _TEXT),
    "row": (_NUMBER, _NUMBER, _NUMBER, _TEXT),
    "snapshot": (_NUMBER, _TEXT),
    "end": (_NUMBER, _TEXT),
}
"""The types of what follows the first item."""


class StoredBranch(NamedTuple):
    """A branch with all that it holds, as bytes; it belongs to no store."""

    scope: str
    ordinal: int
    name: str
    parent: int | None
    """The ordinal of the branch that it continues."""
    parent_seq: int
    frames: list[StoredFrame]
    rows: list[StoredRow]
    """Of the superstep that is open at its head."""
    snapshots: list[tuple[int, bytes]]
    """`(seq, state)`: the newest, or none."""

    @property
    def head(self) -> int:
        """The number of its newest frame, or where it left its parent."""
        return self.frames[-1].seq if self.frames else self.parent_seq


class StoredThread(NamedTuple):
    """A thread as bytes."""

    name: str
    branches: list[StoredBranch]


def written(thread: StoredThread) -> Iterator[bytes]:
    """Yield the lines of a thread."""
    digest, count = _digest(), 0
    for parts in _lines(thread):
        line = _line(parts)
        digest.update(line)
        count += 1
        yield line
    yield _line(["end", count, digest.hexdigest()])


def _lines(thread: StoredThread) -> Iterator[list[Any]]:
    yield [_MAGIC, FORMAT, thread.name]
    for branch in thread.branches:
        yield ["branch", *branch[:5]]
        for seq, created, body in branch.frames:
            yield ["frame", seq, created, _text(body)]
        for row in branch.rows:
            yield ["row", row.place, int(row.kind), row.number, _text(row.body)]
        for seq, body in branch.snapshots:
            yield ["snapshot", seq, _text(body)]


def _line(parts: list[Any]) -> bytes:
    return json.dumps(parts, separators=(",", ":")).encode() + b"\n"


def _text(body: bytes) -> str:
    return b2a_base64(body, newline=False).decode()


def _digest() -> Any:
    return blake2b(digest_size=16)


def read_threads(lines: Iterable[bytes]) -> Iterator[StoredThread]:
    """Yield the threads of a file, each when it has been read to its end and found whole.

    Args:
        lines: Its lines: the file, opened with `"rb"`.

    Raises:
        CorruptCheckpointError: The file is damaged, cut off, or no such file.
        StoreTooNewError: A newer graphflow wrote it.
    """
    reader: _Reader | None = None
    for number, line in enumerate(lines, 1):
        try:
            if reader is None:
                reader = _begun(line)
            else:
                reader.take(line)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise CorruptCheckpointError(
                f"Line {number} of the file cannot be read: {error}. Nothing of this thread was "
                "taken over; get the file anew."
            ) from error
        if reader.is_whole:
            yield reader.thread
            reader = None
    if reader is not None:
        raise CorruptCheckpointError(
            f"The file is cut off: thread {reader.thread.name!r} has no end. Nothing of it was "
            "taken over; get the file anew."
        )


def _begun(line: bytes) -> _Reader:
    """Return what reads the thread that begins with `line`.

    Raises:
        StoreTooNewError: In a format to come.
        ValueError: None does.
    """
    kind, version, *rest = _parts(line)
    if kind != _MAGIC or type(version) is not int:
        raise ValueError("no thread of graphflow begins here")
    if version > FORMAT:
        raise StoreTooNewError(
            f"The file has format {version}, this graphflow knows up to {FORMAT}. Nothing of it "
            "was taken over; upgrade graphflow."
        )
    (name,) = rest
    if type(name) is not str:
        raise ValueError(f"{name!r} names no thread")
    return _Reader(name, line)


class _Reader:
    """Takes the lines of one thread behind the first."""

    def __init__(self, name: str, first: bytes) -> None:
        self.thread = StoredThread(name, [])
        self.is_whole = False
        self._known: set[tuple[str, int | str]] = set()
        """Branches by scope, and ordinal or name."""
        self._digest = _digest()
        self._count = 0
        self._note(first)

    def take(self, line: bytes) -> None:
        """Take a line.

        Raises:
            ValueError: It does not belong there.
        """
        kind, *parts = _parts(line)
        _check_shape(kind, parts)
        if kind == "end":
            if parts != [self._count, self._digest.hexdigest()]:
                raise ValueError("what comes before it does not match its checksum")
            self.is_whole = True
        elif kind == "branch":
            self._begin_branch(*parts)
        else:
            self._add(self.thread.branches[-1], kind, parts)
        self._note(line)

    def _note(self, line: bytes) -> None:
        self._digest.update(line)
        self._count += 1

    def _begin_branch(
        self, scope: str, ordinal: int, name: str, parent: int | None, parent_seq: int
    ) -> None:
        _check_seq(parent_seq, above=-2)
        if parent is not None and (scope, parent) not in self._known:
            raise ValueError(f"branch {name!r} continues number {parent}, which is not there")
        last = self.thread.branches[-1][:2] if self.thread.branches else ("", -1)
        if last >= (scope, ordinal) or (scope, name) in self._known:
            raise ValueError(f"branch {name!r} is there already, or comes too late")
        self._known |= {(scope, ordinal), (scope, name)}
        branch = StoredBranch(scope, ordinal, name, parent, parent_seq, [], [], [])
        self.thread.branches.append(branch)

    def _add(self, branch: StoredBranch, kind: str, parts: list[Any]) -> None:
        body = a2b_base64(parts[-1], strict_mode=True)
        if kind == "frame":
            _check_seq(parts[0], above=branch.head)
            branch.frames.append(StoredFrame(parts[0], float(parts[1]), body))
        elif kind == "row":
            place, kind_of_row, number, _ = parts
            branch.rows.append(StoredRow(place, kind_of_row, number, body))
        else:
            branch.snapshots.append((parts[0], body))


def _parts(line: bytes) -> list[Any]:
    if not line.endswith(b"\n"):
        raise ValueError("it is cut off")
    parts = json.loads(line.decode("ascii"))  # of bytes, JSON guesses the encoding and imports it
    if type(parts) is not list or not parts or type(parts[0]) is not str:
        raise ValueError("it is no list that begins with a word")
    return parts


def _check_shape(kind: str, parts: Sequence[Any]) -> None:
    shape = _SHAPES.get(kind)
    if shape is None or len(parts) != len(shape):
        raise ValueError(f"{kind!r} with {len(parts)} items is not known")
    for part, kinds in zip(parts, shape, strict=True):
        if type(part) not in kinds or (type(part) is int and not -_LIMIT < part < 1 << 31):
            raise ValueError(f"{part!r} does not belong into {kind!r}")


def _check_seq(seq: int, *, above: int) -> None:
    if not above < seq < _LIMIT:
        raise ValueError(f"the number {seq} does not follow {above}")
