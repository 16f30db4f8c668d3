"""The statements of the SQLite store, and the tables they work on.

Every SQL text of the backend is a constant here; values are bound, never pasted.

A frame's key is `branch * 2**28 + seq`, so a line of frames is one range of one b-tree, and the
compare-and-set of a commit (`APPEND`) is a look at the page that the new frame goes to anyway.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

SEQ_BITS: Final = 28
"""Frames a branch can have: 2**28, 268 million."""
FORMAT: Final = 1
"""Version of the tables."""
APPLICATION: Final = 0x67666C77
"""SQLite's `application_id` of a graphflow file: "gflw"."""


class Statement(NamedTuple):
    """What an operation yields: a statement with its values."""

    sql: str
    values: tuple[Any, ...] = ()


def key(branch: int, seq: int) -> int:
    """Return the key of a frame; `seq` -1 gives the key before the branch's first."""
    return (branch << SEQ_BITS) + seq


def last_key(branch: int) -> int:
    """Return the key behind which no frame of the branch can lie."""
    return ((branch + 1) << SEQ_BITS) - 2


TABLES: Final = (
    """CREATE TABLE graphflow_thread(
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE)""",
    # The number of a removed branch is never given again: a run that still has it must not write
    # to somebody else's thread.
    """CREATE TABLE graphflow_branch(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        thread INTEGER NOT NULL REFERENCES graphflow_thread ON DELETE CASCADE,
        scope TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        name TEXT NOT NULL,
        parent INTEGER,
        parent_seq INTEGER NOT NULL,
        UNIQUE(thread, scope, ordinal),
        UNIQUE(thread, scope, name))""",
    """CREATE TABLE graphflow_frame(
        id INTEGER PRIMARY KEY,
        created REAL NOT NULL,
        crc INTEGER NOT NULL,
        body BLOB NOT NULL)""",
    """CREATE TABLE graphflow_row(
        frame INTEGER NOT NULL,
        task INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        number INTEGER NOT NULL,
        place INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY(frame, task, kind, number)) WITHOUT ROWID""",
    """CREATE TABLE graphflow_snapshot(
        id INTEGER PRIMARY KEY,
        crc INTEGER NOT NULL,
        body BLOB NOT NULL)""",
)

BEGIN_READ: Final = "BEGIN"
BEGIN_WRITE: Final = "BEGIN IMMEDIATE"
COMMIT: Final = "COMMIT"

# A branch's head is its newest frame, or where it left its parent.
BRANCHES: Final = """
    SELECT b.id, b.ordinal, b.name, b.parent, b.parent_seq,
           coalesce((SELECT f.id - (b.id << 28) FROM graphflow_frame f
                     WHERE f.id BETWEEN (b.id << 28) AND ((b.id + 1) << 28) - 2
                     ORDER BY f.id DESC LIMIT 1), b.parent_seq)
    FROM graphflow_branch b JOIN graphflow_thread t ON t.id = b.thread
    WHERE t.name = ? AND b.scope = ? ORDER BY b.ordinal"""

ADD_THREAD: Final = "INSERT INTO graphflow_thread(name) VALUES(?) ON CONFLICT DO NOTHING"

ADD_BRANCH: Final = """
    INSERT INTO graphflow_branch(thread, scope, ordinal, name, parent, parent_seq)
    SELECT t.id, ?,
           (SELECT count(*) FROM graphflow_branch b WHERE b.thread = t.id AND b.scope = ?),
           ?, ?, ?
    FROM graphflow_thread t WHERE t.name = ?
    ON CONFLICT DO NOTHING
    RETURNING id, ordinal"""

# One statement, one transaction: the insert happens only while the head is the given one, that is,
# there is such a frame (or the branch begins there) and nothing lies behind it.
APPEND: Final = """
    INSERT INTO graphflow_frame(id, created, crc, body)
    SELECT ?, ?, ?, ? FROM graphflow_branch
    WHERE id = ?
      AND ((id << 28) + parent_seq = ? OR EXISTS (SELECT 1 FROM graphflow_frame WHERE id = ?))
      AND NOT EXISTS (SELECT 1 FROM graphflow_frame WHERE id > ? AND id <= ?)"""

HEAD: Final = """
    SELECT coalesce((SELECT f.id - (b.id << 28) FROM graphflow_frame f
                     WHERE f.id BETWEEN (b.id << 28) AND ((b.id + 1) << 28) - 2
                     ORDER BY f.id DESC LIMIT 1), b.parent_seq)
    FROM graphflow_branch b WHERE b.id = ?"""

DROP_ROWS: Final = "DELETE FROM graphflow_row WHERE frame = ?"

PUT_ROW: Final = """
    INSERT INTO graphflow_row(frame, task, kind, number, place, crc, body)
    SELECT ?, ?, ?, ?,
           (SELECT coalesce(max(place), 0) + 1 FROM graphflow_row WHERE frame = ?), ?, ?
    WHERE true ON CONFLICT DO NOTHING"""

DROP_ROW: Final = """
    DELETE FROM graphflow_row WHERE frame = ? AND task = ? AND kind = ? AND number = ?"""

ROWS: Final = """
    SELECT task, kind, number, body, crc FROM graphflow_row WHERE frame = ? ORDER BY place"""

FRAMES: Final = """
    SELECT crc, id & 268435455, created, body FROM graphflow_frame
    WHERE id > ? AND id <= ? ORDER BY id"""

SNAPSHOT: Final = """
    SELECT id & 268435455, body, crc FROM graphflow_snapshot
    WHERE id >= ? AND id <= ? ORDER BY id DESC LIMIT 1"""

PUT_SNAPSHOT: Final = "INSERT OR REPLACE INTO graphflow_snapshot(id, crc, body) VALUES(?, ?, ?)"

DROP_SNAPSHOTS: Final = "DELETE FROM graphflow_snapshot WHERE id >= ? AND id < ?"

THREADS: Final = "SELECT name FROM graphflow_thread ORDER BY id"

THREAD_BRANCHES: Final = """
    SELECT b.id FROM graphflow_branch b JOIN graphflow_thread t ON t.id = b.thread
    WHERE t.name = ?"""

DROP_RANGE: Final = (
    "DELETE FROM graphflow_frame WHERE id BETWEEN ? AND ?",
    "DELETE FROM graphflow_row WHERE frame BETWEEN ? AND ?",
    "DELETE FROM graphflow_snapshot WHERE id BETWEEN ? AND ?",
)

DROP_THREAD: Final = "DELETE FROM graphflow_thread WHERE name = ?"
