"""The PostgreSQL store passes the suite that all stores are held to, whoever makes connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg_pool import AsyncConnectionPool

from graphflow import Checkpointer
from graphflow.testing.conformance import StoreConformance
from graphflow_checkpointers.postgres import PostgresCheckpointer


class TestOwnConnections(StoreConformance):
    @pytest.fixture(autouse=True)
    def _at(self, dsn: str) -> None:
        self.dsn = dsn

    def make(self, folder: Path) -> Checkpointer:
        return PostgresCheckpointer(self.dsn)


class TestAsyncPool(StoreConformance):
    """The pool's loop runs in a thread; callers are other threads and other loops."""

    @pytest.fixture(autouse=True)
    def _at(self, dsn: str) -> Iterator[None]:
        self.loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self.loop.run_forever)
        thread.start()
        self.pool = AsyncConnectionPool(dsn, min_size=1, max_size=4, open=False)
        asyncio.run_coroutine_threadsafe(self.pool.open(), self.loop).result(10)
        yield
        asyncio.run_coroutine_threadsafe(self.pool.close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        thread.join(10)
        self.loop.close()

    def make(self, folder: Path) -> Checkpointer:
        async def made() -> Checkpointer:
            return PostgresCheckpointer(self.pool)

        return asyncio.run_coroutine_threadsafe(made(), self.loop).result(10)
