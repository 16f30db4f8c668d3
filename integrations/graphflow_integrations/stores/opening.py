"""Which store a command is about."""

from __future__ import annotations

from pathlib import Path

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.errors import CheckpointError
from graphflow_checkpointers.urls import file_of, inner_of, open_store, scheme_of


def opened(place: str, *, makes: bool) -> Checkpointer:
    """Open a store.

    Args:
        place: A URL, or the path of a SQLite file.
        makes: Whether a file that is not there is made.

    Raises:
        CheckpointError: There is no such file, or the store refuses.
        ValueError: No store is known for such a URL.
        ImportError: The store's extra is not installed.
    """
    url = place if "://" in place else f"sqlite:///{place}"
    inner = inner_of(url)
    if not makes and scheme_of(inner) == "sqlite" and not Path(file_of(inner)).exists():
        raise CheckpointError(f"There is no file {file_of(inner)}.")
    return open_store(url)
