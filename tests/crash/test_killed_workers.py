"""kill -9 at any moment: what was acknowledged is not run again, and the end is the same.

`GRAPHFLOW_KILLS=1000 pytest tests/crash tests/backends -k killed` for more of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .kills import KILLS, Workers, killed, stopped, undisturbed


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'threads.db'}"


def test_killed_workers_lose_nothing_and_repeat_nothing(url: str, tmp_path: Path) -> None:
    assert killed(url, tmp_path) > 1


def test_killed_or_not_who_slept_past_his_lease_stores_nothing(url: str, tmp_path: Path) -> None:
    assert stopped(url, tmp_path, max(3, KILLS // 5)) > 0


@pytest.mark.parametrize("attempt", range(3))
def test_workers_that_compete_for_a_thread_end_as_one_would(
    url: str, tmp_path: Path, attempt: int
) -> None:
    expected = undisturbed(url, tmp_path)
    workers = Workers(url, tmp_path / "rivals")
    rivals = [workers.start() for _ in range(3)]
    for rival in rivals:
        _, errors = rival.communicate(timeout=60)
        assert rival.returncode == 0 or b"ThreadBusy" in errors, errors.decode()
    workers.finish()
    assert any(rival.returncode == 0 for rival in rivals)
    assert workers.ending() == expected
