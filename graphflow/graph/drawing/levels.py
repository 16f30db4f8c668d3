"""How far down each row stands: below the one before, further where edges travel far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphflow.graph.drawing.lattice import Lattice

_GAP = 20.0
_WIDEST_GAP = 64.0
_STEEPNESS = 0.25
"""Gap per pixel that an edge travels sideways, so that no edge lies nearly flat."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The y of every row; items are centred on its middle."""

    row_of: dict[int, int]
    """The row of each item."""
    top: list[float]
    middle: list[float]
    bottom: list[float]


def leveled(grid: Lattice, x: Sequence[float]) -> Levels:
    """Rows from y = 0 downwards."""
    levels = Levels({}, [], [], [])
    y = 0.0
    for index, row in enumerate(grid.rows):
        y += _gap(grid, x, row) if index else 0.0
        rise = max((grid.rooms[item].top for item in row), default=0.0)
        fall = max((grid.rooms[item].bottom for item in row), default=0.0)
        levels.top.append(y)
        levels.middle.append(y + rise)
        y += rise + fall
        levels.bottom.append(y)
        levels.row_of.update(dict.fromkeys(row, index))
    return levels


def _gap(grid: Lattice, x: Sequence[float], row: Sequence[int]) -> float:
    """The space above a row."""
    travel = max((abs(x[item] - x[up]) for item in row for up in grid.above[item]), default=0.0)
    return min(_WIDEST_GAP, _GAP + max(0.0, travel - 40.0) * _STEEPNESS)
