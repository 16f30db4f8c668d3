"""Files that earlier versions wrote load, go on and fork in this one."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from graphflow import Command, CompiledStateGraph
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.indexing import index_all
from graphflow_checkpointers.sqlite import SqliteCheckpointer

HERE = Path(__file__).parent
ROUND = ["prepare", "part 0", "part 1"]
ENTRY = {"author": "ana", "source": "loop", "step": 3, "parents": {}}


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


v1 = module(HERE / "make_v1.py")
thread = v1.thread
pytestmark = pytest.mark.filterwarnings("ignore::graphflow.errors.GraphWarning")


@pytest.fixture(params=["v1", "v2"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CompiledStateGraph]:
    """The graph of the files, on a copy of one."""
    shutil.copy(HERE / f"{request.param}.sqlite", tmp_path)
    with SqliteCheckpointer(tmp_path / f"{request.param}.sqlite") as store:
        yield v1.app_on(store)


def test_the_state_is_exactly_what_was_stored(app: CompiledStateGraph) -> None:
    values = app.get_state(thread("finished")).values
    table = {f"key {n}": n for n in range(20)} | {f"part {n}": {"n": n} for n in range(2)}
    assert values["log"] == [*ROUND, "beside", "review yes"] * 2
    assert list(values["table"].items()) == list((table | {"key 7": "changed"}).items())
    assert [(m.id, m.text) for m in values["messages"]] == [
        ("human-1", "hello"), ("ai-0", "turn 0"), ("ai-1", "turn 1"),
    ]  # fmt: skip
    assert Codec().encode(values["values"]) == Codec().encode(v1.VALUES)


@pytest.mark.parametrize(("name", "count"), [("finished", 10), ("waiting", 5), ("forked", 10)])
def test_every_checkpoint_of_the_history_is_there(
    app: CompiledStateGraph, name: str, count: int
) -> None:
    shots = list(app.get_state_history(thread(name)))
    assert len(shots) == count
    for shot in shots:
        assert app.get_state(shot.config).values == shot.values
        assert shot.metadata is not None
        assert (shot.metadata["step"] > 3) or shot.metadata["author"] == "ana"


def test_what_was_open_is_open(app: CompiledStateGraph) -> None:
    state = app.get_state(thread("waiting"))
    assert (state.next, state.metadata) == (("review",), ENTRY)
    assert [question.value for question in state.interrupts] == [{"question": "good?", "count": 1}]
    assert [task.result for task in state.tasks] == [None, {"log": ["beside"]}]


def test_a_waiting_run_goes_on(app: CompiledStateGraph) -> None:
    waiting = thread("waiting")
    app.invoke(Command(resume="good"), waiting)
    result = app.invoke(Command(resume="very good"), waiting)
    assert result["log"] == [*ROUND, "beside", "review good", *ROUND, "beside", "review very good"]


def test_a_branch_goes_on_where_it_stands(app: CompiledStateGraph) -> None:
    result = app.invoke(Command(resume="yes"), thread("forked", branch="fork-9"))
    assert result["log"] == [*ROUND, "edited", "beside", "review yes"]
    assert app.get_state(thread("forked", branch="main")).values["count"] == 2


def test_the_past_can_be_forked(app: CompiledStateGraph) -> None:
    def past() -> Any:
        history = app.get_state_history(thread("finished"))
        return [shot for shot in history if shot.next == ("talk",)][-1]

    forked = app.invoke(None, past().config)
    assert forked["log"] == [*ROUND, "beside"]
    assert "__interrupt__" in forked
    assert len(app.get_state(thread("finished", branch="main")).values["log"]) == 10


@pytest.mark.parametrize(("name", "bea"), [("v1", []), ("v2", ["pruned"])])
def test_threads_of_a_file_without_tags_are_found_when_they_are_indexed(
    tmp_path: Path, name: str, bea: list[str]
) -> None:
    ana = ["finished", "waiting", "forked"]
    path = shutil.copy(HERE / f"{name}.sqlite", tmp_path)
    for _ in range(2):
        with SqliteCheckpointer(path, tags=("author", "seats")) as store:
            threads = store.run(store.threads())
            assert store.find_threads(limit=2).threads == threads[:2]
            assert store.run(index_all(store)) == len(threads)
            assert store.find_threads({"author": "ana"}).threads == ana
            assert store.find_threads({"author": "bea"}).threads == bea
            assert store.find_threads({"author": "ben"}).threads == []
