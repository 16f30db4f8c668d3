"""The statements of the PostgreSQL store.

Every SQL text is a constant; values are bound, never pasted. Where the tables have a schema of
their own, `Tables` puts its name before theirs.

A branch is a chain, and a frame's key is its *predecessor*: `branch * 2**28 + seq before + 1`. Two
commits behind the same head are two rows with the same key, whatever their own numbers are, so the
primary key lets exactly one of them in, at any isolation level. The rows of the superstep that is
open at a head bear the key that the frame which closes it will have.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple
from zlib import crc32

from psycopg.sql import Identifier

SEQ_BITS: Final = 28
"""Frames a branch can have: 2**28, 268 million."""


class Word(Enum):
    """What an operation yields beside statements: where a transaction begins and ends.

    They nest; only the outermost pair counts.
    """

    READ = 0
    """What follows sees one state of the database and changes nothing."""
    WRITE = 1
    END = 2


class Statement(NamedTuple):
    """What an operation yields: a statement with its values."""

    text: str
    values: tuple[Any, ...] = ()
    is_deferred: bool = False
    """Whether nobody waits for its answer: it goes to the server together with the next one."""
    is_contested: bool = False
    """Whether somebody else may be doing the same: to who is not the first, the answer is None."""
    proof: Statement | None = None
    """Asked when it was refused after it had been sent twice, because the first answer was lost:
    rows mean that the first sending was carried out."""


class Tables:
    """Where the tables are.

    Args:
        schema: The PostgreSQL schema; None: the connection's default, usually `public`.
    """

    def __init__(self, schema: str | None) -> None:
        self.schema = "" if schema is None else Identifier(schema).as_string(None)
        """Quoted; empty: the default."""
        self.prefix = f"{self.schema}.graphflow_" if self.schema else "graphflow_"
        self.query = lru_cache(maxsize=None)(self._query)
        """Return a text as psycopg sends it."""

    def _query(self, text: str) -> bytes:
        names = {"graphflow_": self.prefix, "<schema>": self.schema}
        return re.sub(
            "|".join(names), lambda found: names[found[0]].replace("%", "%%"), text
        ).encode()


def place(branch: int, head: int) -> int:
    """Return the key of what lies behind `head`: the next frame, and the rows before it."""
    return (branch << SEQ_BITS) + head + 1


def checksum(body: bytes) -> int:
    """Return the CRC of a body as the signed number that a column of four bytes holds."""
    return crc32(body) - (1 << 31)


# -- transactions ------------------------------------------------------------------------------

# Its number tells later whether it was committed, if the answer to that is lost. The time limit
# frees what a process holds that was stopped halfway. It ends with the transaction.
TRANSACTION: Final = Statement("""
    SELECT pg_current_xact_id()::text,
           set_config('idle_in_transaction_session_timeout', '10s', true)""")

OPENING: Final = {
    Word.READ: (Statement("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),),
    Word.WRITE: (Statement("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"), TRANSACTION),
}

COMMIT: Final = Statement("COMMIT")

ROLLBACK: Final = Statement("ROLLBACK")

FATE: Final = "SELECT pg_xact_status(%s::xid8) FROM pg_sleep(%s)"

# -- threads and branches ----------------------------------------------------------------------

# A branch's head is its newest frame, or where it left its parent.
_HEAD: Final = """
    coalesce((SELECT f.seq FROM graphflow_frame f
              WHERE f.id >= b.id << 28 AND f.id < (b.id + 1) << 28
              ORDER BY f.id DESC LIMIT 1), b.parent_seq)"""

BRANCHES: Final = f"""
    SELECT b.id, b.ordinal, b.name, b.parent, b.parent_seq, {_HEAD}
    FROM graphflow_branch b JOIN graphflow_thread t ON t.id = b.thread
    WHERE sha256(t.name) = sha256(%s) AND sha256(b.scope) = sha256(%s) ORDER BY b.ordinal"""

# Also where the thread is there already its row is written, and so locked: who adds a branch next
# waits, and counts this one.
ADD_THREAD: Final = """
    INSERT INTO graphflow_thread AS t(name) VALUES(%s)
    ON CONFLICT (sha256(name)) DO UPDATE SET name = t.name"""

ADD_BRANCH: Final = """
    INSERT INTO graphflow_branch(thread, scope, ordinal, name, parent, parent_seq)
    SELECT t.id, new.scope,
           (SELECT count(*) FROM graphflow_branch b
            WHERE b.thread = t.id AND sha256(b.scope) = sha256(new.scope)),
           new.name, new.parent, new.parent_seq
    FROM graphflow_thread t,
         (VALUES(%s::bytea, %s::bytea, %s::bigint, %s::integer))
             AS new(scope, name, parent, parent_seq)
    WHERE sha256(t.name) = sha256(%s)
      AND (new.parent IS NULL OR EXISTS (SELECT 1 FROM graphflow_branch p
                                         WHERE p.id = new.parent AND p.thread = t.id))
    ON CONFLICT DO NOTHING
    RETURNING id, ordinal"""

THREADS: Final = "SELECT name FROM graphflow_thread ORDER BY id"

SCOPES: Final = """
    SELECT DISTINCT b.scope FROM graphflow_branch b JOIN graphflow_thread t ON t.id = b.thread
    WHERE sha256(t.name) = sha256(%s)"""

LOCK_THREAD: Final = "SELECT 1 FROM graphflow_thread WHERE sha256(name) = sha256(%s) FOR UPDATE"

# Waits for commits that are under way; those that come later find no branch.
LOCK_BRANCHES: Final = """
    SELECT 1 FROM graphflow_branch b JOIN graphflow_thread t ON t.id = b.thread
    WHERE sha256(t.name) = sha256(%s) FOR UPDATE OF b"""

DROP_CONTENTS: Final = tuple(
    f"""
    DELETE FROM graphflow_{table} old
    USING graphflow_branch b JOIN graphflow_thread t ON t.id = b.thread
    WHERE sha256(t.name) = sha256(%s)
      AND old.{key} >= b.id << 28 AND old.{key} < (b.id + 1) << 28"""
    for table, key in (("frame", "id"), ("row", "frame"), ("snapshot", "id"))
)

DROP_THREAD: Final = "DELETE FROM graphflow_thread WHERE sha256(name) = sha256(%s)"

SCRUB: Final = tuple(
    f"VACUUM (FULL) graphflow_{table}"
    for table in ("frame", "row", "snapshot", "tag", "branch", "thread")
)

LOCK_BRANCH: Final = "SELECT 1 FROM graphflow_branch WHERE id = %s FOR UPDATE"

DROP_FRAMES: Final = """
    DELETE FROM graphflow_frame WHERE id >= %s AND id < %s AND seq <= %s RETURNING seq"""

DROP_SNAPSHOTS: Final = "DELETE FROM graphflow_snapshot WHERE id >= %s AND id < %s"

PUT_BASE: Final = f"""
    INSERT INTO graphflow_frame(id, created, seq, crc, body) VALUES {
    "(%s::bigint, %s::double precision, %s::integer, %s::integer, %s::bytea)"
}"""

CUT_OFF: Final = "UPDATE graphflow_branch SET parent = NULL, parent_seq = -1 WHERE id = %s"

SCOPE_BRANCHES: Final = """
    SELECT b.id FROM graphflow_branch b JOIN graphflow_thread t ON t.id = b.thread
    WHERE sha256(t.name) = sha256(%s) AND sha256(b.scope) = sha256(%s) FOR UPDATE OF b"""

DROP_RANGE: Final = tuple(
    f"DELETE FROM graphflow_{table} WHERE {key} >= %s AND {key} < %s"
    for table, key in (("frame", "id"), ("row", "frame"), ("snapshot", "id"))
)

DROP_BRANCH: Final = "DELETE FROM graphflow_branch WHERE id = %s"

# -- frames ------------------------------------------------------------------------------------

_NEW: Final = "(%s::bigint, %s::double precision, %s::integer, %s::integer, %s::bytea)"


@lru_cache(maxsize=64)
def append(count: int, is_fenced: bool) -> str:
    """Return the statement that adds `count` frames if the branch's head is the given one.

    The branch is locked against removal, no more: of two commits at once, the key decides. So is
    the lease, if there is to be one, against who takes over.
    """
    lease, is_held, locked = "", "", "b"
    if is_fenced:
        lease, is_held, locked = ", graphflow_lease l", " AND l.id = %s", "b, l"
    return f"""
    INSERT INTO graphflow_frame(id, created, seq, crc, body)
    SELECT new.* FROM graphflow_branch b{lease},
         (VALUES {", ".join([_NEW] * count)}) AS new(id, created, seq, crc, body)
    WHERE b.id = %s AND {_HEAD} = %s{is_held}
    FOR KEY SHARE OF {locked}"""


@lru_cache(maxsize=64)
def append_and_drop_rows(count: int, is_fenced: bool) -> str:
    """Return the same, which also removes the rows of the superstep that the frames close."""
    return f"""
    WITH added AS ({append(count, is_fenced)} RETURNING id),
         dropped AS (DELETE FROM graphflow_row
                     WHERE frame BETWEEN %s AND %s AND EXISTS (SELECT FROM added))
    SELECT id FROM added"""


IS_STORED: Final = """
    SELECT 1 FROM graphflow_frame
    WHERE id = %s AND created = %s AND seq = %s AND crc = %s AND body = %s"""

# Numbers may have gaps, so the first frame behind `after` can follow an older one than that.
FRAMES: Final = """
    SELECT seq, created, body, crc FROM graphflow_frame
    WHERE id >= coalesce((SELECT max(id) FROM graphflow_frame WHERE id BETWEEN %s AND %s), %s)
      AND id < %s AND seq > %s AND seq <= %s
    ORDER BY id"""

# -- leases ------------------------------------------------------------------------------------

# The number of a lease is drawn anew for each owner, so who takes over locks out the one before.
# The time is taken again where somebody had to be waited for who holds the row.
CLAIM: Final = """
    INSERT INTO graphflow_lease AS l(id, until, place, owner)
    VALUES(%s, clock_timestamp() + %s * interval '1 second', %s, %s)
    ON CONFLICT (place) DO UPDATE
    SET id = excluded.id, until = clock_timestamp() + %s * interval '1 second',
        owner = excluded.owner
    WHERE l.until <= clock_timestamp() OR l.owner = %s OR l.owner = excluded.owner
    RETURNING id"""

HOLDER: Final = """
    SELECT owner, extract(epoch FROM until - clock_timestamp())::double precision
    FROM graphflow_lease WHERE place = %s"""

IS_HELD: Final = "SELECT 1 FROM graphflow_lease WHERE id = %s FOR KEY SHARE"

RENEW: Final = """
    UPDATE graphflow_lease SET until = clock_timestamp() + %s * interval '1 second'
    WHERE id = %s RETURNING id"""

RELEASE: Final = "DELETE FROM graphflow_lease WHERE id = %s"

# -- rows --------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def put_rows(is_fenced: bool) -> str:
    """Return the statement that adds rows if the branch's head is the given one.

    It returns how many answers were taken; nothing, where the head is another one, or the lease is
    not held, if there is to be one.
    """
    lease, is_held, locked = "", "", "b"
    if is_fenced:
        lease, is_held, locked = ", graphflow_lease l", " AND l.id = %s", "b, l"
    return f"""
    WITH line AS (SELECT 1 FROM graphflow_branch b{lease}
                  WHERE b.id = %s AND {_HEAD} = %s{is_held} FOR KEY SHARE OF {locked}),
         added AS (INSERT INTO graphflow_row(frame, task, kind, number, crc, body)
                   SELECT %s, new.* FROM line,
                        unnest(%s::integer[], %s::integer[], %s::integer[], %s::integer[],
                               %s::bytea[]) AS new
                   ON CONFLICT DO NOTHING RETURNING kind)
    SELECT (SELECT count(*) FROM added WHERE kind = %s) FROM line"""


DROP_ROWS: Final = """
    DELETE FROM graphflow_row r
    USING unnest(%s::integer[], %s::integer[], %s::integer[]) AS old(task, kind, number)
    WHERE r.frame = %s
      AND r.task = old.task AND r.kind = old.kind AND r.number = old.number"""

# A row that came at the same moment as the frame that closes its superstep stays behind, unseen.
ROWS: Final = """
    SELECT task, kind, number, body, crc FROM graphflow_row
    WHERE frame = %s AND NOT EXISTS (SELECT FROM graphflow_frame WHERE id = %s)
    ORDER BY place"""

# -- snapshots ---------------------------------------------------------------------------------

SNAPSHOT: Final = """
    SELECT id & 268435455, body, crc FROM graphflow_snapshot
    WHERE id >= %s AND id <= %s ORDER BY id DESC LIMIT 1"""

PUT_SNAPSHOT: Final = """
    WITH dropped AS (DELETE FROM graphflow_snapshot WHERE id >= %s AND id < %s)
    INSERT INTO graphflow_snapshot(id, crc, body)
    SELECT %s, %s, %s FROM graphflow_branch WHERE id = %s FOR KEY SHARE
    ON CONFLICT (id) DO UPDATE SET crc = excluded.crc, body = excluded.body"""
