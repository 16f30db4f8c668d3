"""Vectors of meaning: packed at unit length, so that a product is the cosine of the angle.

Packed is 32-bit floats, little-endian: what an embedding is worth, at half the space. NumPy takes
the products if it is installed, plain Python if not.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from heapq import nlargest
from operator import itemgetter, mul
from typing import Any, TypeVar

T = TypeVar("T")
Product = Callable[[bytes, bytes], float]


def packed(vector: Iterable[float]) -> bytes:
    """Return a vector of length one in the same direction, packed; zero stays zero.

    Raises:
        ValueError: It has an infinite number, or one that is none.
    """
    numbers = [float(number) for number in vector]
    length = math.hypot(*numbers)
    if not math.isfinite(length):
        raise ValueError("an embedding has a number that is infinite or not a number")
    return _little(array("f", [number / length for number in numbers] if length else numbers))


def nearest(
    candidates: Iterable[tuple[T, Sequence[bytes]]], query: bytes, count: int
) -> list[tuple[float, T]]:
    """Return the `count` nearest with their cosines, best first, ties in the given order.

    A candidate with several vectors is as near as the nearest of them; without any it is left out.

    Raises:
        ValueError: A vector has not as many dimensions as the query.
    """
    product = fastest_product()
    scored = (
        (max(_cosine(product, vector, query) for vector in vectors), one)
        for one, vectors in candidates
        if vectors
    )
    return nlargest(count, scored, key=itemgetter(0))


def _cosine(product: Product, vector: bytes, query: bytes) -> float:
    if len(vector) != len(query):
        raise ValueError(
            f"Items here were indexed with {len(vector) // 4} dimensions, the query has "
            f"{len(query) // 4}: put them again after a change of the embedding."
        )
    return max(-1.0, min(1.0, product(vector, query)))


@cache
def fastest_product() -> Product:
    """Return NumPy's product of two packed vectors, or else Python's."""
    try:
        import numpy
    except ImportError:
        return plain_product

    def product(left: bytes, right: bytes) -> float:
        return float(numpy.dot(numpy.frombuffer(left, "<f4"), numpy.frombuffer(right, "<f4")))

    return product


def plain_product(left: bytes, right: bytes) -> float:
    """Return the product of two packed vectors of one length."""
    return math.fsum(map(mul, _numbers(left), _numbers(right)))


def _numbers(data: bytes) -> array[float]:
    numbers = array("f", data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _little(numbers: Any) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return bytes(numbers.tobytes())
