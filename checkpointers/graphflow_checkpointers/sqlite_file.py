"""A SQLite file of graphflow's: opened, recognised, and used by one caller at a time.

The file's `application_id` says what it holds. A file that holds anything else is never written to.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from graphflow.errors import (
    CheckpointError,
    CorruptCheckpointError,
    ForeignDatabaseError,
    StoreFullError,
    StoreTooNewError,
)

T = TypeVar("T")
Synchronous = Literal["full", "normal"]


_files: weakref.WeakSet[Any] = weakref.WeakSet()


def _after_fork() -> None:
    """Forget the threads of the parent process: they are not there."""
    for file in _files:
        file._thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Contents(NamedTuple):
    """What a file holds."""

    name: str
    """For messages: "memory store"."""
    application: int
    """SQLite's `application_id` of such a file."""
    version: int
    """Of the tables."""
    tables: tuple[str, ...]
    """Statements that make them."""
    migrations: tuple[tuple[str, ...], ...] = ()
    """Statements that make of version 1 version 2, and so on."""
    when_full: str = "Nothing was changed; make room."
    """What to tell when the disk is full."""


class SqliteFile:
    """One connection, one lock, one thread for asyncio callers.

    Raises:
        ForeignDatabaseError: The file holds something else; it was not touched.
        StoreTooNewError: A newer graphflow made it; it was not touched.
    """

    def __init__(
        self,
        path: str | Path,
        contents: Contents,
        *,
        synchronous: Synchronous = "full",
        busy_timeout: float = 5.0,
    ) -> None:
        self.path = str(path)
        self.contents = contents
        self.synchronous = synchronous
        self.lock = threading.RLock()
        """Held by whoever uses the connection."""
        self._thread: ThreadPoolExecutor | None = None
        _files.add(self)
        try:
            self.connection = sqlite3.connect(
                self.path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
            )
        except sqlite3.OperationalError as error:
            raise CheckpointError(
                f"Cannot open {self.path}: {error}. Does its folder exist and may it be written?"
            ) from error
        # Whoever forgets to close it, as notebooks do, gets it closed.
        weakref.finalize(self, self.connection.close)
        try:
            self._prepare(contents)
        except BaseException:
            self.connection.close()
            raise

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        """Lend the connection for one transaction; an error takes back what it wrote.

        Raises:
            CheckpointError: SQLite refuses; the text says what to do.
        """
        with self.lock:
            try:
                self.connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException as error:
                self.take_back()
                if isinstance(error, sqlite3.Error):
                    raise self.told(error) from error
                raise

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run a statement inside `transaction`."""
        return self.connection.execute(statement, values)

    async def aside(self, work: Callable[[], T]) -> T:
        """Do blocking work on the file's own thread."""
        import asyncio  # here: a program without a loop does not need it

        with self.lock:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="graphflow-sqlite")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """Write the log back into the file and close it."""
        if self._thread is not None:
            self._thread.shutdown()
        with self.lock:
            self.connection.close()

    def take_back(self) -> None:
        """Undo the open transaction, if there is one, and be as durable as ever."""
        with suppress(sqlite3.Error):  # what was wrong before is told
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        with suppress(sqlite3.Error):  # a connection that is closed
            self._be_durable()

    def _be_durable(self) -> None:
        self.connection.execute(
            "PRAGMA synchronous=FULL" if self.synchronous == "full" else "PRAGMA synchronous=NORMAL"
        )

    # -- opening -------------------------------------------------------------------------------

    def _prepare(self, contents: Contents) -> None:
        try:
            if self._version(contents) < contents.version:
                self._migrate(contents)
            self.connection.execute("PRAGMA foreign_keys=ON")
            self.connection.execute("PRAGMA secure_delete=ON")  # nothing removed can be read again
            self.connection.execute("PRAGMA journal_mode=WAL")
            self._be_durable()
        except sqlite3.Error as error:
            raise self.told(error) from error

    def _version(self, contents: Contents) -> int:
        """Return the version of the tables, 0: there are none; refuse what is not ours."""
        application, version, tables = (
            self.connection.execute(question).fetchone()[0]
            for question in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT count(*) FROM sqlite_schema",
            )
        )
        if not tables and application in (0, contents.application):
            return 0
        if application != contents.application:
            raise ForeignDatabaseError(
                f"{self.path} is a SQLite database, but no {contents.name} of graphflow. Nothing "
                f"was written to it; give the {contents.name} a file of its own."
            )
        if version > contents.version:
            raise StoreTooNewError(
                f"{self.path} has table format {version}, this graphflow knows up to "
                f"{contents.version}. Nothing was written to it; upgrade graphflow."
            )
        return int(version)

    def _migrate(self, contents: Contents) -> None:
        """Make the tables, or what has come since those in the file were made."""
        with self.transaction(write=True) as connection:
            version = self._version(contents)  # another process may have been faster
            steps = contents.migrations[version - 1 :] if version else (contents.tables,)
            for statement in (statement for step in steps for statement in step):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={contents.application:d}")
            connection.execute(f"PRAGMA user_version={contents.version:d}")

    def told(self, error: sqlite3.Error) -> CheckpointError:
        """Return what an error of SQLite's means, where, and what to do."""
        path = self.path
        code: Any = getattr(error, "sqlite_errorcode", None)
        primary = code & 0xFF if isinstance(code, int) else None
        if primary == sqlite3.SQLITE_FULL:
            return StoreFullError(f"The disk under {path} is full. {self.contents.when_full}")
        if primary == sqlite3.SQLITE_NOTADB:
            return ForeignDatabaseError(f"{path} is no SQLite database; it was not touched.")
        if primary == sqlite3.SQLITE_CORRUPT:
            return CorruptCheckpointError(f"{path} is damaged ({error}). Restore it from a backup.")
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return CheckpointError(
                f"{path} is locked by another process for longer than busy_timeout. Nothing was "
                "changed; try again."
            )
        return CheckpointError(f"{path}: {error}. Nothing was changed.")
