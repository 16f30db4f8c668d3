"""Whatever graph was run, forked and replayed: what is kept of its history reads and goes on as
before, and what is not kept is gone.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from graphflow import StateSnapshot, UnknownCheckpointError
from graphflow.checkpoint.check import check_thread
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.retention import Keep, prune

from .random_graphs import Drawing
from .seeds import check, each_seed, same, undisturbed
from .stories import THREAD, Simulated, Story
from .test_random_forks import EDIT, told

pytestmark = pytest.mark.filterwarnings("ignore::graphflow.errors.GraphWarning")


def pruned_threads_read_and_go_on_the_same(drawing: Drawing) -> None:
    dice = random.Random(drawing.salt)
    pruned, whole = (forked(drawing, random.Random(drawing.salt)) for _ in range(2))
    same(pruned.history(), whole.history(), "history of two stories that are told alike")
    known, branches = whole.history(), whole.app.branches("t")
    keep = dice.choice([Keep(last=dice.randint(1, 8)), Keep(interrupts=dice.randint(1, 2)),
                        Keep(tagged={"source": "never"})])  # fmt: skip
    store = pruned.store
    removed = store.run(prune(store, "t", keep, 0.0))
    assert store.run(check_thread(store, Codec(), "t")) == []
    assert store.run(prune(store, "t", keep, 0.0)).checkpoints == 0
    left = pruned.history()
    assert sum(map(len, known.values())) - sum(map(len, left.values())) == removed.checkpoints
    assert pruned.app.branches("t") == branches
    for scope, shots in left.items():
        before = {shot.config["configurable"]["checkpoint_id"]: shot for shot in known[scope]}
        for shot in shots:
            was = before[shot.config["configurable"]["checkpoint_id"]]
            if shot.parent_config is None:  # a branch begins with it now
                was = was._replace(parent_config=None)
            same(shot, was, f"checkpoint of {scope!r}, {keep}")
    wanted(keep, pruned, whole)
    goes_on(dice.choice(left[""]), pruned, whole)


def forked(drawing: Drawing, dice: random.Random) -> Story:
    """Return a story with branches: replays and edits of some of its checkpoints."""
    story = undisturbed(drawing)
    for _ in range(2):
        config = dice.choice(story.shots()).config
        if dice.random() < 0.5:
            config = story.app.update_state(config, EDIT, as_node=drawing.nodes[0].name)
        story.play(Simulated(0), given=None, config=config)
    return story


def wanted(keep: Keep, pruned: Story, whole: Story) -> None:
    """Assert that each branch has its newest checkpoints."""
    for name in whole.app.branches("t"):
        there, was = (_line(story, name) for story in (pruned, whole))
        same(there, was[: len(there)], f"the way to the head of {name}, {keep}")
        assert len(there) >= min(keep.last or 1, len(was))


def _line(story: Story, name: str) -> list[Any]:
    by_id = {shot.config["configurable"]["checkpoint_id"]: shot for shot in story.shots()}
    line, identity = [], story.app.branches("t")[name]
    while identity in by_id:
        line.append(identity)
        before = by_id[identity].parent_config
        identity = "" if before is None else before["configurable"]["checkpoint_id"]
    return line


def goes_on(base: StateSnapshot, pruned: Story, whole: Story) -> None:
    """Assert that a replay of a kept checkpoint goes as if nothing had been removed."""
    told_of = []
    for story in (pruned, whole):
        known = [shot.config for shot in story.shots()]
        story.play(Simulated(7), given=None, config=base.config)
        told_of.append([told(shot) for shot in story.shots() if shot.config not in known])
    same(told_of[0], told_of[1], "history of a replay")
    same(pruned.values(), whole.values(), "state after a replay")


@each_seed
def test_what_is_kept_reads_and_goes_on_as_before(seeds: range) -> None:
    check(seeds, pruned_threads_read_and_go_on_the_same)


def test_what_is_not_kept_is_not_found(drawn_story: Story) -> None:
    old = drawn_story.shots()[-1].config
    drawn_story.store.run(prune(drawn_story.store, "t", Keep(last=1), 0.0))
    with pytest.raises(UnknownCheckpointError):
        drawn_story.app.get_state(old)
    assert len(list(drawn_story.app.get_state_history(THREAD))) == 1


@pytest.fixture
def drawn_story() -> Story:
    from .random_graphs import drawn

    return undisturbed(drawn(3))
