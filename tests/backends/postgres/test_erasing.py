"""What is removed of a person is not in the tables' files any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphflow_checkpointers.postgres import PostgresCheckpointer

from ...conformance.test_erasing import NEEDLE, tag_of, talk
from .conftest import Server


def test_an_erased_thread_leaves_no_bytes_in_the_tables(
    server: Server, sql: Callable[..., Any]
) -> None:
    def files() -> bytes:
        sql("CHECKPOINT")
        return b"".join(p.read_bytes() for p in (server.data / "base").rglob("*") if p.is_file())

    with PostgresCheckpointer(server.dsn, tags=("customer",)) as store:
        talk(store, "ada", NEEDLE, customer="ada")
        talk(store, "other", "nobody in particular", customer="nobody")
        assert NEEDLE.encode() in files()
        assert tag_of("ada").value in files()
        store.erase_thread("ada")
        assert NEEDLE.encode() not in files()
        assert tag_of("ada").value not in files()
        assert b"nobody in particular" in files()
        assert tag_of("nobody").value in files()
