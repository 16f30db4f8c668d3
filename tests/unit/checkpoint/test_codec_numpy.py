"""NumPy arrays and scalars come back as they were, or are refused."""

import subprocess
import sys

import numpy
import pytest

from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.codec_errors import CorruptData, NotStorable

PLAIN = ["?", "i1", "<i8", ">i4", "u2", "f2", "f4", "f8", ">f8", "c8", "c16", "S3", "U5", "g"]
MOMENTS = ["M8[ns]", "M8[D]", "m8[s]", "M8[25s]", "m8[us]"]


def sample(dtype, shape):
    size = numpy.dtype(dtype).itemsize * int(numpy.prod(shape))
    return numpy.frombuffer(bytes(n % 2 for n in range(size)), dtype).reshape(shape)


@pytest.fixture(params=["native", "pure"])
def codec(request):
    return Codec(pure=request.param == "pure")


@pytest.mark.parametrize("dtype", PLAIN + MOMENTS)
@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 0, 2), ()])
def test_an_array_comes_back_exactly(codec, dtype, shape):
    array = sample(dtype, shape) if 0 not in shape else numpy.zeros(shape, dtype)
    back = codec.decode(codec.encode({"a": array}))["a"]
    assert type(back) is numpy.ndarray
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize("dtype", PLAIN[:11] + MOMENTS + ["U5"])
def test_a_scalar_comes_back_exactly(codec, dtype):
    scalar = numpy.ones(1, "i4").astype(dtype)[0]
    back = codec.decode(codec.encode([scalar, {scalar: 1}]))
    assert type(back[0]) is type(scalar)
    assert back[0].dtype == scalar.dtype.newbyteorder("=")
    assert back == [scalar, {scalar: 1}]


def test_an_array_that_was_read_can_be_changed(codec):
    back = codec.decode(codec.encode(numpy.arange(3)))
    back[0] = 7
    assert back.tolist() == [7, 1, 2]


def test_fortran_order_and_strided_views_keep_their_values(codec):
    fortran = numpy.asfortranarray(numpy.arange(6).reshape(2, 3))
    back = codec.decode(codec.encode(fortran))
    assert back.flags.f_contiguous
    assert back.tolist() == fortran.tolist()
    assert codec.decode(codec.encode(fortran[:, ::-2])).tolist() == [[2, 0], [5, 3]]


class OwnArray(numpy.ndarray):
    pass


REFUSED = [
    numpy.array([object()]),
    numpy.zeros(1, [("a", "i4")]),
    numpy.zeros(2).view(OwnArray),
    numpy.ma.masked_array([1], [True]),
    numpy.str_("a\0"),
    numpy.bytes_(b"a\0"),
    numpy.zeros(2, "V3,i4"),
    numpy.float64,
    numpy.dtype("i4"),
]


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_what_has_no_exact_form_is_refused(codec, value):
    with pytest.raises(NotStorable):
        codec.encode([value])


ROWS = [
    ["O", [1], False, b"\0" * 8],
    ["<f8", [2], False, b"\0" * 8],
    ["<f8", [-1], False, b"\0" * 8],
    ["<f8", [2**70, 0], False, b""],
    ["<f8,<f8", [1], False, b"\0" * 16],
    ["<f9", [1], False, b"\0" * 9],
    ["|S0", [2**40], False, b""],
    [5, [1], False, b"\0"],
    ["<f8", [1], False, 8],
]


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_hostile_arrays_are_corrupt(codec, row):
    payload = codec.encode(row)
    with pytest.raises(CorruptData):
        codec.decode(bytes((0xC7, len(payload), 30)) + payload)


def test_numpy_is_never_imported_for_a_stored_array(codec):
    data = codec.encode(numpy.arange(2))
    script = (
        "import sys\nfrom graphflow.checkpoint.codec import codec\n"
        f"try: codec.decode({data!r})\nexcept Exception as error: print(error)\n"
        "print('numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "import numpy before reading" in done.stdout
    assert done.stdout.endswith("False\n")
