"""The recorder: turns the machine's commits into what a store keeps, for one run.

It knows where the branch stands, makes the branch on the first commit, finds the delta of keys
whose channel could not tell it, asks for a snapshot when the chain has grown long, and with
durability `exit` gathers all frames of a run into one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.codec_errors import NotStorable
from graphflow.checkpoint.frames import pack_frame, pack_row
from graphflow.checkpoint.history import FLOOR, ROW_COST, Checkpoint, chain_limit, compact
from graphflow.checkpoint.protocol import MAIN, Branch, Lease, Operation, StoredFrame, Tag
from graphflow.checkpoint.records import METADATA_EVERY, NOTHING, Commit, Frame, Row, RowKind
from graphflow.checkpoint.tags import tags_of
from graphflow.state.deltas import APPEND, DROP, PUT, SET, SPLICE, Op
from graphflow.types import Send

_WORTH_COMPARING = 16
"""Elements; smaller containers are stored whole."""
_TELLING = {str, int}
"""Types of keys that are never equal without being the same, as 1, True and 1.0 are."""
_SMALL = {int, float, bool, type(None)}


class Recorder:
    """Records one run of one thread.

    Args:
        store: Where commits go.
        codec: How values are encoded.
        thread: The thread's id.
        scope: Which graph of the thread.
        base: The checkpoint that the run starts from, None for a new thread.
        compared: Keys whose channel does not know its delta.
        name: What the branch is called that a run without `base` makes.
    """

    def __init__(
        self,
        store: Checkpointer,
        codec: Codec,
        thread: str,
        scope: str,
        base: Checkpoint | None,
        compared: frozenset[str],
        name: str = MAIN,
    ) -> None:
        self.store = store
        self.codec = codec
        self.thread = thread
        self.scope = scope
        self.name = name
        self.lease: Lease | None = None
        """What must be held for a commit to be stored; None: nothing."""
        self.tags = () if scope else store.tags
        """Keys of the metadata by which the thread can be found; none, once the first frame has
        told what the run's metadata is."""
        self.upgraded = base.upgraded if base else NOTHING
        """Values that the next frame stores before what it changes."""
        self.metadata: Mapping[str, Any] = base.metadata if base else NOTHING
        """What holds at the newest frame."""
        self.branch: Branch | None = base.branch if base else None
        self.head = base.branch.head if base else -1
        self.chain_cost = base.chain_cost if base else 0
        self.chain_limit = _next_check(self.chain_cost)
        self.grown = 0
        """Bytes that the state is known to have at least: what was added, and not replaced."""
        self.comparer = Comparer(codec, base.values if base else {}, compared)
        self.gathered: list[Commit] = []

    def gather(self, commit: Commit) -> None:
        """Keep a commit for `flush` (durability `exit`)."""
        self.gathered.append(commit)

    def flush(self) -> Operation[None] | None:
        """Return the one commit that stands for all gathered ones."""
        gathered, self.gathered = self.gathered, []
        frames = [frame for commit in gathered for frame in commit.frames]
        tip = frames[-1].seq if frames else self.head
        rows = [row for commit in gathered if commit.head == tip for row in commit.rows]
        withdrawn = [row for commit in gathered if commit.head == tip for row in commit.withdrawn]
        drops = any(commit.closes_rows for commit in gathered)
        if not (frames or rows or withdrawn):
            return None
        merged = (_merged(frames, self.head),) if frames else ()
        return self.record(Commit(self.head, merged, tuple(rows), tuple(withdrawn), drops))

    def record(self, commit: Commit) -> Operation[None]:
        """Encode a commit now; the operation that is returned stores it.

        Raises:
            NotStorable: A value has no exact form. Nothing of the commit is stored.
            TypeError: A tag is of a type that it cannot have. Nothing of the commit is stored.
        """
        tags = self._tags(commit.frames) if self.tags and commit.frames else ()
        frames = [self._packed(frame) for frame in commit.frames]
        head = self.head
        if frames:
            self.head = frames[-1].seq
        if self.branch is not None and frames and not (commit.rows or commit.withdrawn or tags):
            self._count(frames)
            return self.store.append(
                self.branch.id, head, frames, drop_rows=commit.closes_rows, lease=self.lease
            )
        rows = [self._packed_row(row) for row in commit.rows]
        return self._store(head, frames, rows, commit, tags)

    def _tags(self, frames: Sequence[Frame]) -> Sequence[Tag]:
        """Return the tags that the first frames carry."""
        told = [frame.metadata for frame in frames if frame.metadata is not None]
        keys, self.tags = self.tags, ()
        return tags_of(keys, told[-1]) if told else ()

    def _store(
        self,
        head: int,
        frames: list[StoredFrame],
        rows: list[Any],
        commit: Commit,
        tags: Sequence[Tag],
    ) -> Operation[None]:
        store = self.store
        yield from store.begin(write=True)
        if self.branch is None:
            self.branch = yield from store.create_branch(
                self.thread, self.scope, self.name, None, -1
            )
        if tags:  # before the frames: whoever removes the thread locks it before its branches
            yield from store.put_tags(self.thread, tags)
        if frames:
            self._count(frames)
            yield from store.append(
                self.branch.id, head, frames, drop_rows=commit.closes_rows, lease=self.lease
            )
        if rows or commit.withdrawn:
            withdrawn = [self._packed_row(row) for row in commit.withdrawn]
            tip = frames[-1].seq if frames else head
            yield from store.put_rows(self.branch.id, tip, rows, withdrawn, lease=self.lease)
        yield from store.end()

    def compaction(self) -> Operation[None] | None:
        """Return what shortens the chain, if it has become long.

        To be asked for when a commit has been recorded, and run when it is stored. What it writes
        is derived, so nothing is lost if it fails.
        """
        if self.chain_cost < self.chain_limit or self.branch is None:
            return None
        self.chain_limit = _next_check(self.chain_cost)
        if self.chain_cost <= chain_limit(self.grown):
            return None
        return self._compact(self.branch, self.head)

    def _compact(self, branch: Branch, seq: int) -> Operation[None]:
        live = yield from compact(
            self.store, self.codec, self.thread, self.scope, branch.ordinal, seq
        )
        self.grown = max(self.grown, live)
        limit = chain_limit(live)
        if self.chain_cost > limit:
            self.chain_cost = 0
        self.chain_limit = max(limit, _next_check(self.chain_cost))

    def _count(self, frames: Sequence[StoredFrame]) -> None:
        for frame in frames:
            self.chain_cost += len(frame.body) + ROW_COST

    def _packed(self, frame: Frame) -> StoredFrame:
        if frame.metadata is not None:
            self.metadata = frame.metadata
        elif frame.parent >= 0 and not frame.seq % METADATA_EVERY:
            frame = frame._replace(metadata=self.metadata)
        try:
            delta = self.comparer.compared(frame.delta)
            if self.upgraded:
                first = {key: ((SET, value),) for key, value in self.upgraded.items()}
                delta = {**first, **{key: (*first.get(key, ()), *delta[key]) for key in delta}}
                self.upgraded = NOTHING
            if delta is not frame.delta:
                frame = frame._replace(delta=delta)
            packed = pack_frame(self.codec, frame)
        except NotStorable as error:
            raise self._located(error, _parts(frame)) from None
        self.grown = self.grown + len(packed.body) if _only_adds(frame) else 0
        return packed

    def _packed_row(self, row: Row) -> Any:
        try:
            return pack_row(self.codec, row)
        except NotStorable as error:
            raise self._located(error, _parts_of_row(row)) from None

    def _located(self, error: NotStorable, parts: Sequence[tuple[str, Any]]) -> NotStorable:
        for name, value in parts:
            try:
                self.codec.encode(value)
            except NotStorable as found:
                path = f"state[{name!r}]{found.path}"
                return NotStorable(found.reason, path=path, kind=found.kind)
        return error


