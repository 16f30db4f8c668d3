"""States that are kept: they read as from the store, and nobody can change them."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from graphflow import MemoryCheckpointer
from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.heads import Heads
from graphflow.checkpoint.history import Checkpoint, compact, load
from graphflow.state.deltas import APPEND, CLEAR, DROP, PUT, SET, SPLICE
from graphflow.state.message import Message
from graphflow.state.message_parts import ToolCall
from graphflow.testing.material import Lineage
from graphflow_checkpointers.sqlite import SqliteCheckpointer

CODEC = Codec()


@pytest.fixture(autouse=True)
def short_threads_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every branch kept that is read twice."""
    monkeypatch.setattr(Heads, "short", -1)


@pytest.fixture
def lineage() -> Lineage:
    store = MemoryCheckpointer()
    return Lineage(store, store.run)


def head(store: Checkpointer, thread: str = "t") -> Checkpoint:
    found = store.run(load(store, CODEC, thread))
    assert found is not None
    return found


def kept(store: Checkpointer) -> list[int]:
    """The numbers of the frames whose states are kept."""
    return [head.frame.seq for head in store.heads._kept.values() if head is not None]


def as_new(store: Checkpointer) -> Checkpoint:
    """What a process reads that has not read anything yet."""
    store.heads = Heads()
    return head(store)


def test_a_state_is_kept_when_it_is_read_again(lineage: Lineage) -> None:
    lineage.commit({"log": [(SET, ["a"])]})
    head(lineage.store)
    assert kept(lineage.store) == []
    head(lineage.store)
    assert kept(lineage.store) == [0]
    lineage.commit({"log": [(APPEND, ["b"])]})
    assert head(lineage.store).values == {"log": ["a", "b"]}
    assert kept(lineage.store) == [1]


