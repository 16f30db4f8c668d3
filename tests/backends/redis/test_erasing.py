"""What is removed of a person is not in the server's files any more."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from graphflow_checkpointers.redis import RedisCheckpointer, RedisDurabilityWarning

from ...conformance.test_erasing import NEEDLE, talk
from .conftest import Server


def files(folder: Path) -> bytes:
    kept = (path for path in folder.rglob("*") if path.is_file() and path.name != "log.txt")
    return b"".join(path.read_bytes() for path in kept)


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_an_erased_thread_leaves_no_bytes_in_the_files(
    start_server: Callable[..., Server], appendonly: str
) -> None:
    server = start_server(appendonly=appendonly)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RedisDurabilityWarning)  # a server without that file
        store = RedisCheckpointer(server.url)
    talk(store, "ada", NEEDLE)
    talk(store, "other", "nobody in particular")
    store.run(store.scrub())
    assert NEEDLE.encode() in files(server.folder)
    store.erase_thread("ada")
    assert NEEDLE.encode() not in files(server.folder)
    assert b"nobody in particular" in files(server.folder)
    store.close()
