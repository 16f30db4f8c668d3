"""Which inputs have one key, and which have not."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphflow import HumanMessage, NotStorable, storable
from graphflow.cache import CachePolicy, default_key


@storable("tests.cache.Query")
@dataclass
class Query:
    text: str
    options: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x": [{"a": 1, "b": 2}]}, {"x": [{"b": 2, "a": 1}]}),
        ({1: "x", 2: "y"}, {2: "y", 1: "x"}),
        ({(1, 2): {"a": 1, "b": 2}, "k": 0}, {"k": 0, (1, 2): {"b": 2, "a": 1}}),
        (Query("q", {"a": 1, "b": 2}), Query("q", {"b": 2, "a": 1})),
        (({"a": 1, "b": 2},), ({"b": 2, "a": 1},)),
        (Counter("aab"), Counter("baa")),
        (defaultdict(list, a=[1], b=[2]), defaultdict(list, b=[2], a=[1])),
        ({3, 1, 2}, {2, 3, 1}),
    ],
)
def test_the_order_of_a_dict_does_not_matter_however_deep(one: Any, other: Any) -> None:
    assert default_key(one) == default_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [2, 1]),
        ([1, 2], (1, 2)),
        (1, 1.0),
        (1, True),
        ("1", 1),
        ("a", b"a"),
        (None, {}),
        ({}, []),
        ([[], []], [[[]]]),
        ({"a": {"b": 1}}, {"a": 1, "b": {}}),
        ({"a": "b"}, {"b": "a"}),
        ({1: 2}, {2: 1}),
        (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
        (Query("a"), {"text": "a", "options": {}}),
        (HumanMessage("a", id="1"), HumanMessage("b", id="1")),
        (datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)),
    ],
)
def test_everything_else_matters(one: Any, other: Any) -> None:
    assert default_key(one) != default_key(other)


def test_the_key_is_the_same_in_every_process() -> None:
    assert default_key({"text": "a", "tags": {"x"}}, n=1) == "9fd417fcb50f801e1b034079e17c639a"


def test_positional_and_named_arguments_differ() -> None:
    assert len({default_key(1, 2), default_key(1, b=2), default_key([1, 2]), default_key()}) == 4


def test_an_input_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(NotStorable):
        default_key({"lock": object()})


def test_deep_inputs_have_a_key() -> None:
    tree: Any = {"a": 1, "b": 2}
    for _ in range(90):
        tree = ({"x": tree, "y": 0},)
    assert len(default_key(tree)) == 32


def shuffled(value: Any, draw: Any) -> Any:
    if isinstance(value, dict):
        pairs = draw(st.permutations(list(value.items())))
        return {key: shuffled(item, draw) for key, item in pairs}
    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=4)
    ),
)


@given(TREES, st.data())
def test_any_reordered_tree_has_the_same_key(tree: Any, data: st.DataObject) -> None:
    assert default_key(tree) == default_key(shuffled(tree, data.draw))


def exact(value: Any) -> Any:
    """Return what tells values of different types apart where `==` does not."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    return [exact(item) for item in value] if isinstance(value, list) else (type(value), value)


@given(TREES, TREES)
def test_different_trees_have_different_keys(one: Any, other: Any) -> None:
    assert (default_key(one) == default_key(other)) == (exact(one) == exact(other))


def test_a_policy_hashes_the_input_and_keeps_for_ever_unless_told() -> None:
    assert CachePolicy() == CachePolicy(key_func=default_key, ttl=None)


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_a_ttl_that_is_no_time_is_refused(ttl: float) -> None:
    with pytest.raises(ValueError, match="in seconds"):
        CachePolicy(ttl=ttl)
