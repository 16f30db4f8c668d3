"""Whatever can be written comes back the same, from either writer, by either reader."""

import collections
import dataclasses
import enum
import math
import typing
from datetime import timedelta, timezone

import ormsgpack
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphflow.checkpoint import msgpack_pure
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.codec_errors import CodecError
from graphflow.checkpoint.registry import Registry


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: typing.Any
    b: typing.Any = None


@dataclasses.dataclass(slots=True)
class Compact:
    a: typing.Any = None
    b: typing.Any = ""
    c: typing.Any = dataclasses.field(default_factory=list)


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: typing.Any
    b: typing.Any = 0


class Row(typing.NamedTuple):
    a: typing.Any
    b: typing.Any = 0


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


CLASSES = Registry()
for kind in (Frozen, Model, Row, Colour):
    CLASSES.register(kind)
CLASSES.register(Compact, code=70, omit_defaults=True)
NATIVE, PURE = Codec(CLASSES), Codec(CLASSES, pure=True)

any_text = st.text(st.characters(exclude_categories=()), max_size=12)
offsets = st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
zones = st.none() | offsets | st.timezones()
hashable_atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False)
    | any_text
    | st.binary(max_size=12)
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.uuids()
    | st.datetimes(timezones=zones)
    | st.times(timezones=zones)
    | st.dates()
    | st.timedeltas()
    | st.ip_addresses()
    | st.sampled_from(Colour)
)
atoms = hashable_atoms | st.floats() | st.builds(bytearray, st.binary(max_size=9))
keys = st.recursive(
    hashable_atoms,
    lambda inner: (
        st.tuples(inner, inner) | st.frozensets(inner, max_size=3) | st.builds(Row, inner, inner)
    ),
    max_leaves=4,
)


def containers(inner):
    few = st.lists(inner, max_size=4)
    return (
        few
        | st.builds(tuple, few)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.sets(keys, max_size=4)
        | st.builds(collections.deque, few, st.none() | st.integers(4, 9))
        | st.builds(collections.OrderedDict, st.dictionaries(keys, inner, max_size=3))
        | st.builds(Frozen, inner, inner)
        | st.builds(Compact, inner, inner, inner)
        | st.builds(Compact, inner, st.none(), inner)
        | st.builds(Row, inner, inner)
        | st.builds(lambda a, x: Model(a=a, x=x), inner, inner)
        | st.builds(lambda a: Model(a=a), inner)
    )


values = st.recursive(atoms, containers, max_leaves=20)


def same(one, two):
    """Compare two values to the last detail, NaN included."""
    if type(one) is not type(two):
        return False
    if isinstance(one, float):
        return repr(one) == repr(two) and (math.isnan(one) or one == two)
    if isinstance(one, dict):
        return same(list(one.items()), list(two.items()))
    if isinstance(one, list | tuple | collections.deque):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, pydantic.BaseModel):
        return one.model_fields_set == two.model_fields_set and same(
            [one.__dict__, one.model_extra], [two.__dict__, two.model_extra]
        )
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return all(same(getattr(one, name), getattr(two, name)) for name in names)
    if isinstance(one, set | frozenset):
        return one == two and collections.Counter(map(type, one)) == collections.Counter(
            map(type, two)
        )
    return one == two and repr(one) == repr(two)


@settings(max_examples=600, deadline=None)
@given(values)
def test_any_value_comes_back_exactly_and_both_writers_agree(value):
    data = NATIVE.encode(value)
    assert PURE.encode(value) == data
    for codec in (NATIVE, PURE):
        back = codec.decode(data)
        assert same(back, value)
        assert codec.encode(back) == data


@settings(deadline=None)
@given(st.lists(keys, unique=True, max_size=8), st.randoms())
def test_the_bytes_of_a_set_do_not_depend_on_how_it_grew(items, dice):
    forth, back = set(items), set()
    dice.shuffle(items)
    for item in items:
        back.add(item)
    assert NATIVE.encode(forth) == NATIVE.encode(back)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_a_value_or_a_codec_error_for_both_readers_alike(data):
    outcomes = []
    for codec in (NATIVE, PURE):
        try:
            outcomes.append(codec.encode(codec.decode(data)))
        except CodecError as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=300),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=40), inner),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(plain)
def test_plain_msgpack_has_the_bytes_of_ormsgpack(value):
    data = ormsgpack.packb(value)
    assert msgpack_pure.packb(value) == data
    assert same(msgpack_pure.unpackb(data), value)


@settings(deadline=None)
@given(plain, st.integers(1, 40))
def test_a_value_that_was_cut_short_is_never_read(value, missing):
    data = NATIVE.encode([value])
    for codec in (NATIVE, PURE):
        with pytest.raises(CodecError):
            codec.decode(data[: max(len(data) - missing, 0)])
