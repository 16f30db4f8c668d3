"""Threads in files and copies: everything arrives byte by byte, or nothing does."""

import json
import operator
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import Annotated, Any, TypedDict

import pytest

from graphflow import (
    START,
    CheckpointConflict,
    Checkpointer,
    CheckpointError,
    CodecError,
    Command,
    CorruptCheckpointError,
    HeadMoved,
    MemoryCheckpointer,
    StateGraph,
    StoreTooNewError,
    UnknownCheckpointError,
    interrupt,
)
from graphflow.checkpoint.archive import read_threads
from graphflow.checkpoint.protocol import MAIN, StoredFrame, StoredRow
from graphflow.checkpoint.records import RowKind
from graphflow.checkpoint.transfer import (
    copy_thread,
    export_thread,
    import_thread,
    read_whole,
    write_whole,
)
from graphflow.state_graph import CompiledStateGraph
from graphflow_checkpointers.sqlite import SqliteCheckpointer


class State(TypedDict):
    log: Annotated[list[str], operator.add]


STORES = [MemoryCheckpointer, SqliteCheckpointer]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Checkpointer]:
    store = request.param()
    yield store
    store.close()


@pytest.fixture(params=STORES)
def other(request: pytest.FixtureRequest) -> Iterator[Checkpointer]:
    store = request.param()
    yield store
    store.close()


def asking(store: Checkpointer, ran: list[str]) -> CompiledStateGraph:
    """Return a graph with a graph inside that works, then asks."""

    def work(state: State) -> State:
        ran.append("work")
        return {"log": ["worked"]}

    def ask(state: State) -> State:
        return {"log": [interrupt("Good?")]}

    inner = StateGraph(State).add_sequence([work, ask]).add_edge(START, "work").compile()
    outer = StateGraph(State).add_node("inner", inner).add_edge(START, "inner")
    return outer.compile(checkpointer=store)


def thread(name: str = "t") -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}


def filled(store: Checkpointer) -> Checkpointer:
    """Put a thread into a store that has everything a thread can have."""
    run = store.run
    main = run(store.create_branch("t", "", MAIN, None, -1))
    run(store.append(main.id, -1, [StoredFrame(0, 1.25, b"\0\xff"), StoredFrame(2, 0.1, b"")],
                     drop_rows=False))  # fmt: skip
    run(store.put_snapshot(main.id, 2, b"state"))
    fork = run(store.create_branch("t", "", "ünï\n", main.id, 0))
    run(store.append(fork.id, 0, [StoredFrame(7, 3.0, b"fork")], drop_rows=False))
    rows = [StoredRow(1, RowKind.QUESTION, 0, b"why"), StoredRow(-1, RowKind.ANSWER, 3, b"so")]
    run(store.put_rows(fork.id, 7, rows, []))
    run(store.create_branch("t", "", "empty", fork.id, 7))
    inner = run(store.create_branch("t", "node:1", MAIN, None, -1))
    run(store.put_rows(inner.id, -1, rows[:1], []))
    return store


def file_of(store: Checkpointer) -> list[bytes]:
    return list(store.run(export_thread(store, "t")))


def test_a_thread_is_the_same_in_another_store(store, other):
    filled(store)
    assert other.run(import_thread(other, file_of(store))) == "t"
    assert other.run(read_whole(other, "t")) == store.run(read_whole(store, "t"))
    assert file_of(other) == file_of(store)


def test_a_file_tells_everything_in_lines_of_ascii():
    assert b"".join(file_of(filled(MemoryCheckpointer()))).decode("ascii").splitlines() == [
        '["graphflow-thread",1,"t"]',
        '["branch","",0,"main",null,-1]',
        '["frame",0,1.25,"AP8="]',
        '["frame",2,0.1,""]',
        '["snapshot",2,"c3RhdGU="]',
        r'["branch","",1,"\u00fcn\u00ef\n",0,0]',
        '["frame",7,3.0,"Zm9yaw=="]',
        '["row",1,1,0,"d2h5"]',
        '["row",-1,2,3,"c28="]',
        '["branch","",2,"empty",1,7]',
        '["branch","node:1",0,"main",null,-1]',
        '["row",1,1,0,"d2h5"]',
        '["end",12,"3417678ba65339eb982e55f16d82457b"]',
    ]


