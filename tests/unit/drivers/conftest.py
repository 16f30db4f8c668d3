"""What the drivers' tests share: a call that may hang is given up on, not waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

PATIENCE = 5.0
"""Seconds after which a call counts as hanging."""

Soon = Callable[[Callable[[], Any]], Any]


def _soon(call: Callable[[], Any]) -> Any:
    ended: list[Any] = []

    def attempt() -> None:
        try:
            ended.append((call(), None))
        except BaseException as error:  # raised again below, in the test's own thread
            ended.append((None, error))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert ended, f"still running after {PATIENCE} seconds"
    result, error = ended[0]
    if error is not None:
        raise error
    return result


@pytest.fixture
def soon() -> Soon:
    """Call in a thread of its own and return or raise what comes; fail if nothing does."""
    return _soon
