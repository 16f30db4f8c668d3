"""The event loop that model clients live on: one per process, in a thread of its own.

Model libraries keep connections and background tasks per event loop. On a loop that stays, those
are reused by every run and never outlive their loop, and what the library computes between two
pieces of an answer does not hold up the caller's loop. Callers see an ordinary async iterator.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_END: Final[Any] = object()
_loops: dict[int, asyncio.AbstractEventLoop] = {}
_starting = threading.Lock()


def model_loop() -> asyncio.AbstractEventLoop:
    """Returns this process's loop, started on the first call; a forked child starts its own."""
    with _starting:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="model-loop", daemon=True).start()
        return loop


def wait_for(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine on the model loop, in the caller's context, and blocks until it is done."""
    waiting = asyncio.run_coroutine_threadsafe(work, model_loop())
    try:
        return waiting.result()
    except BaseException:
        waiting.cancel()
        raise


def run_at_exit(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a coroutine on the model loop when the process ends, for two seconds at most."""
    process = os.getpid()

    def run() -> None:
        if process == os.getpid():
            with suppress(Exception):
                finished = asyncio.run_coroutine_threadsafe(_finish(work()), model_loop())
                finished.result(timeout=2)

    atexit.register(run)


async def _finish(work: Coroutine[Any, Any, None]) -> None:
    await work
    await asyncio.sleep(0)  # connections close on the next turn of the loop


async def iterate(start: Callable[[], AsyncGenerator[Item, None]]) -> AsyncIterator[Item]:
    """Iterates over `start()` on the model loop and yields its items on the caller's.

    When the caller stops or is cancelled, the iteration on the model loop is cancelled; it cleans
    up there, unobserved.
    """
    caller = asyncio.get_running_loop()
    arrived: asyncio.Queue[Item] = asyncio.Queue()

    def put(item: Item) -> None:
        caller.call_soon_threadsafe(arrived.put_nowait, item)

    pumping = asyncio.run_coroutine_threadsafe(_pump(start, put), model_loop())
    pumping.add_done_callback(lambda _: _tell_end(caller, arrived))
    try:
        while (item := await arrived.get()) is not _END:
            yield item
        pumping.result()
    finally:
        pumping.cancel()


async def _pump(
    start: Callable[[], AsyncGenerator[Item, None]], put: Callable[[Item], None]
) -> None:
    async with aclosing(start()) as items:
        async for item in items:
            put(item)


def _tell_end(caller: asyncio.AbstractEventLoop, arrived: asyncio.Queue[Any]) -> None:
    if not caller.is_closed():
        caller.call_soon_threadsafe(arrived.put_nowait, _END)
