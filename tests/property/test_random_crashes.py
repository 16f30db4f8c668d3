"""Whatever graph is run: neither crashes nor the order of answers show in what is stored."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from graphflow import AlreadyAnswered, Command

from .mortal_stores import Commit
from .random_graphs import Drawing
from .seeds import NAP, check, each_seed, same, same_ending, undisturbed
from .stories import INPUT, THREAD, Simulated, Story, answers, in_groups, one_by_one

pytestmark = pytest.mark.filterwarnings("ignore::graphflow.errors.GraphWarning")
Point = tuple[str, int]


class Watched(Story):
    """Checks after each run that nothing was executed again that the store has the result of."""

    acknowledged: frozenset[str] = frozenset()

    def run(self, *given: Any) -> bool:
        stopped = super().run(*given)
        assert not self.acknowledged.intersection(self.executed), "executed again"
        assert len(set(self.executed)) == len(self.executed), "executed twice in one run"
        self.acknowledged |= self.done() if stopped else {*self.done(), *self.executed}
        return stopped


def crashes_do_not_show(drawing: Drawing) -> None:
    expected, crashes = undisturbed(drawing), 0
    for points in crash_points(drawing.salt, expected.store.commits):
        story = Watched(drawing, nap=NAP)
        story.store.dies = at(points)
        story.play(Simulated(0))
        same_ending(story, expected, f"after crashes at {points}")
        crashes += len(story.store.dead)
    assert crashes  # at most points: how many commits graphs inside make depends on their threads


def crash_points(seed: int, commits: int) -> Iterator[set[Point]]:
    dice = random.Random(seed)
    points = [(moment, number) for moment in ("before", "after") for number in range(commits)]
    for point in dice.sample(points, min(len(points), 4)):
        yield {point}
    yield set(dice.sample(points, 2))


def at(points: set[Point]) -> Callable[[Commit], bool]:
    """Return where a store dies: once at each of these points."""
    left = set(points)

    def dies(commit: Commit) -> bool:
        here = (commit.moment, commit.number)
        found = here in left
        left.discard(here)
        return found

    return dies


def order_of_answers_does_not_show(drawing: Drawing) -> None:
    expected = undisturbed(drawing)
    if len(expected.streams) == 1:
        return  # nobody asked
    for policy in (one_by_one(1), one_by_one(2), in_groups(3)):
        story = Watched(drawing, nap=NAP).play(Simulated(0), policy)
        same_ending(story, expected, "with another order of answers")


def answers_are_used_once(drawing: Drawing) -> None:
    story = Story(drawing, nap=NAP)
    stopped = story.run(Simulated(0), INPUT)
    for _ in range(4):
        questions = story.app.get_state(THREAD).interrupts[:1]
        if stopped or not questions:
            return
        if questions[0].response_schema is not None:
            refused(story, Command(resume={questions[0].id: "no dict"}), ValidationError)
        stopped = story.run(Simulated(0), answers(questions))
        if not stopped:
            refused(story, answers(questions), AlreadyAnswered)


def refused(story: Story, answer: Command[Any], error: type[Exception]) -> None:
    """Assert that an answer is refused and changes nothing."""
    before = story.history(), story.values()
    try:
        story.run(Simulated(0), answer)
    except error:
        same((story.history(), story.values()), before, "after an answer that was refused")
    else:
        raise AssertionError(f"{answer} was taken")


@each_seed
def test_a_crash_at_any_commit_does_not_show(seeds: range) -> None:
    check(seeds, crashes_do_not_show)


@each_seed
def test_the_order_of_answers_does_not_show(seeds: range) -> None:
    check(seeds, order_of_answers_does_not_show)


@each_seed
def test_an_answer_is_used_once(seeds: range) -> None:
    check(seeds, answers_are_used_once)
