"""Whatever graph is run: neither the order in which tasks end nor who runs it shows.

A seed draws a graph (`random_graphs`: edges, joins, conditional edges, Sends, Commands, deferred
nodes, graphs inside nodes, questions, failures, calls of tasks, timeouts) whose nodes are pure
functions of what they read (`played_graphs`). It is played to its end in several ways (`stories`).
"""

from __future__ import annotations

import pytest

from .mortal_stores import MortalSqlite
from .random_graphs import Drawing, Node, drawn
from .seeds import NAP, check, each_seed, same, same_ending, undisturbed
from .stories import Simulated, Story, looped, threaded

pytestmark = pytest.mark.filterwarnings("ignore::graphflow.errors.GraphWarning")


def order_does_not_show(drawing: Drawing) -> None:
    expected = undisturbed(drawing)
    for order in (1, 2):
        story = Story(drawing, nap=NAP).play(Simulated(order))
        same_ending(story, expected, f"order {order}")
        same_streams(story, expected, f"order {order}")


def drivers_do_the_same(drawing: Drawing) -> None:
    expected = undisturbed(drawing)
    for driver in (threaded, looped):
        story = Story(drawing).play(driver)
        same_ending(story, expected, driver.__name__)
        same_streams(story, expected, driver.__name__)


def stores_hold_the_same(drawing: Drawing) -> None:
    expected = undisturbed(drawing)
    story = Story(drawing, MortalSqlite(), nap=NAP)
    try:
        same_ending(story.play(Simulated(0)), expected, "SQLite")
    finally:
        story.store.close()


def same_streams(story: Story, expected: Story, what: str) -> None:
    if not story.drawing.fails_for_good:
        same(story.counted(), expected.counted(), f"streams, {what}")


@each_seed
def test_the_order_in_which_tasks_end_does_not_show(seeds: range) -> None:
    check(seeds, order_does_not_show)


@each_seed
def test_both_real_drivers_do_what_the_simulation_does(seeds: range) -> None:
    check(seeds, drivers_do_the_same)


@each_seed
def test_memory_and_sqlite_hold_the_same_history(seeds: range) -> None:
    check(seeds, stores_hold_the_same)


def features(node: Node) -> set[str]:
    found = {node.fails, node.sleeps, *node.calls}
    found |= {flag for flag in ("is_async", "defer", "goes", "branches") if getattr(node, flag)}
    if node.inside is not None:
        found |= {node.inside.how, f"keeps {node.inside.keeps}"}
        deeper = node.inside.graph.walk()
        found |= {"deep" for inner in deeper if inner.inside is not None}
    return found


def test_what_is_drawn_has_everything() -> None:
    wanted = {
        "retried", "resumed", "handled", "handled late", "naps", "beats", "oversleeps", "plain",
        "flaky", "asking", "nesting", "async", "is_async", "defer", "goes", "branches", "node",
        "called", "called twice", "keeps None", "keeps True", "keeps False", "deep",
    }  # fmt: skip
    drawings = [drawn(seed) for seed in range(200)]
    assert wanted <= {what for each in drawings for node in each.walk() for what in features(node)}
    assert sum(each.fails_for_good for each in drawings) in range(30, 120)
    assert any(each.joins for each in drawings)
