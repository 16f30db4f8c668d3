"""What PostgreSQL's errors mean to the caller: what happened, where, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import psycopg
from psycopg import errors, pq
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from graphflow.errors import (
    CheckpointError,
    CorruptCheckpointError,
    ForeignDatabaseError,
    StoreFullError,
    StoreUnavailableError,
)

FIRST: Final = (
    errors.UniqueViolation,
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.DuplicateTable,
    errors.DuplicateSchema,
)
"""Errors that say: somebody else was first, and nothing of this statement was done."""

_GONE: Final = ("57P", "25P03", "08")
"""Codes, or what they begin with, after which the connection is of no use."""

FOREIGN: Final = (
    "The tables named graphflow_* are not those of this store, or some are missing. Nothing was "
    "written; give the store a schema of its own: PostgresCheckpointer(dsn, schema=...)."
)

_NOT_STORED: Final = (
    "What this call was to store is not stored; everything before it is. "
    "Go on with invoke(None, config)."
)


class _Meaning(NamedTuple):
    """What some errors mean."""

    errors: tuple[type[psycopg.Error], ...]
    kind: type[CheckpointError]
    advice: str


_MEANINGS: Final = (
    _Meaning(
        (errors.DiskFull,),
        StoreFullError,
        "This superstep is not stored; everything before it is. Make room and go on with "
        "invoke(None, config).",
    ),
    _Meaning(
        (errors.DataCorrupted, errors.IndexCorrupted),
        CorruptCheckpointError,
        "The database is damaged. Restore it from a backup.",
    ),
    _Meaning(
        (errors.UndefinedTable, errors.UndefinedColumn, errors.DatatypeMismatch),
        ForeignDatabaseError,
        FOREIGN,
    ),
    _Meaning(
        (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction, errors.InvalidSchemaName),
        CheckpointError,
        "Nothing was changed. The role and the server must allow to write to the tables, and "
        "for the first time to make them.",
    ),
    _Meaning(
        (PoolTimeout, TooManyRequests, errors.TooManyConnections),
        CheckpointError,
        "All connections are in use, or the server lets no more in. Give the pool more "
        f"connections, or run less at once. {_NOT_STORED}",
    ),
    _Meaning(
        (PoolClosed,),
        CheckpointError,
        "Open the pool before the first call, and close it after the last.",
    ),
    _Meaning(
        (
            errors.QueryCanceled,
            errors.LockNotAvailable,
            errors.DeadlockDetected,
            errors.SerializationFailure,
        ),
        CheckpointError,
        _NOT_STORED,
    ),
    _Meaning(
        (psycopg.OperationalError,),
        StoreUnavailableError,
        f"Is the server running, and is the dsn right? {_NOT_STORED} The next call connects again.",
    ),
    _Meaning((psycopg.Error,), CheckpointError, _NOT_STORED),
)


def told(error: psycopg.Error, where: str) -> CheckpointError:
    """Return what an error of psycopg's means, where, and what to do."""
    meaning = next(meaning for meaning in _MEANINGS if isinstance(error, meaning.errors))
    return meaning.kind(f"{where}: {_reason(error)}. {meaning.advice}")


def _reason(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error) or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def taken_back(where: str) -> StoreUnavailableError:
    """Return the error of a transaction that the server took back when the connection broke."""
    return StoreUnavailableError(f"{where}: the connection broke during a commit. {_NOT_STORED}")


def unsettled(where: str, error: psycopg.Error | None = None) -> StoreUnavailableError:
    """Return the error of a commit of which nobody knows whether it was stored.

    Args:
        where: Which database.
        error: Why it cannot be found out; None: the server does not know.
    """
    reason = "the server does not know" if error is None else _reason(error)
    return StoreUnavailableError(
        f"{where}: the connection broke during a commit, and it cannot be found out whether that "
        f"is stored: {reason}. When the server is back, look at the thread with get_state(config), "
        "or go on with invoke(None, config); both begin with what is stored."
    )


def is_final(error: psycopg.Error) -> bool:
    """Whether an error ends its connection."""
    return (error.sqlstate or "").startswith(_GONE)


def parameters(dsn: str) -> Mapping[str, object]:
    """Return what a dsn says.

    Raises:
        CheckpointError: It cannot be read. The text does not quote it, as it may hold a password.
    """
    try:
        return conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        pass  # its text may quote the password, and so must not even be the context of ours
    raise CheckpointError(
        "The dsn cannot be read. Write postgresql://user:password@host:port/database, with "
        "special characters as %XX, or host=... dbname=... user=... password=..."
    )


def address(given: Mapping[str, object]) -> str:
    """Return which database is meant, without the password."""
    default = {
        option.keyword.decode(): option.val.decode()
        for option in pq.Conninfo.get_defaults()
        if option.val
    }
    known = {**default, **{key: value for key, value in given.items() if value}}
    host = known.get("host") or known.get("hostaddr") or "localhost"
    name = known.get("dbname") or known.get("user")
    return f"PostgreSQL at {host}:{known.get('port')}, database {str(name)!r}"
