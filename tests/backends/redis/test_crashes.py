"""Workers and servers that are killed or stopped, and workers that race, on Valkey."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...crash.kills import KILLS, killed, server_killed, stopped
from ...crash.races import raced
from .conftest import Server


def test_killed_workers_lose_nothing_and_repeat_nothing(url: str, tmp_path: Path) -> None:
    assert killed(url, tmp_path) > 1


def test_killed_or_not_who_slept_past_his_lease_stores_nothing(url: str, tmp_path: Path) -> None:
    assert stopped(url, tmp_path, max(3, KILLS // 5)) > 0


def test_a_killed_server_loses_nothing_it_had_acknowledged(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(appendfsync="always")
    server_killed(server.url, tmp_path / "workers", server.kill, server.start, max(5, KILLS // 4))


def test_of_two_processes_that_race_exactly_one_wins(url: str, tmp_path: Path) -> None:
    assert raced(url, tmp_path)["ThreadBusy"] > 0
