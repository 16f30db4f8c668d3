"""Nearness of vectors."""

from __future__ import annotations

import struct

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphflow.memory.vectors import fastest_product, nearest, packed, plain_product

NUMBERS = st.floats(-1e6, 1e6, width=32)


def test_a_packed_vector_has_length_one() -> None:
    assert struct.unpack("<2f", packed([3, 4])) == pytest.approx((0.6, 0.8))


def test_zero_stays_zero_and_is_near_to_nothing() -> None:
    assert nearest([("zero", [packed([0, 0])])], packed([1, 0]), 1) == [(0.0, "zero")]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="infinite or not a number"):
        packed([1.0, number])


def test_opposites_are_at_minus_one() -> None:
    assert nearest([(0, [packed([-2, 0])])], packed([1, 0]), 1) == [(-1.0, 0)]


def test_numpy_vectors_are_taken() -> None:
    assert packed(numpy.array([3, 4], "float32")) == packed([3, 4])


def test_only_as_many_come_as_are_wanted() -> None:
    candidates = [(n, [packed([n, 10])]) for n in range(10)]
    assert [n for _, n in nearest(candidates, packed([1, 0]), 3)] == [9, 8, 7]


def test_the_nearest_of_several_vectors_counts() -> None:
    candidates = [("one", [packed([1, 1])]), ("two", [packed([0, 1]), packed([1, 0])])]
    assert [name for _, name in nearest(candidates, packed([1, 0]), 2)] == ["two", "one"]


def test_vectors_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="3 dimensions, the query has 2"):
        nearest([("x", [packed([1, 0, 0])])], packed([1, 0]), 1)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=64))
def test_numpy_and_plain_python_agree(pairs: list[tuple[float, float]]) -> None:
    left, right = (packed(side) for side in zip(*pairs, strict=True))
    assert fastest_product() is not plain_product
    assert fastest_product()(left, right) == pytest.approx(plain_product(left, right), abs=1e-5)
