"""The statements of the SQLite store, and the tables they work on.

Every SQL text of the backend is a constant here; values are bound, never pasted.

A line of frames is one range of one b-tree. The key of a frame is its branch and *the frame that
it follows*: two commits on one head have the same key, so the insert is the compare-and-set.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

SEQ_BITS: Final = 28
"""Frames a branch can have: 2**28, 268 million."""
FORMAT: Final = 3
"""Version of the tables: 2 since there are leases, 3 since there are tags."""
LAST_THREAD: Final = (1 << 63) - 1
"""The highest number that a thread can have."""
APPLICATION: Final = 0x67666C77
"""SQLite's `application_id` of a graphflow file: "gflw"."""


class Statement(NamedTuple):
    """What an operation yields: a statement with its values."""

    sql: str
    values: tuple[Any, ...] = ()


def key(branch: int, seq: int) -> int:
    """Return the key of what belongs to a frame: rows of its superstep, its snapshot."""
    return (branch << SEQ_BITS) + seq


def key_behind(branch: int, seq: int) -> int:
    """Return the key of the frame that follows `seq`; -1: of the first one."""
    return (branch << SEQ_BITS) + seq + 1


def last_key(branch: int) -> int:
    """Return the key behind which no frame of the branch can lie."""
    return ((branch + 1) << SEQ_BITS) - 2


LEASES: Final = """CREATE TABLE graphflow_lease(
        id INTEGER PRIMARY KEY,
        place BLOB NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        until REAL NOT NULL)"""

TAGS: Final = (
    """CREATE TABLE graphflow_tag(
        thread INTEGER NOT NULL REFERENCES graphflow_thread ON DELETE CASCADE,
        key BLOB NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY(thread, key)) WITHOUT ROWID""",
    "CREATE INDEX graphflow_tagged ON graphflow_tag(value, thread)",
)

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
        seq INTEGER NOT NULL,
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
    LEASES,
    *TAGS,
)

MIGRATIONS: Final = ((LEASES,), TAGS)
"""What makes of a file of format 1 one of format 2, and so on."""

BEGIN_READ: Final = "BEGIN"
BEGIN_WRITE: Final = "BEGIN IMMEDIATE"
COMMIT: Final = "COMMIT"

# A branch's head is its newest frame, or where it left its parent.
BRANCHES: Final = """
    SELECT b.id, b.ordinal, b.name, b.parent, b.parent_seq,
           coalesce((SELECT f.seq FROM graphflow_frame f
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
      AND (? IS NULL OR EXISTS (SELECT 1 FROM graphflow_branch p
                                WHERE p.id = ? AND p.thread = t.id))
    ON CONFLICT DO NOTHING
    RETURNING id, ordinal"""

# One statement, one transaction. Nothing is added where a frame follows the given one already.
APPEND: Final = """
    INSERT OR IGNORE INTO graphflow_frame(id, seq, created, crc, body) VALUES(?, ?, ?, ?, ?)"""

APPEND_FENCED: Final = """
    INSERT OR IGNORE INTO graphflow_frame(id, seq, created, crc, body)
    SELECT ?, ?, ?, ?, ? WHERE EXISTS(SELECT 1 FROM graphflow_lease WHERE id = ?)"""

HEAD: Final = """
    SELECT coalesce((SELECT f.seq FROM graphflow_frame f
                     WHERE f.id BETWEEN (b.id << 28) AND ((b.id + 1) << 28) - 2
                     ORDER BY f.id DESC LIMIT 1), b.parent_seq)
    FROM graphflow_branch b WHERE b.id = ?"""

# A lease that a power cut loses is of no use any more, so nobody waits for the disk.
RELAXED: Final = "PRAGMA synchronous=NORMAL"
FULL: Final = "PRAGMA synchronous=FULL"

CLAIM: Final = """
    INSERT INTO graphflow_lease(id, place, owner, until) VALUES(?, ?, ?, ?)
    ON CONFLICT(place) DO UPDATE
    SET id = excluded.id, owner = excluded.owner, until = excluded.until
    WHERE until <= ? OR owner = ? OR owner = excluded.owner"""

HOLDER: Final = "SELECT owner, until FROM graphflow_lease WHERE place = ?"

IS_HELD: Final = "SELECT 1 FROM graphflow_lease WHERE id = ?"

RENEW: Final = "UPDATE graphflow_lease SET until = ? WHERE id = ?"

