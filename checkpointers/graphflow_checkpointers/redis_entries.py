"""Frames, rows and snapshots as they lie in Redis, and back.

    frames      stream; an entry is `SEQ-TOKEN  f: created, checksum, body`
    snapshot    stream of one entry: `SEQ-TOKEN  f: checksum, body`
    rows        hash; a field is `TASK.KIND.NUMBER: order, checksum, body`; beside those `h`, the
                head they belong to, `n`, how many there were, and the token of each call that put
                or withdrew some

A range of seqs is a range of ids. A token is drawn for each commit: it tells one whose answer was
lost from somebody else's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final
from zlib import crc32

from graphflow.checkpoint.protocol import StoredFrame, StoredRow
from graphflow.checkpoint.records import RowKind
from graphflow.errors import CorruptCheckpointError
from graphflow_checkpointers.redis_server import Word

Fields = Mapping[bytes, bytes]
_FRAME: Final = struct.Struct(">dI")
"""In front of a frame: when it was created, and its checksum."""
_CRC: Final = struct.Struct(">I")
"""In front of a row or a snapshot: its checksum."""
_ORDER: Final = 8
"""Digits in front of that, in a row: which one it was."""


def entry_id(seq: int, token: int) -> bytes:
    """Return the id of an entry; one with a number that cannot be is that of no entry."""
    return b"%d-%d" % (max(seq, 0), token)


def written_frames(frames: Iterable[StoredFrame], token: int) -> list[Word]:
    """Return ids and contents in turn."""
    words: list[Word] = []
    for seq, created, body in frames:
        words += (entry_id(seq, token), _FRAME.pack(created, crc32(body)) + body)
    return words


def written_rows(rows: Iterable[StoredRow]) -> list[Word]:
    """Return of each row its place, whether it is an answer, and its content."""
    words: list[Word] = []
    for row in rows:
        words += (place_of(row), int(row.kind == RowKind.ANSWER), sealed(row.body))
    return words


def place_of(row: StoredRow) -> bytes:
    """Return the field of a row."""
    return b"%d.%d.%d" % row[:3]


def sealed(body: bytes) -> bytes:
    """Return a body behind its checksum."""
    return _CRC.pack(crc32(body)) + body


class Reader:
    """Reads what lies under one key.

    Args:
        address: Where the server is, for messages.
        key: The key.
    """

    def __init__(self, address: str, key: bytes) -> None:
        self._address = address
        self._key = key

    def frame(self, entry: bytes, fields: Fields) -> StoredFrame:
        """Return the frame of an entry.

        Raises:
            CorruptCheckpointError: It does not match its checksum.
        """
        body, created, _ = self._opened(_FRAME, fields[b"f"], entry)
        return StoredFrame(_seq(entry), created, body)

    def snapshot(self, entry: bytes, fields: Fields) -> tuple[int, bytes]:
        """Return the snapshot of an entry, with its seq.

        Raises:
            CorruptCheckpointError: It does not match its checksum.
        """
        return _seq(entry), self._opened(_CRC, fields[b"f"], entry)[0]

    def rows(self, fields: Fields, head: int) -> list[StoredRow]:
        """Return the rows in a hash in their order; `[]` if they belong to another head.

        Raises:
            CorruptCheckpointError: One does not match its checksum.
        """
        if fields.get(b"h") != b"%d" % head:
            return []
        found = sorted((content, place) for place, content in fields.items() if b"." in place)
        return [self._row(place, content[_ORDER:]) for content, place in found]

    def _row(self, place: bytes, content: bytes) -> StoredRow:
        task, kind, number = map(int, place.split(b"."))
        return StoredRow(task, kind, number, self._opened(_CRC, content, place)[0])

    def _opened(self, layout: struct.Struct, content: bytes, place: bytes) -> tuple[Any, ...]:
        """Return a body and what stood in front of it; the checksum is the last of that."""
        head, body = content[: layout.size], content[layout.size :]
        if len(head) == layout.size:
            known = layout.unpack(head)
            if known[-1] == crc32(body):
                return body, *known
        raise CorruptCheckpointError(
            f"{self._address}: {place.decode()} in {self._key.decode(errors='replace')} does not "
            "match its checksum. Restore the server's data from a backup; other threads can still "
            "be read."
        )


def _seq(entry: bytes) -> int:
    return int(entry.partition(b"-")[0])
