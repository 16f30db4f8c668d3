"""Makes `v2.sqlite`: what `make_v1` makes, in tables of format 2 (leases), and a pruned thread.

    python tests/histories/make_v2.py tests/histories/v2.sqlite

It was run once, with the last version that wrote this format, and must not be run again: a golden
file that is made anew proves nothing.
"""

from __future__ import annotations

import sys
import warnings

from make_v1 import app_on, make, thread

from graphflow import Command, HumanMessage
from graphflow_checkpointers.sqlite import SqliteCheckpointer


def make_v2(path: str) -> None:
    """Make the file."""
    make(path)
    given = {"count": 0, "messages": [HumanMessage("hello", id="human-1")]}
    with SqliteCheckpointer(path) as store:
        app = app_on(store)
        app.invoke(given, {**thread("pruned"), "metadata": {"author": "ben", "seats": 1}})
        app.invoke(Command(resume="yes"), {**thread("pruned"), "metadata": {"author": "bea"}})
        store.prune("pruned", last=2)
        store._connection.execute("PRAGMA journal_mode=DELETE")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    make_v2(sys.argv[1])
