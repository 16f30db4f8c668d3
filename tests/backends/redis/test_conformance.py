"""RedisCheckpointer passes the suite every store is held to, on one server and on a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from graphflow import Checkpointer
from graphflow.testing.conformance import StoreConformance
from graphflow_checkpointers.redis import RedisCheckpointer


class TestOneServer(StoreConformance):
    @pytest.fixture(autouse=True)
    def place(self, url: str, prefix: str) -> None:
        self.source: str | redis.RedisCluster = url
        self.prefix = prefix

    def make(self, folder: Path) -> Checkpointer:
        return RedisCheckpointer(self.source, prefix=self.prefix)


class TestCluster(TestOneServer):
    @pytest.fixture(autouse=True)
    def place(self, cluster: redis.RedisCluster, prefix: str) -> None:
        self.source = cluster
        self.prefix = prefix
