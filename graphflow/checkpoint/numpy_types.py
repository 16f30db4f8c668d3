"""NumPy arrays and scalars, if the process uses NumPy: it is never imported from here.

Stored are dtype, shape, whether the array lies in Fortran order, and the bytes. Object arrays are
refused (their items are pointers), and so is every dtype that its own short text does not tell,
like records with named fields.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from typing import Any

from graphflow.checkpoint.codec_errors import CorruptData, NotStorable, UnknownType
from graphflow.checkpoint.registry import Pack, Write

ARRAY, SCALAR = 30, 31
_DTYPE = re.compile(r"[<>|][biufcSUV][1-9]\d{0,8}|[<>][mM]8(\[\d{0,9}[A-Za-zμ]{1,2}\])?")


def numpy_writer(kind: type) -> tuple[int, Write] | None:
    """Return code and writer if this is NumPy's array type or one of its scalar types."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        return None
    if kind is numpy.ndarray:
        return ARRAY, write_array
    if issubclass(kind, numpy.generic) and kind.__module__ == "numpy":
        return SCALAR, write_scalar
    return None


def write_array(value: Any, pack: Pack) -> bytes:
    """Pack dtype, shape, order and bytes."""
    is_fortran = value.flags.f_contiguous and not value.flags.c_contiguous
    data = value.tobytes("F" if is_fortran else "C")
    return pack([_dtype_text(value.dtype), list(value.shape), is_fortran, data])


def write_scalar(value: Any, pack: Pack) -> bytes:
    """Pack dtype and bytes; refuse a text whose trailing NULs NumPy would strip."""
    row = [_dtype_text(value.dtype), value.tobytes()]
    if value.dtype.kind in "SU" and make_scalar(row) != value:
        raise NotStorable("it ends in NULs, which NumPy drops: store a str or bytes")
    return pack(row)


def _dtype_text(dtype: Any) -> str:
    text: str = dtype.str
    numpy: Any = sys.modules["numpy"]
    if not _DTYPE.fullmatch(text) or numpy.dtype(text) != dtype or dtype.metadata:
        raise NotStorable(f"its dtype {dtype} has no exact stored form: use a plain one, or a list")
    return text


def make_array(data: Any) -> Any:
    """Make a writable array with the layout it had."""
    text, shape, is_fortran, content = data
    numpy, dtype = _numpy_and_dtype(text)
    if (
        type(shape) is not list
        or math.prod(shape) * dtype.itemsize != len(content)
        or min(shape, default=0) < 0
    ):
        raise CorruptData("the bytes of an array do not fill its shape")
    array = numpy.frombuffer(bytearray(content), dtype)
    return array.reshape(shape, order="F" if is_fortran else "C")


def make_scalar(data: Any) -> Any:
    """Make a scalar of its bytes."""
    text, content = data
    numpy, dtype = _numpy_and_dtype(text)
    if dtype.itemsize != len(content):
        raise CorruptData("the bytes of a NumPy scalar do not fill its type")
    return numpy.frombuffer(content, dtype)[0]


def _numpy_and_dtype(text: Any) -> tuple[Any, Any]:
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        raise UnknownType("a NumPy value is stored here: import numpy before reading it")
    if not _DTYPE.fullmatch(text):
        raise CorruptData(f"{text!r} is not a dtype that is ever stored")
    return numpy, numpy.dtype(text)


NUMPY_MAKERS: dict[int, Callable[[Any], Any]] = {ARRAY: make_array, SCALAR: make_scalar}