def test_a_paused_thread_goes_on_in_another_store_without_running_anything_again(store, other):
    ran: list[str] = []
    asking(store, ran).invoke({"log": []}, thread())
    other.run(import_thread(other, file_of(store)))
    assert asking(other, ran).invoke(Command(resume="yes"), thread())["log"] == ["worked", "yes"]
    assert ran == ["work"]


def test_the_histories_of_a_thread_and_its_export_are_equal(store, other):
    app = asking(store, [])
    app.invoke({"log": []}, thread())
    app.invoke(Command(resume="yes"), thread())
    app.invoke(None, list(app.get_state_history(thread()))[-1].config)
    other.run(import_thread(other, file_of(store)))
    there = asking(other, [])
    assert list(there.get_state_history(thread())) == list(app.get_state_history(thread()))


def test_an_imported_thread_can_get_another_name(other):
    store = MemoryCheckpointer()
    asking(store, []).invoke({"log": ["a"]}, thread())
    assert other.run(import_thread(other, file_of(store), "new")) == "new"
    assert other.run(other.threads()) == ["new"]
    assert asking(other, []).get_state(thread("new")).values == {"log": ["a"]}


def test_a_thread_that_cannot_be_read_keeps_its_name(store):
    filled(store)
    with pytest.raises(CodecError):
        store.run(copy_thread(store, "t", "new"))
    assert store.run(store.threads()) == ["t"]


def test_several_threads_are_one_file(other):
    two = MemoryCheckpointer()
    filled(two).run(two.create_branch("u", "", MAIN, None, -1))
    lines = iter([*file_of(two), *two.run(export_thread(two, "u"))])
    assert [other.run(import_thread(other, lines)) for _ in range(2)] == ["t", "u"]
    with pytest.raises(CorruptCheckpointError, match="no more"):
        other.run(import_thread(other, lines))


def test_a_copy_lives_on_by_itself(store):
    app = asking(store, [])
    app.invoke({"log": ["a"]}, thread())
    store.run(copy_thread(store, "t", "copy"))
    store.delete_thread("t")
    assert app.get_state(thread("copy")).values == {"log": ["a"]}


def test_there_must_be_something_to_take_out(store):
    with pytest.raises(UnknownCheckpointError, match="no thread 'nobody'"):
        store.run(export_thread(store, "nobody"))


def test_a_thread_that_is_there_is_not_written_over(store):
    filled(store)
    before = file_of(store)
    with pytest.raises(CheckpointConflict, match="thread 't' already"):
        store.run(import_thread(store, before))
    with pytest.raises(CheckpointConflict, match="thread 't' already"):
        store.run(copy_thread(store, "t", "t"))
    assert file_of(store) == before


