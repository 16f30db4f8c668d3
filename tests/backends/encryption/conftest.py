"""Keys for the tests."""

from __future__ import annotations

import pytest

from graphflow_checkpointers.encryption import Keys, new_key


@pytest.fixture
def keys() -> Keys:
    """One key."""
    return Keys({"2026-11": new_key()})
