"""Names in PostgreSQL: what is named is found under that name and no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from graphflow import Checkpointer
from graphflow_checkpointers.postgres import PostgresCheckpointer

from ...conformance.names import NamePromises


class TestPostgres(NamePromises):
    @pytest.fixture
    def store(self, dsn: str) -> Iterator[Checkpointer]:
        with PostgresCheckpointer(dsn) as store:
            yield store
