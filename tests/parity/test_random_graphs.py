"""Random graphs: both libraries show the same chunks, states and histories, pause after pause."""

from typing import Any

import pytest

from .libraries import GRAPHFLOW, LANGGRAPH
from .observations import by_task, difference, nameless, plain
from .programs import ASYNC, SYNC, THREAD
from .random_graphs import Drawing, compiled, drawn

MODES = ["updates", "values"]


@pytest.mark.parametrize("call", [SYNC, ASYNC], ids=["sync", "async"])
@pytest.mark.parametrize("seed", range(80))
def test_random_graph(seed: int, call: Any) -> None:
    drawing = drawn(seed)
    theirs, ours = (observed(library, drawing, call) for library in (LANGGRAPH, GRAPHFLOW))
    assert ours == theirs, f"\n{drawing}\n{difference(ours, theirs)}"


@pytest.mark.parametrize("seed", range(60))
def test_all_modes_of_a_random_graph(seed: int) -> None:
    drawing = drawn(seed)
    theirs, ours = (_first_run(library, drawing) for library in (LANGGRAPH, GRAPHFLOW))
    assert ours == theirs, f"\n{drawing}\n{difference(ours, theirs)}"


def _first_run(library: Any, drawing: Drawing) -> Any:
    """Return all that a graph shows until it ends or pauses."""
    modes = ["values", "updates", "tasks", "checkpoints", "debug"]
    config = {**THREAD, "recursion_limit": 9}
    options = {"stream_mode": modes, "subgraphs": True, "durability": "sync"}
    try:
        chunks = SYNC.stream(compiled(library, drawing), {"log": ["in"], "n": 0}, config, **options)
    except library.GraphRecursionError as error:
        return type(error).__name__
    return nameless(by_task((ns, mode, _sorted(data)) for ns, mode, data in chunks))


def _sorted(data: Any) -> Any:
    """Put the tasks of a checkpoint event in an order: LangGraph's is by name (see streaming)."""
    if "payload" in data:
        return {**data, "payload": _sorted(data["payload"])}
    if "next" in data and "tasks" in data:
        return {**data, "next": sorted(data["next"]), "tasks": by_task(data["tasks"])}
    return data


def observed(library: Any, drawing: Drawing, call: Any) -> list[Any]:
    """Run a graph with all its pauses, answering some questions at each."""
    app = compiled(library, drawing)
    shown: list[Any] = []
    given: Any = {"log": ["in"], "n": 0}
    for turn in range(7):
        shown.append(_run(library, app, given, drawing, call))
        state = call.state(app)
        shown.append(_snapshot(state))
        if shown[-2] == "GraphRecursionError" or not state.next:
            break
        given = _answer(library, state.interrupts, turn)
    if drawing.durability != "exit":
        shown.append([_snapshot(state) for state in call.history(app)])
    return shown


def _run(library: Any, app: Any, given: Any, drawing: Drawing, call: Any) -> Any:
    config = {**THREAD, "recursion_limit": 12}
    options = {"stream_mode": MODES, "durability": drawing.durability, "subgraphs": True}
    try:
        chunks = call.stream(app, given, config, **options)
    except library.GraphRecursionError as error:
        return type(error).__name__
    values = [data for ns, mode, data in chunks if ns == () and mode == "values"]
    last = [{key: value for key, value in one.items() if key != "__interrupt__"} for one in values]
    told = by_task(chunk for chunk in chunks if chunk[1] != "values")
    return nameless(told), plain(last[-1:])


def _answer(library: Any, questions: Any, turn: int) -> Any:
    """Answer all questions, or the first by its value; None where there are none."""
    ids = [question.id for question in sorted(questions, key=lambda one: str(one.value))]
    chosen = ids if turn % 2 else ids[:1]
    return library.Command(resume=dict.fromkeys(chosen, f"A{turn}")) if ids else None


def _snapshot(state: Any) -> Any:
    """Return a snapshot without the ids that tell parallel tasks apart."""
    tasks = [task._replace(id="", state=None) for task in state.tasks]
    return plain(state._replace(tasks=by_task(tasks), interrupts=by_task(state.interrupts)))
