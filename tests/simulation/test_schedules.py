"""Whatever the schedule, nothing that must not happen does: see `schedules`.

`GRAPHFLOW_SCHEDULES=1000000 pytest tests/simulation/test_schedules.py` plays more of them;
`GRAPHFLOW_SCHEDULES=500-501` plays one again. A schedule that fails is printed step by step.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from graphflow import MemoryCheckpointer, opening
from graphflow.checkpoint.history import load, pick
from graphflow.checkpoint.protocol import MAIN
from graphflow.checkpoint.recorder import Recorder
from graphflow.drivers.saving import Saver
from graphflow.engine.superstep import Superstep
from graphflow.opening import Opened
from graphflow.running import Run

from . import schedules
from .sabotaged_stores import SABOTAGED
from .scheduled_graphs import Scheduled, asking, deep, kept, looping, nested, wide
from .schedules import Fate, SimulatedClaim, Violation, World

CHUNK = 250
DEFAULT = "4000"
ENOUGH = 1500
"""Schedules among which one must find a sabotage."""


def wanted() -> range:
    first, _, last = os.environ.get("GRAPHFLOW_SCHEDULES", DEFAULT).rpartition("-")
    return range(int(first or 0), int(last))


def chunks() -> Iterator[Any]:
    for first in (known := wanted())[::CHUNK]:
        part = range(first, min(first + CHUNK, known.stop))
        yield pytest.param(part, id=f"{part.start}-{part.stop}")


@cache
def graphs() -> tuple[Scheduled, ...]:
    return tuple(make() for make in (wide, asking, looping, nested, kept, deep))


def play(seed: int, memory: Callable[[], MemoryCheckpointer] = MemoryCheckpointer) -> World:
    try:
        return World(seed, graphs(), memory).play()
    except AssertionError as failure:
        raise AssertionError(f"GRAPHFLOW_SCHEDULES={seed}-{seed + 1}: {failure}") from failure


def first_found(memory: Callable[[], MemoryCheckpointer] = MemoryCheckpointer) -> str | None:
    """Return how the first schedule fails that does."""
    for seed in range(ENOUGH):
        try:
            play(seed, memory)
        except AssertionError as failure:
            return str(failure)
    return None


@pytest.mark.parametrize("seeds", list(chunks()))
def test_no_schedule_shows_in_what_is_stored(seeds: range) -> None:
    for seed in seeds:
        play(seed)


def test_a_schedule_is_the_same_each_time() -> None:
    for seed in range(20):
        assert play(seed).describe() == play(seed).describe()


def test_schedules_have_all_that_can_happen() -> None:
    worlds = [play(seed) for seed in range(300)]
    fates = Counter(
        what[1] for world in worlds for *_, what in world.log if isinstance(what[1], Fate)
    )
    assert set(fates) == set(Fate)
    told = "\n".join(world.describe() for world in worlds)
    for what in (
        "finds the branch busy", "stops: Fenced", "stops: HeadMoved", "stops: AlreadyAnswered",
        "stops: Withdrawn", "stops: StoreUnavailableError", "does not fit", "sleeps until",
        "clock jumps", "as everybody knows", "and nobody knows", "is refused: Fenced", "renew",
    ):  # fmt: skip
        assert what in told, what


# -- sabotage: the suite can fail -----------------------------------------------------------------


@pytest.mark.parametrize("memory", SABOTAGED)
def test_a_sabotaged_store_is_found(memory: type[MemoryCheckpointer]) -> None:
    found = first_found(memory)
    assert found is not None
    assert "GRAPHFLOW_SCHEDULES=" in found


def takes_the_living_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedClaim, "is_over", lambda self, owner: True)


def commits_without_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Run.context

    def bare(self: Run, opened: Opened) -> Any:
        made = context(self, opened)
        assert opened.recorder is not None
        opened.recorder.lease = None
        return made

    monkeypatch.setattr(Run, "context", bare)


def commits_inside_without_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Run.context

    def bare(self: Run, opened: Opened) -> Any:
        made = context(self, opened)
        if self.nested is not None:
            assert opened.recorder is not None
            opened.recorder.lease = None
        return made

    monkeypatch.setattr(Run, "context", bare)


def claims_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_first(store: Any, codec: Any, place: Any, claim: Any) -> Any:
        base = yield from load(store, codec, place.thread, at=place.at, branch=place.branch)
        branches = yield from store.branches(place.thread)
        branch = pick(place.thread, branches, place.at, place.branch)
        yield from claim.take(place.thread, MAIN if branch is None else branch.name)
        return base

    monkeypatch.setattr(opening, "load_claimed", load_first)


def anchors_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Saver.__init__

    def loose(self: Saver, *given: Any) -> None:
        begin(self, *given)
        self.around = None

    monkeypatch.setattr(Saver, "__init__", loose)


def keeps_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Superstep, outcome: Any) -> None:
        self.refused[outcome.task.index] = outcome.error

    monkeypatch.setattr(Superstep, "refuse", refuse)


def runs_all_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Superstep, "unfinished", lambda self: list(self.tasks))


def tags_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Recorder._store

    def apart(self: Recorder, *given: Any) -> Any:
        *commit, tags = given
        yield from store(self, *commit, ())  # type: ignore[misc]  # all but the tags
        if tags:
            yield from self.store.put_tags(self.thread, tags)

    monkeypatch.setattr(Recorder, "_store", apart)


@pytest.mark.parametrize(
    "sabotage",
    [takes_the_living_for_dead, commits_without_lease, commits_inside_without_lease,
     claims_too_late, anchors_nothing, keeps_what_does_not_fit, runs_all_again,
     tags_after_the_commit],
)  # fmt: skip
def test_a_sabotaged_engine_is_found(
    sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "_endings", {})  # what comes of it is no measure for others
    sabotage(monkeypatch)
    assert first_found() is not None


def test_a_violation_is_caught_by_no_code_of_the_product() -> None:
    assert not issubclass(Violation, Exception)
