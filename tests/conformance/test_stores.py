"""Every store of this repository passes the suite that backends of others are held to."""

from __future__ import annotations

from pathlib import Path

from graphflow import Checkpointer, MemoryCheckpointer
from graphflow.testing.conformance import StoreConformance
from graphflow_checkpointers.sqlite import SqliteCheckpointer


class TestMemory(StoreConformance):
    def make(self, folder: Path) -> Checkpointer:
        return MemoryCheckpointer()


class TestSqliteFile(StoreConformance):
    def make(self, folder: Path) -> Checkpointer:
        return SqliteCheckpointer(folder / "threads.db", synchronous="normal")


class TestSqliteInMemory(StoreConformance):
    def make(self, folder: Path) -> Checkpointer:
        return SqliteCheckpointer()