@pytest.mark.parametrize("line", range(13))
def test_a_file_that_was_cut_off_is_refused(line):
    lines, store = file_of(filled(MemoryCheckpointer())), MemoryCheckpointer()
    halves = [*lines[:line], lines[line][: len(lines[line]) // 2]]
    for cut in (lines[:line], halves):
        with pytest.raises(CorruptCheckpointError, match=r"Nothing of|no thread"):
            store.run(import_thread(store, cut))
    assert store.run(store.threads()) == []


@pytest.mark.parametrize("line", range(13))
def test_a_line_that_is_missing_or_twice_there_is_found(line):
    lines, store = file_of(filled(MemoryCheckpointer())), MemoryCheckpointer()
    for damaged in (lines[:line] + lines[line + 1 :], lines[: line + 1] + lines[line:]):
        with pytest.raises(CorruptCheckpointError):
            list(read_threads(damaged))
    assert store.run(store.threads()) == []


def test_every_byte_of_a_file_counts():
    whole = b"".join(file_of(filled(MemoryCheckpointer())))
    for place in range(len(whole)):
        damaged = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        with pytest.raises((CorruptCheckpointError, StoreTooNewError)):
            list(read_threads(damaged.splitlines(keepends=True)))


def test_a_file_of_a_newer_format_is_told_from_a_damaged_one():
    lines = [b'["graphflow-thread",2,{"what":"comes"}]\n', b"anything\n"]
    store = MemoryCheckpointer()
    with pytest.raises(StoreTooNewError, match="format 2, this graphflow knows up to 1"):
        store.run(import_thread(store, lines))


@pytest.mark.parametrize(
    "line",
    [
        ["branch", "", 1, "other", 5, 0],
        ["branch", "", 0, "again", None, -1],
        ["branch", "", 1, "main", None, -1],
        ["branch", "", 1, "far", 0, 1 << 28],
        ["frame", 0, 1.0, "AA=="],
        ["frame", 1 << 28, 1.0, "AA=="],
        ["frame", 5, 1.0, "A?=="],
        ["frame", True, 1.0, "AA=="],
        ["row", 0, 0, 1 << 40, "AA=="],
        ["dance"],
        [],
    ],
)
def test_a_file_that_was_made_up_is_refused_whatever_its_checksum_says(line):
    parts = [["graphflow-thread", 1, "t"], ["branch", "", 0, MAIN, None, -1],
             ["frame", 0, 1.0, "AA=="], line]  # fmt: skip
    lines = [json.dumps(part).encode() + b"\n" for part in parts]
    digest = blake2b(b"".join(lines), digest_size=16).hexdigest()
    lines.append(json.dumps(["end", len(lines), digest]).encode() + b"\n")
    with pytest.raises(CorruptCheckpointError, match="Line 4"):
        list(read_threads(lines))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-be", "utf-32-be", "utf-8-sig"])
def test_a_line_that_is_not_ascii_is_refused_and_its_encoding_never_guessed(encoding):
    line = '["graphflow-thread",1,"ü"]'.encode(encoding) + b"\n"
    with pytest.raises(CorruptCheckpointError, match="'ascii' codec"):
        list(read_threads([line]))


class Failing(SqliteCheckpointer):
    """Fails with the third branch."""

    made = 0

    def create_branch(self, *given):
        self.made += 1
        if self.made == 3:
            raise OSError("the disk is gone")
        return (yield from super().create_branch(*given))


def test_what_fails_halfway_leaves_nothing():
    lines, store = file_of(filled(MemoryCheckpointer())), Failing()
    with pytest.raises(OSError, match="disk"):
        store.run(import_thread(store, lines))
    assert store.run(store.threads()) == []
    assert store.run(store.scopes("t")) == []


class Growing(MemoryCheckpointer):
    """Somebody commits while a thread is read."""

    def snapshot(self, branch, upto):
        frame = StoredFrame(upto + 1, 0.0, b"")
        yield from self.append(branch, upto, [frame], drop_rows=False)
        return (yield from super().snapshot(branch, upto))


def test_a_thread_that_grows_while_it_is_read_is_not_taken_out_torn():
    store = Growing()
    store.run(store.create_branch("t", "", MAIN, None, -1))
    with pytest.raises(HeadMoved, match="grew while it was read"):
        store.run(export_thread(store, "t"))


def test_branches_keep_their_numbers_or_nothing_is_stored(store):
    whole = filled(MemoryCheckpointer())
    thread = whole.run(read_whole(whole, "t"))
    gap = [branch for branch in thread.branches if branch.name != "main"]
    with pytest.raises(CheckpointError, match="has number 1 where it comes from"):
        store.run(write_whole(store, thread._replace(branches=gap)))
    assert store.run(store.threads()) == []


def test_of_several_imports_at_once_one_wins(store):
    file = file_of(filled(MemoryCheckpointer()))

    def won(_: int) -> bool:
        try:
            store.run(import_thread(store, file))
        except CheckpointConflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(won, range(8))) == 1
    assert file_of(store) == file
