"""Tags in PostgreSQL: by an index, and in an order of locks in which nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from graphflow import HeadMoved
from graphflow.checkpoint.protocol import MAIN, Operation, StoredFrame
from graphflow.checkpoint.tags import tags_of
from graphflow_checkpointers.postgres import PostgresCheckpointer
from graphflow_checkpointers.postgres_tags import tagged_by

from ...conformance.test_erasing import tag_of

Ask = Callable[..., list[Any]]


def test_who_tags_and_who_removes_do_not_wait_for_each_other(store: PostgresCheckpointer) -> None:
    def commit(turn: int, key: str) -> Operation[None]:
        yield from store.begin(write=True)
        branches = yield from store.branches("t")
        if not branches:
            branches = [(yield from store.create_branch("t", "", MAIN, None, -1))]
        tags = tags_of(("a", "b", key), {"a": turn, "b": turn, key: turn})
        yield from store.put_tags("t", tags if turn % 2 else tags[::-1])
        head = branches[0].head
        frame = StoredFrame(head + 1, 0.0, b"%d" % turn)
        yield from store.append(branches[0].id, head, [frame], drop_rows=True)
        yield from store.end()

    def work(worker: int) -> int:
        done = 0
        for turn in range(60):
            try:
                if worker == 0 and turn % 3 == 0:
                    store.run(store.remove_thread("t"))
                else:
                    store.run(commit(turn + worker, f"key {worker}"))
                done += 1
            except HeadMoved:
                continue
        return done

    with ThreadPoolExecutor(4) as pool:
        assert min(pool.map(work, range(4))) > 0  # a deadlock would be a CheckpointError


@pytest.mark.parametrize("count", [1, 2])
def test_an_index_finds_threads_by_tags(store: PostgresCheckpointer, sql: Ask, count: int) -> None:
    store.run(store.threads())  # makes the tables
    sql("INSERT INTO graphflow_thread(name) SELECT n::text::bytea FROM generate_series(1, 5000) n")
    for every in (1, 100):
        sql(
            "INSERT INTO graphflow_tag(thread, key, value) SELECT id, %s, CASE"
            " WHEN id %% %s = 0 THEN %s::bytea ELSE sha256(name) END FROM graphflow_thread",
            b"%d" % every, every, tag_of(f"every {every}").value,
        )  # fmt: skip
    sql("ANALYZE graphflow_tag, graphflow_thread")
    values = [tag_of(f"every {every}").value for every in (100, 1)][:count]
    plan = sql(f"EXPLAIN {tagged_by(count)}", *values, 0, 10)
    told = "\n".join(line for (line,) in plan)
    assert "graphflow_tag_value_thread_idx" in told
    assert "Seq Scan" not in told