def _only_adds(frame: Frame) -> bool:
    """Whether all that a frame's bytes hold is in the state from now on, but for small change."""
    for ops in frame.delta.values():
        for op in ops:
            if op[0] != APPEND and (op[0] != SET or type(op[1]) not in _SMALL):
                return False
    return all(task.arg is None for task in frame.pending)


def _parts_of_row(row: Row) -> Sequence[tuple[str, Any]]:
    if row.kind is RowKind.RESULT:
        writes, targets = row.value
        sends = [target for target in targets if isinstance(target, Send)]
        return [*writes, *((f"Send({send.node})", send.arg) for send in sends)]
    if row.kind is RowKind.CALL:
        _, name, returned = row.value
        return [(f"task {name}", returned)]
    return [(row.kind.name.lower(), row.value)]


def _next_check(cost: int) -> int:
    """Return at which cost of the chain its snapshot is considered next: a doubling of `FLOOR`.

    It depends on nothing but the cost, so that a short run on a long thread does not ask anew.
    """
    limit = FLOOR
    while limit <= cost:
        limit *= 2
    return limit


def _parts(frame: Frame) -> list[tuple[str, Any]]:
    parts = [(key, op[-1]) for key, ops in frame.delta.items() for op in ops if len(op) > 1]
    parts += [(key, value) for task in frame.settled for key, value in task.writes]
    parts += [(f"Send({task.name})", task.arg) for task in frame.pending if task.arg is not None]
    return [*parts, ("config metadata", frame.metadata)]