def test_only_what_is_new_is_read(lineage: Lineage, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        lineage.commit({"log": [(APPEND, [number])]})
    head(lineage.store), head(lineage.store)
    asked = []
    read = lineage.store.frames

    def watched(branch: int, after: int, upto: int) -> Any:
        asked.append((after, upto))
        return read(branch, after, upto)

    monkeypatch.setattr(lineage.store, "frames", watched)
    lineage.commit({"log": [(APPEND, ["new"])]})
    assert head(lineage.store).values == {"log": [*range(9), "new"]}
    assert asked == [(7, 9)]


MUTABLE: dict[str, Any] = {
    "numbers": [1, 2.5, None, Decimal("1.5")],
    "dicts": [{"role": "user", "content": "hello"}, {"role": "ai", "content": "hi"}],
    "nested": [{"role": "user", "parts": [{"text": "hello"}]}],
    "mapping": {"a": 1},
    "deep": {"a": {"b": [1]}},
    "sets": [{1, 2}],
    "messages": [
        Message.user("hello", id="1"),
        Message.assistant("x", id="2", tool_calls=[ToolCall(name="t", args={"a": [1]})]),
        Message.user("y", id="3", meta={"seen": [1]}),
    ],
    "bytes": bytearray(b"abc"),
}


def spoil(value: Any) -> None:
    """Change everything in a value that can be changed."""
    if isinstance(value, Message):
        spoil(value.meta)
        value.meta["spoilt"] = True
        for call in value.tool_calls:
            spoil(call.args)
    elif isinstance(value, dict):
        for part in value.values():
            spoil(part)
        value["spoilt"] = True
    elif isinstance(value, list | bytearray):
        for part in value:
            spoil(part)
        value.append(7)
    elif isinstance(value, set):
        value.add("spoilt")


@pytest.mark.parametrize("key", MUTABLE)
def test_what_was_read_may_be_changed_without_harm(lineage: Lineage, key: str) -> None:
    lineage.commit({key: [(SET, MUTABLE[key])]})
    for count in range(4):
        found = head(lineage.store)
        assert found.values[key] == MUTABLE[key]
        assert list(map(type, found.values[key])) == list(map(type, MUTABLE[key]))
        spoil(found.values)
        spoil(found.metadata)
        for ops in found.frame.delta.values():
            for op in ops:
                spoil(op[1])
        if count > 1 and isinstance(MUTABLE[key], list):
            lineage.commit({key: [(APPEND, [])]})
    assert kept(lineage.store)


def test_metadata_may_be_changed_without_harm() -> None:
    store = MemoryCheckpointer()
    told = Lineage(store, store.run)
    told.commit({"a": [(SET, 1)]})
    for _ in range(3):
        found = head(store)
        spoil(found.metadata)
        assert "spoilt" not in head(store).metadata


def drawn(dice: random.Random, state: dict[str, Any]) -> dict[str, Any]:
    """A delta that fits a state."""
    delta: dict[str, Any] = {}
    for key in dice.sample(["list", "dicts", "map", "one"], dice.randint(0, 3)):
        value = state.get(key)
        if key == "one":
            delta[key] = [(SET, dice.random())] if dice.random() < 0.8 else [(CLEAR,)]
        elif key == "map":
            if not value or dice.random() < 0.2:
                delta[key] = [(SET, {"a": 1})]
            elif dice.random() < 0.5:
                delta[key] = [(PUT, {dice.choice("abc"): [dice.random()]})]
            else:
                delta[key] = [(DROP, [dice.choice([*value])])]
        elif value is None or dice.random() < 0.1:
            delta[key] = [(SET, [])]
        elif dice.random() < 0.15:
            delta[key] = [(SPLICE, 0, dice.randint(0, len(value)), [{"new": 1}])]
        else:
            item = {"n": dice.random()} if key == "dicts" else dice.choice([1, "a", [1], {"x": []}])
            delta[key] = [(APPEND, [item])]
    return delta


@pytest.mark.parametrize("seed", range(30))
def test_a_kept_state_is_what_the_store_has(lineage: Lineage, seed: int) -> None:
    dice = random.Random(seed)
    state: dict[str, Any] = {}
    for number in range(60):
        lineage.commit(drawn(dice, state))
        if dice.random() < 0.1:
            lineage.snapshot()
        if dice.random() < 0.05:
            lineage.fork(f"fork-{number}")
        if dice.random() < 0.05:
            place = head(lineage.store)
            store, at = lineage.store, (place.frame.seq, place.branch.ordinal)
            store.run(compact(store, CODEC, "t", "", at[1], at[0]))
        if dice.random() < 0.6:
            found = head(lineage.store)
            state = found.values
            heads = lineage.store.heads
            assert found == as_new(lineage.store)._replace(chain_cost=found.chain_cost)
            lineage.store.heads = heads
            spoil(
                {
                    **found.values,
                    "frame": [op[1:] for ops in found.frame.delta.values() for op in ops],
                }
            )
            state = head(lineage.store).values
        else:
            state = as_new(lineage.store).values
    assert lineage.store.heads._kept


def test_what_others_commit_is_read(tmp_path: Path) -> None:
    with (
        SqliteCheckpointer(tmp_path / "t.db") as own,
        SqliteCheckpointer(tmp_path / "t.db") as other,
    ):
        lineage = Lineage(other, other.run)
        lineage.commit({"log": [(SET, ["a"])]})
        head(own), head(own)
        lineage.commit({"log": [(APPEND, ["b"])]})
        assert head(own).values == {"log": ["a", "b"]}
        other.delete_thread("t")
        assert own.run(load(own, CODEC, "t")) is None
        again = Lineage(other, other.run)
        again.commit({"log": [(SET, ["other"])]})
        assert head(own).values == {"log": ["other"]}


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    """As when a backup is restored under a process: the frame that is known has other bytes."""
    store = SqliteCheckpointer(tmp_path / "t.db")
    lineage = Lineage(store, store.run)
    lineage.commit({"log": [(SET, ["a"])]})
    head(store), head(store)
    heads = store.heads
    store.close()
    (tmp_path / "t.db").unlink()
    with SqliteCheckpointer(tmp_path / "t.db") as store:
        store.heads = heads
        Lineage(store, store.run).commit({"log": [(SET, ["b"])]})
        assert head(store).values == {"log": ["b"]}


def test_what_is_pruned_reads_as_before(lineage: Lineage) -> None:
    for number in range(9):
        lineage.commit({"log": [(APPEND, [number])]})
    before = head(lineage.store), head(lineage.store)
    lineage.store.prune("t", last=1)
    assert head(lineage.store).values == before[0].values


def test_erasing_leaves_no_state_in_memory(lineage: Lineage) -> None:
    lineage.commit({"log": [(SET, ["a"])]})
    head(lineage.store), head(lineage.store)
    lineage.store.erase_thread("t")
    assert kept(lineage.store) == []


def test_what_was_not_asked_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryCheckpointer()
    monkeypatch.setattr(Heads, "room", 100_000)
    from graphflow.checkpoint.recorder import Recorder
    from graphflow.checkpoint.records import Commit, Frame, Source

    for name in "abcd":
        recorder = Recorder(store, CODEC, name, "", None, frozenset())
        delta: Any = {"text": [(SET, name * 30_000)]}
        frame = Frame(0, Source.LOOP, 0, delta, (), {}, (), (), None, -1)
        store.run(recorder.record(Commit(-1, (frame,))))
    for name in "aabbcaacddabd":
        assert head(store, name).values == {"text": name * 30_000}
    sizes = [kept.size for kept in store.heads._kept.values() if kept is not None]
    assert len(sizes) == 3
    assert sum(sizes) == store.heads._size
    store.heads.clear()
    assert store.heads._size == 0
