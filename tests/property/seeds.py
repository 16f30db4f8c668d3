"""Properties of random graphs, checked seed by seed.

`GRAPHFLOW_SEEDS=10000 pytest tests/property` checks more seeds; `GRAPHFLOW_SEEDS=4711-4712` checks
those alone. A seed that fails is printed with its graph, made as small as it can be in a while.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .random_graphs import Drawing, drawn, shrunk
from .stories import Simulated, Story

Property = Callable[[Drawing], None]
CHUNK = 20
NAP = 9.0
"""Seconds of the simulated clock: three naps are more than an idle timeout allows."""
PATIENCE = 60.0
"""Seconds that making a graph smaller may take."""


def _seeds() -> range:
    first, _, last = os.environ.get("GRAPHFLOW_SEEDS", "16").rpartition("-")
    return range(int(first or 0), int(last))


def _chunks() -> Iterator[Any]:
    for first in (known := _seeds())[::CHUNK]:
        part = range(first, min(first + CHUNK, known.stop))
        yield pytest.param(part, id=f"{part.start}-{part.stop}")


each_seed = pytest.mark.parametrize("seeds", list(_chunks()))


def check(seeds: range, holds: Property) -> None:
    """Assert that a property holds for the graphs of these seeds."""
    for seed in seeds:
        drawing = drawn(seed)
        error = problem(holds, drawing)
        if error is not None:
            small = smallest(drawing, holds, type(error))
            again = problem(holds, small) or error
            what = f"{holds.__name__} does not hold, GRAPHFLOW_SEEDS={seed}-{seed + 1}"
            raise AssertionError(f"{what}\n{small.describe()}\n{again!r:.4000}") from again


def smallest(drawing: Drawing, holds: Property, kind: type[Exception]) -> Drawing:
    """Return a small graph for which the property fails as it does for `drawing`."""
    end = time.monotonic() + PATIENCE
    return shrunk(
        drawing,
        lambda each: time.monotonic() < end and isinstance(problem(holds, each), kind),
    )


def problem(holds: Property, drawing: Drawing) -> Exception | None:
    """Return how the property fails; None: it holds."""
    try:
        holds(drawing)
    except Exception as error:
        return error
    return None


def undisturbed(drawing: Drawing) -> Story:
    """Return the story that all others are compared with."""
    return Story(drawing, nap=NAP).play(Simulated(0))


def same_ending(story: Story, expected: Story, what: str) -> None:
    """Assert that two stories have the same state and the same history."""
    same(story.values(), expected.values(), f"state, {what}")
    same(story.history(), expected.history(), f"history, {what}")


def same(found: Any, expected: Any, what: str) -> None:
    """Assert that two values are equal; say where they first differ."""
    assert found == expected, f"{what}: {difference(found, expected)}"


def difference(found: Any, expected: Any) -> str:
    """Return the first place at which two values differ."""
    if isinstance(found, Counter):
        return f"too much {list(found - expected)[:2]}, missing {list(expected - found)[:2]}"
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in [*expected, *found]:
            if key not in found or key not in expected:
                return f"{key!r} is " + ("missing" if key in expected else "too much")
            if found[key] != expected[key]:
                return f"{key!r}: {difference(found[key], expected[key])}"
    if isinstance(found, (list, tuple)) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        index, (one, two) = next(pair for pair in pairs if pair[1][0] != pair[1][1])
        return f"{index}: {difference(one, two)}"
    return f"{found!r} instead of {expected!r}"
