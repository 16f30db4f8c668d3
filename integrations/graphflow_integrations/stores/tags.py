"""What the command line knows of tags: how they are written, and the command that indexes them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.indexing import index_thread
from graphflow.checkpoint.tags import TagValue, checked_tags
from graphflow_integrations.stores.printing import counted, progress, say, say_json


def tags_given(written: Sequence[str]) -> dict[str, TagValue]:
    """Return tags that are written as KEY=TEXT or KEY:=NUMBER, also true and false.

    Raises:
        ValueError: One is written in another way.
    """
    found: dict[str, TagValue] = {}
    for text in written:
        key, sign, value = text.partition("=")
        if not sign:
            raise ValueError(f"{text!r} is no tag: write KEY=TEXT, or KEY:=NUMBER.")
        if key.endswith(":"):
            found[key[:-1]] = _plain(text, value)
        else:
            found[key] = value
    return found


def _plain(text: str, value: str) -> int | bool:
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, int):
        raise ValueError(f"{text!r} is no tag: after := comes a whole number, true or false.")
    return found


def threads_tagged(store: Checkpointer, written: Sequence[str]) -> list[str]:
    """Return all threads that have the tags that were asked for."""
    tags = tags_given(written)
    store.tags = checked_tags(tags)
    page = store.find_threads(tags)
    names = page.threads
    while page.after is not None:
        page = store.find_threads(tags, after=page.after)
        names += page.threads
    return names


def index(store: Checkpointer, options: argparse.Namespace) -> int:
    """Have threads found by keys of their metadata that nobody had declared when they were made."""
    store.tags = checked_tags(options.keys)
    names = store.run(store.threads())
    for name in progress(names, "Reading"):
        store.run(index_thread(store, name))
    if options.json:
        say_json({"threads": len(names), "tags": list(store.tags)})
    else:
        say(f"{counted(len(names), 'thread')} indexed by {', '.join(store.tags)}")
    return 0
