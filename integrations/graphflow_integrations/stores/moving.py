"""Commands that take threads out of a store, put them in, and remove them."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from graphflow.checkpoint.archive import read_threads
from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.transfer import (
    copy_thread,
    export_thread,
    import_thread,
    read_whole,
    write_whole,
)
from graphflow.errors import CheckpointConflict, CorruptCheckpointError, UnknownCheckpointError
from graphflow_integrations.stores.opening import opened
from graphflow_integrations.stores.printing import complain, counted, progress, say, say_json

DONE, FAILED = 0, 1
THE_PIPE = "-"


def export(store: Checkpointer, options: argparse.Namespace) -> int:
    """Write threads to a file or the pipe."""
    names = options.threads or store.run(store.threads())
    with _target(options.out) as file:
        for name in progress(names, "Writing"):
            file.writelines(store.run(export_thread(store, name)))
    if options.out != THE_PIPE:
        say(f"{counted(len(names), 'thread')} written to {options.out}")
    return DONE


@contextmanager
def _target(out: str) -> Iterator[BinaryIO]:
    """Open what is written to; a file gets its name when it is complete."""
    if out == THE_PIPE:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(out)
    half = path.with_name(f".{path.name}.part")
    try:
        with half.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def import_(store: Checkpointer, options: argparse.Namespace) -> int:
    """Put the threads of a file into the store, once all of them are found whole and new."""
    with _source(options.file) as file:
        names = [thread.name for thread in read_threads(file)]
        _check_new(store, names, options.name)
        file.seek(0)
        for _ in progress(names, "Storing"):
            store.run(import_thread(store, file, options.name))
    stored = [options.name] if options.name else names
    if options.json:
        say_json({"threads": stored})
    else:
        say(f"{counted(len(stored), 'thread')} imported")
    return DONE


def _check_new(store: Checkpointer, names: list[str], name: str | None) -> None:
    if not names:
        raise CorruptCheckpointError("The file has no thread.")
    if name is not None and len(names) != 1:
        raise ValueError(f"The file has {len(names)} threads; --as gives a name to a single one.")
    taken = [new for new in ([name] if name else names) if store.run(store.scopes(new))]
    if taken:
        raise CheckpointConflict(
            f"There are threads of these names already: {', '.join(map(repr, taken))}. Nothing "
            "was stored. Delete them first, or import a single thread --as another."
        )


@contextmanager
def _source(name: str) -> Iterator[BinaryIO]:
    """Open what is read, in a way that it can be read twice."""
    if name != THE_PIPE:
        with Path(name).open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        kept.seek(0)
        yield kept


def copy(store: Checkpointer, options: argparse.Namespace) -> int:
    """Copy a thread under another name, or into another store."""
    if options.to is None:
        store.run(copy_thread(store, options.thread, options.new))
    else:
        whole = store.run(read_whole(store, options.thread))
        with closing(opened(options.to, makes=True)) as target:
            target.run(write_whole(target, whole, options.new))
    if options.json:
        say_json({"thread": options.new})
    else:
        say(f"thread {options.thread} copied to {options.new}")
    return DONE


def delete(store: Checkpointer, options: argparse.Namespace) -> int:
    """Remove threads, when it was said twice."""
    for name in options.threads:
        if not store.run(store.scopes(name)):
            raise UnknownCheckpointError(f"The store has no thread {name!r}; nothing was removed.")
    if not options.yes and not _agreed(len(options.threads)):
        complain("Nothing was removed. Say --yes to remove without being asked.")
        return FAILED
    if options.erase:
        store.erase_thread(*options.threads)
    else:
        for name in progress(options.threads, "Removing"):
            store.delete_thread(name)
    if options.json:
        say_json({"removed": options.threads})
    else:
        say(f"{counted(len(options.threads), 'thread')} removed")
    return DONE


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        return False
    print(f"Remove {counted(count, 'thread')} for good? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
