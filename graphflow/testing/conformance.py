"""What every checkpointer must do, as tests: for authors of backends.

    class TestMyStore(StoreConformance):
        def make(self, folder: Path) -> Checkpointer:
            return MyStore(folder / "threads.db")

pytest then runs every case twice, through `run` and through `arun`. A case is a claim about the
protocol (`graphflow.checkpoint.protocol`) or about runs on top of it; none knows what the store is
made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.protocol import MAIN, Branch, Operation, StoredFrame, StoredRow
from graphflow.checkpoint.records import RowKind
from graphflow.errors import AlreadyAnswered, HeadMoved, UnknownCheckpointError
from graphflow.state.deltas import APPEND, SET
from graphflow.testing.lease_conformance import LeaseConformance
from graphflow.testing.material import AWKWARD, BODY, Do, Lineage, answer, result, stored
from graphflow.testing.tag_conformance import TagConformance


class StoreConformance(LeaseConformance, TagConformance):
    """The cases. Subclass it and say how a store is made."""

    def make(self, folder: Path) -> Checkpointer:
        """Return an empty store that keeps its files, if any, in `folder`."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Checkpointer]:
        """An empty store."""
        store = self.make(tmp_path)
        yield store
        store.close()

    @pytest.fixture(params=["run", "arun"])
    def do(self, request: pytest.FixtureRequest, store: Checkpointer) -> Do:
        """Carry out an operation, blocking or on an event loop."""
        if request.param == "run":
            return store.run
        return lambda operation: asyncio.run(store.arun(operation))

    # -- threads and branches ------------------------------------------------------------------

    def test_an_unknown_thread_has_no_branches(self, store: Checkpointer, do: Do) -> None:
        assert do(store.branches("nobody")) == []
        assert do(store.threads()) == []

    def test_a_new_branch_has_no_frames(self, store: Checkpointer, do: Do) -> None:
        made = do(store.create_branch("t", "", MAIN, None, -1))
        assert (made.ordinal, made.name, made.parent, made.parent_seq, made.head) == (
            0, MAIN, None, -1, -1,
        )  # fmt: skip
        assert do(store.branches("t")) == [made]

    def test_a_branch_does_not_continue_one_that_is_gone(self, store: Checkpointer, do: Do) -> None:
        made = do(store.create_branch("t", "", MAIN, None, -1))
        do(store.append(made.id, -1, stored(0), drop_rows=False))
        do(store.remove_thread("t"))
        with pytest.raises(HeadMoved):
            do(store.create_branch("t", "", "fork", made.id, 0))
        assert do(store.threads()) == []

    def test_a_branch_name_is_taken_once(self, store: Checkpointer, do: Do) -> None:
        made = do(store.create_branch("t", "", MAIN, None, -1))
        with pytest.raises(HeadMoved, match=MAIN):
            do(store.create_branch("t", "", MAIN, None, -1))
        assert do(store.branches("t")) == [made]

    def test_branches_come_in_the_order_they_were_made(self, store: Checkpointer, do: Do) -> None:
        for name in ("z", "a", "m"):
            do(store.create_branch("t", "", name, None, -1))
        found = do(store.branches("t"))
        assert [(branch.ordinal, branch.name) for branch in found] == [(0, "z"), (1, "a"), (2, "m")]

    def test_scopes_are_lines_of_their_own(self, store: Checkpointer, do: Do) -> None:
        root = do(store.create_branch("t", "", MAIN, None, -1))
        child = do(store.create_branch("t", "child", MAIN, None, -1))
        do(store.append(child.id, -1, stored(0), drop_rows=False))
        assert do(store.branches("t")) == [root]
        assert do(store.branches("t", "child")) == [child._replace(head=0)]

    def test_the_scopes_of_a_thread_are_known(self, store: Checkpointer, do: Do) -> None:
        for scope in ("node:1|inner", "", "node:1", "ünï-日本-🙂", "a\0b"):
            do(store.create_branch("t", scope, MAIN, None, -1))
        do(store.create_branch("t", "node:1", "fork", None, -1))
        do(store.create_branch("other", "elsewhere", MAIN, None, -1))
        found = do(store.scopes("t"))
        assert found == ["", "a\0b", "node:1", "node:1|inner", "ünï-日本-🙂"]
        do(store.remove_thread("t"))
        assert do(store.scopes("t")) == do(store.scopes("nobody")) == []

    def test_one_of_many_makes_a_branch(self, store: Checkpointer) -> None:
        def make(_: int) -> bool:
            try:
                store.run(store.create_branch("t", "", MAIN, None, -1))
            except HeadMoved:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(make, range(8))) == 1
        assert len(store.run(store.branches("t"))) == 1

    def test_threads_come_in_the_order_they_were_made(self, store: Checkpointer, do: Do) -> None:
        for name in ("z", "a", "m"):
            do(store.create_branch(name, "", MAIN, None, -1))
        do(store.create_branch("z", "", "another", None, -1))
        assert do(store.threads()) == ["z", "a", "m"]

    def test_any_text_is_a_name(self, store: Checkpointer, do: Do) -> None:
        for thread in AWKWARD:
            branch = do(store.create_branch(thread, thread, thread, None, -1))
            do(store.append(branch.id, -1, stored(0), drop_rows=False))
        assert do(store.threads()) == list(AWKWARD)
        for thread in AWKWARD:
            assert [(b.name, b.head) for b in do(store.branches(thread, thread))] == [(thread, 0)]

    def test_a_removed_thread_is_gone_and_others_stay(self, store: Checkpointer, do: Do) -> None:
        _, kept = self.two_threads(store, do)
        do(store.remove_thread("gone"))
        do(store.remove_thread("never was"))
        assert do(store.threads()) == ["kept"]
        assert do(store.branches("gone")) == []
        assert do(store.frames(kept.id, -1, 9)) == stored(0, 1)
        assert do(store.rows(kept.id, 1)) == [result(0)]

    def test_a_run_cannot_write_to_a_removed_thread(self, store: Checkpointer, do: Do) -> None:
        gone, _ = self.two_threads(store, do)
        do(store.remove_thread("gone"))
        with pytest.raises(HeadMoved):
            do(store.append(gone.id, 1, stored(2), drop_rows=False))
        with pytest.raises(HeadMoved):
            do(store.put_rows(gone.id, 1, [result(1)], []))

    def test_a_run_of_a_removed_thread_cannot_write_to_the_next_one(
        self, store: Checkpointer, do: Do
    ) -> None:
        gone = self.line(store, do, "gone", 0, 1)
        do(store.remove_thread("gone"))
        new = self.line(store, do, "new", 0, 1)
        with pytest.raises(HeadMoved):
            do(store.append(gone.id, 1, stored(2), drop_rows=False))
        assert do(store.frames(new.id, -1, 9)) == stored(0, 1)

    def test_nothing_of_a_removed_thread_comes_back(self, store: Checkpointer, do: Do) -> None:
        old = do(store.create_branch("t", "", MAIN, None, -1))
        do(store.put_rows(old.id, -1, [result(0)], []))
        do(store.append(old.id, -1, stored(0), drop_rows=False))
        do(store.put_snapshot(old.id, 0, b"old"))
        do(store.remove_thread("t"))
        new = do(store.create_branch("t", "", MAIN, None, -1))
        assert do(store.rows(new.id, -1)) == []
        assert do(store.frames(new.id, -1, 9)) == []
        assert do(store.snapshot(new.id, 9)) is None

    # -- frames --------------------------------------------------------------------------------

    def test_frames_come_back_byte_for_byte(self, store: Checkpointer, do: Do) -> None:
        branch = do(store.create_branch("t", "", MAIN, None, -1))
        frames = [StoredFrame(0, 0.0, b""), StoredFrame(1, 1.75e9 + 0.25, BODY)]
        do(store.append(branch.id, -1, frames, drop_rows=False))
        assert do(store.frames(branch.id, -1, 1)) == frames

    def test_a_frame_may_have_16_mib(self, store: Checkpointer, do: Do) -> None:
        branch = do(store.create_branch("t", "", MAIN, None, -1))
        frame = StoredFrame(0, 0.0, BODY * (16 * 4096))
        do(store.append(branch.id, -1, [frame], drop_rows=False))
        assert do(store.frames(branch.id, -1, 0)) == [frame]

    def test_a_range_of_frames_is_open_below(self, store: Checkpointer, do: Do) -> None:
        branch = self.line(store, do, "t", 0, 1, 2, 3, 4)
        assert do(store.frames(branch.id, 1, 3)) == stored(2, 3)
        assert do(store.frames(branch.id, 4, 3)) == []

    def test_numbers_may_have_gaps(self, store: Checkpointer, do: Do) -> None:
        branch = self.line(store, do, "t", 0, 5)
        do(store.append(branch.id, 5, stored(7, 100_000), drop_rows=False))
        assert do(store.frames(branch.id, -1, 200_000)) == stored(0, 5, 7, 100_000)
        assert do(store.branches("t"))[0].head == 100_000

    @pytest.mark.parametrize("head", [-1, 0, 2, 7])
    @pytest.mark.parametrize("count", [1, 2])
    def test_a_commit_behind_another_head_leaves_nothing(
        self, store: Checkpointer, do: Do, head: int, count: int
    ) -> None:
        branch = self.line(store, do, "t", 0, 1)
        do(store.put_rows(branch.id, 1, [result(0)], []))
        late = stored(*range(head + 3, head + 3 + count))
        with pytest.raises(HeadMoved):
            do(store.append(branch.id, head, late, drop_rows=count == 2))
        assert do(store.frames(branch.id, -1, 99)) == stored(0, 1)
        assert do(store.rows(branch.id, 1)) == [result(0)]
        assert do(store.branches("t"))[0].head == 1

    def test_a_commit_to_an_unknown_branch_is_refused(self, store: Checkpointer, do: Do) -> None:
        with pytest.raises(HeadMoved):
            do(store.append(12345, -1, stored(0), drop_rows=False))

    def test_many_writers_leave_no_gap_and_lose_nothing(self, store: Checkpointer) -> None:
        branch = self.line(store, store.run, "t", 0)

        def write(writer: int) -> list[int]:
            return [self.append_somehow(store, branch.id, b"%d" % writer) for _ in range(20)]

        with ThreadPoolExecutor(4) as pool:
            written = dict(enumerate(pool.map(write, range(4))))
        frames = store.run(store.frames(branch.id, 0, 999))
        assert [frame.seq for frame in frames] == list(range(1, 81))
        assert {frame.seq: int(frame.body) for frame in frames} == {
            seq: writer for writer, seqs in written.items() for seq in seqs
        }

    def append_somehow(self, store: Checkpointer, branch: int, body: bytes) -> int:
        """Append a frame wherever the head is; return its number."""
        while True:
            head = store.run(store.branches("t"))[0].head
            try:
                frame = StoredFrame(head + 1, 0.0, body)
                store.run(store.append(branch, head, [frame], drop_rows=False))
            except HeadMoved:
                continue
            return head + 1

    # -- rows ----------------------------------------------------------------------------------

    def test_rows_come_in_the_order_they_were_put(self, store: Checkpointer, do: Do) -> None:
        branch = self.line(store, do, "t", 0)
        rows = [result(2), answer(1), result(0), StoredRow(0, RowKind.QUESTION, 0, BODY), result(1)]
        do(store.put_rows(branch.id, 0, rows[:2], []))
        for row in rows[2:]:
            do(store.put_rows(branch.id, 0, [row], []))
        assert do(store.rows(branch.id, 0)) == rows

    def test_the_first_row_of_a_place_stays(self, store: Checkpointer, do: Do) -> None:
        branch = self.line(store, do, "t", 0)
        do(store.put_rows(branch.id, 0, [result(0, b"first")], []))
        do(store.put_rows(branch.id, 0, [result(0, b"second"), result(1, b"other")], []))
        assert do(store.rows(branch.id, 0)) == [result(0, b"first"), result(1, b"other")]

    def test_a_question_is_answered_once(self, store: Checkpointer, do: Do) -> None:
        branch = self.line(store, do, "t", 0)
        do(store.put_rows(branch.id, 0, [answer(0)], []))
        with pytest.raises(AlreadyAnswered):
            do(store.put_rows(branch.id, 0, [answer(1), answer(0, b"other")], []))
        assert do(store.rows(branch.id, 0)) == [answer(0)]

    def test_one_of_many_answers_is_taken(self, store: Checkpointer) -> None:
        branch = self.line(store, store.run, "t", 0)

        def reply(number: int) -> bool:
            row = answer(0, b"%d" % number)
            try:
                store.run(store.put_rows(branch.id, 0, [row], []))
            except AlreadyAnswered:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(reply, range(16)))
        assert store.run(store.rows(branch.id, 0)) == [answer(0, b"%d" % taken.index(True))]
        assert sum(taken) == 1

    def test_a_withdrawn_answer_can_be_given_again(self, store: Checkpointer, do: Do) -> None:
        branch = self.line(store, do, "t", 0)
        do(store.put_rows(branch.id, 0, [answer(0), answer(1)], []))
        do(store.put_rows(branch.id, 0, [], [answer(0, b"")]))
        do(store.put_rows(branch.id, 0, [answer(0, b"better")], []))
        assert do(store.rows(branch.id, 0)) == [answer(1), answer(0, b"better")]

    @pytest.mark.parametrize("head", [-1, 0, 2])
    def test_rows_of_another_head_are_refused(self, store: Checkpointer, do: Do, head: int) -> None:
        branch = self.line(store, do, "t", 0, 1)
        with pytest.raises(HeadMoved):
            do(store.put_rows(branch.id, head, [result(0)], []))
        assert do(store.rows(branch.id, head)) == do(store.rows(branch.id, 1)) == []

    def test_a_commit_removes_the_rows_it_closes_and_no_others(
        self, store: Checkpointer, do: Do
    ) -> None:
        closed, other = self.line(store, do, "t", 0), self.line(store, do, "other", 0)
        for branch in (closed, other):
            do(store.put_rows(branch.id, 0, [result(0)], []))
        do(store.append(closed.id, 0, stored(1), drop_rows=True))
        assert do(store.rows(closed.id, 0)) == do(store.rows(closed.id, 1)) == []
        assert do(store.rows(other.id, 0)) == [result(0)]

    # -- transactions --------------------------------------------------------------------------

    def test_an_error_takes_back_the_whole_transaction(self, store: Checkpointer, do: Do) -> None:
        branch = self.line(store, do, "t", 0)
        do(store.put_rows(branch.id, 0, [result(0)], []))

        def fails() -> Operation[None]:
            yield from store.begin(write=True)
            yield from store.create_branch("new", "", MAIN, None, -1)
            yield from store.append(branch.id, 0, stored(1), drop_rows=True)
            yield from store.put_rows(branch.id, 1, [result(1)], [])
            raise LookupError("halfway")

        with pytest.raises(LookupError, match="halfway"):
            do(fails())
        assert do(store.threads()) == ["t"]
        assert do(store.frames(branch.id, -1, 9)) == stored(0)
        assert do(store.rows(branch.id, 0)) == [result(0)]

    @pytest.mark.parametrize("waits", [0, 1, 2])
    def test_a_cancelled_commit_is_there_or_not(self, store: Checkpointer, waits: int) -> None:
        branch = self.line(store, store.run, "t", 0)

        async def cancelled() -> None:
            commit = store.append(branch.id, 0, stored(1, 2), drop_rows=True)
            saving = asyncio.ensure_future(store.arun(commit))
            for _ in range(waits):
                await asyncio.sleep(0)
            saving.cancel()
            await asyncio.gather(saving, return_exceptions=True)

        asyncio.run(cancelled())
        found = store.run(store.frames(branch.id, 0, 9))
        assert found in ([], stored(1, 2))
        head = store.run(store.branches("t"))[0].head
        store.run(store.append(branch.id, head, stored(head + 1), drop_rows=False))

    # -- snapshots and forks -------------------------------------------------------------------

    def test_the_newest_snapshot_before_a_place_is_found(self, store: Checkpointer, do: Do) -> None:
        branch, other = self.line(store, do, "t", 0, 1, 2, 3), self.line(store, do, "u", 0)
        assert do(store.snapshot(branch.id, 3)) is None
        do(store.put_snapshot(branch.id, 2, BODY))
        do(store.put_snapshot(branch.id, 2, BODY))
        assert do(store.snapshot(branch.id, 1)) is None
        assert do(store.snapshot(branch.id, 2)) == do(store.snapshot(branch.id, 9)) == (2, BODY)
        assert do(store.snapshot(other.id, 9)) is None

    def test_a_fork_holds_no_frames_of_its_own(self, store: Checkpointer, do: Do) -> None:
        main = self.line(store, do, "t", 0, 1, 2)
        fork = do(store.create_branch("t", "", "fork", main.id, 1))
        assert do(store.frames(fork.id, -1, 9)) == []
        assert fork == Branch(fork.id, 1, "fork", main.id, 1, 1)

    def test_a_fork_and_its_parent_do_not_see_each_other(self, store: Checkpointer, do: Do) -> None:
        main = self.line(store, do, "t", 0, 1)
        fork = do(store.create_branch("t", "", "fork", main.id, 1))
        do(store.put_rows(main.id, 1, [result(0)], []))
        do(store.put_rows(fork.id, 1, [result(0, b"of the fork")], []))
        do(store.append(fork.id, 1, stored(2), drop_rows=True))
        assert do(store.rows(main.id, 1)) == [result(0)]
        do(store.append(main.id, 1, stored(2, 3), drop_rows=True))
        assert do(store.frames(fork.id, -1, 9)) == stored(2)
        assert [branch.head for branch in do(store.branches("t"))] == [3, 2]

    @pytest.mark.parametrize("with_snapshots", [False, True])
    def test_every_checkpoint_is_the_fold_of_its_frames(
        self, store: Checkpointer, do: Do, with_snapshots: bool
    ) -> None:
        history = Lineage(store, do)
        for step in range(12):
            history.commit({"log": [(APPEND, [step])], "last": [(SET, f"step {step}")]})
            if with_snapshots and step in (3, 7):
                history.snapshot()
        for seq in range(12):
            assert history.at(seq).values == {
                "log": list(range(seq + 1)), "last": f"step {seq}",
            }  # fmt: skip
        with pytest.raises(UnknownCheckpointError):
            history.at(12)

    def test_a_fork_of_a_fork_50_deep_has_all_its_past(self, store: Checkpointer, do: Do) -> None:
        history = Lineage(store, do)
        for step in range(50):
            history.commit({"log": [(APPEND, [step])]})
            if step == 20:
                history.snapshot()
            history.fork(f"fork {step}")
        history.commit({"log": [(APPEND, ["end"])]})
        assert history.at(50).values == {"log": [*range(50), "end"]}
        assert len(do(store.branches("t"))) == 51

    # -- shortening ----------------------------------------------------------------------------

    def test_a_branch_begins_with_what_it_is_cut_to(self, store: Checkpointer, do: Do) -> None:
        branch = self.line(store, do, "t", 0, 1, 2, 3, 4)
        do(store.put_rows(branch.id, 4, [result(0)], []))
        base = StoredFrame(2, 7.5, b"base")
        for _ in range(2):
            do(store.cut(branch.id, base))
        assert do(store.frames(branch.id, -1, 9)) == [base, *stored(3, 4)]
        assert do(store.frames(branch.id, 1, 3)) == [base, *stored(3)]
        assert do(store.frames(branch.id, 2, 9)) == stored(3, 4)
        assert do(store.rows(branch.id, 4)) == [result(0)]
        assert do(store.branches("t"))[0] == branch._replace(head=4)
        do(store.append(branch.id, 4, stored(5), drop_rows=True))
        assert do(store.frames(branch.id, 3, 9)) == stored(4, 5)

    def test_a_branch_is_cut_to_its_head(self, store: Checkpointer, do: Do) -> None:
        branch = self.line(store, do, "t", 0, 1, 7)
        do(store.cut(branch.id, StoredFrame(7, 7.5, b"base")))
        assert do(store.branches("t"))[0].head == 7
        with pytest.raises(HeadMoved):
            do(store.append(branch.id, 1, stored(8), drop_rows=False))
        do(store.append(branch.id, 7, stored(8), drop_rows=False))
        assert [frame.seq for frame in do(store.frames(branch.id, -1, 9))] == [7, 8]

    def test_a_branch_that_is_cut_continues_no_other(self, store: Checkpointer, do: Do) -> None:
        old = self.line(store, do, "t", 0, 1, 2)
        new = do(store.create_branch("t", "", "fork", old.id, 1))
        do(store.append(new.id, 1, stored(3, 4), drop_rows=False))
        do(store.cut(new.id, StoredFrame(3, 7.5, b"base")))
        assert do(store.branches("t")) == [
            old._replace(head=2),
            Branch(new.id, 1, "fork", None, -1, 4),
        ]
        assert do(store.frames(new.id, -1, 9)) == [StoredFrame(3, 7.5, b"base"), *stored(4)]
        assert do(store.frames(old.id, -1, 9)) == stored(0, 1, 2)

    def test_a_cut_keeps_the_snapshots_behind_it(self, store: Checkpointer, do: Do) -> None:
        branch = self.line(store, do, "t", 0, 1, 2, 3)
        do(store.put_snapshot(branch.id, 2, b"state"))
        do(store.cut(branch.id, StoredFrame(1, 0.0, b"base")))
        assert do(store.snapshot(branch.id, 9)) == (2, b"state")
        do(store.cut(branch.id, StoredFrame(2, 0.0, b"base")))
        assert do(store.snapshot(branch.id, 9)) is None

    def test_what_a_branch_does_not_have_it_is_not_cut_to(
        self, store: Checkpointer, do: Do
    ) -> None:
        old = self.line(store, do, "t", 0, 1, 3)
        new = do(store.create_branch("t", "", "fork", old.id, 1))
        gone = self.line(store, do, "gone", 0)
        do(store.remove_thread("gone"))
        for branch, seq in ((old, 2), (old, 4), (new, 1), (gone, 0)):
            with pytest.raises(HeadMoved):
                do(store.cut(branch.id, StoredFrame(seq, 0.0, b"base")))
        assert do(store.frames(old.id, -1, 9)) == stored(0, 1, 3)
        assert do(store.branches("t"))[1] == new

    def test_a_scope_is_removed_and_no_other(self, store: Checkpointer, do: Do) -> None:
        root = self.line(store, do, "t", 0)
        for scope in ("child", "child|inner", "other"):
            branch = do(store.create_branch("t", scope, MAIN, None, -1))
            do(store.append(branch.id, -1, stored(0), drop_rows=False))
            do(store.put_rows(branch.id, 0, [result(0)], []))
            do(store.create_branch("t", scope, "fork", branch.id, 0))
        for _ in range(2):
            do(store.remove_scope("t", "child"))
            do(store.remove_scope("nobody", "child"))
        assert do(store.scopes("t")) == ["", "child|inner", "other"]
        assert do(store.branches("t", "child")) == []
        assert len(do(store.branches("t", "other"))) == 2
        assert do(store.frames(root.id, -1, 9)) == stored(0)
        made = do(store.create_branch("t", "child", MAIN, None, -1))
        assert (made.ordinal, made.head) == (0, -1)
        assert do(store.frames(made.id, -1, 9)) == do(store.rows(made.id, 0)) == []

    def test_who_runs_in_a_scope_that_is_removed_is_refused(
        self, store: Checkpointer, do: Do
    ) -> None:
        branch = do(store.create_branch("t", "child", MAIN, None, -1))
        do(store.append(branch.id, -1, stored(0), drop_rows=False))
        do(store.remove_scope("t", "child"))
        with pytest.raises(HeadMoved):
            do(store.append(branch.id, 0, stored(1), drop_rows=False))
        do(store.scrub())

    # -- making things -------------------------------------------------------------------------

    def line(self, store: Checkpointer, do: Do, thread: str, *seqs: int) -> Branch:
        """Make a thread with one branch that holds these frames."""
        branch: Branch = do(store.create_branch(thread, "", MAIN, None, -1))
        do(store.append(branch.id, -1, stored(*seqs), drop_rows=False))
        return branch

    def two_threads(self, store: Checkpointer, do: Do) -> tuple[Branch, Branch]:
        """Make the threads `gone` and `kept`, each with two frames, a row and a snapshot."""
        made = self.line(store, do, "gone", 0, 1), self.line(store, do, "kept", 0, 1)
        for branch in made:
            do(store.put_rows(branch.id, 1, [result(0)], []))
            do(store.put_snapshot(branch.id, 0, BODY))
        return made
