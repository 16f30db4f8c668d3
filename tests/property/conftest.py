"""Here stores keep the states of short threads, too, so that what is kept is played with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from graphflow.checkpoint.heads import Heads


@pytest.fixture(autouse=True, scope="module")
def short_threads_are_kept() -> Iterator[None]:
    """Have every branch kept that is read twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Heads, "short", -1)
        yield
