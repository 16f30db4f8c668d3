"""What every cache promises, to blocking callers and to asyncio."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from graphflow import NotStorable
from graphflow.cache import BaseCache

NODE = ("node", "fetch")
AWKWARD = (
    *("", "a.b", "a:b", "%", "*", "\0", "ünï-🙂", "\ud800", "'; DROP TABLE x; --"),
    *('","', "[]", "{x}", "[a-z]?", "\r\n"),
)
"""Texts that a careless cache would mix up, cut off or obey."""


class AsyncFace:
    """A cache whose every call goes through its a-form, each on a loop of its own."""

    def __init__(self, cache: BaseCache) -> None:
        self.cache = cache

    def __getattr__(self, name: str) -> Any:
        form = getattr(self.cache, f"a{name}")
        return lambda *args: asyncio.run(form(*args))


class CachePromises:
    """Subclasses have a fixture `kept`: an empty cache."""

    @pytest.fixture(params=["sync", "async"])
    def cache(self, request: pytest.FixtureRequest, kept: BaseCache) -> Any:
        """An empty cache, and how it is called."""
        return kept if request.param == "sync" else AsyncFace(kept)

    def test_what_was_set_is_got(self, cache: Any) -> None:
        cache.set({(NODE, "a"): ({"n": (1, 2)}, None), (NODE, "b"): (None, None)})
        assert cache.get([(NODE, "a"), (NODE, "b"), (NODE, "c")]) == {
            (NODE, "a"): {"n": (1, 2)},
            (NODE, "b"): None,
        }

    def test_nothing_asked_is_nothing_got(self, cache: Any) -> None:
        cache.set({})
        assert cache.get([]) == {}

    def test_setting_again_replaces(self, cache: Any) -> None:
        cache.set({(NODE, "a"): (1, None)})
        cache.set({(NODE, "a"): (2, None)})
        assert cache.get([(NODE, "a")]) == {(NODE, "a"): 2}

    def test_values_are_copies(self, cache: Any) -> None:
        value = ["a"]
        cache.set({(NODE, "a"): (value, None)})
        value.append("b")
        cache.get([(NODE, "a")])[NODE, "a"].append("c")
        assert cache.get([(NODE, "a")]) == {(NODE, "a"): ["a"]}

    def test_what_cannot_be_stored_is_refused_with_all_that_came_with_it(self, cache: Any) -> None:
        with pytest.raises(NotStorable) as caught:
            cache.set({(NODE, "a"): (1, None), (NODE, "b"): (object(), None)})
        assert "('node', 'fetch')" in caught.value.__notes__[0]
        assert cache.get([(NODE, "a")]) == {}

    def test_clearing_forgets_exactly_the_namespaces_named(self, cache: Any) -> None:
        places = [("a",), ("a", "b"), ("b",), ("a.b",)]
        cache.set({(place, "k"): (1, None) for place in places})
        cache.clear([("a",), ("b",), ("unknown",)])
        assert set(cache.get([(place, "k") for place in places])) == {
            (("a", "b"), "k"),
            (("a.b",), "k"),
        }

    def test_clearing_without_names_forgets_everything(self, cache: Any) -> None:
        cache.set({(("a",), "k"): (1, None), (("b",), "k"): (1, None)})
        cache.clear()
        assert cache.get([(("a",), "k"), (("b",), "k")]) == {}

    def test_clearing_nothing_forgets_nothing(self, cache: Any) -> None:
        cache.set({(NODE, "k"): (1, None)})
        cache.clear([])
        assert len(cache.get([(NODE, "k")])) == 1

    def test_any_text_is_a_key_and_a_namespace(self, cache: Any) -> None:
        pairs = {((label, "x"), key): (label + key, None) for label in AWKWARD for key in AWKWARD}
        cache.set(pairs)
        assert cache.get(list(pairs)) == {key: value for key, (value, _) in pairs.items()}

    def test_many_threads_lose_nothing(self, kept: BaseCache) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: kept.set({(NODE, str(n)): (n, None)}), range(60)))
        assert len(kept.get([(NODE, str(n)) for n in range(60)])) == 60
