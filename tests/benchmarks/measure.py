"""Runs measurements, each in a fresh interpreter, in turns among the contenders, and takes medians.

Turns, so that a machine that slows down for a minute slows all contenders down: ratios within one
run hold where absolute times do not.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .case import Case, Figures

ROOT = Path(__file__).parents[2]
QUICK_SIZE = 100


class MeasurementFailed(Exception):
    """A worker ended with an error; the message is the last line of its output."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The medians of one case at one size."""

    case: Case
    size: int
    figures: dict[str, Figures]
    """Contender → figures; a contender that failed is absent."""
    failures: dict[str, str]
    """Contender → what went wrong."""


def sizes(case: Case, quick: bool) -> tuple[int, ...]:
    """The sizes to run at; a quick run stops at 100."""
    if not quick:
        return case.sizes
    return tuple(sorted({min(size, QUICK_SIZE) for size in case.sizes}))


def measure(
    case: Case,
    size: int,
    contenders: tuple[str, ...],
    repeats: int,
    tell: Callable[[str], None],
) -> Measurement:
    """Measures all contenders `repeats` times, or as often as the case allows, in turns."""
    repeats = min(repeats, case.most_repeats)
    runs: dict[str, list[Figures]] = {name: [] for name in contenders}
    failures: dict[str, str] = {}
    for turn in range(repeats):
        for name in _still_running(contenders, failures):
            tell(f"{case.name} {size} {name} {turn + 1}/{repeats}")
            try:
                runs[name].append(_in_a_fresh_interpreter(case, size, name))
            except MeasurementFailed as failure:
                failures[name] = str(failure)
    figures = {name: _medians(runs[name]) for name in _still_running(contenders, failures)}
    return Measurement(case, size, figures, failures)


def _still_running(contenders: tuple[str, ...], failures: dict[str, str]) -> Iterator[str]:
    return (name for name in contenders if name not in failures)


def _medians(runs: list[Figures]) -> Figures:
    return {key: median(run[key] for run in runs) for key in runs[0]}


def _in_a_fresh_interpreter(case: Case, size: int, contender: str) -> Figures:
    command = [sys.executable, "-m", "tests.benchmarks.worker", case.name, str(size), contender]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=_environment())
    if done.returncode:
        raise MeasurementFailed(done.stderr.strip().splitlines()[-1])
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _environment() -> dict[str, str]:
    """Modules are loaded as users load them, compiled; nobody traces; hashes fall alike."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "LANGSMITH_TRACING": "false", "PYTHONHASHSEED": "0"}
