"""Conditions on fields."""

from __future__ import annotations

from typing import Any

import pytest

from graphflow.memory.filters import check_filter, matches

VALUE = {
    "kind": "fact",
    "n": 5,
    "none": None,
    "tags": ["a", "b"],
    "user": {"name": {"first": "Ada"}, "age": 36},
    "dotted.key": 1,
}


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"kind": "fact", "n": 5},
        {"n": 5.0},
        {"n": {"$eq": 5}},
        {"n": {"$ne": 6}},
        {"n": {"$gt": 4, "$lt": 6}},
        {"n": {"$gte": 5, "$lte": 5}},
        {"n": {"$in": [1, 5]}},
        {"kind": {"$gt": "a"}},
        {"tags": ["a", "b"]},
        {"user.age": 36},
        {"user.name.first": {"$in": ("Ada",)}},
        {"user": {"name": {"first": "Ada"}, "age": {"$gt": 30}}},
        {"user": {"age": 36}},
        {"dotted.key": 1},
        {"none": None},
        {"absent": None},
        {"absent.deeper": {"$ne": 1}},
    ],
)
def test_what_holds(conditions: dict[str, Any]) -> None:
    check_filter(conditions)
    assert matches(VALUE, conditions)


@pytest.mark.parametrize(
    "conditions",
    [
        {"kind": "task"},
        {"kind": "fact", "n": 6},
        {"n": "5"},
        {"n": {"$eq": 6}},
        {"n": {"$ne": 5}},
        {"n": {"$gt": 5}},
        {"n": {"$lt": 5}},
        {"n": {"$gte": 6}},
        {"n": {"$lte": 4}},
        {"n": {"$gt": 4, "$lt": 5}},
        {"n": {"$in": []}},
        {"n": {"$gt": "a"}},
        {"none": {"$gt": 0}},
        {"absent": {"$lte": 0}},
        {"tags": ["b", "a"]},
        {"user.age": 37},
        {"user": {"age": 37}},
        {"kind.deeper": "fact"},
        {"kind": {"deeper": "fact"}},
    ],
)
def test_what_does_not_hold(conditions: dict[str, Any]) -> None:
    check_filter(conditions)
    assert not matches(VALUE, conditions)


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ({"n": {"$like": 1}}, r"'\$like', which is none of"),
        ({"n": {"$gt": 1, "beside": 2}}, "'beside', which is none of"),
        ({"$gt": 1}, "is no field"),
        ({"user": {"age": {"$near": 1}}}, r"'\$near'"),
        ({"n": {"$in": 5}}, "takes a list"),
        ({"n": {"$in": "abc"}}, "takes a list"),
    ],
)
def test_what_cannot_be_meant_is_refused(conditions: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check_filter(conditions)
