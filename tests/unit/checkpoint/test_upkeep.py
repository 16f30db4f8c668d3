"""What a store holds and whether it is whole, told without the program's code."""

import operator
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
import pytest

from graphflow import START, MemoryCheckpointer, StateGraph, interrupt, storable
from graphflow.checkpoint.check import check_thread
from graphflow.checkpoint.codec import codec
from graphflow.checkpoint.codec_errors import UnknownType
from graphflow.checkpoint.protocol import StoredFrame, StoredRow
from graphflow.checkpoint.raw import Unregistered, raw_codec
from graphflow.checkpoint.records import RowKind
from graphflow.checkpoint.report import Usage, storage_report
from graphflow_checkpointers.sqlite import SqliteCheckpointer


@storable("upkeep.Order")
@dataclass(frozen=True)
class Order:
    number: int


class State(TypedDict):
    log: Annotated[list[Any], operator.add]


def write(state: State) -> State:
    return {"log": [Order(len(state["log"])), "x" * 4000]}


def ask(state: State) -> State:
    return {"log": [interrupt("Good?")]}


def long_thread(store: Any) -> Any:
    """Return a store with a thread that has forks, a question and a snapshot."""
    graph = StateGraph(State).add_sequence([write, ask]).add_edge(START, "write")
    app = graph.compile(checkpointer=store)
    thread: Any = {"configurable": {"thread_id": "t"}}
    app.invoke({"log": []}, thread)
    app.invoke(None, list(app.get_state_history(thread))[-1].config)
    main, *_ = store.run(store.branches("t"))
    at = {"configurable": {"thread_id": "t", "branch": "main"}}
    body = codec.encode([app.get_state(at).values, {}])
    store.run(store.put_snapshot(main.id, main.head, body))
    return store


