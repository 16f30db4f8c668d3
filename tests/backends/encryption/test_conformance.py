"""An encrypted store passes the suite every store is held to, whatever is inside."""

from __future__ import annotations

from pathlib import Path

from graphflow import Checkpointer, MemoryCheckpointer
from graphflow.testing.conformance import StoreConformance
from graphflow_checkpointers.encryption import EncryptedCheckpointer, Keys, new_key
from graphflow_checkpointers.sqlite import SqliteCheckpointer

KEYS = Keys({"new": new_key(), "old": new_key()}, current="new")


class TestOverMemory(StoreConformance):
    def make(self, folder: Path) -> Checkpointer:
        return EncryptedCheckpointer(MemoryCheckpointer(), KEYS)


class TestOverSqlite(StoreConformance):
    def make(self, folder: Path) -> Checkpointer:
        inner = SqliteCheckpointer(folder / "threads.db", synchronous="normal")
        return EncryptedCheckpointer(inner, KEYS)


class TestDuringAMigration(StoreConformance):
    def make(self, folder: Path) -> Checkpointer:
        return EncryptedCheckpointer(MemoryCheckpointer(), KEYS, allow_plaintext=True)


class TestOverAnotherEncryption(StoreConformance):
    def make(self, folder: Path) -> Checkpointer:
        inner = EncryptedCheckpointer(MemoryCheckpointer(), KEYS)
        return EncryptedCheckpointer(inner, Keys({"outer": new_key()}))
