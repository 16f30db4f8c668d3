"""Where edges touch the top and the bottom of a node: side by side, in the order they come from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from graphflow.graph.drawing.boxes import Box
from graphflow.graph.drawing.isotonic import Wish, nearest_places
from graphflow.graph.drawing.plan import Plan

_APART = 18.0
_LEAST_APART = 0.6
"""How close ports may come to make edges straight, as a share of what they have."""
_FURTHEST = 14.0
"""How far a port moves to make an edge straight."""
_STRAIGHT = 50.0

Ports = dict[tuple[int, int], float]
"""(node, neighbouring item) to the x at which that edge meets the node's border."""


def even_ports(plan: Plan, x: Sequence[float]) -> Ports:
    """Ports at equal distances around the middle of each node.

    Edges that wait for each other are kept together.
    """
    places = plan.grid.positions()
    joining = {items[-2] for index, items in enumerate(plan.grid.chains) if plan.joins(index)}
    found: Ports = {}
    for node, box in enumerate(plan.boxes):
        below = sorted(plan.grid.below[node], key=places.__getitem__)
        above = _grouped(plan.grid.above[node], joining, places)
        found |= _spread(node, below, x[node], box) | _spread(node, above, x[node], box)
    return found


def _grouped(items: list[int], joining: set[int], places: list[int]) -> list[int]:
    """The items from left to right, those that join side by side around their mean place."""
    together = [places[item] for item in items if item in joining]
    mean = sum(together) / (len(together) or 1)
    return sorted(items, key=lambda item: (mean if item in joining else places[item], places[item]))


def _spread(node: int, bundle: list[int], centre: float, box: Box) -> Ports:
    apart = _apart(box, len(bundle))
    first = centre - apart * (len(bundle) - 1) / 2
    return {(node, item): first + place * apart for place, item in enumerate(bundle)}


def _apart(box: Box, count: int) -> float:
    return min(_APART, max(0.0, box.width - 2 * box.inset) / max(1, count - 1))


def ports(plan: Plan, x: Sequence[float]) -> Ports:
    """Even ports, moved a little where that makes an edge straight.

    From top to bottom: a node's lower ports look for passing edges, its upper ports also for the
    ports of the nodes above, which are settled by then.
    """
    even = even_ports(plan, x)
    bundles: dict[tuple[int, bool], list[int]] = {}
    for node, item in even:
        bundles.setdefault((node, item in plan.grid.above[node]), []).append(item)
    found: Ports = {}
    for node in filter(plan.grid.is_node, chain.from_iterable(plan.grid.rows)):
        for upper in (True, False):
            bundle = bundles.get((node, upper), [])
            found |= _moved(plan, node, bundle, x, even, found)
    return found


def _moved(
    plan: Plan, node: int, bundle: list[int], x: Sequence[float], even: Ports, settled: Ports
) -> Ports:
    box = plan.boxes[node]
    apart = _apart(box, len(bundle)) * _LEAST_APART
    wishes = [_wish(plan, node, item, x, even, settled) for item in bundle]
    found = nearest_places(wishes, [apart] * (len(bundle) - 1))
    inside = box.width / 2 - box.inset
    if any(abs(place - x[node]) > inside for place in found):
        return {(node, item): even[node, item] for item in bundle}
    return {(node, item): place for item, place in zip(bundle, found, strict=True)}


def _wish(
    plan: Plan, node: int, item: int, x: Sequence[float], even: Ports, settled: Ports
) -> Wish:
    place = even[node, item]
    far = _far_end(plan, node, item, x, settled)
    if far is None or abs(far - place) > _FURTHEST:
        return place, 1.0
    return far, _STRAIGHT


def _far_end(plan: Plan, node: int, item: int, x: Sequence[float], settled: Ports) -> float | None:
    """The x from which an edge comes to a port, None where it is not settled yet."""
    grid = plan.grid
    others = grid.above[item] if item in grid.above[node] else grid.below[item]
    if not others:
        return x[item]
    return settled.get((others[0], item)) if grid.is_node(others[0]) else x[others[0]]
