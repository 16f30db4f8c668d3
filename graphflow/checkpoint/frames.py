"""Frames and rows as bytes, and back. This is the storage format.

A frame is a msgpack list; empty fields at its end are left out:

    [FORMAT, source, step, delta, pending, settled, joins, deferred, metadata, gap, unsettled]

    delta     [key, op, key, op, …]; op = [code, argument, …] as in `state.deltas`. Where the
              argument is what a settled task wrote to the key, as it nearly always is, the op is
              the number `code + BY_TASK * place in settled` and the value stands there only.
    pending   ["node", …]; instead of a name [name, is_send, argument], of a Send with a timeout
              [name, is_send, argument, [run_timeout, idle_timeout, refresh_on]]
    settled   [place in the pending of the frame before or "node", writes, interrupts, …]
              writes = [key, value, key, value, …]; null: the argument of the pending task
              interrupts = [interrupt, …] or null
    metadata  null: as in the frame before
    gap       how many numbers lie between the frame before and this one
    unsettled [place, writes or null, interrupts, error or null, …]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.codec_errors import shown
from graphflow.checkpoint.protocol import StoredFrame, StoredRow
from graphflow.checkpoint.records import (
    NOTHING,
    Frame,
    Pending,
    Row,
    RowKind,
    Settled,
    Source,
    Unsettled,
    Writes,
)
from graphflow.errors import CorruptCheckpointError, StoreTooNewError
from graphflow.state.deltas import APPEND, Delta, Folder, Op
from graphflow.types import START, Interrupt, Send, TimeoutPolicy

FORMAT = 1
BY_TASK = 8
Body = list[Any]
"""A decoded frame: the list above, with None for what was left out."""
NO_FRAME: Body = [FORMAT, 0, 0, *[None] * 8]
"""What stands before the first frame of a thread."""
_SOURCES = {source.value: source for source in Source}
_EMPTY = [None] * 11
_PARTS = {type(None), int, list, dict, tuple}
"""What frames consist of; a `range` of billions, say, is not to be gone through."""
_MISREAD = (ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, ValueError)
"""What taking values for something else than they are can raise."""


def pack_frame(codec: Codec, frame: Frame) -> StoredFrame:
    """Encode a frame.

    Raises:
        NotStorable: A value in it has no exact form; the path starts at its state key.
    """
    body: list[Any] = [
        FORMAT,
        int(frame.source),
        frame.step,
        _packed_delta(frame.delta, frame.settled) or None,
        [_packed_pending(task) for task in frame.pending] or None,
        _packed_settled(frame.settled) or None,
    ]
    gap = frame.seq - frame.parent - 1
    if gap or frame.joins or frame.deferred or frame.metadata is not None or frame.unsettled:
        body += (dict(frame.joins) or None, frame.deferred or None, frame.metadata, gap or None)
        body.append(_packed_unsettled(frame.unsettled) or None)
    while body[-1] is None:
        body.pop()
    return StoredFrame(frame.seq, frame.created, codec.encode(body))


def _packed_delta(delta: Delta, settled: Sequence[Settled]) -> list[Any]:
    packed: list[Any] = []
    for key, ops in delta.items():
        for op in ops:
            packed += (key, _packed_op(key, op, settled))
    return packed


def _packed_op(key: str, op: Op, settled: Sequence[Settled]) -> Any:
    if op[0] <= APPEND:
        for place, task in enumerate(settled):
            for written, value in task.writes:
                if written == key:
                    if value is op[1]:
                        return op[0] + BY_TASK * place
                    break  # the reader takes a task's first write to the key
    return list(op)


def _packed_pending(task: Pending) -> Any:
    if task.arg is None and not task.is_send:
        return task.name
    arg = _packed_writes(task.arg) if task.name == START else task.arg
    return [task.name, task.is_send, arg, *_packed_timeout(task.timeout)]


def _packed_timeout(policy: TimeoutPolicy | None) -> list[Any]:
    return [[policy.run_timeout, policy.idle_timeout, policy.refresh_on]] if policy else []


def _timeout(packed: list[Any]) -> TimeoutPolicy:
    run, idle, refresh_on = packed
    return TimeoutPolicy(run_timeout=run, idle_timeout=idle, refresh_on=refresh_on)


def _packed_settled(settled: Sequence[Settled]) -> list[Any]:
    packed: list[Any] = []
    for place, name, writes, interrupts in settled:
        was_pending = name == START and place >= 0
        written = None if was_pending else _packed_writes(writes)
        asked = [_packed_interrupt(q) for q in interrupts] if interrupts else None
        packed += (place if place >= 0 else name, written, asked)
    return packed


def _packed_unsettled(tasks: Sequence[Unsettled]) -> list[Any]:
    packed: list[Any] = []
    for place, writes, interrupts, error in tasks:
        written = None if writes is None else _packed_writes(writes)
        packed += (place, written, [_packed_interrupt(q) for q in interrupts], error)
    return packed


def _packed_writes(writes: Writes) -> list[Any]:
    return [part for pair in writes for part in pair]


def _packed_interrupt(question: Interrupt) -> list[Any]:
    return [
        question.value, question.id, question.response_schema, question.node, list(question.ns),
        question.task,
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
        raise StoreTooNewError(f"Frame {stored.seq} has format {shown(body[0])}; this is {FORMAT}.")
    if type(body) is not list or len(body) < 3 or not _PARTS.issuperset(map(type, body)):
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
        return _delta(body, _results(body, before))
    except _MISREAD as error:
        raise CorruptCheckpointError(f"Frame {seq} cannot be read: {shown(error)}.") from error


def fold_frame(folder: Folder, seq: int, body: Body, before: Body) -> None:
    """Apply a frame's delta to a state: `delta_of` and `Folder.apply` without records in between.

    Raises:
        CorruptCheckpointError: The frame cannot be read.
    """
    packed, settled = body[3], body[5]
    if packed is None:
        return
    try:
        if type(settled) is not list or None in settled[1::3]:
            folder.apply(delta_of(seq, body, before))
            return
        put, extend = folder.put, folder.extend
        parts = iter(_list(packed))
        for key in parts:
            op = next(parts)
            if type(op) is not int:
                folder.apply({key: (tuple(_list(op)),)})
                continue
            written = _list(settled[3 * (op // BY_TASK) + 1])
            value = written[1] if written[0] == key else _written(key, written)
            if op % BY_TASK == APPEND:
                extend(key, value)
            else:
                put(key, value)
    except _MISREAD as error:
        raise CorruptCheckpointError(f"Frame {seq} cannot be read: {shown(error)}.") from error


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
        results = () if before is None else _results(body, before)
        return Frame(
            stored.seq,
            _SOURCES[body[1]],
            body[2],
            {} if before is None else _delta(body, results),
            tuple([_pending(packed) for packed in body[4] or ()]),
            body[6] or NOTHING,
            tuple(body[7] or ()),
            () if before is None else _all_settled(body, results, before),
            body[8],
            stored.seq - 1 - (body[9] or 0),
            stored.created,
            () if body[10] is None else _unsettled(body[10]),
        )
    except _MISREAD as error:
        raise CorruptCheckpointError(
            f"Frame {stored.seq} cannot be read: {shown(error)}."
        ) from error


def unpack_frames(line: Sequence[StoredFrame], bodies: Sequence[Body], before: Body) -> list[Frame]:
    """Return decoded frames that follow each other as records; `before` stands before the first."""
    frames = []
    for stored, body in zip(line, bodies, strict=True):
        frames.append(unpack_frame(stored, body, before))
        before = body
    return frames


def _results(body: Body, before: Body | None) -> list[list[Any]]:
    """Return what each settled task wrote: it is there, or the argument of the pending task."""
    settled = body[5] or []
    results = settled[1::3]
    if None in results and before is not None:
        for index, place in enumerate(settled[::3]):
            if results[index] is None:
                results[index] = before[4][place][2]
    return results


def _delta(body: Body, results: Sequence[list[Any]]) -> dict[str, Sequence[Op]]:
    delta: dict[str, Sequence[Op]] = {}
    parts = iter(body[3] or ())
    for key in parts:
        op = next(parts)
        refers = type(op) is int
        op = (op % BY_TASK, _written(key, results[op // BY_TASK])) if refers else tuple(_list(op))
        delta[key] = [*delta[key], op] if key in delta else [op]
    return delta


def _written(key: str, packed: list[Any]) -> Any:
    return packed[2 * _list(packed)[::2].index(key) + 1]


def _pending(packed: Any) -> Pending:
    if isinstance(packed, str):
        return _plain(packed)
    name, is_send, arg, *timeout = _list(packed)
    given = _writes(arg) if name == START else arg
    return Pending(name, is_send, given, *map(_timeout, timeout))


_plain = lru_cache(1024)(Pending)


def _all_settled(body: Body, results: Sequence[list[Any]], before: Body) -> tuple[Settled, ...]:
    packed = body[5] or ()
    tasks = zip(packed[::3], results, packed[2::3], strict=True)
    return tuple([_settled(*task, before) for task in tasks])


def _settled(place: int | str, packed: list[Any], asked: Any, before: Body) -> Settled:
    writes = _writes(packed)
    questions = tuple(map(_interrupt, _list(asked))) if asked else ()
    if isinstance(place, str):
        return Settled(-1, place, writes, questions)
    return Settled(place, _name(before[4][place]), writes, questions)


def _unsettled(packed: list[Any]) -> tuple[Unsettled, ...]:
    tasks = zip(packed[::4], packed[1::4], packed[2::4], packed[3::4], strict=True)
    return tuple(
        Unsettled(
            place,
            None if writes is None else _writes(writes),
            tuple(map(_interrupt, _list(asked))),
            error,
        )
        for place, writes, asked, error in tasks
    )


def _name(pending: Any) -> str:
    name: str = pending if isinstance(pending, str) else pending[0]
    return name


def _writes(packed: list[Any]) -> Writes:
    parts = iter(_list(packed))
    return tuple(zip(parts, parts, strict=True))


def _interrupt(packed: list[Any]) -> Interrupt:
    value, identity, schema, node, ns, task = packed
    return Interrupt(value, identity, schema, node, tuple(_list(ns)), task)


def _list(packed: Any) -> list[Any]:
    if type(packed) is not list:
        raise TypeError("a list was expected")
    return packed


def pack_row(codec: Codec, row: Row) -> StoredRow:
    """Encode a row. Raises `NotStorable` as `pack_frame` does."""
    value = row.value
    if row.kind is RowKind.RESULT:
        writes, targets = value
        value = [_packed_writes(writes), [_packed_target(target) for target in targets]]
    elif row.kind is RowKind.QUESTION:
        value = _packed_interrupt(value)
    elif row.kind is RowKind.CALL:
        path, name, returned = value
        value = [list(path), name, returned]
    return StoredRow(row.place, row.kind.value, row.number, codec.encode(value))


def _packed_target(target: str | Send) -> Any:
    if not isinstance(target, Send):
        return target
    return [target.node, target.arg, *_packed_timeout(target.timeout)]


def _target(packed: Any) -> str | Send:
    if isinstance(packed, str):
        return packed
    node, arg, *timeout = _list(packed)
    return Send(node, arg, timeout=_timeout(timeout[0]) if timeout else None)


def unpack_row(codec: Codec, stored: StoredRow) -> Row:
    """Decode a row. Raises as `unpack_frame` does."""
    value = codec.decode(stored.body)
    try:
        kind = RowKind(stored.kind)
        return Row(stored.place, kind, stored.number, _row_value(kind, value))
    except _MISREAD as error:
        raise CorruptCheckpointError(
            f"A row of task {stored.place} cannot be read: {shown(error)}."
        ) from error


def _row_value(kind: RowKind, value: Any) -> Any:
    if kind is RowKind.RESULT:
        writes, targets = value
        return _writes(writes), tuple(map(_target, _list(targets)))
    if kind is RowKind.QUESTION:
        return _interrupt(value)
    if kind is RowKind.CALL:
        path, name, returned = value
        return tuple(_list(path)), name, returned
    return value


def pack_snapshot(codec: Codec, values: Mapping[str, Any], metadata: Mapping[str, Any]) -> bytes:
    """Encode a state, and the metadata that the frames before it had added."""
    return codec.encode([dict(values), dict(metadata)])


def unpack_snapshot(codec: Codec, body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Decode what `pack_snapshot` made.

    Raises:
        CorruptCheckpointError: The bytes are no snapshot.
        CodecError: A value in it cannot be rebuilt.
    """
    found = codec.decode(body)
    if type(found) is not list or [type(part) for part in found] != [dict, dict]:
        raise CorruptCheckpointError("A snapshot cannot be read: it is no snapshot.")
    values, metadata = found
    return values, metadata
