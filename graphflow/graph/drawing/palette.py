"""The state of a run as every rendering shows it: one word, one tint, one accent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graphflow.graph.diagram import Overlay

State = Literal["failed", "waiting", "active", "visited"]


@dataclass(frozen=True, slots=True)
class Tint:
    """The colours of one state, legible on white."""

    fill: str
    stroke: str
    text: str


PLAIN = Tint("#ffffff", "#64748b", "#0f172a")
TINTS: dict[State, Tint] = {
    "failed": Tint("#fee2e2", "#dc2626", "#7f1d1d"),
    "waiting": Tint("#fef3c7", "#d97706", "#78350f"),
    "active": Tint("#dbeafe", "#2563eb", "#1e3a8a"),
    "visited": Tint("#dcfce7", "#16a34a", "#14532d"),
}


def state_of(path: str, overlay: Overlay | None) -> State | None:
    """The most urgent state of a node, None where the run has not been."""
    if overlay is None:
        return None
    if path in overlay.failed:
        return "failed"
    if path in overlay.waiting:
        return "waiting"
    if path in overlay.active:
        return "active"
    return "visited" if overlay.visits.get(path) else None


def visits_of(path: str, overlay: Overlay | None) -> int:
    """How often the run has been at a node."""
    return overlay.visits.get(path, 0) if overlay else 0


def taken(source: str, target: str, overlay: Overlay | None) -> int:
    """How often the run took an edge."""
    return overlay.edges.get((source, target), 0) if overlay else 0
