"""Workers and servers that are killed or stopped, and workers that race, on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from ...crash.kills import KILLS, killed, server_killed, stopped
from ...crash.races import raced
from .conftest import Server


def test_killed_workers_lose_nothing_and_repeat_nothing(dsn: str, tmp_path: Path) -> None:
    assert killed(dsn, tmp_path) > 1


def test_killed_or_not_who_slept_past_his_lease_stores_nothing(dsn: str, tmp_path: Path) -> None:
    assert stopped(dsn, tmp_path, max(3, KILLS // 5)) > 0


def test_a_killed_server_loses_nothing_it_had_acknowledged(server: Server, tmp_path: Path) -> None:
    server_killed(server.dsn, tmp_path, server.kill, server.start, max(5, KILLS // 4))


def test_of_two_processes_that_race_exactly_one_wins(dsn: str, tmp_path: Path) -> None:
    assert raced(dsn, tmp_path)["ThreadBusy"] > 0
