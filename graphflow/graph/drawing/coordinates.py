"""How far right each item stands: straight where it can be, centred where it must choose.

Items are aligned into vertical blocks with a middle neighbour, in four ways (from above and from
below, leaning left and leaning right); each way is packed tightly, and every item takes the mean
of the middle two answers. A passing edge wins over whatever crosses it, so long edges are
straight.

Source: Brandes and Köpf, "Fast and Simple Horizontal Coordinate Assignment" (2001). Blocks are
packed by longest path in both directions instead of by their classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from graphflow.graph.drawing.lattice import Lattice, Room

_BETWEEN_NODES = 28.0
_BETWEEN_NODE_AND_EDGE = 18.0
_BETWEEN_EDGES = 16.0

Segment = tuple[int, int]
"""An item and its neighbour on the row below."""


def coordinates(grid: Lattice) -> list[float]:
    """The anchor of each item, in pixels; rows keep their order and their distances."""
    crossed = frozenset(_crossed_segments(grid))
    ways = [
        _one_way(grid, crossed, downwards=downwards, leftwards=leftwards)
        for downwards in (True, False)
        for leftwards in (True, False)
    ]
    narrow = min(ways, key=lambda way: max(way, default=0.0) - min(way, default=0.0))
    shifted = [_beside(narrow, way, leftwards=index % 2 == 0) for index, way in enumerate(ways)]
    return [_middle(sorted(answers)) for answers in zip(*shifted, strict=True)]


def _middle(answers: Sequence[float]) -> float:
    return round((answers[1] + answers[2]) / 2, 2)


def _beside(narrow: list[float], way: list[float], *, leftwards: bool) -> list[float]:
    """One answer moved so that it shares the narrowest one's left (or right) border."""
    if not way:
        return way
    shift = min(narrow) - min(way) if leftwards else max(narrow) - max(way)
    return [x + shift for x in way]


def _crossed_segments(grid: Lattice) -> Iterator[Segment]:
    """The segments that may not be straight because they cross a piece of a passing edge."""
    places = grid.positions()
    for row in grid.rows[1:]:
        passing = [
            (places[grid.above[item][0]], place)
            for place, item in enumerate(row)
            if _passes(grid, item)
        ]
        for place, item in enumerate(row):
            for upper in [] if _passes(grid, item) else grid.above[item]:
                if any((up - places[upper]) * (down - place) < 0 for up, down in passing):
                    yield upper, item


def _passes(grid: Lattice, item: int) -> bool:
    """Whether the item and the one above it belong to the middle of one edge."""
    return not grid.is_node(item) and any(not grid.is_node(up) for up in grid.above[item])


def _one_way(
    grid: Lattice, crossed: frozenset[Segment], *, downwards: bool, leftwards: bool
) -> list[float]:
    rows = grid.rows if downwards else grid.rows[::-1]
    rows = rows if leftwards else [row[::-1] for row in rows]
    blocks = _blocks(grid, rows, crossed, downwards=downwards)
    rooms = grid.rooms if leftwards else [room.mirrored() for room in grid.rooms]
    packed = _packed(grid, rows, blocks, rooms)
    return [packed[block] if leftwards else -packed[block] for block in blocks]


def _blocks(
    grid: Lattice, rows: list[list[int]], crossed: frozenset[Segment], *, downwards: bool
) -> list[int]:
    """For each item the first item of the block it is aligned with."""
    blocks = list(range(len(grid.rooms)))
    places = [0] * len(blocks)
    neighbours = grid.above if downwards else grid.below
    for row in rows:
        reached = -1
        for item in row:
            for other in _medians(neighbours[item], places):
                segment = (other, item) if downwards else (item, other)
                if places[other] > reached and segment not in crossed:
                    blocks[item] = blocks[other]
                    reached = places[other]
                    break
        for place, item in enumerate(row):
            places[item] = place
    return blocks


def _medians(others: list[int], places: list[int]) -> list[int]:
    ordered = sorted(others, key=places.__getitem__)
    return ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]


def _packed(
    grid: Lattice, rows: list[list[int]], blocks: list[int], rooms: list[Room]
) -> dict[int, float]:
    """A place for each block: as far left as it goes, then against its right neighbour."""
    after = _distances(grid, rows, blocks, rooms)
    order = _left_to_right(blocks, after)
    places = dict.fromkeys(order, 0.0)
    for block in order:
        for other, apart in after[block].items():
            places[other] = max(places[other], places[block] + apart)
    for block in reversed(order):
        if after[block]:
            limit = min(places[other] - apart for other, apart in after[block].items())
            places[block] = max(places[block], limit)
    return places


def _distances(
    grid: Lattice, rows: list[list[int]], blocks: list[int], rooms: list[Room]
) -> dict[int, dict[int, float]]:
    """For each block its right neighbours and how far away they must stay."""
    after: dict[int, dict[int, float]] = {block: {} for block in blocks}
    for row in rows:
        for left, right in pairwise(row):
            apart = rooms[left].right + _gap(grid, left, right) + rooms[right].left
            known = after[blocks[left]]
            known[blocks[right]] = max(known.get(blocks[right], 0.0), apart)
    return after


def distance(grid: Lattice, left: int, right: int) -> float:
    """How far apart the anchors of two neighbours on a row must be."""
    return grid.rooms[left].right + _gap(grid, left, right) + grid.rooms[right].left


def _gap(grid: Lattice, left: int, right: int) -> float:
    nodes = grid.is_node(left) + grid.is_node(right)
    return (_BETWEEN_EDGES, _BETWEEN_NODE_AND_EDGE, _BETWEEN_NODES)[nodes]


def _left_to_right(blocks: list[int], after: dict[int, dict[int, float]]) -> list[int]:
    missing = dict.fromkeys(blocks, 0)
    for others in after.values():
        for other in others:
            missing[other] += 1
    order = [block for block, count in missing.items() if not count]
    for block in order:
        for other in after[block]:
            missing[other] -= 1
            if not missing[other]:
                order.append(other)
    return order
