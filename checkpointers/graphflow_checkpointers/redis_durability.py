"""Whether a server keeps what it is told, as far as it says so itself."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal, get_args

from graphflow.errors import CheckpointError, StoreUnsafeError
from graphflow_checkpointers.redis_client import redis
from graphflow_checkpointers.redis_server import RedisServer, Word

Durability = Literal["process", "full"]


class RedisDurabilityWarning(UserWarning):
    """The server may lose threads that it has acknowledged, or does not tell whether it does."""


def check_durability(server: RedisServer, wanted: Durability) -> None:
    """Look at how every server keeps its data.

    Raises:
        StoreUnsafeError: It throws keys away when its memory is full, or it does not write each
            commit to disk although that is wanted; what to set is in the text.
        ValueError: Something else is wanted.
    """
    if wanted not in get_args(Durability):
        raise ValueError(f"durability={wanted!r} is neither 'process' nor 'full'.")
    for node in server.nodes():
        facts = _allowed(server, node, "INFO")
        if facts is None:
            _warn(f"{server.address} does not tell how it keeps its data (INFO is not permitted).")
            continue
        _check_eviction(server, facts)
        is_logged = bool(int(facts.get("aof_enabled", 0)))
        if wanted == "full":
            _check_each_commit(server, node, is_logged)
        elif not is_logged:
            _warn(
                f"{server.address} keeps no append-only file: when it stops, threads are lost or "
                "go back to its last snapshot. Set: CONFIG SET appendonly yes, and the same in its "
                "configuration file."
            )


def _check_eviction(server: RedisServer, facts: Mapping[str, Any]) -> None:
    policy = str(facts.get("maxmemory_policy", ""))
    if policy.startswith("allkeys") and int(facts.get("maxmemory", 0)):
        raise StoreUnsafeError(
            f"{server.address} throws any key away when its memory is full (maxmemory-policy "
            f"{policy}), so parts of threads would vanish. Set: CONFIG SET maxmemory-policy "
            "noeviction, and the same in its configuration file; or give threads a server of "
            "their own."
        )


def _check_each_commit(server: RedisServer, node: Any, is_logged: bool) -> None:
    setting = _allowed(server, node, "CONFIG GET", "appendfsync")
    if is_logged and not setting:
        _warn(
            f"{server.address} does not tell whether it writes each commit to disk (CONFIG is not "
            "permitted): see that it has appendfsync always."
        )
        return
    fsync = setting["appendfsync"] if setting else "unknown"
    if not is_logged or fsync != "always":
        raise StoreUnsafeError(
            f"{server.address} does not write each commit to disk before it answers (appendonly "
            f"{'yes' if is_logged else 'no'}, appendfsync {fsync}), as durability='full' needs. "
            "Set: CONFIG SET appendonly yes, CONFIG SET appendfsync always, and the same in its "
            "configuration file; or take durability='process'."
        )


def _allowed(server: RedisServer, node: Any, *command: Word) -> Any:
    """Return what a server answers; None if we may not ask, as on managed services."""
    try:
        return server.ask(*command, of=node)
    except CheckpointError as error:
        if isinstance(error.__cause__, redis.exceptions.ResponseError):
            return None
        raise


def _warn(text: str) -> None:
    silence = "warnings.filterwarnings('ignore', category=RedisDurabilityWarning)"
    warnings.warn(
        f"{text} If that is as it should be: {silence}.", RedisDurabilityWarning, stacklevel=4
    )
