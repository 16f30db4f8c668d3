"""One event loop in a thread of its own, for async embedding functions of blocking callers.

It lives as long as the process, because clients keep connections that belong to one loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []


def on_background_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end and return its result."""
    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result()


def _loop() -> asyncio.AbstractEventLoop:
    with _lock:
        if not _loops:
            _loops.append(asyncio.new_event_loop())
            threading.Thread(
                target=_loops[0].run_forever, name="graphflow-memory", daemon=True
            ).start()
        return _loops[0]
