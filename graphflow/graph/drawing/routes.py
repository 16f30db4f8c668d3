"""Edges as curves: along their items, smooth between rows, upright inside a row.

Every item of a row owns the column it stands in, so an edge that stays upright within a row and
bends only in the empty space between rows cannot run through a node or a label. Between two points
the curve never leaves their bounding box: x is a monotone cubic of y.

Source: Fritsch and Carlson, "Monotone Piecewise Cubic Interpolation" (1980).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from graphflow.graph.drawing.placed import Curve, Point

_CORNER = 9.0


def smooth(points: Sequence[Point]) -> list[Curve]:
    """Curves through points that lie strictly one below the other."""
    slopes = _slopes(points)
    return [
        _hermite(here, there, slopes[index], slopes[index + 1])
        for index, (here, there) in enumerate(pairwise(points))
    ]


def _slopes(points: Sequence[Point]) -> list[float]:
    """dx/dy at each point; upright at both ends."""
    secants = [(there[0] - here[0]) / (there[1] - here[1]) for here, there in pairwise(points)]
    heights = [there[1] - here[1] for here, there in pairwise(points)]
    inner = [
        _harmonic(secants[index], secants[index + 1], heights[index], heights[index + 1])
        for index in range(len(secants) - 1)
    ]
    return [0.0, *inner, 0.0]


def _harmonic(before: float, after: float, height: float, next_height: float) -> float:
    """The weighted harmonic mean of two secants; 0 where the curve turns."""
    if before * after <= 0:
        return 0.0
    one, two = 2 * next_height + height, next_height + 2 * height
    return (one + two) / (one / before + two / after)


def _hermite(here: Point, there: Point, slope: float, next_slope: float) -> Curve:
    # A piece upright at both ends may bend more gently than the interpolation asks for.
    reach = (there[1] - here[1]) * (1 / 3 if slope or next_slope else 0.55)
    one = (here[0] + slope * reach, here[1] + reach)
    two = (there[0] - next_slope * reach, there[1] - reach)
    return one, two, there


def straight(*points: Point) -> list[Curve]:
    """Lines from the first point through the others."""
    return [(here, there, there) for here, there in pairwise(points)]


def corner(here: Point, bend: Point, there: Point) -> list[Curve]:
    """Two lines that meet at `bend` in a rounded corner."""
    before, after = _towards(bend, here), _towards(bend, there)
    return [(here, before, before), (bend, bend, after), (after, there, there)]


def _towards(bend: Point, far: Point) -> Point:
    """A point near the bend on the way to another point on its level or in its column."""
    dx, dy = far[0] - bend[0], far[1] - bend[1]
    share = min(1.0, _CORNER / (abs(dx) + abs(dy) or 1.0))
    return bend[0] + dx * share, bend[1] + dy * share


def backwards(start: Point, curves: Sequence[Curve]) -> tuple[Point, list[Curve]]:
    """The same way from its end to its start."""
    starts = [start, *(curve[2] for curve in curves)]
    turned = [(two, one, here) for here, (one, two, _) in zip(starts, curves, strict=False)]
    return starts[-1], turned[::-1]
