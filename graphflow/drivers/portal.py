"""The portal: one event loop of graphflow's own, for async nodes of blocking runs.

It runs in a daemon thread, so a blocking `invoke` works in a script, in a worker thread and in a
notebook whose own loop is running.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Portal:
    """A loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(
            target=self.loop.run_forever, name="graphflow-loop", daemon=True
        )
        self.thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, in the caller's context, and wait for its result.

        Raises:
            RuntimeError: Called on the loop itself, which would wait for itself for ever.
        """
        if threading.current_thread() is self.thread:
            coroutine.close()
            raise RuntimeError(
                "invoke()/stream() was called from a node that runs on graphflow's own event loop, "
                "and would wait for itself. In an async node write `await graph.ainvoke(...)`."
            )
        future = asyncio.run_coroutine_threadsafe(_guarded(coroutine), self.loop)
        try:
            result, error = future.result()
        except BaseException:
            future.cancel()
            raise
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # without error it is there


async def _guarded(coroutine: Coroutine[Any, Any, T]) -> tuple[T | None, BaseException | None]:
    """Keep for the caller what a loop takes for itself: an exit, Ctrl-C, a cancellation."""
    try:
        return await coroutine, None
    except (SystemExit, KeyboardInterrupt, asyncio.CancelledError) as error:
        return None, error


def on_portal(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the process's portal; see `Portal.run`."""
    return portal().run(coroutine)


_lock = threading.Lock()
_portal: list[Portal] = []


if hasattr(os, "register_at_fork"):  # its thread does not survive a fork
    os.register_at_fork(after_in_child=_portal.clear)


def portal() -> Portal:
    """Return the process's portal, started on the first call."""
    with _lock:
        if not _portal:
            _portal.append(Portal())
        return _portal[0]
