"""The pure MessagePack reader and writer against ormsgpack and against the specification."""

import struct

import ormsgpack
import pytest

from graphflow.checkpoint import msgpack_pure

OPTION = ormsgpack.OPT_PASSTHROUGH_BIG_INT | ormsgpack.OPT_PASSTHROUGH_TUPLE

SIZES = [0, 1, 2, 4, 8, 15, 16, 17, 31, 32, 33, 255, 256, 65_535, 65_536]
EDGES = [2**n + d for n in (4, 5, 7, 8, 15, 16, 31, 32, 63) for d in (-2, -1, 0, 1)] + [2**64 - 1]
VALUES = [
    *(None, True, False, 0.0, -0.0, 1.1, float("inf"), 5e-324),
    *EDGES,
    *(-edge for edge in EDGES if edge <= 2**63),
    *("a" * size for size in SIZES),
    *("é" * size for size in (15, 16, 127, 128)),
    *(b"\xc1" * size for size in SIZES),
    *([None] * size for size in SIZES),
    *({str(number): number for number in range(size)} for size in SIZES),
    *({"a": [{"b": [[], {}, "c"]}]}, [[[[1.5]]]]),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_the_same_bytes_and_back(value):
    data = ormsgpack.packb(value, option=OPTION)
    assert msgpack_pure.packb(value) == data
    back = msgpack_pure.unpackb(data)
    assert type(back) is type(value)
    assert repr(back) == repr(value)


@pytest.mark.parametrize("size", SIZES)
def test_extensions_have_the_same_bytes(size):
    payload = b"p" * size

    def hook(module):
        return lambda value: module.Ext(7, payload)

    data = ormsgpack.packb([object()], hook(ormsgpack))
    assert msgpack_pure.packb([object()], hook(msgpack_pure)) == data
    assert msgpack_pure.unpackb(data, ext_hook=lambda code, got: (code, got)) == [(7, payload)]


REFUSED = [2**64, -(2**63) - 1, "\ud800", {1: 2}, {"\ud800": 1}, {None: 1}, object(), (1,), [{1}]]


@pytest.mark.parametrize("value", REFUSED, ids=repr)
def test_both_writers_refuse_the_same(value):
    with pytest.raises(TypeError):
        msgpack_pure.packb(value)
    with pytest.raises(TypeError):
        ormsgpack.packb(value, option=OPTION)


def test_a_default_that_returns_no_extension_is_refused():
    with pytest.raises(TypeError, match="Ext"):
        msgpack_pure.packb(object(), lambda value: [1])


MALFORMED = [
    *(b"", b"\xc1", b"\xa2a", b"\xd9", b"\xd9\x05a", b"\xc4\x02a", b"\xa1\xff", b"\x92\x01"),
    *(
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff",
    ),
    *(b"\x81\x01\x02", b"\x81\xc0\x01", b"\x81\x90\x01", b"\x81\xd4\x05a\x01", b"\xc7\x05\x01ab"),
    *(b"\xcb\0\0\0", b"\xcf\0\0", b"\xd8\x01abc", b"\x91" * 2000 + b"\xc0", b"\xd4\x05a"),
]


@pytest.mark.parametrize("data", MALFORMED)
def test_both_readers_refuse_the_same(data):
    with pytest.raises(ValueError):
        ormsgpack.unpackb(data)
    with pytest.raises(ValueError):
        msgpack_pure.unpackb(data)


def test_numbers_that_are_longer_than_needed_are_read():
    assert msgpack_pure.unpackb(b"\xcd\x00\x01") == 1
    assert msgpack_pure.unpackb(b"\xd3" + struct.pack(">q", -1)) == -1
    assert msgpack_pure.unpackb(b"\xca" + struct.pack(">f", 1.5)) == 1.5
    assert msgpack_pure.unpackb(b"\xdc\x00\x01\xc0") == [None]


def test_a_nested_payload_cannot_run_over_its_end():
    with pytest.raises(ValueError, match="over the end"):
        msgpack_pure.unpackb(b"\xc7\x02\x01\xa3abcdef", nested={1: str}, max_levels=9)


def test_nested_payloads_are_made_inside_out():
    inner = msgpack_pure.packb([1, 2])
    outer = b"\x91" + msgpack_pure.ext_header(1, len(inner)) + inner
    data = msgpack_pure.ext_header(1, len(outer)) + outer
    assert msgpack_pure.unpackb(data, nested={1: tuple}, max_levels=2) == ((1, 2),)
    with pytest.raises(ValueError, match="deep"):
        msgpack_pure.unpackb(data, nested={1: tuple}, max_levels=1)
