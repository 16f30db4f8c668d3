"""Random replays, forks, edits and inputs on random graphs: both libraries keep the same history.

Joins, deferred nodes, copies, replays of the newest checkpoint and results in old records are not
drawn or shown: where they differ, `test_updates.py` and `test_time_travel.py` have a program each.
"""

import dataclasses
import random
from typing import Any

import pytest

from .libraries import GRAPHFLOW, LANGGRAPH
from .observations import difference, plain
from .programs import SYNC, THREAD
from .random_graphs import Drawing, compiled, drawn

LIMITED = {**THREAD, "recursion_limit": 10}


@pytest.mark.parametrize("seed", range(80))
def test_random_journey(seed: int) -> None:
    drawing = dataclasses.replace(drawn(seed), durability="sync", joins=[], deferred=set())
    theirs, ours = (travelled(library, drawing, seed) for library in (LANGGRAPH, GRAPHFLOW))
    assert ours == theirs, f"\n{drawing}\n{difference(ours, theirs)}"


def travelled(library: Any, drawing: Drawing, seed: int) -> list[Any]:
    """Run a graph and go back and forth in its thread; return what each step showed."""
    dice = random.Random(seed)
    app = compiled(library, drawing)
    shown: list[Any] = [_done(lambda: SYNC.invoke(app, {"log": ["in"], "n": 0}, LIMITED))]
    while len(shown) < 6 and "GraphRecursionError" not in shown[-1]:
        step = dice.choice([_replay, _edit, _edit_now, _input, _answer])
        place = dice.random()
        node = dice.choice(list(drawing.nodes))
        result = _done(lambda step=step, at=place, node=node: step(library, app, at, node))
        shown.append((step.__name__, result, _history(app)))
    return shown if "GraphRecursionError" not in shown[-1] else shown[:-1]


def _at(app: Any, place: float) -> Any:
    history = SYNC.history(app)
    config = history[min(1 + int(place * len(history)), len(history) - 1)].config
    return {**config, "recursion_limit": 10}


def _replay(library: Any, app: Any, place: float, node: str) -> Any:
    return SYNC.invoke(app, None, _at(app, place))


def _edit(library: Any, app: Any, place: float, node: str) -> Any:
    config = SYNC.update(app, _at(app, place), {"log": ["edit"]}, node)
    return SYNC.invoke(app, None, {**config, "recursion_limit": 10})


def _edit_now(library: Any, app: Any, place: float, node: str) -> Any:
    return SYNC.update(app, THREAD, {"log": ["edit"]}, node)


def _input(library: Any, app: Any, place: float, node: str) -> Any:
    return SYNC.invoke(app, {"log": ["again"]}, _at(app, place) if place < 0.3 else LIMITED)


def _answer(library: Any, app: Any, place: float, node: str) -> Any:
    questions = SYNC.state(app).interrupts
    if not questions:
        return SYNC.invoke(app, None, LIMITED)
    answers = {question.id: f"A {question.value}" for question in questions}
    return SYNC.invoke(app, library.Command(resume=answers), LIMITED)


def _done(do: Any) -> Any:
    """Return the state that a step led to, or the type of what it raised."""
    try:
        result = do()
    except Exception as error:
        return type(error).__name__
    return {key: value for key, value in result.items() if key in ("log", "n")}


def _history(app: Any) -> Any:
    return plain(
        [
            (
                state.config,
                state.parent_config,
                state.metadata,
                sorted((task.name, str(task.path)) for task in state.tasks),
                state.values,
            )
            for state in SYNC.history(app)
        ]
    )
