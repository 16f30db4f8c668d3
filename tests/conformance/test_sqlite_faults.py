"""SQLite's n-th call fails, for every n of a run: told, nothing lost, and the run goes on."""

from __future__ import annotations

import functools
import resource
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from graphflow import CheckpointError
from graphflow.checkpoint.protocol import MAIN
from graphflow.testing.material import answer, stored
from graphflow_checkpointers.sqlite import SqliteCheckpointer

from .faults import DRIVES, Drive, at_exit, blocking, check_every_call, expected, on_loop, play


class Failures:
    """Makes calls of connections fail.

    Args:
        code: SQLite's, of the error.
        moment: `before`: nothing is done; `ended`: the transaction is over, too; `after`: it is
            done all the same.
        lasts: Whether all calls fail until it is repaired.
    """

    def __init__(self, code: int, moment: str, lasts: bool) -> None:
        self.code = code
        self.moment = moment
        self.lasts = lasts
        self.left: int | None = None
        self.keeps_open = False
        """Whether a transaction that fails cannot even be taken back."""
        self.has_struck = False

    def arm(self, number: int) -> None:
        self.left, self.has_struck = number, False

    def repair(self) -> None:
        self.left = None

    def strikes(self) -> bool:
        if self.left is None:
            return False
        self.left -= 1
        if self.left >= 0:
            return False
        self.has_struck = True
        if not self.lasts:
            self.left = None
        return True

    def error(self) -> sqlite3.OperationalError:
        error = sqlite3.OperationalError("made up by a test")
        error.sqlite_errorcode = self.code
        return error


class Connection(sqlite3.Connection):
    """A connection whose calls fail when they are told to."""

    failures: Failures

    def execute(self, text: str, /, *values: Any) -> sqlite3.Cursor:
        if not self.failures.strikes():
            return super().execute(text, *values)
        takes_back = text == "ROLLBACK" and not self.failures.keeps_open
        if self.failures.moment == "after" or takes_back:
            super().execute(text, *values)
        elif self.failures.moment == "ended" and self.in_transaction:
            super().execute("ROLLBACK")
        raise self.failures.error()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "threads.db"


def failing(path: Path, failures: Failures, patch: pytest.MonkeyPatch) -> SqliteCheckpointer:
    """Return a store whose connection fails."""
    made = type("Failing", (Connection,), {"failures": failures})
    with patch.context() as place:
        place.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=made))
        return SqliteCheckpointer(path, synchronous="normal")


FULL, LOCKED, OTHER = "is full", "locked by another process", "made up by a test"
FAULTS = [
    pytest.param(sqlite3.SQLITE_FULL, "ended", False, FULL, blocking, id="full"),
    pytest.param(sqlite3.SQLITE_FULL, "before", True, FULL, on_loop, id="full for a while"),
    pytest.param(sqlite3.SQLITE_FULL, "ended", True, FULL, at_exit, id="full at the exit"),
    pytest.param(sqlite3.SQLITE_IOERR_WRITE, "before", False, OTHER, blocking, id="not written"),
    pytest.param(sqlite3.SQLITE_IOERR_FSYNC, "after", False, OTHER, blocking, id="done"),
    pytest.param(sqlite3.SQLITE_IOERR_FSYNC, "after", False, OTHER, at_exit, id="done at the exit"),
    pytest.param(sqlite3.SQLITE_IOERR_READ, "ended", True, OTHER, blocking, id="not read"),
    pytest.param(sqlite3.SQLITE_BUSY, "before", False, LOCKED, blocking, id="busy"),
    pytest.param(sqlite3.SQLITE_BUSY_SNAPSHOT, "before", True, LOCKED, at_exit, id="busy for long"),
]


@pytest.mark.parametrize(("code", "moment", "lasts", "text", "drive"), FAULTS)
def test_a_run_whose_nth_call_fails_goes_on_to_the_same_end(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    moment: str,
    lasts: bool,
    text: str,
    drive: Drive,
) -> None:
    failures = Failures(code, moment, lasts)
    with (
        failing(path, failures, monkeypatch) as store,
        SqliteCheckpointer(path, synchronous="normal") as watcher,
    ):
        assert check_every_call(store, watcher, drive, failures, text) > 20


class Disk:
    """A disk that has room for so many pages."""

    def __init__(self, store: SqliteCheckpointer) -> None:
        self.connection = store._connection
        self.has_struck = False

    def arm(self, number: int) -> None:
        pages = self.connection.execute("PRAGMA page_count").fetchone()[0]
        self.connection.execute(f"PRAGMA max_page_count={pages + number}")

    def repair(self) -> None:
        self.has_struck = True
        self.connection.execute("PRAGMA max_page_count=1000000")


@pytest.mark.parametrize("drive", DRIVES)
def test_a_disk_that_is_full_at_any_page_is_told_and_the_run_goes_on(
    path: Path, drive: Drive
) -> None:
    ending, pages = expected(drive), 0
    while True:
        file = path.with_name(f"{pages}.db")
        with (
            SqliteCheckpointer(file, synchronous="normal") as store,
            SqliteCheckpointer(file, synchronous="normal") as watcher,
        ):
            disk = Disk(store)
            disk.arm(pages)
            assert play(store, watcher, drive, disk, "is full") == ending
        if not disk.has_struck:
            break
        pages += 1
    assert pages > 5


class Limit:
    """A limit to the size of files, of this process."""

    def __init__(self) -> None:
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.has_struck = False

    def arm(self, number: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, self.before[1]))

    def repair(self) -> None:
        self.has_struck = True
        self.lift()

    def lift(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


@pytest.mark.parametrize("drive", DRIVES)
def test_a_file_that_may_not_grow_at_any_size_is_told_and_the_run_goes_on(
    path: Path, drive: Drive
) -> None:
    ending = expected(drive)
    for size in range(40_000, 10_000_000, 16_384):
        file, limit = path.with_name(f"{size}.db"), Limit()
        with (
            SqliteCheckpointer(file, synchronous="normal") as store,
            SqliteCheckpointer(file, synchronous="normal") as watcher,
        ):
            limit.arm(size)
            try:
                assert play(store, watcher, drive, limit, str(file)) == ending
            finally:
                limit.lift()
        if not limit.has_struck:
            break
    assert size > 40_000 + 5 * 16_384


def test_a_call_after_one_that_could_not_be_taken_back_is_a_transaction_of_its_own(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = Failures(sqlite3.SQLITE_IOERR, "before", True)
    with failing(path, failures, monkeypatch) as store, SqliteCheckpointer(path) as watcher:
        branch = store.run(store.create_branch("t", "", MAIN, None, -1))
        store.run(store.append(branch.id, -1, stored(0), drop_rows=False))
        failures.keeps_open = True
        failures.arm(2)
        with pytest.raises(CheckpointError, match=OTHER):
            store.run(store.put_rows(branch.id, 0, [answer(0)], []))
        failures.repair()
        store.run(store.append(branch.id, 0, stored(1), drop_rows=False))
        assert watcher.run(watcher.frames(branch.id, -1, 9)) == stored(0, 1)
