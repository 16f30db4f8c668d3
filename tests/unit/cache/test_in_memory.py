"""The cache in memory does not keep what no longer serves."""

from __future__ import annotations

from graphflow.cache import InMemoryCache


def test_stale_values_do_not_pile_up() -> None:
    seconds = [0.0]
    cache = InMemoryCache(clock=lambda: seconds[0])
    for number in range(1000):
        cache.set({(("node",), str(number)): (number, 10)})
        seconds[0] += 1
    assert sum(map(len, cache._entries.values())) < 50
