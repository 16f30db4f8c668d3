"""The order of items on each row, so that few edges cross.

Sweeps down and up put each item at the mean place of its neighbours; after each sweep neighbours
are exchanged while that removes crossings. The best order met is kept. Ties are settled by the
order before, which starts as the author's, so that equal pictures come out equal.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from itertools import groupby

from graphflow.graph.drawing.lattice import Lattice

_SWEEPS = 12
_PATIENCE = 4
"""Sweeps without a better order before giving up."""


def reduce_crossings(grid: Lattice) -> None:
    """Reorder the rows of the lattice in place."""
    best, fewest, idle = _copy(grid.rows), _crossings(grid), 0
    for sweep in range(_SWEEPS):
        if not fewest or idle == _PATIENCE:
            break
        _sweep(grid, downwards=sweep % 2 == 0)
        _exchange(grid)
        count = _crossings(grid)
        idle = 0 if count < fewest else idle + 1
        if count < fewest:
            best, fewest = _copy(grid.rows), count
    grid.rows[:] = best
    _settle_twins(grid)


def _settle_twins(grid: Lattice) -> None:
    """Of neighbours that connect the same two items, put those with the wider label to the right.

    A label stands to the right of its edge, so the edges of a small loop stay close together.
    """
    for row in grid.rows:
        runs = [
            list(run) for _, run in groupby(row, lambda item: (grid.above[item], grid.below[item]))
        ]
        row[:] = [
            item for run in runs for item in sorted(run, key=lambda item: grid.rooms[item].right)
        ]


def _copy(rows: list[list[int]]) -> list[list[int]]:
    return [list(row) for row in rows]


def _sweep(grid: Lattice, *, downwards: bool) -> None:
    places = grid.positions()
    neighbours = grid.above if downwards else grid.below
    for row in grid.rows if downwards else reversed(grid.rows):
        wish = {item: _mean_place(item, neighbours[item], places) for item in row}
        row.sort(key=wish.__getitem__)
        for place, item in enumerate(row):
            places[item] = place


def _mean_place(item: int, others: list[int], places: list[int]) -> float:
    if not others:
        return places[item]
    return sum(places[other] for other in others) / len(others)


def _crossings(grid: Lattice) -> int:
    places = grid.positions()
    return sum(_crossings_above(row, grid.above, places) for row in grid.rows)


def _crossings_above(row: list[int], above: list[list[int]], places: list[int]) -> int:
    """Crossings between a row and the one above it: inversions of the edges' upper ends."""
    passed: list[int] = []
    count = 0
    for item in row:
        ends = sorted(places[other] for other in above[item])
        count += sum(len(passed) - bisect_right(passed, end) for end in ends)
        for end in ends:
            insort(passed, end)
    return count


def _exchange(grid: Lattice) -> None:
    places = grid.positions()
    for row in grid.rows:
        ends = {
            item: (
                sorted(places[other] for other in grid.above[item]),
                sorted(places[other] for other in grid.below[item]),
            )
            for item in row
        }
        for _ in row:
            if not _exchange_once(row, ends):
                break
        for place, item in enumerate(row):
            places[item] = place


def _exchange_once(row: list[int], ends: dict[int, tuple[list[int], list[int]]]) -> bool:
    changed = False
    for place in range(len(row) - 1):
        left, right = ends[row[place]], ends[row[place + 1]]
        if _between(left, right) > _between(right, left):
            row[place], row[place + 1] = row[place + 1], row[place]
            changed = True
    return changed


def _between(left: tuple[list[int], list[int]], right: tuple[list[int], list[int]]) -> int:
    """The crossings of two neighbours' edges while they stand in this order."""
    return sum(
        len(ours) - bisect_right(ours, end)
        for ours, theirs in zip(left, right, strict=True)
        for end in theirs
    )
