"""Stores against a model of plain dicts, under any sequence of operations."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from graphflow import AlreadyAnswered, Checkpointer, HeadMoved, MemoryCheckpointer
from graphflow.checkpoint.protocol import StoredFrame, StoredRow
from graphflow.checkpoint.records import RowKind
from graphflow_checkpointers.sqlite import SqliteCheckpointer

THREADS = ("a", "b", "b\0")
SCOPES = ("", "child")
NAMES = ("main", "fork", "'")
threads = st.sampled_from(THREADS)
scopes = st.sampled_from(SCOPES)
bodies = st.binary(max_size=3)
rows = st.lists(
    st.builds(
        StoredRow, st.integers(-1, 2), st.sampled_from([kind.value for kind in RowKind]),
        st.integers(0, 1), bodies,
    ),
    max_size=3,
    unique_by=lambda row: row[:3],
)  # fmt: skip


class Line:
    """What the model knows of a branch."""

    def __init__(self, name: str, parent: int | None, parent_seq: int) -> None:
        self.name = name
        self.parent = parent
        self.parent_seq = parent_seq
        self.frames: list[StoredFrame] = []
        self.rows: dict[tuple[int, int, int], StoredRow] = {}
        self.snapshots: dict[int, bytes] = {}

    @property
    def head(self) -> int:
        return self.frames[-1].seq if self.frames else self.parent_seq


class Stores(RuleBasedStateMachine):
    """Does the same to a store and to the model; they must agree at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.store = self.make()
        self.threads: dict[str, dict[str, dict[int, Line]]] = {}
        self.removed: list[int] = []

    def make(self) -> Checkpointer:
        return MemoryCheckpointer()

    def teardown(self) -> None:
        self.store.close()

    def lines(self) -> dict[int, Line]:
        scopes = (scope for scopes in self.threads.values() for scope in scopes.values())
        return {branch: line for lines in scopes for branch, line in lines.items()}

    def pick(self, data: Any) -> tuple[int, Line]:
        lines = self.lines()
        branch = data.draw(st.sampled_from(sorted(lines)))
        return branch, lines[branch]

    @rule(thread=threads, scope=scopes, name=st.sampled_from(NAMES), data=st.data())
    def create(self, thread: str, scope: str, name: str, data: Any) -> None:
        known = self.threads.get(thread, {}).get(scope, {})
        parent = data.draw(st.sampled_from([None, *known]))
        parent_seq = -1 if parent is None else data.draw(st.integers(-1, known[parent].head))
        operation = self.store.create_branch(thread, scope, name, parent, parent_seq)
        if any(line.name == name for line in known.values()):
            assert self.is_refused(operation, HeadMoved)
            return
        made = self.store.run(operation)
        assert made.ordinal == len(known)
        assert made.id not in self.removed
        lines = self.threads.setdefault(thread, {}).setdefault(scope, {})
        lines[made.id] = Line(name, parent, parent_seq)

    @precondition(lambda self: self.lines())
    @rule(
        data=st.data(), off=st.sampled_from([0, 0, 0, -1, 1]), drop_rows=st.booleans(),
        gaps=st.lists(st.integers(1, 3), min_size=1, max_size=3), body=bodies,
    )  # fmt: skip
    def append(self, data: Any, off: int, drop_rows: bool, gaps: list[int], body: bytes) -> None:
        branch, line = self.pick(data)
        head = line.head + off
        frames = [StoredFrame(head + sum(gaps[: n + 1]), 0.5, body) for n in range(len(gaps))]
        operation = self.store.append(branch, head, frames, drop_rows=drop_rows)
        if off:
            assert self.is_refused(operation, HeadMoved)
            return
        self.store.run(operation)
        line.frames += frames
        line.rows = {}

    @precondition(lambda self: self.lines())
    @rule(data=st.data(), off=st.sampled_from([0, 0, 0, -1, 1]), given=rows, withdrawn=rows)
    def put_rows(self, data: Any, off: int, given: list[Any], withdrawn: list[Any]) -> None:
        branch, line = self.pick(data)
        operation = self.store.put_rows(branch, line.head + off, given, withdrawn)
        if off:
            assert self.is_refused(operation, HeadMoved)
            return
        if any(row.kind == RowKind.ANSWER and row[:3] in line.rows for row in given):
            assert self.is_refused(operation, AlreadyAnswered)
            return
        self.store.run(operation)
        for row in given:
            line.rows.setdefault(row[:3], row)
        for row in withdrawn:
            line.rows.pop(row[:3], None)

    @precondition(lambda self: any(line.frames for line in self.lines().values()))
    @rule(data=st.data(), body=bodies)
    def put_snapshot(self, data: Any, body: bytes) -> None:
        branch, line = self.pick(data)
        if line.frames:
            seq = data.draw(st.sampled_from([frame.seq for frame in line.frames]))
            self.store.run(self.store.put_snapshot(branch, seq, body))
            line.snapshots[seq] = body

    @rule(thread=threads)
    def remove(self, thread: str) -> None:
        self.store.run(self.store.remove_thread(thread))
        for lines in self.threads.pop(thread, {}).values():
            self.removed += lines

    @precondition(lambda self: self.removed)
    @rule(data=st.data())
    def write_to_removed(self, data: Any) -> None:
        branch = data.draw(st.sampled_from(self.removed))
        frames = [StoredFrame(1, 0.5, b"late")]
        assert self.is_refused(self.store.append(branch, 0, frames, drop_rows=False), HeadMoved)

    @invariant()
    def agrees_on_branches(self) -> None:
        assert self.store.run(self.store.threads()) == list(self.threads)
        for thread in THREADS:
            for scope in SCOPES:
                lines = self.threads.get(thread, {}).get(scope, {})
                assert self.store.run(self.store.branches(thread, scope)) == [
                    (branch, ordinal, line.name, line.parent, line.parent_seq, line.head)
                    for ordinal, (branch, line) in enumerate(lines.items())
                ]

    @invariant()
    def agrees_on_what_branches_hold(self) -> None:
        store = self.store
        for branch, line in self.lines().items():
            assert store.run(store.frames(branch, -1, 9999)) == line.frames
            assert store.run(store.rows(branch, line.head)) == list(line.rows.values())
            found = store.run(store.snapshot(branch, 9999))
            assert found is None or line.snapshots[found[0]] == found[1]
            assert line.snapshots == {} or found is not None

    def is_refused(self, operation: Any, kind: type[Exception]) -> bool:
        try:
            self.store.run(operation)
        except kind:
            return True
        return False


class SqliteStores(Stores):
    def make(self) -> Checkpointer:
        return SqliteCheckpointer()


few = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestMemoryStore = Stores.TestCase
TestMemoryStore.settings = few
TestSqliteStore = SqliteStores.TestCase
TestSqliteStore.settings = few
