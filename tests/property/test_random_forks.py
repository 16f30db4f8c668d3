"""Whatever graph is run: a line of its history that forks goes the way it would have gone then."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from graphflow import StateSnapshot

from .random_graphs import Drawing
from .seeds import NAP, check, each_seed, same, undisturbed
from .stories import INPUT, THREAD, Simulated, Story, all_at_once

pytestmark = pytest.mark.filterwarnings("ignore::graphflow.errors.GraphWarning")
EDIT = {"log": ["edited"], "total": 100}


def replays_go_the_same_way(drawing: Drawing) -> None:
    story = undisturbed(drawing)
    dice, line, final = random.Random(drawing.salt), story.shots(), story.values()
    for number in dice.sample(range(1, len(line)), min(3, len(line) - 1)):
        known = story.history()
        story.play(Simulated(0), given=None, config=line[number].config)
        unchanged(story, known)
        *later, first = line_to(story.shots(), line[number])
        assert first.metadata is not None
        assert first.metadata["source"] == "fork"
        was = [(step + 1, *rest) for step, *rest in map(told, line[:number])]
        same([told(shot) for shot in later], was, f"replay at {number}")
        same(story.values(), final, f"state after a replay at {number}")


def updates_go_the_same_way(drawing: Drawing) -> None:
    story = undisturbed(drawing)
    dice, line = random.Random(drawing.salt), story.shots()
    for number in dice.sample(range(len(line) - 1), min(2, len(line) - 1)):
        known, base = story.history(), line[number]
        node = dice.choice(drawing.nodes).name
        edited = story.app.update_state(base.config, EDIT, as_node=node)
        story.play(Simulated(0), given=None, config=edited)
        unchanged(story, known)
        fresh = cut_off_at(drawing, base)
        fresh.app.update_state(THREAD, EDIT, as_node=node)
        fresh.play(Simulated(0), given=None)
        ours, theirs = (line_to(each.shots(), base) for each in (story, fresh))
        same([told(s) for s in ours], [told(s) for s in theirs], f"update as {node} at {number}")
        same(story.values(), fresh.values(), f"state after an update as {node} at {number}")


def unchanged(story: Story, known: dict[str, list[StateSnapshot]]) -> None:
    """Assert that all checkpoints there were are still there, as they were."""
    now = story.history()
    for scope, shots in known.items():
        same([shot for shot in now[scope] if shot in shots], shots, f"old history of {scope!r}")


def line_to(shots: Sequence[StateSnapshot], base: StateSnapshot) -> list[StateSnapshot]:
    """Return what leads from the newest checkpoint back to `base`, without it."""
    by_id = {shot.config["configurable"]["checkpoint_id"]: shot for shot in shots}
    line, here = [], shots[0]
    while here.config != base.config:
        line.append(here)
        assert here.parent_config is not None
        here = by_id[here.parent_config["configurable"]["checkpoint_id"]]
    return line


def told(shot: StateSnapshot) -> tuple[Any, ...]:
    """Return what a checkpoint of one line has in common with that of another."""
    assert shot.metadata is not None
    asked = [sorted(question.value for question in task.interrupts) for task in shot.tasks]
    results = [(task.name, task.result, task.error) for task in shot.tasks]
    return shot.metadata["step"], shot.metadata["source"], shot.values, shot.next, results, asked


def cut_off_at(drawing: Drawing, base: StateSnapshot) -> Story:
    """Return a story that crashed when it had just committed `base`."""
    seq = int(base.config["configurable"]["checkpoint_id"].split("-")[0])
    story = Story(drawing, nap=NAP)
    story.store.dies = lambda commit: commit.moment == "after" and ("", seq) in commit.frames
    given: Any = INPUT
    while not story.store.dead:
        stopped = story.run(Simulated(0), given)
        given = story.next_input(all_at_once, stopped)
    return story


@each_seed
def test_a_replay_goes_the_way_it_went(seeds: range) -> None:
    check(seeds, replays_go_the_same_way)


@each_seed
def test_an_update_of_an_old_checkpoint_goes_on_as_it_would_have_then(seeds: range) -> None:
    check(seeds, updates_go_the_same_way)
