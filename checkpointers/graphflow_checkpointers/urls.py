"""Stores by URL, so that a program or a command line is told in one word where its threads are.

    open_store("sqlite:///agent.db")             a file, here in the folder of the process
    open_store("sqlite:////var/lib/agent.db")    a file by its whole path
    open_store("sqlite://")                      a database in memory
    open_store("postgresql://user@host/name")    also postgres://
    open_store("redis://host:6379/0")            also rediss://, unix://, valkey://, valkeys://
    open_store("memory://")                      this process
    open_store("encrypted+sqlite:///agent.db")   any of them, encrypted with the keys of the
                                                 environment variable GRAPHFLOW_KEYS

Other packages add theirs as entry points of the group `graphflow.checkpointers`: the name is the
scheme, the object is called with the URL. What a store needs is imported when it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from graphflow.checkpoint.checkpointer import Checkpointer

Opener = Callable[[str], Checkpointer]
GROUP: Final = "graphflow.checkpointers"
"""The entry points that other packages register under."""
ENCRYPTED: Final = "encrypted+"
"""What stands before the URL of a store that is encrypted."""


def open_store(url: str) -> Checkpointer:
    """Return the store at `url`.

    Raises:
        ValueError: No store is known for such a URL.
        ImportError: The store's extra is not installed.
        CheckpointError: The store refuses; see its class.
    """
    if url.lower().startswith(ENCRYPTED):
        return _encrypted(inner_of(url))
    opener = _opener(scheme_of(url))
    if opener is None:
        known = ", ".join(f"{scheme}://" for scheme in [*OPENERS, *_found()])
        raise ValueError(f"{shown(url)!r} names no store. A URL begins with one of {known}.")
    return opener(url)


def inner_of(url: str) -> str:
    """Return the URL of the store inside, if the one at `url` is encrypted; else `url`."""
    return url[len(ENCRYPTED) :] if url.lower().startswith(ENCRYPTED) else url


def scheme_of(url: str) -> str:
    """Return what stands before `://`, in small letters; empty: nothing does."""
    scheme, separator, _ = url.partition("://")
    return scheme.lower() if separator else ""


def shown(url: str) -> str:
    """Return a URL as it may be shown and logged: without its password."""
    return re.sub(r"(://[^/@]*?:)[^/]*@", r"\1…@", url)


def file_of(url: str) -> str:
    """Return the file that a SQLite URL names; `":memory:"` if it names none.

    Raises:
        ValueError: It is written in another way.
    """
    rest = url.partition("://")[2]
    if rest in ("", "/"):
        return ":memory:"
    if not rest.startswith("/"):
        raise ValueError(
            f"{url!r} names no file: write sqlite:///{rest} for one in this folder, "
            "sqlite:////… for a whole path."
        )
    return rest[1:]


def _sqlite(url: str) -> Checkpointer:
    from graphflow_checkpointers.sqlite import SqliteCheckpointer

    return SqliteCheckpointer(file_of(url))


def _memory(url: str) -> Checkpointer:
    from graphflow.checkpoint.memory import MemoryCheckpointer

    return MemoryCheckpointer()


def _postgres(url: str) -> Checkpointer:
    try:
        from graphflow_checkpointers.postgres import PostgresCheckpointer
    except ModuleNotFoundError as error:
        raise _missing("postgres", error) from error
    return PostgresCheckpointer(url)


def _redis(url: str) -> Checkpointer:
    try:
        from graphflow_checkpointers.redis import RedisCheckpointer
    except ModuleNotFoundError as error:
        raise _missing("redis", error) from error
    return RedisCheckpointer(re.sub("^valkey", "redis", url))


def _encrypted(url: str) -> Checkpointer:
    try:
        from graphflow_checkpointers.encryption import EncryptedCheckpointer
        from graphflow_checkpointers.encryption_keys import Keys
    except ModuleNotFoundError as error:
        raise _missing("encryption", error) from error
    keys = Keys.from_env()
    return EncryptedCheckpointer(open_store(url), keys)


def _missing(extra: str, error: ModuleNotFoundError) -> ImportError:
    return ImportError(
        f'{error.name} is not installed, which this store needs: pip install "graphflow[{extra}]"',
        name=error.name,
    )


OPENERS: Final[dict[str, Opener]] = {
    "sqlite": _sqlite,
    "memory": _memory,
    "postgresql": _postgres,
    "postgres": _postgres,
    "redis": _redis,
    "rediss": _redis,
    "unix": _redis,
    "valkey": _redis,
    "valkeys": _redis,
}
"""What opens a store, by scheme."""


def _opener(scheme: str) -> Opener | None:
    return OPENERS.get(scheme) or _found().get(scheme)


def _found() -> dict[str, Opener]:
    """Return the openers of other packages, each loaded when it is called."""
    return {
        entry.name: partial(_open_found, entry)
        for entry in entry_points(group=GROUP)
        if entry.name not in OPENERS
    }


def _open_found(entry: EntryPoint, url: str) -> Checkpointer:
    store: Checkpointer = entry.load()(url)
    return store
