"""Straight pieces pulled towards what they are connected to, so that edges travel less sideways.

Packing leaves blocks where there was room. Here each straight piece, as a whole, moves to the
median of its neighbours as far as the items beside it allow; every move shortens edges, none bends
a straight one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from graphflow.graph.drawing.coordinates import distance
from graphflow.graph.drawing.lattice import Lattice

_SWEEPS = 10
_SAME = 0.01


@dataclass(slots=True)
class _Piece:
    """Items that stand straight below each other, and what surrounds them."""

    items: list[int]
    edges: list[tuple[int, int]]
    """An item of the piece and the item it is connected to outside."""
    lefts: list[tuple[int, int, float]]
    """An item, its left neighbour, and how far apart they must be."""
    rights: list[tuple[int, int, float]]


def pulled(grid: Lattice, x: Sequence[float]) -> list[float]:
    """The anchors after the pull; rows keep their order and their distances."""
    moved = list(x)
    pieces = _pieces(grid, moved)
    for sweep in range(_SWEEPS):
        pieces.sort(key=lambda piece: moved[piece.items[0]], reverse=sweep % 2 == 0)
        moves = [_pull(piece, moved) for piece in pieces]
        if not any(moves):
            break
    return [round(place, 2) for place in moved]


def _pull(piece: _Piece, x: list[float]) -> bool:
    if not piece.edges:
        return False
    shift = median(x[other] - x[item] for item, other in piece.edges)
    least = max((x[left] + apart - x[item] for item, left, apart in piece.lefts), default=shift)
    most = min((x[right] - apart - x[item] for item, right, apart in piece.rights), default=shift)
    shift = max(min(least, 0.0), min(max(most, 0.0), shift))
    for item in piece.items:
        x[item] += shift
    return abs(shift) > _SAME


def _pieces(grid: Lattice, x: Sequence[float]) -> list[_Piece]:
    piece_of: dict[int, _Piece] = {}
    for row in grid.rows:
        for item in row:
            straight = [up for up in grid.above[item] if abs(x[up] - x[item]) < _SAME]
            piece = piece_of[straight[0]] if straight else _Piece([], [], [], [])
            piece.items.append(item)
            piece_of[item] = piece
    for upper, lower in _segments(grid):
        if piece_of[upper] is not piece_of[lower]:
            piece_of[upper].edges.append((upper, lower))
            piece_of[lower].edges.append((lower, upper))
    for row in grid.rows:
        for left, right in pairwise(row):
            apart = distance(grid, left, right)
            piece_of[left].rights.append((left, right, apart))
            piece_of[right].lefts.append((right, left, apart))
    return list({id(piece): piece for piece in piece_of.values()}.values())


def _segments(grid: Lattice) -> Iterator[tuple[int, int]]:
    for upper, others in enumerate(grid.below):
        for lower in others:
            yield upper, lower
