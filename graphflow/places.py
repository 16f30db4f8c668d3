"""Places: which checkpoint of which thread a config addresses."""

from __future__ import annotations

from typing import Any, NamedTuple

from graphflow.errors import UnknownCheckpointError
from graphflow.ids import parse_checkpoint_id
from graphflow.types import Config


class Place(NamedTuple):
    """Which checkpoint of which thread a config addresses."""

    thread: str
    scope: str = ""
    at: tuple[int, int] | None = None
    """`(seq, ordinal of the branch)`; None: a head."""
    branch: str | None = None
    """Name of the branch whose head is meant; None: the one that grew last."""


def place_of(config: Config) -> Place:
    """Read the place that a config addresses.

    Raises:
        ValueError: It names no thread.
        UnknownCheckpointError: Its `checkpoint_id` was never one.
    """
    configurable = config.get("configurable") or {}
    if "thread_id" not in configurable:
        raise ValueError(
            "Checkpointer requires one or more of the following 'configurable' keys: thread_id, "
            'checkpoint_ns, checkpoint_id. Pass {"configurable": {"thread_id": "…"}}.'
        )
    identity = configurable.get("checkpoint_id")
    at = None if identity is None else parse_checkpoint_id(str(identity))
    if identity is not None and at is None:
        raise UnknownCheckpointError(f"{identity!r} is no checkpoint id of this library.")
    return Place(
        _text(configurable["thread_id"], "thread_id"),
        _text(configurable.get("checkpoint_ns") or "", "checkpoint_ns"),
        at,
        configurable.get("branch"),
    )


def check_branch(name: str) -> None:
    """Refuse what no branch can be called.

    Raises:
        ValueError: It is empty, or no text.
    """
    if not name or not isinstance(name, str):
        raise ValueError(f"A new branch needs a name, got {name!r}; None makes one up.")
    _text(name, "The name")


def _text(value: Any, key: str) -> str:
    text = "" if value is None else str(value)
    if key == "thread_id" and not text:
        raise ValueError(f"thread_id must name a thread, got {value!r}.")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{key} {text!r} has a lone surrogate, which is no character.")
    return text