def _merged(frames: Sequence[Frame], parent: int) -> Frame:
    delta: dict[str, list[Op]] = {}
    for frame in frames:
        for key, ops in frame.delta.items():
            for op in ops:
                delta[key] = [op] if op[0] == SET else [*delta.get(key, ()), op]
    told = [frame.metadata for frame in frames if frame.metadata is not None]
    return frames[-1]._replace(
        delta={key: _appended(ops) for key, ops in delta.items()},
        settled=frames[0].settled,
        unsettled=frames[0].unsettled,
        metadata=told[-1] if told else None,
        parent=parent,
    )


def _appended(ops: list[Op]) -> list[Op]:
    if len(ops) < 2 or any(op[0] != APPEND for op in ops):
        return ops
    return [(APPEND, [item for op in ops for item in op[1]])]


class Comparer:
    """Finds what changed inside a container whose channel cannot tell.

    It remembers a digest of every element as it was stored, so that an element that was mutated
    in place is seen as changed.
    """

    def __init__(self, codec: Codec, values: Mapping[str, Any], keys: frozenset[str]) -> None:
        self.codec = codec
        self.keys = keys
        self.known: dict[str, Any] = {}
        for key in keys:
            if _is_comparable(values.get(key)):
                self.known[key] = self._digests(values[key])

    def compared(self, delta: Mapping[str, Sequence[Op]]) -> Mapping[str, Sequence[Op]]:
        """Return `delta` with whole values replaced by what changed in them."""
        changed = {}
        for key, ops in delta.items():
            if key in self.keys:
                op = ops[-1]
                if op[0] == SET and _is_comparable(op[1]):
                    changed[key] = self._ops(key, op[1], ops)
                elif key in self.known:
                    del self.known[key]
        return {**delta, **changed} if changed else delta

    def _ops(self, key: str, value: Any, ops: Sequence[Op]) -> Sequence[Op]:
        before, after = self.known.get(key), self._digests(value)
        self.known[key] = after
        if type(before) is not type(after):
            return ops
        find: Callable[..., list[Op]] = _list_ops if type(value) is list else _dict_ops
        return find(before, after, value)

    def _digests(self, value: Any) -> Any:
        if type(value) is dict:
            return {key: self._digest(part) for key, part in value.items()}
        return [self._digest(part) for part in value]

    def _digest(self, part: Any) -> bytes:
        encoded = self.codec.encode(part)
        return encoded if len(encoded) <= 16 else blake2b(encoded, digest_size=16).digest()


def _is_comparable(value: Any) -> bool:
    if type(value) not in (list, dict) or len(value) < _WORTH_COMPARING:
        return False
    return type(value) is list or set(map(type, value)) <= _TELLING


def _list_ops(before: list[bytes], after: list[bytes], value: list[Any]) -> list[Op]:
    shorter = min(len(before), len(after))
    start = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    if start == len(before):
        return [(APPEND, value[start:])] if start < len(after) else []
    end = next(
        (i for i in range(shorter - start) if before[-1 - i] != after[-1 - i]), shorter - start
    )
    return [(SPLICE, start, len(before) - end - start, value[start : len(value) - end])]


def _dict_ops(before: dict[Any, bytes], after: dict[Any, bytes], value: dict[Any, Any]) -> list[Op]:
    kept = [key for key in before if key in after]
    if [*kept, *(key for key in after if key not in before)] != list(after):
        return [(SET, value)]
    ops: list[Op] = []
    if gone := [key for key in before if key not in after]:
        ops.append((DROP, gone))
    if new := {key: value[key] for key in after if before.get(key) != after[key]}:
        ops.append((PUT, new))
    return ops
