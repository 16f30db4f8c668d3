"""The tables of the PostgreSQL store: recognised, or made at the first use.

Names are UTF-8 in `bytea`: no text of PostgreSQL's holds a NUL or half a surrogate pair, and bytes
are the same under every server encoding and collation. They are indexed by digest, because an index
entry has room for 2700 bytes only. To read them: `convert_from(name, 'UTF8')`.
"""

from __future__ import annotations

from typing import Final

from graphflow.checkpoint.protocol import Operation
from graphflow.errors import ForeignDatabaseError, StoreTooNewError
from graphflow_checkpointers.postgres_connections import Source
from graphflow_checkpointers.postgres_errand import carry
from graphflow_checkpointers.postgres_errors import FOREIGN
from graphflow_checkpointers.postgres_statements import Statement, Tables, Word

FORMAT: Final = 3
"""Version of the tables: 2 since there are leases, 3 since there are tags."""
CONTENTS: Final = "checkpoints"
"""Under this name the version is kept."""
NAMES: Final = ("format", "thread", "branch", "frame", "row", "snapshot", "lease", "tag")
"""The tables, without what stands before their names."""

LEASES: Final = """CREATE TABLE graphflow_lease(
        id bigint PRIMARY KEY,
        until timestamptz NOT NULL,
        place bytea NOT NULL UNIQUE,
        owner text NOT NULL)"""

TAGS: Final = (
    """CREATE TABLE graphflow_tag(
        thread bigint NOT NULL REFERENCES graphflow_thread ON DELETE CASCADE,
        key bytea NOT NULL,
        value bytea NOT NULL,
        PRIMARY KEY(thread, key))""",
    "CREATE INDEX ON graphflow_tag(value, thread)",
)

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS graphflow_format(
        contents text PRIMARY KEY,
        version integer NOT NULL)""",
    """CREATE TABLE graphflow_thread(
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name bytea NOT NULL)""",
    "CREATE UNIQUE INDEX ON graphflow_thread(sha256(name))",
    # The number of a removed branch is never given again: a run that still has it must not write
    # to somebody else's thread.
    """CREATE TABLE graphflow_branch(
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        thread bigint NOT NULL REFERENCES graphflow_thread ON DELETE CASCADE,
        parent bigint,
        parent_seq integer NOT NULL,
        ordinal integer NOT NULL,
        scope bytea NOT NULL,
        name bytea NOT NULL)""",
    "CREATE UNIQUE INDEX ON graphflow_branch(thread, sha256(scope), sha256(name))",
    # The order of the columns leaves no gaps between them.
    """CREATE TABLE graphflow_frame(
        id bigint PRIMARY KEY,
        created double precision NOT NULL,
        seq integer NOT NULL,
        crc integer NOT NULL,
        body bytea NOT NULL)""",
    """CREATE TABLE graphflow_row(
        frame bigint NOT NULL,
        place bigint GENERATED ALWAYS AS IDENTITY,
        task integer NOT NULL,
        kind integer NOT NULL,
        number integer NOT NULL,
        crc integer NOT NULL,
        body bytea NOT NULL,
        PRIMARY KEY(frame, task, kind, number))""",
    """CREATE TABLE graphflow_snapshot(
        id bigint PRIMARY KEY,
        crc integer NOT NULL,
        body bytea NOT NULL)""",
    LEASES,
    *TAGS,
)

MIGRATIONS: Final = ((LEASES,), TAGS)
"""What makes of tables of format 1 those of format 2, and so on."""

ATTEMPTS: Final = 3
"""Who was refused looks again, and may be refused by the makers of yet another store's tables."""

HAS_LZ4: Final = """
    SELECT 1 FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)"""

# Halves large bodies at hardly any cost. What servers without it do is as good, but slower.
USE_LZ4: Final = tuple(
    f"ALTER TABLE graphflow_{name} ALTER COLUMN body SET COMPRESSION lz4"
    for name in ("frame", "row", "snapshot")
)

FIND_TABLES: Final = """
    SELECT relname FROM pg_class
    WHERE oid IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS known(name))"""

FIND_SCHEMA: Final = "SELECT 1 WHERE to_regnamespace(%s) IS NOT NULL"

CREATE_SCHEMA: Final = "CREATE SCHEMA <schema>"

VERSION: Final = "SELECT version FROM graphflow_format WHERE contents = %s"

SET_VERSION: Final = "INSERT INTO graphflow_format(contents, version) VALUES(%s, %s)"


LOCK_VERSION: Final = "SELECT version FROM graphflow_format WHERE contents = %s FOR UPDATE"

RAISE_VERSION: Final = "UPDATE graphflow_format SET version = %s WHERE contents = %s"


async def prepare(source: Source, tables: Tables) -> None:
    """See to it that the tables are there.

    Of processes that do so at once one makes them; the others are refused and look again.

    Raises:
        ForeignDatabaseError: There are other tables of these names; nothing was changed.
        StoreTooNewError: A newer graphflow made them; nothing was changed.
        psycopg.Error: The server cannot be reached or refuses.
    """
    for _ in range(ATTEMPTS):
        version = await carry(source, tables, _version(tables))
        if version is None and await carry(source, tables, _create(tables)):
            return
        if version is not None:
            break
    if not version:
        raise ForeignDatabaseError(f"{source.where}: {FOREIGN}")
    if version > FORMAT:
        raise StoreTooNewError(
            f"{source.where} has table format {version}, this graphflow knows up to {FORMAT}. "
            "Nothing was written to it; upgrade graphflow."
        )
    if version < FORMAT:
        await carry(source, tables, _migrate())


def _migrate() -> Operation[None]:
    """Add what has come since the tables were made; whoever does so at once waits."""
    yield Word.WRITE
    found = yield Statement(LOCK_VERSION, (CONTENTS,))
    for text in (text for step in MIGRATIONS[found[0][0] - 1 :] for text in step):
        yield Statement(text, is_deferred=True)
    yield Statement(RAISE_VERSION, (FORMAT, CONTENTS))
    yield Word.END


def _version(tables: Tables) -> Operation[int | None]:
    """Return the version of the tables; None: there are none, 0: they are not ours."""
    names = [tables.prefix + name for name in NAMES]
    found = yield Statement(FIND_TABLES, (names,))
    known = {name for (name,) in found}
    versions = []
    if "graphflow_format" in known:
        versions = yield Statement(VERSION, (CONTENTS,))
    if versions:
        return int(versions[0][0])
    return 0 if known - {"graphflow_format"} else None


def _create(tables: Tables) -> Operation[bool]:
    """Make the tables; return False, having made none, where somebody else is doing it."""
    yield Word.WRITE
    has_lz4 = yield Statement(HAS_LZ4)
    has_schema = not tables.schema or (yield Statement(FIND_SCHEMA, (tables.schema,)))
    schema = () if has_schema else (CREATE_SCHEMA,)
    for text in (*schema, *TABLES, *(USE_LZ4 if has_lz4 else ())):
        yield Statement(text, is_deferred=True)
    made = yield Statement(SET_VERSION, (CONTENTS, FORMAT), is_contested=True)
    if made is None:
        return False
    yield Word.END
    return True
