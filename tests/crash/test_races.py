"""Two processes on one thread: exactly one wins, the loser is refused before any node runs.

`GRAPHFLOW_RACES=10000 pytest tests/crash/test_races.py tests/backends -k race` for more of them.
"""

from __future__ import annotations

from pathlib import Path

from .races import raced


def test_of_two_processes_that_race_exactly_one_wins_in_sqlite(tmp_path: Path) -> None:
    told = raced(f"sqlite:///{tmp_path / 'threads.db'}", tmp_path)
    assert told["ThreadBusy"] > 0
