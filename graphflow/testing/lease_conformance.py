"""What every checkpointer must do with leases; a part of `StoreConformance`."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.protocol import Branch
from graphflow.errors import Fenced, HeadMoved
from graphflow.testing.material import AWKWARD, Do, answer, lease, result, stored, take_over

SHORT = 0.05
"""Seconds that a lease lasts which shall end during a test."""
LONG = 600.0


class LeaseConformance:
    """The cases. `StoreConformance` has the fixtures."""

    if TYPE_CHECKING:

        def line(self, store: Checkpointer, do: Do, thread: str, *seqs: int) -> Branch:
            """Return a branch with these frames."""

    def test_a_lease_is_had_by_one(self, store: Checkpointer, do: Do) -> None:
        assert do(store.claim(lease(1), LONG)) is None
        holder = do(store.claim(lease(2), LONG))
        assert holder.owner == lease(1).owner
        assert LONG - 60 < holder.seconds_left <= LONG

    def test_a_claim_that_is_made_twice_is_one(self, store: Checkpointer, do: Do) -> None:
        assert do(store.claim(lease(1), LONG)) is None
        assert do(store.claim(lease(1), LONG)) is None

    def test_of_many_claims_one_is_granted(self, store: Checkpointer) -> None:
        with ThreadPoolExecutor(4) as pool:
            claims = [store.claim(lease(number), LONG) for number in range(1, 17)]
            holders = list(pool.map(store.run, claims))
        (winner,) = (number for number, holder in enumerate(holders, 1) if holder is None)
        owners = {holder.owner for holder in holders if holder is not None}
        assert owners == {lease(winner).owner}

    def test_a_lease_that_was_given_back_is_free(self, store: Checkpointer, do: Do) -> None:
        do(store.claim(lease(1), LONG))
        for _ in range(2):
            do(store.release(lease(1)))
        assert do(store.claim(lease(2), LONG)) is None

    def test_a_lease_ends_by_itself(self, store: Checkpointer, do: Do) -> None:
        do(store.claim(lease(1), SHORT))
        time.sleep(2 * SHORT)
        assert do(store.claim(lease(2), LONG)) is None
        assert do(store.claim(lease(1), LONG)).owner == lease(2).owner

    def test_the_lease_of_whom_it_is_over_with_is_free(self, store: Checkpointer, do: Do) -> None:
        do(store.claim(lease(1), LONG))
        assert do(store.claim(lease(2), LONG, over=lease(3).owner)).owner == lease(1).owner
        assert do(store.claim(lease(2), LONG, over=lease(1).owner)) is None
        assert do(store.claim(lease(3), LONG, over=lease(1).owner)).owner == lease(2).owner

    def test_a_lost_lease_is_not_given_back(self, store: Checkpointer, do: Do) -> None:
        do(store.claim(lease(1), LONG))
        do(store.claim(lease(2), LONG, over=lease(1).owner))
        do(store.release(lease(1)))
        assert do(store.claim(lease(3), LONG)).owner == lease(2).owner

    def test_a_lease_is_renewed_by_who_has_it(self, store: Checkpointer, do: Do) -> None:
        assert not do(store.renew(lease(1), LONG))
        do(store.claim(lease(1), SHORT))
        assert do(store.renew(lease(1), LONG))
        time.sleep(2 * SHORT)
        assert not do(store.renew(lease(2), LONG))
        assert do(store.claim(lease(2), LONG)).owner == lease(1).owner
        do(store.claim(lease(2), LONG, over=lease(1).owner))
        assert not do(store.renew(lease(1), LONG))

    def test_every_branch_has_a_lease_of_its_own(self, store: Checkpointer, do: Do) -> None:
        places = [(thread, branch) for thread in AWKWARD for branch in ("main", "", thread)]
        for number, (thread, branch) in enumerate(dict.fromkeys(places), 1):
            assert do(store.claim(lease(number, thread, branch), LONG)) is None
        assert do(store.claim(lease(999, "t" * 4000, "x"), LONG)) is None

    def test_a_lease_makes_no_thread(self, store: Checkpointer, do: Do) -> None:
        do(store.claim(lease(1), LONG))
        assert do(store.threads()) == []
        assert do(store.branches("t")) == []

    def test_a_commit_needs_the_lease_that_it_names(self, store: Checkpointer, do: Do) -> None:
        branch = self.line(store, do, "t", 0)
        do(store.claim(lease(1), LONG))
        do(store.append(branch.id, 0, stored(1), drop_rows=False, lease=lease(1)))
        do(store.put_rows(branch.id, 1, [result(0)], [], lease=lease(1)))
        do(store.append(branch.id, 1, stored(2, 3), drop_rows=True, lease=lease(1)))
        assert [frame.seq for frame in do(store.frames(branch.id, -1, 9))] == [0, 1, 2, 3]
        with pytest.raises(HeadMoved):
            do(store.append(branch.id, 2, stored(4), drop_rows=False, lease=lease(1)))

    @pytest.mark.parametrize("drop_rows", [False, True])
    @pytest.mark.parametrize("count", [1, 2])
    def test_who_lost_his_lease_commits_nothing(
        self, store: Checkpointer, do: Do, drop_rows: bool, count: int
    ) -> None:
        branch = self.line(store, do, "t", 0)
        do(store.put_rows(branch.id, 0, [result(0)], []))
        do(store.claim(lease(5), LONG))
        take_over(store)
        frames = stored(1, 2)[:count]
        with pytest.raises(Fenced):
            do(store.append(branch.id, 0, frames, drop_rows=drop_rows, lease=lease(5)))
        assert [frame.seq for frame in do(store.frames(branch.id, -1, 9))] == [0]
        assert do(store.rows(branch.id, 0)) == [result(0)]

    def test_who_lost_his_lease_puts_no_rows(self, store: Checkpointer, do: Do) -> None:
        branch = self.line(store, do, "t", 0)
        do(store.put_rows(branch.id, 0, [answer(0)], []))
        do(store.claim(lease(5), LONG))
        take_over(store)
        for rows, withdrawn in (([result(1)], []), ([], [answer(0)]), ([answer(0)], [])):
            with pytest.raises(Fenced):
                do(store.put_rows(branch.id, 0, rows, withdrawn, lease=lease(5)))
        assert do(store.rows(branch.id, 0)) == [answer(0)]

    def test_who_lost_his_lease_and_was_overtaken_is_told_of_the_lease(
        self, store: Checkpointer, do: Do
    ) -> None:
        branch = self.line(store, do, "t", 0)
        do(store.claim(lease(5), LONG))
        take_over(store)
        do(store.append(branch.id, 0, stored(1), drop_rows=False))
        with pytest.raises(Fenced):
            do(store.append(branch.id, 0, stored(2), drop_rows=False, lease=lease(5)))
        with pytest.raises(Fenced):
            do(store.put_rows(branch.id, 0, [result(0)], [], lease=lease(5)))

    def test_in_a_transaction_that_lost_its_lease_nothing_is_stored(
        self, store: Checkpointer, do: Do
    ) -> None:
        take_over(store)

        def commit() -> Any:
            yield from store.begin(write=True)
            made = yield from store.create_branch("t", "", "main", None, -1)
            yield from store.append(made.id, -1, stored(0), drop_rows=False, lease=lease(5))
            yield from store.end()

        with pytest.raises(Fenced):
            do(commit())
        assert do(store.branches("t")) == []

    def test_claims_of_a_thread_outlive_its_removal(self, store: Checkpointer, do: Do) -> None:
        self.line(store, do, "t", 0)
        do(store.claim(lease(1), LONG))
        do(store.remove_thread("t"))
        assert do(store.claim(lease(2), LONG)).owner == lease(1).owner