def problems(store: Any) -> list[str]:
    return [found.what for found in store.run(check_thread(store, raw_codec(), "t"))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    long_thread(SqliteCheckpointer(tmp_path / "t.db")).close()
    return tmp_path / "t.db"


def damage(path: Path, statement: str) -> list[str]:
    with sqlite3.connect(path) as database:
        assert database.execute(statement).rowcount > 0
    database.close()
    with SqliteCheckpointer(path) as store:
        return problems(store)


# -- raw values ----------------------------------------------------------------------------------


def test_a_class_that_is_not_registered_shows_what_it_holds():
    stored = codec.encode({"order": Order(7)})
    assert raw_codec().decode(stored) == {"order": Unregistered("upkeep.Order", 1, {"number": 7})}


def test_what_is_not_registered_can_be_an_item_of_a_set_and_a_key():
    value = [{Order(1), Order(2)}, {Order(3): "three"}]
    found = raw_codec().decode(codec.encode(value))
    assert sorted(item.data["number"] for item in found[0]) == [1, 2]
    assert found[1] == {Unregistered("upkeep.Order", 1, {"number": 3}): "three"}


def test_arrays_are_shown_without_numpy():
    found = raw_codec().decode(codec.encode([np.zeros((2, 3)), np.float32(1)]))
    assert [item.tag for item in found] == ["numpy.ndarray <f8 [2, 3]", "numpy <f4"]


def test_what_was_read_can_be_told_from_other_values():
    raw = raw_codec()
    one, same, other = (codec.encode(Order(number)) for number in (1, 1, 2))
    assert raw.encode(raw.decode(one)) == raw.encode(raw.decode(same))
    assert raw.encode(raw.decode(one)) != raw.encode(raw.decode(other))


def test_the_programs_own_codec_still_refuses_what_it_does_not_know():
    stored = raw_codec().encode(Unregistered("tests.Nothing", 1, None))
    with pytest.raises(UnknownType):
        codec.decode(stored)


# -- the report ----------------------------------------------------------------------------------


def test_a_report_counts_what_is_there():
    store = MemoryCheckpointer()
    main = store.run(store.create_branch("t", "", "main", None, -1))
    frames = [StoredFrame(0, 5.0, b"12"), StoredFrame(1, 6.0, b"345")]
    store.run(store.append(main.id, -1, frames, drop_rows=False))
    rows = [
        StoredRow(0, RowKind.QUESTION, 0, b"answered"), StoredRow(0, RowKind.ANSWER, 0, b"yes"),
        StoredRow(0, RowKind.QUESTION, 1, b"open"), StoredRow(1, RowKind.QUESTION, 0, b"gone"),
        StoredRow(1, RowKind.RESULT, 0, b""),
    ]  # fmt: skip
    store.run(store.put_rows(main.id, 1, rows, []))
    store.run(store.put_snapshot(main.id, 1, b"state"))
    inner = store.run(store.create_branch("t", "node", "main", None, -1))
    store.run(store.put_rows(inner.id, -1, rows[2:3], []))
    report = store.run(storage_report(store))
    assert report.threads == (Usage("t", 2, 2, 1, 5, 8 + 3 + 4 + 4 + 4, 5, 5.0, 6.0),)
    assert report.total.bytes == 5 + 23 + 5


def test_a_report_adds_threads_up():
    store = MemoryCheckpointer()
    for name, created in (("a", 3.0), ("b", 1.0)):
        made = store.run(store.create_branch(name, "", "main", None, -1))
        store.run(store.append(made.id, -1, [StoredFrame(0, created, b"x")], drop_rows=False))
    assert store.run(storage_report(store)).total == Usage("", 2, 2, 0, 2, 0, 0, 1.0, 3.0)
    assert [usage.thread for usage in store.run(storage_report(store, "b")).threads] == ["b"]


def test_an_empty_store_is_reported_as_empty():
    store = MemoryCheckpointer()
    assert store.run(storage_report(store)).total == Usage("")


# -- the check -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MemoryCheckpointer, SqliteCheckpointer])
def test_a_whole_thread_has_no_problems(kind):
    assert problems(long_thread(kind())) == []


def test_all_damaged_frames_are_named(path):
    found = damage(path, "UPDATE graphflow_frame SET body = x'00' WHERE seq IN (0, 2)")
    assert [text for text in found if "frame 0 of branch 1" in text and "checksum" in text]
    assert [text for text in found if "frame 2 of branch 1" in text and "checksum" in text]


def test_a_frame_that_is_missing_breaks_the_chain(path):
    found = damage(path, "DELETE FROM graphflow_frame WHERE seq = 1")
    assert "frame 2 continues 1, not 0" in found


def test_a_fork_needs_the_frame_that_it_continues(path):
    found = damage(path, "UPDATE graphflow_branch SET parent_seq = 1 WHERE parent IS NOT NULL")
    assert found
    found = damage(path, "DELETE FROM graphflow_branch WHERE parent IS NULL")
    assert found == ["the branch that it continues is not there"]


def test_rows_behind_a_closed_superstep_were_never_used(path):
    found = damage(path, "UPDATE graphflow_row SET frame = frame - 1")
    assert "question of task 0 at frame 1 was never used" in found


def test_a_damaged_row_is_found(path):
    found = damage(path, "UPDATE graphflow_row SET body = x'c1'")
    assert [text for text in found if "row of task 0" in text and "checksum" in text]


def test_a_snapshot_that_does_not_say_what_its_frames_say_is_found():
    store = long_thread(MemoryCheckpointer())
    main, *_ = store.run(store.branches("t"))
    store.run(store.put_snapshot(main.id, main.head, codec.encode([{"log": []}, {}])))
    assert problems(store) == [f"snapshot {main.head} is not the state that its frames make"]


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", codec.encode("no frame"), codec.encode([1, 9, 9]), codec.encode([2])]
)
def test_bytes_that_are_no_frame_are_told_and_not_raised(body):
    store = MemoryCheckpointer()
    main = store.run(store.create_branch("t", "", "main", None, -1))
    store.run(store.append(main.id, -1, [StoredFrame(0, 0.0, body)], drop_rows=False))
    store.run(store.put_rows(main.id, 0, [StoredRow(0, 77, 0, body)], []))
    store.run(store.put_snapshot(main.id, 0, body))
    found = problems(store)
    assert [text for text in found if text.startswith(("frame 0", "Frame 0"))]
    assert [text for text in found if text.startswith("rows at frame 0")]
    assert [text for text in found if text.startswith("snapshot")]
