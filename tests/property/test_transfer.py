"""Any thread goes through a file into any store and comes out the same; any damage is found."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphflow import CorruptCheckpointError, MemoryCheckpointer, StoreTooNewError
from graphflow.checkpoint.archive import StoredBranch, StoredThread, read_threads, written
from graphflow.checkpoint.protocol import StoredFrame, StoredRow
from graphflow.checkpoint.transfer import export_thread, import_thread, read_whole, write_whole
from graphflow_checkpointers.sqlite import SqliteCheckpointer

STORES = (MemoryCheckpointer, SqliteCheckpointer)
names = st.text(max_size=8)
bodies = st.binary(max_size=40)
times = st.floats(0.0, 1e11)  # -0.0 is no time; SQLite has none
rows = st.lists(
    st.builds(StoredRow, st.integers(-1, 3), st.integers(0, 4), st.integers(0, 2), bodies),
    max_size=4,
    unique_by=lambda row: row[:3],
)


@st.composite
def lines(draw: Any, scope: str) -> list[StoredBranch]:
    """Return the branches of one graph, each continuing one of those before it, or none."""
    found: list[StoredBranch] = []
    for ordinal, name in enumerate(draw(st.lists(names, min_size=1, max_size=4, unique=True))):
        parent = draw(st.sampled_from([None, *found]))
        start = -1 if parent is None else draw(st.integers(-1, parent.head))
        gaps = draw(st.lists(st.integers(1, 5), max_size=5))
        seqs = list(accumulate(gaps, initial=start))[1:]
        frames = [StoredFrame(seq, draw(times), draw(bodies)) for seq in seqs]
        snapshots = [(draw(st.sampled_from(seqs)), draw(bodies))] if seqs else []
        number = None if parent is None else parent.ordinal
        found.append(
            StoredBranch(
                scope, ordinal, name, number, start, frames, draw(rows),
                draw(st.sampled_from([[], snapshots])),
            )
        )  # fmt: skip
    return found


@st.composite
def threads(draw: Any) -> StoredThread:
    scopes = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    return StoredThread(draw(names), [b for scope in sorted(scopes) for b in draw(lines(scope))])


@settings(max_examples=100, deadline=None)
@given(threads())
def test_a_thread_goes_through_stores_and_files_unchanged(thread):
    file = list(written(thread))
    for kind in STORES:
        store = kind()
        store.run(write_whole(store, thread))
        assert store.run(read_whole(store, thread.name)) == thread
        assert list(store.run(export_thread(store, thread.name))) == file
        for other in STORES:
            target = other()
            target.run(import_thread(target, file))
            assert target.run(read_whole(target, thread.name)) == thread
            target.close()
        store.close()


@settings(max_examples=200, deadline=None)
@given(threads(), st.data())
def test_a_file_in_which_anything_changed_is_refused(thread, data):
    whole = b"".join(written(thread))
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start, min(len(whole), start + 20)))
    put = data.draw(st.binary(max_size=20))
    damaged = whole[:start] + put + whole[end:]
    if damaged != whole:
        with pytest.raises((CorruptCheckpointError, StoreTooNewError)):
            list(read_threads(damaged.splitlines(keepends=True)))


@settings(max_examples=100, deadline=None)
@given(st.lists(threads(), max_size=4))
def test_threads_in_one_file_are_read_one_after_the_other(several):
    file = [line for thread in several for line in written(thread)]
    assert list(read_threads(file)) == several