RELEASE: Final = "DELETE FROM graphflow_lease WHERE id = ?"

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
    SELECT crc, seq, created, body FROM graphflow_frame
    WHERE id BETWEEN max(?, coalesce((SELECT max(id) FROM graphflow_frame WHERE id <= ?), 0)) AND ?
      AND seq > ? AND seq <= ? ORDER BY id"""

SNAPSHOT: Final = """
    SELECT id & 268435455, body, crc FROM graphflow_snapshot
    WHERE id >= ? AND id <= ? ORDER BY id DESC LIMIT 1"""

PUT_SNAPSHOT: Final = "INSERT OR REPLACE INTO graphflow_snapshot(id, crc, body) VALUES(?, ?, ?)"

DROP_SNAPSHOTS: Final = "DELETE FROM graphflow_snapshot WHERE id >= ? AND id < ?"

HAS_FRAME: Final = """
    SELECT 1 FROM graphflow_frame WHERE id BETWEEN ? AND ? AND seq = ?
      AND EXISTS(SELECT 1 FROM graphflow_branch WHERE id = ?)"""

DROP_FRAMES: Final = "DELETE FROM graphflow_frame WHERE id BETWEEN ? AND ? AND seq <= ?"

CUT_OFF: Final = "UPDATE graphflow_branch SET parent = NULL, parent_seq = -1 WHERE id = ?"

SCOPE_BRANCHES: Final = """
    SELECT b.id, coalesce((SELECT f.seq FROM graphflow_frame f
                           WHERE f.id BETWEEN (b.id << 28) AND ((b.id + 1) << 28) - 2
                           ORDER BY f.id DESC LIMIT 1), b.parent_seq)
    FROM graphflow_branch b JOIN graphflow_thread t ON t.id = b.thread
    WHERE t.name = ? AND b.scope = ?"""

DROP_BRANCH: Final = "DELETE FROM graphflow_branch WHERE id = ?"

# SQLite overwrites what is deleted, but not what it left behind when it moved it to another page.
WRITE_ANEW: Final = "VACUUM"
TRUNCATE_LOG: Final = "PRAGMA wal_checkpoint(TRUNCATE)"

THREADS: Final = "SELECT name FROM graphflow_thread ORDER BY id"

PUT_TAG: Final = """
    INSERT INTO graphflow_tag(thread, key, value)
    SELECT id, ?, ? FROM graphflow_thread WHERE name = ?
    ON CONFLICT(thread, key) DO UPDATE SET value = excluded.value WHERE value != excluded.value"""

SOME_THREADS: Final = "SELECT id, name FROM graphflow_thread WHERE id > ? ORDER BY id LIMIT ?"

# The first tag's threads are gone through in their order, and each is asked for the others.
_TAGGED: Final = """
    SELECT t.id, t.name FROM graphflow_tag g JOIN graphflow_thread t ON t.id = g.thread
    WHERE g.value = ?"""
_TAGGED_TOO: Final = """
      AND EXISTS(SELECT 1 FROM graphflow_tag o WHERE o.value = ? AND o.thread = g.thread)"""
_ONE_PAGE: Final = """
      AND g.thread > ? ORDER BY g.thread LIMIT ?"""


@lru_cache(maxsize=64)
def tagged(count: int) -> str:
    """Return the statement that finds threads with `count` tags."""
    if count == 0:
        return SOME_THREADS
    return _TAGGED + _TAGGED_TOO * (count - 1) + _ONE_PAGE


SCOPES: Final = """
    SELECT DISTINCT b.scope FROM graphflow_branch b JOIN graphflow_thread t ON t.id = b.thread
    WHERE t.name = ?"""

# A run that does not know that its thread was removed must not write behind its last frame: what is
# removed leaves an empty frame in that place (`APPEND`). Numbers of branches are never given again.
THREAD_BRANCHES: Final = """
    SELECT b.id, coalesce((SELECT f.seq FROM graphflow_frame f
                           WHERE f.id BETWEEN (b.id << 28) AND ((b.id + 1) << 28) - 2
                           ORDER BY f.id DESC LIMIT 1), b.parent_seq)
    FROM graphflow_branch b JOIN graphflow_thread t ON t.id = b.thread
    WHERE t.name = ?"""

DROP_RANGE: Final = (
    "DELETE FROM graphflow_frame WHERE id BETWEEN ? AND ?",
    "DELETE FROM graphflow_row WHERE frame BETWEEN ? AND ?",
    "DELETE FROM graphflow_snapshot WHERE id BETWEEN ? AND ?",
)

DROP_THREAD: Final = "DELETE FROM graphflow_thread WHERE name = ?"
