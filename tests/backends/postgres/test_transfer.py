"""Threads go between PostgreSQL and other stores, and are looked after there."""

from __future__ import annotations

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow_checkpointers.postgres import PostgresCheckpointer

from ..transfers import Transfers


class TestTransfers(Transfers):
    pass


def test_the_store_has_a_url(dsn: str) -> None:
    with Checkpointer.from_url(dsn) as store:
        assert type(store) is PostgresCheckpointer
        assert isinstance(store.run(store.threads()), list)
