"""Threads go between Redis and other stores, and are looked after there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow_checkpointers.redis import RedisCheckpointer

from ..transfers import Transfers


@pytest.fixture
def store(url: str, prefix: str) -> Iterator[RedisCheckpointer]:
    """An empty store."""
    with RedisCheckpointer(url, prefix=prefix) as store:
        yield store


class TestTransfers(Transfers):
    pass


def test_the_store_has_a_url(url: str) -> None:
    with Checkpointer.from_url(url) as store:
        assert type(store) is RedisCheckpointer
        assert isinstance(store.run(store.threads()), list)
