"""Frames and rows as bytes, and back. This is the storage format.

A frame is a msgpack list; empty fields at its end are left out:

    [FORMAT, source, step, delta, pending, settled, joins, deferred, metadata, gap]

    delta     [[key, op, …], …]; op = [code, argument, …] as in `state.deltas`. Where an argument is
              what a settled task wrote to the key, as it nearly always is, the op is
              [code + BY_TASK, place in `settled`] and the value stands in `settled` only.
    pending   "node", or ["node", is_send, argument]
    settled   [place in the pending of the frame before or "node", writes, interrupts]
              writes = [key, value, key, value, …]; null: the argument of the pending task
    metadata  null: as in the frame before
    gap       how many numbers lie between the frame before and this one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.protocol import StoredFrame, StoredRow
from graphflow.checkpoint.records import (
    Frame,
    Pending,
    Row,
    RowKind,
    Settled,
    Source,
    Writes,
)
from graphflow.errors import CorruptCheckpointError, StoreTooNewError
from graphflow.state.deltas import APPEND, Delta, Op
from graphflow.types import START, Interrupt, Send

FORMAT = 1
BY_TASK = 8
Body = list[Any]
"""A decoded frame: the list above, with None for what was left out."""
NO_FRAME: Body = [FORMAT, 0, 0, *[None] * 7]
"""What stands before the first frame of a thread."""
_SOURCES = {source.value: source for source in Source}
_EMPTY = [None] * 10


def pack_frame(codec: Codec, frame: Frame) -> StoredFrame:
    """Encode a frame.

    Raises:
        NotStorable: A value in it has no exact form; the path starts at its state key.
    """
    body: list[Any] = [
        FORMAT,
        frame.source.value,
        frame.step,
        [[key, *_packed_ops(key, ops, frame.settled)] for key, ops in frame.delta.items()] or None,
        [_packed_pending(task) for task in frame.pending] or None,
        [_packed_settled(task) for task in frame.settled] or None,
        dict(frame.joins) if frame.joins else None,
        frame.deferred or None,
        frame.metadata,
        frame.seq - frame.parent - 1 or None,
    ]
    while body[-1] is None and len(body) > 3:
        body.pop()
    return StoredFrame(frame.seq, frame.created, codec.encode(body))


def _packed_ops(key: str, ops: Sequence[Op], settled: Sequence[Settled]) -> list[Any]:
    return [_packed_op(key, op, settled) for op in ops]


def _packed_op(key: str, op: Op, settled: Sequence[Settled]) -> list[Any]:
    if op[0] <= APPEND:
        for place, task in enumerate(settled):
            for written, value in task.writes:
                if written == key:
                    if value is op[1]:
                        return [op[0] + BY_TASK, place]
                    break  # the reader takes a task's first write to the key
    return list(op)


def _packed_pending(task: Pending) -> Any:
    if task.arg is None and not task.is_send:
        return task.name
    arg = _packed_writes(task.arg) if task.name == START else task.arg
    return [task.name, task.is_send, arg]


def _packed_settled(task: Settled) -> list[Any]:
    was_pending = task.name == START and task.place >= 0
    writes = None if was_pending else _packed_writes(task.writes)
    packed = [task.place if task.place >= 0 else task.name, writes]
    return [*packed, [_packed_interrupt(q) for q in task.interrupts]] if task.interrupts else packed


def _packed_writes(writes: Writes) -> list[Any]:
    return [part for pair in writes for part in pair]


def _packed_interrupt(question: Interrupt) -> list[Any]:
    return [
        question.value, question.id, question.response_schema, question.node, list(question.ns),
    ]  # fmt: skip


def open_frames(codec: Codec, stored: Sequence[StoredFrame]) -> list[Body]:
    """Decode the bytes of frames; `delta_of` and `unpack_frame` read what they hold.

    Raises:
        CorruptCheckpointError: The bytes are no frame.
        StoreTooNewError: The frame is of a later format.
        CodecError: A value in it cannot be rebuilt.
    """
    bodies = codec.decode_all([frame.body for frame in stored])
    return [_checked(frame, body) for frame, body in zip(stored, bodies, strict=True)]


def _checked(stored: StoredFrame, body: Any) -> Body:
    if type(body) is list and body and type(body[0]) is int and body[0] > FORMAT:
        raise StoreTooNewError(f"Frame {stored.seq} has format {body[0]}; this is {FORMAT}.")
    if type(body) is not list or len(body) < 3:
        raise CorruptCheckpointError(f"Frame {stored.seq} cannot be read: it is no frame.")
    body += _EMPTY[len(body) :]
    return body


def delta_of(seq: int, body: Body, before: Body | None) -> Delta:
    """Return a frame's delta.

    Args:
        seq: Its number, for errors.
        body: The frame.
        before: The frame before, to whose pending tasks it refers; None for the first.

    Raises:
        CorruptCheckpointError: The frame refers to what is not there.
    """
    try:
        settled = body[5]
        return {key: [_op(key, op, settled, before) for op in ops] for key, *ops in body[3] or ()}
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise CorruptCheckpointError(f"Frame {seq} cannot be read: {error!r}.") from error


def unpack_frame(stored: StoredFrame, body: Body, before: Body | None) -> Frame:
    """Return a decoded frame as a record.

    Args:
        stored: Its bytes, for their number and time.
        body: What they hold.
        before: The frame before; None: not known, then delta and settled tasks are left out.

    Raises:
        CorruptCheckpointError: The bytes are no frame.
    """
    try:
        return Frame(
            stored.seq,
            _SOURCES[body[1]],
            body[2],
            {} if before is None else delta_of(stored.seq, body, before),
            tuple([_pending(packed) for packed in body[4] or ()]),
            body[6] or {},
            tuple(body[7] or ()),
            () if before is None else tuple([_settled(p, before) for p in body[5] or ()]),
            body[8],
            stored.seq - 1 - (body[9] or 0),
            stored.created,
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise CorruptCheckpointError(f"Frame {stored.seq} cannot be read: {error!r}.") from error


def _op(key: str, packed: list[Any], settled: Any, before: Body | None) -> Op:
    code = packed[0]
    if code < BY_TASK:
        return tuple(packed)
    writes = _packed_result(settled[packed[1]], before)
    for place in range(0, len(writes), 2):
        if writes[place] == key:
            return (code - BY_TASK, writes[place + 1])
    raise KeyError(key)


def _packed_result(packed: list[Any], before: Body | None) -> list[Any]:
    """Return what a settled task wrote: it is there, or the argument of the pending task."""
    if packed[1] is not None or before is None:
        writes: list[Any] = packed[1]
        return writes
    argument: list[Any] = before[4][packed[0]][2]
    return argument


def _pending(packed: Any) -> Pending:
    if isinstance(packed, str):
        return Pending(packed)
    name, is_send, arg = packed
    return Pending(name, is_send, _writes(arg) if name == START else arg)


def _settled(packed: list[Any], before: Body) -> Settled:
    place = packed[0]
    index, name = (-1, place) if isinstance(place, str) else (place, _name(before[4][place]))
    questions = tuple(map(_interrupt, packed[2])) if len(packed) > 2 else ()
    return Settled(index, name, _writes(_packed_result(packed, before)), questions)


def _name(pending: Any) -> str:
    name: str = pending if isinstance(pending, str) else pending[0]
    return name


def _writes(packed: list[Any]) -> Writes:
    if len(packed) == 2:
        return ((packed[0], packed[1]),)
    return tuple(zip(packed[::2], packed[1::2], strict=True))


def _interrupt(packed: list[Any]) -> Interrupt:
    value, identity, schema, node, ns = packed
    return Interrupt(value, identity, schema, node, tuple(ns))


def pack_row(codec: Codec, row: Row) -> StoredRow:
    """Encode a row. Raises `NotStorable` as `pack_frame` does."""
    value = row.value
    if row.kind is RowKind.RESULT:
        writes, targets = value
        value = [_packed_writes(writes), [_packed_target(target) for target in targets]]
    elif row.kind is RowKind.QUESTION:
        value = _packed_interrupt(value)
    return StoredRow(row.place, row.kind.value, row.number, codec.encode(value))


def _packed_target(target: str | Send) -> Any:
    return [target.node, target.arg] if isinstance(target, Send) else target


def unpack_row(codec: Codec, stored: StoredRow) -> Row:
    """Decode a row. Raises as `unpack_frame` does."""
    kind = RowKind(stored.kind)
    value: Any = codec.decode(stored.body)
    if kind is RowKind.RESULT:
        writes, targets = value
        value = (_writes(writes), tuple(t if isinstance(t, str) else Send(*t) for t in targets))
    elif kind is RowKind.QUESTION:
        value = _interrupt(value)
    return Row(stored.place, kind, stored.number, value)


def pack_snapshot(codec: Codec, values: Mapping[str, Any], metadata: Mapping[str, Any]) -> bytes:
    """Encode a state, and the metadata that the frames before it had added."""
    return codec.encode([dict(values), dict(metadata)])


def unpack_snapshot(codec: Codec, body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Decode what `pack_snapshot` made."""
    values, metadata = codec.decode(body)
    return values, metadata
