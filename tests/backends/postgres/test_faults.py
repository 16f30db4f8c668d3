"""The wire to PostgreSQL is cut at the n-th word, or its disk is full, for every n of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from graphflow_checkpointers.postgres import PostgresCheckpointer

from ...conformance.faults import Drive, blocking, check_every_call, on_loop

Ask = Callable[..., list[Any]]
STEP = int(os.environ.get("GRAPHFLOW_FAULTS_STEP", "3"))
"""1: every word is cut. A cut costs a connection and the question what became of the commit."""


class Cuts:
    """Cuts the wire; the server still carries out what every other cut keeps from it.

    Args:
        wire: The way to the server.
        first: Whether it carries out the first.
        lasts: Whether it cannot be reached from then on.
    """

    def __init__(self, wire: Any, first: bool, lasts: bool) -> None:
        self.wire = wire
        self.first = first
        wire.lasts = lasts

    def arm(self, number: int) -> None:
        self.wire.has_cut, self.wire.arrives = False, (number % 2 == 0) is self.first
        self.wire.left = number

    def repair(self) -> None:
        self.wire.left, self.wire.is_down = None, False

    @property
    def has_struck(self) -> bool:
        return bool(self.wire.has_cut)


@pytest.mark.parametrize(
    ("first", "lasts", "drive"),
    [
        pytest.param(True, False, blocking, id="one"),
        pytest.param(False, True, on_loop, id="all from one on"),
    ],
)
def test_a_run_whose_wire_is_cut_at_its_nth_word_goes_on_to_the_same_end(
    wire: Any,
    far: PostgresCheckpointer,
    store: PostgresCheckpointer,
    first: bool,
    lasts: bool,
    drive: Drive,
) -> None:
    cuts = Cuts(wire, first, lasts)
    assert check_every_call(far, store, drive, cuts, "PostgreSQL at 127.0.0.1", STEP) > 15


class Disk:
    """A disk on which there is no room for the n-th row."""

    def __init__(self, sql: Ask) -> None:
        self.sql = sql

    def arm(self, number: int) -> None:
        self.left = number + 1
        self.sql(f"ALTER SEQUENCE rows_made RESTART; ALTER SEQUENCE rows_left RESTART {self.left}")

    def repair(self) -> None:
        self.sql("ALTER SEQUENCE rows_left RESTART 1000000000")

    @property
    def has_struck(self) -> bool:
        return bool(self.sql("SELECT last_value FROM rows_made")[0][0] >= self.left)


TABLES = ("thread", "branch", "frame", "row", "lease")


@pytest.fixture
def disk(store: PostgresCheckpointer, sql: Ask) -> Iterator[Disk]:
    """The server itself says that its disk is full, but has been asked to."""
    store.run(store.threads())
    sql("CREATE SEQUENCE rows_made; CREATE SEQUENCE rows_left")
    sql("""CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN
           IF nextval(''rows_made'') = (SELECT last_value FROM rows_left) THEN
             RAISE EXCEPTION USING ERRCODE = ''disk_full'', MESSAGE = ''no space left'';
           END IF;
           RETURN NEW;
         END'""")
    for table in TABLES:
        sql(f"""CREATE TRIGGER full_disk BEFORE INSERT ON graphflow_{table} FOR EACH ROW
            EXECUTE FUNCTION no_room()""")
    yield Disk(sql)
    sql("DROP FUNCTION no_room CASCADE")
    sql("DROP SEQUENCE rows_made; DROP SEQUENCE rows_left")


def test_a_disk_that_is_full_at_any_row_is_told_and_the_run_goes_on(
    dsn: str, store: PostgresCheckpointer, disk: Disk
) -> None:
    with PostgresCheckpointer(dsn) as watcher:
        assert check_every_call(store, watcher, blocking, disk, "no space left") > 15
