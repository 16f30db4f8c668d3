"""Stored bytes that were changed are read or refused, and nothing else happens.

`GRAPHFLOW_MUTATIONS` says how often, `GRAPHFLOW_SEED` repeats a failure.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

HOW_OFTEN = int(os.environ.get("GRAPHFLOW_MUTATIONS", "200000"))
SEED = int(os.environ.get("GRAPHFLOW_SEED", "0")) or random.randrange(1, 10**9)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What happened, in a process of its own."""
    command = [sys.executable, "-m", "tests.property.mutations", str(HOW_OFTEN), str(SEED)]
    place = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path))}
    done = subprocess.run(command, cwd=ROOT, env=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"GRAPHFLOW_SEED={SEED}: {done.stderr[-2000:]}"
    told: dict[str, Any] = json.loads(done.stdout)
    print(f"GRAPHFLOW_SEED={SEED}", told["outcomes"])
    return told


def test_nothing_but_errors_of_the_contract_is_raised(told: dict[str, Any]) -> None:
    assert told["wrong"] == []
    assert told["count"] == HOW_OFTEN


def test_nothing_is_imported_executed_or_opened(told: dict[str, Any]) -> None:
    assert set(told["events"]) <= {"open of a time zone", "look at a default factory"}


def test_no_more_memory_is_used_than_the_bytes_are_worth(told: dict[str, Any]) -> None:
    assert told["growth"] < 64 * 1024


def test_every_kind_of_bytes_is_refused_and_read(told: dict[str, Any]) -> None:
    found = Counter[tuple[str, bool]]()
    for outcome, number in told["outcomes"].items():
        what, how = outcome.split()
        found[what, how == "read"] += number
    for what in ("value", "frame", "row", "snapshot"):
        assert min(found[what, True], found[what, False]) > HOW_OFTEN // 1000
    assert found["export", False] > HOW_OFTEN // 1000
