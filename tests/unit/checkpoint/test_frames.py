"""The storage format: frames and rows come back as they were, and damage is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from graphflow import CorruptCheckpointError, NotStorable, Overwrite, Send, StoreTooNewError
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.frames import (
    open_frames,
    pack_frame,
    pack_row,
    pack_snapshot,
    unpack_frame,
    unpack_row,
    unpack_snapshot,
)
from graphflow.checkpoint.protocol import StoredFrame, StoredRow
from graphflow.checkpoint.records import Frame, Pending, Row, RowKind, Settled, Source
from graphflow.state.deltas import APPEND, CLEAR, DROP, PUT, SET, SPLICE
from graphflow.types import START, Interrupt

CODEC = Codec()
QUESTION = Interrupt("good?", "0" * 32, {"type": "string"}, "ask", ("outer:1",))
EMPTY = Frame(0, Source.INPUT, -1, {}, (), {}, (), (), None, -1)
FULL = Frame(
    seq=7,
    source=Source.LOOP,
    step=3,
    delta={
        "a": [(SET, (1, 2))],
        "b": [(APPEND, [1]), (SPLICE, 0, 1, [None]), (APPEND, ["x"])],
        "c": [(PUT, {"k": b"v"}), (DROP, ["gone"])],
        "d": [(CLEAR,)],
    },
    pending=(Pending("n"), Pending("m", True, {"packet": 1}), Pending("none", True, None)),
    joins={"join:a+b:c": ("a",)},
    deferred=("late",),
    settled=(Settled(1, "m", (("a", 1), ("a", 2)), (QUESTION,)), Settled(-1, "edit", ())),
    metadata={"author": "ana"},
    parent=4,
    created=12.5,
)
BEFORE = (Pending("other"), Pending("m"))


def read(stored: StoredFrame, before: Sequence[Pending] | None) -> Frame:
    """Read a frame that follows one with these tasks pending; None: not known which."""
    body = open_frames(CODEC, [stored])[0]
    if before is None:
        return unpack_frame(stored, body, None)
    return unpack_frame(
        stored,
        body,
        open_frames(CODEC, [pack_frame(CODEC, EMPTY._replace(pending=tuple(before)))])[0],
    )


@pytest.mark.parametrize(
    "frame", [EMPTY, FULL, FULL._replace(metadata={}), FULL._replace(parent=6)]
)
def test_a_frame_comes_back_as_it_was(frame: Frame) -> None:
    assert read(pack_frame(CODEC, frame), BEFORE) == frame


def test_empty_fields_take_no_room() -> None:
    assert len(pack_frame(CODEC, EMPTY).body) <= 6


def test_what_a_task_wrote_is_stored_once() -> None:
    big = "x" * 1000
    frame = EMPTY._replace(delta={"a": [(SET, big)]}, settled=(Settled(0, "n", (("a", big),)),))
    stored = pack_frame(CODEC, frame)
    assert len(stored.body) < 1050
    assert read(stored, [Pending("n")]) == frame


def test_an_equal_value_of_another_write_is_not_taken_for_it() -> None:
    first, second = ["x"], ["x"]
    settled = (Settled(0, "n", (("a", first), ("a", second))),)
    frame = EMPTY._replace(delta={"a": [(APPEND, first), (APPEND, second)]}, settled=settled)
    assert read(pack_frame(CODEC, frame), [Pending("n")]) == frame


def test_the_input_is_stored_once_in_the_frame_that_brings_it() -> None:
    writes = (("a", "x" * 1000),)
    begun = EMPTY._replace(pending=(Pending(START, False, writes),))
    done = EMPTY._replace(
        seq=1, parent=0, delta={"a": [(SET, writes[0][1])]}, settled=(Settled(0, START, writes),)
    )
    stored = pack_frame(CODEC, done)
    assert len(stored.body) < 50
    assert read(pack_frame(CODEC, begun), ()) == begun
    assert read(stored, begun.pending) == done


def test_a_frame_can_be_read_without_the_one_before() -> None:
    found = read(pack_frame(CODEC, FULL), None)
    assert found == FULL._replace(delta={}, settled=())


@pytest.mark.parametrize(
    "row",
    [
        Row(0, RowKind.RESULT, 0, ((("a", 1), ("b", Overwrite([2]))), ("n", Send("m", {"x": 1})))),
        Row(-1, RowKind.RESULT, 3, ((), ())),
        Row(2, RowKind.QUESTION, 1, QUESTION),
        Row(2, RowKind.ANSWER, 1, {"any": ("thing",)}),
        Row(1, RowKind.ERROR, 0, "ValueError('x')"),
    ],
)
def test_a_row_comes_back_as_it_was(row: Row) -> None:
    found = unpack_row(CODEC, pack_row(CODEC, row))
    assert found == row
    if row.kind is RowKind.QUESTION:
        assert (found.value.node, found.value.ns) == ("ask", ("outer:1",))


def test_a_snapshot_comes_back_as_it_was() -> None:
    values = {"a": {1, 2}, "b": [b""]}
    assert unpack_snapshot(CODEC, pack_snapshot(CODEC, values, {"m": 1})) == (values, {"m": 1})


def test_a_frame_of_a_later_format_is_refused() -> None:
    with pytest.raises(StoreTooNewError, match="format 2"):
        read(StoredFrame(3, 0.0, CODEC.encode([2, "anything"])), ())
    with pytest.raises(StoreTooNewError, match="format <int>"):
        read(StoredFrame(3, 0.0, CODEC.encode([10**5000])), ())


@pytest.mark.parametrize(
    "body", [[], [1], [1, 99, 0], [1, 1, 0, [["k", [8, 5]]]], [1, 1, 0, 7], {}, 1, [1, 1, 0, [], 5]]
)
def test_what_is_no_frame_is_told_with_its_number(body: object) -> None:
    with pytest.raises(CorruptCheckpointError, match="Frame 3"):
        read(StoredFrame(3, 0.0, CODEC.encode(body)), ())


@pytest.mark.parametrize(
    ("kind", "value"), [(0, 5), (0, [[1], []]), (1, []), (4, [1, "task", None]), (99, None)]
)
def test_what_is_no_row_is_told_with_its_task(kind: int, value: object) -> None:
    with pytest.raises(CorruptCheckpointError, match="row of task 7"):
        unpack_row(CODEC, StoredRow(7, kind, 0, CODEC.encode(value)))


@pytest.mark.parametrize("value", [5, None, [{}], [[], {}], [{}, {}, {}], {"a": 1, "b": 2}])
def test_what_is_no_snapshot_is_told(value: object) -> None:
    with pytest.raises(CorruptCheckpointError, match="no snapshot"):
        unpack_snapshot(CODEC, CODEC.encode(value))


ENDLESS = range(2**62)


@pytest.mark.parametrize(
    "body",
    [
        *([1, 0, 0, ENDLESS], [1, 0, 0, ["k", ENDLESS]], [1, 0, 0, ["k", 0], None, ["n", ENDLESS]]),
        *([1, 0, 0, None, ENDLESS], [1, 0, 0, None, [ENDLESS]], [1, 0, 0, None, None, ENDLESS]),
        *([1, 0, 0, None, None, ["n", [], ENDLESS]], [1, 0, 0, *[None] * 4, ENDLESS]),
        [1, 0, 0, *[None] * 7, [0, [], ENDLESS, None]],
    ],
)
def test_a_frame_that_has_no_end_is_told(body: object) -> None:
    with pytest.raises(CorruptCheckpointError, match="Frame 3"):
        read(StoredFrame(3, 0.0, CODEC.encode(body)), ())


@pytest.mark.parametrize(
    ("kind", "value"),
    [(0, [ENDLESS, []]), (0, [[], ENDLESS]), (0, [[], [ENDLESS]]), (4, [ENDLESS, "task", None])],
)
def test_a_row_that_has_no_end_is_told(kind: int, value: object) -> None:
    with pytest.raises(CorruptCheckpointError, match="row of task 7"):
        unpack_row(CODEC, StoredRow(7, kind, 0, CODEC.encode(value)))


def test_damage_is_told_also_where_it_cannot_be_shown() -> None:
    frame = StoredFrame(3, 0.0, CODEC.encode([1, 10**5000, 0]))
    with pytest.raises(CorruptCheckpointError, match="Frame 3 cannot be read: <KeyError>"):
        unpack_frame(frame, open_frames(CODEC, [frame])[0], None)


def test_a_value_without_exact_form_is_refused() -> None:
    with pytest.raises(NotStorable):
        pack_frame(CODEC, EMPTY._replace(delta={"a": [(SET, object())]}))
