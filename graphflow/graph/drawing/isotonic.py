"""Places in a row as near to their wishes as order and distances allow.

Source: the pool-adjacent-violators algorithm for isotonic regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

Wish = tuple[float, float]
"""A place and how much it matters."""


def nearest_places(wishes: Sequence[Wish], room: Sequence[float]) -> list[float]:
    """The places with the least weighted squared error.

    Args:
        wishes: from left to right.
        room: the least distance from each place to the next, one fewer than the wishes.
    """
    offsets = [0.0, *accumulate(room)]
    pools: list[tuple[float, float, int]] = []
    for (wish, weight), offset in zip(wishes, offsets, strict=False):
        mean, total, count = wish - offset, weight, 1
        while pools and pools[-1][0] > mean:
            other, more, members = pools.pop()
            mean = (mean * total + other * more) / (total + more)
            total, count = total + more, count + members
        pools.append((mean, total, count))
    level = [mean for mean, _, count in pools for _ in range(count)]
    return [round(place + offset, 2) for place, offset in zip(level, offsets, strict=False)]
