"""What is removed of a person is not in the server's files any more."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from graphflow_checkpointers.redis import RedisCheckpointer, RedisDurabilityWarning
from graphflow_checkpointers.redis_names import tag_of as number_of

from ...conformance.test_erasing import NEEDLE, tag_of, talk
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
        store = RedisCheckpointer(server.url, tags=("customer",))
    traces = [tag_of(name).value.hex().encode() for name in ("ada", "countess")]
    talk(store, "ada", NEEDLE, customer="ada")
    talk(store, "other", "nobody in particular", customer="ada")
    talk(store, "ada", NEEDLE, customer="countess")
    store.run(store.scrub())
    assert [needle in files(server.folder) for needle in (NEEDLE.encode(), *traces)] == [True] * 3
    member = b"%032x" % number_of("ada")
    assert member in files(server.folder)
    store.erase_thread("ada")
    left = files(server.folder)
    assert [needle for needle in (NEEDLE.encode(), traces[1], member) if needle in left] == []
    assert b"nobody in particular" in left
    assert store.find_threads({"customer": "ada"}).threads == ["other"]
    store.close()
