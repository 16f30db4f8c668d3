"""Names in Redis: what is named is found under that name and no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from graphflow import Checkpointer
from graphflow_checkpointers.redis import RedisCheckpointer

from ...conformance.names import NamePromises


class TestRedis(NamePromises):
    @pytest.fixture
    def store(self, url: str, prefix: str) -> Iterator[Checkpointer]:
        with RedisCheckpointer(url, prefix=prefix) as store:
            yield store
