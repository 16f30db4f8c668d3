"""Redis' n-th request or answer is lost, or finds no memory, for every n of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graphflow_checkpointers.redis import RedisCheckpointer

from ...conformance.faults import Drive, at_exit, blocking, check_every_call, on_loop

SILENT = "does not answer"


class Losses:
    """Requests or answers that a proxy loses.

    Args:
        proxy: The way to the server.
        how: What `Proxy.lose` is told.
    """

    def __init__(self, proxy: Any, **how: Any) -> None:
        self.proxy = proxy
        self.how = how

    def arm(self, number: int) -> None:
        self.proxy.lose(number, **self.how)

    def repair(self) -> None:
        self.proxy.repair()

    @property
    def has_struck(self) -> bool:
        return bool(self.proxy.has_lost)


@pytest.mark.parametrize(
    ("of_answers", "lasts", "patience", "drive"),
    [
        pytest.param(True, False, 30.0, blocking, id="an answer"),
        pytest.param(True, False, 30.0, on_loop, id="an answer, on a loop"),
        pytest.param(True, False, 0.0, on_loop, id="an answer, told"),
        pytest.param(False, False, 30.0, at_exit, id="a request"),
        pytest.param(False, False, 0.0, blocking, id="a request, told"),
        pytest.param(True, True, 0.0, blocking, id="all from an answer on"),
        pytest.param(False, True, 0.0, on_loop, id="all from a request on"),
        pytest.param(False, True, 0.0, at_exit, id="all from a request on, saving at the exit"),
    ],
)
def test_a_run_whose_nth_word_is_lost_goes_on_to_the_same_end(
    proxy: Any, url: str, prefix: str, of_answers: bool, lasts: bool, patience: float, drive: Drive
) -> None:
    losses = Losses(proxy, of_answers=of_answers, lasts=lasts)
    with (
        RedisCheckpointer(proxy.url, prefix=prefix, patience=patience) as store,
        RedisCheckpointer(url, prefix=prefix) as watcher,
    ):
        told_as = None if patience else SILENT
        assert check_every_call(store, watcher, drive, losses, told_as) > 15


class Fullness(Losses):
    """A server without memory from some request on."""

    def __init__(self, proxy: Any, watcher: RedisCheckpointer) -> None:
        super().__init__(proxy, then=lambda: self.limit("1mb"), of_answers=False, breaks=False)
        self.watcher = watcher

    def limit(self, memory: str) -> None:
        def wish() -> Any:
            yield lambda session: session.ask("CONFIG SET", "maxmemory", memory)

        self.watcher.run(wish())

    def repair(self) -> None:
        super().repair()
        self.limit("0")


@pytest.mark.parametrize("drive", [blocking, at_exit])
def test_a_run_whose_server_is_full_from_its_nth_request_on_goes_on_to_the_same_end(
    start_server: Callable[..., Any], make_proxy: Callable[[int], Any], drive: Drive
) -> None:
    server = start_server()
    proxy = make_proxy(server.port)
    with RedisCheckpointer(proxy.url) as store, RedisCheckpointer(server.url) as watcher:
        full = Fullness(proxy, watcher)
        assert check_every_call(store, watcher, drive, full, "has no memory left") > 15
