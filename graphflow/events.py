"""What a run tells its listeners."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

LIVE: Final = frozenset({"custom", "messages", "tools"})
"""Modes whose chunks come from inside running nodes, not from the machine."""


class Event(NamedTuple):
    """One chunk of one stream mode."""

    mode: str
    """A `StreamMode`."""
    data: Any
    """The payload, as contract §9 states it for the mode."""
    ns: tuple[str, ...] = ()
    """The graphs around its origin: `()` in the root graph."""
    schema: Any = None
    """What the state in the payload is an instance of, where version v2 shows one."""
