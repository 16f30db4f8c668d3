"""Every kind of value comes back exactly, or is refused with the way to it."""

import collections
import dataclasses
import enum
import functools
import ipaddress
import math
import pathlib
import re
import threading
import types
import typing
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pydantic
import pytest

from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.codec_errors import CorruptData, NotStorable, StoredError
from graphflow.checkpoint.registry import Registry

CLASSES = Registry()


def stored(kind):
    CLASSES.register(kind)
    return kind


@stored
@dataclasses.dataclass
class Open:
    a: int
    b: typing.Any = None


@stored
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    a: int
    b: typing.Any = ()


@stored
@dataclasses.dataclass
class Derived(Open):
    total: int = dataclasses.field(init=False, default=0)

    def __post_init__(self):
        self.total += 1


@stored
@dataclasses.dataclass(slots=True)
class OneField:
    only: str


@stored
@dataclasses.dataclass
class NoField:
    pass


@stored
class Colour(enum.Enum):
    RED = "r"
    CRIMSON = "r"  # noqa: PIE796 - an alias is what is tested
    DATA = ("not", "hashable", [])


@stored
class Level(enum.IntEnum):
    LOW = 1


@stored
class Mood(enum.StrEnum):
    GOOD = "good"


@stored
class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@stored
class Mode(enum.IntFlag):
    A = 1
    B = 2


@stored
class Point(typing.NamedTuple):
    x: int
    y: int = 0


Pair = stored(collections.namedtuple("Pair", "left right"))


@stored
class Address(pydantic.BaseModel):
    city: str
    zip: str | None = None


@stored
class User(pydantic.BaseModel):
    name: str
    address: Address | None = None
    tags: list[str] = pydantic.Field(default_factory=list)
    _visits: int = 0


@stored
class Loose(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", frozen=True)
    a: int = 1


@stored
class Root(pydantic.RootModel[list[int]]):
    pass


@stored
@pydantic.dataclasses.dataclass
class Checked:
    n: int


@stored
class MyDict(dict):
    pass


@stored
class MyList(list):
    pass


@stored
class MyStr(str):
    __slots__ = ()


@stored
class MyInt(int):
    pass


@stored
class MyTuple(tuple):
    __slots__ = ()


class Temperature:
    def __init__(self, celsius):
        self.celsius = celsius


CLASSES.register(Temperature, dump=lambda value: value.celsius, load=Temperature)


def visited(user, times):
    user._visits = times
    return user


ROME = ZoneInfo("Europe/Rome")

EXACT = [
    *(None, True, False),
    *(0, 1, -1, 127, 128, -32, -33, 255, 256, 2**31, -(2**31) - 1, 2**63, 2**64 - 1, -(2**63)),
    *(2**64, -(2**63) - 1, 10**100, -(10**100)),
    *(0.0, -0.0, 1.5, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan),
    *("", "a", "é", "日本", "🙂", "x" * 31, "x" * 32, "x" * 256, "x" * 70_000, "\0", "Ąę"),
    *("\ud800", "a\udfffb", {"\ud800": 1}, ["ok", "\udc80"]),
    *(b"", b"\xc4\xc5\xc6", b"x" * 300, bytearray(), bytearray(b"ab"), [bytearray(b"a"), b"a"]),
    *({"a": bytearray(b"b")}, {"a": [{"b": bytearray(b"c")}]}, (bytearray(b"d"),)),
    *([], [1, [2, [3]]], [None] * 20, (), (1,), (1, (2, [3, (4,)])), [(), [], {}]),
    *({}, {"a": 1}, {"b": 1, "a": 2}, {str(n): n for n in range(40)}, {"": None}),
    *({1: "a", True + 1: "b"}, {None: 1, 1.5: 2, b"k": 3, (1, 2): 4}, {frozenset({1}): {2: 3}}),
    *({"a": 1, 2: "b"}, {Decimal(1): 2}, {MyStr("s"): 1, "t": 2}, {Colour.RED: 1, Level.LOW: 2}),
    *({math.inf: 1}, {False: 0}, {uuid.UUID(int=1): 1}, {date(2020, 1, 1): 1}),
    *(set(), {1, "a", None, (2,)}, frozenset(), frozenset({frozenset(), 1}), {1.0, 2}),
    *(
        1j,
        complex(-0.0, math.inf),
        Decimal("1.10"),
        Decimal("-0"),
        Decimal("NaN"),
        Decimal("sNaN1"),
    ),
    *(Decimal("-Infinity"), Decimal("1E+400"), Fraction(1, 3), Fraction(-(10**30), 7)),
    *(uuid.UUID(int=0), uuid.uuid4(), uuid.uuid1()),
    *(
        datetime(2026, 1, 2),
        datetime(1, 1, 1, 1, 1, 1, 1),
        datetime.max,
        datetime(2026, 1, 2, fold=1),
    ),
    *(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 7, 1, 3, 4, tzinfo=ROME)),
    *(
        datetime(2026, 10, 25, 2, 30, tzinfo=ROME, fold=1),
        datetime(2026, 10, 25, 2, 30, tzinfo=ROME),
    ),
    *(datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),),
    *(datetime(2026, 1, 2, tzinfo=timezone(timedelta(seconds=1, microseconds=2))),),
    *(datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1), "CET")),),
    *(date.min, date(2026, 2, 28), time(), time(1, 2, 3, 4), time(1, fold=1), time(1, tzinfo=ROME)),
    *(time(1, tzinfo=UTC), timedelta(), timedelta.max, timedelta.min, timedelta(microseconds=-1)),
    *(ROME, ZoneInfo("UTC"), UTC, timezone(timedelta(hours=2)), timezone(timedelta(0), "Z")),
    *(range(0), range(5), range(10, -10, -3), range(2**70), slice(None), slice(1, "b", (2,))),
    *(collections.deque(), collections.deque([1, (2,)], 3), collections.deque(maxlen=0)),
    *(collections.OrderedDict(b=1, a=2), collections.OrderedDict({1: 2})),
    *(collections.defaultdict(list, a=[1]), collections.defaultdict(None, {1: 2})),
    *(collections.defaultdict(int), collections.Counter("abca"), collections.Counter({1: -2})),
    *(pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("c:\\x"), pathlib.Path("/tmp/x")),
    *(pathlib.Path(""), ipaddress.ip_address("1.2.3.4"), ipaddress.ip_address("fe80::1%eth0")),
    *(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_interface("::1/64")),
    *(ipaddress.ip_interface("10.1.2.3/8"), ipaddress.ip_network("2001:db8::/32")),
    *(re.compile("a+", re.I | re.M), re.compile(b"a"), re.compile("(?x) a"), re.compile("a", re.A)),
    *(Open(1), Open(1, Open(2, [Open(3)])), Closed(a=1), Closed(a=1, b=Closed(a=2)), Derived(5)),
    *(OneField("x"), NoField(), Checked(3), Open(Closed(a=(1,)), {Point(1): 2})),
    *(Colour.RED, Colour.CRIMSON, Colour.DATA, Level.LOW, Mood.GOOD, [Level.LOW, 1, Mood.GOOD]),
    *(Rights.READ, Rights.READ | Rights.WRITE, Rights(0), Mode.A | Mode.B, Mode(8)),
    *(Point(1), Point(1, 2), Pair(1, [2]), {"p": Point(0, 0)}),
    *(
        Address(city="Rome"),
        Address(city="Rome", zip=None),
        User(name="a", address=Address(city="b")),
    ),
    *(visited(User(name="a", tags=["x"]), 3), Loose(), Loose(a=2, x={1: 2}, y=(3,)), Root([1, 2])),
    *(Address.model_construct(city=5), User.model_construct(_fields_set=set(), name="x")),
    *(
        MyDict(a=1),
        MyDict({1: MyList([1])}),
        MyStr("é"),
        MyStr("\ud800"),
        MyInt(2**80),
        MyTuple((1,)),
    ),
    *(StoredError("a.B", "m", "t"), [StoredError("a.B", "m", "")]),
]


class Unregistered:
    pass


@dataclasses.dataclass
class Forgotten:
    a: int = 0


class ForgottenDict(dict):
    pass


class ForgottenStr(str):
    __slots__ = ()


class ForgottenColour(enum.Enum):
    RED = 1


class SubOfRegistered(Open):
    pass


class FakeZone(type(UTC).__base__):
    def utcoffset(self, moment):
        return timedelta(0)

    def tzname(self, moment):
        return "fake"


def generate():
    yield 1


async def coroutine():
    return 1


def with_attribute(value, **attributes):
    vars(value).update(attributes)
    return value


REFUSED = [
    *(
        object(),
        Unregistered(),
        Forgotten(),
        ForgottenDict(a=1),
        ForgottenStr("a"),
        SubOfRegistered(1),
    ),
    *(
        ForgottenColour.RED,
        Unregistered,
        int,
        lambda: 1,
        len,
        generate(),
        iter([]),
        functools.partial,
    ),
    *(
        threading.Lock(),
        types,
        memoryview(b"a"),
        Ellipsis,
        NotImplemented,
        types.SimpleNamespace(a=1),
    ),
    *(
        pydantic.SecretStr("x"),
        pydantic.SecretBytes(b"x"),
        collections.UserDict(),
        zip(),
        {}.keys(),
    ),
    *(collections.defaultdict(lambda: 1), collections.defaultdict(Unregistered)),
    *(datetime(2026, 1, 1, tzinfo=FakeZone()), types.MappingProxyType({}), collections.ChainMap()),
    *(with_attribute(Open(1), extra=1), with_attribute(MyDict(), extra=1)),
    *(with_attribute(collections.OrderedDict(), x=1), with_attribute(collections.Counter(), x=1)),
    *({ForgottenStr("k"): 1}, {(1, object()): 2}, {1, object()}, [ForgottenStr("x")]),
]


def facts(value):
    """Describe a value to the last detail that Python shows, types included."""
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes, bytearray):
        return kind, value
    if isinstance(value, enum.Enum):
        return kind, value.name, value._value_ if isinstance(value, enum.Flag) else None
    if isinstance(value, dict):
        pairs = [(facts(key), facts(item)) for key, item in value.items()]
        return kind, getattr(value, "default_factory", None), pairs
    if isinstance(value, list | tuple | collections.deque):
        return kind, getattr(value, "maxlen", None), [facts(item) for item in value]
    if isinstance(value, set | frozenset):
        return kind, sorted(repr(facts(item)) for item in value)
    if isinstance(value, datetime | time):
        return kind, value.isoformat(), value.fold, facts(value.tzinfo)
    if isinstance(value, timezone):
        return kind, repr(value)
    if isinstance(value, ZoneInfo):
        return kind, id(value)
    if isinstance(value, uuid.UUID):
        return kind, value.int, value.is_safe
    if isinstance(value, pydantic.BaseModel):
        held = (value.__dict__, value.__pydantic_extra__, value.__pydantic_private__)
        return kind, value.__pydantic_fields_set__, [facts(part) for part in held]
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return kind, [(field.name, facts(getattr(value, field.name))) for field in fields]
    if isinstance(value, Temperature):
        return kind, value.celsius
    return kind, repr(value)


@pytest.fixture(params=["native", "pure"])
def codec(request):
    return Codec(CLASSES, pure=request.param == "pure")


@pytest.mark.parametrize("value", EXACT, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_exactly_in_any_place(codec, value):
    for place in (value, [value], {"k": value}, (value, value), {1: value}, Open(1, value)):
        assert facts(codec.decode(codec.encode(place))) == facts(place)


@pytest.mark.parametrize("value", EXACT, ids=lambda value: type(value).__name__)
def test_both_writers_write_the_same_bytes(value):
    native, pure = Codec(CLASSES), Codec(CLASSES, pure=True)
    assert native.encode([value]) == pure.encode([value])
    assert facts(pure.decode(native.encode(value))) == facts(value)


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_what_has_no_exact_form_is_refused_in_any_place(codec, value):
    for place in (value, [1, value], {"k": value}, (value,), Open(1, value), {1: value}):
        with pytest.raises(NotStorable):
            codec.encode(place)


def test_a_hundred_kinds_of_values_are_covered():
    assert len(EXACT) > 150
    assert len(REFUSED) > 30


def test_a_coroutine_is_refused(codec):
    running = coroutine()
    with pytest.raises(NotStorable):
        codec.encode(running)
    running.close()


def test_a_refusal_names_the_way_the_type_and_the_fix(codec):
    user = Open(1, {"sessions": [Open(0), Open(0, (Forgotten(),))]})
    with pytest.raises(NotStorable) as refusal:
        codec.encode({"user": user})
    assert refusal.value.path == "['user'].b['sessions'][1].b[0]"
    assert refusal.value.kind is Forgotten
    assert "Forgotten at ['user'].b" in str(refusal.value)
    assert "@storable above Forgotten" in str(refusal.value)


def test_a_refusal_looks_into_models_keys_sets_and_private_attributes(codec):
    def path(value):
        with pytest.raises(NotStorable) as refusal:
            codec.encode(value)
        return refusal.value.path

    culprit = Unregistered()
    assert path(Loose(x=[culprit])) == ".x[0]"
    assert path([visited(User(name="a"), culprit)]) == "[0]._visits"
    assert path({culprit: 1}).startswith("(key <")
    assert path({"s": {1, culprit}}) == "['s']{...}"
    assert path(collections.deque([1, culprit])) == "[1]"
    assert path(collections.defaultdict(list, a=[culprit])) == "['a'][0]"
    assert path([datetime(2026, 1, 1, tzinfo=FakeZone())]) == "[0].tzinfo"
    assert path(MyList([0, culprit])) == "[1]"
    assert path(culprit) == ""


def test_a_secret_is_refused_with_the_reason(codec):
    with pytest.raises(NotStorable, match="in clear"):
        codec.encode({"key": pydantic.SecretStr("hunter2")})


def test_a_field_without_value_is_refused(codec):
    empty = object.__new__(OneField)
    with pytest.raises(NotStorable, match="only"):
        codec.encode([empty])


def test_an_exception_is_kept_as_a_record(codec):
    try:
        raise ValueError("bad \ud800 input")
    except ValueError as error:
        kept = codec.decode(codec.encode({"error": error}))["error"]
    assert (kept.type_name, kept.message) == ("ValueError", "bad \ud800 input")
    assert "test_an_exception_is_kept" in kept.traceback
    assert facts(codec.decode(codec.encode(kept))) == facts(kept)


def test_an_exception_that_was_never_raised_has_no_traceback(codec):
    kept = codec.decode(codec.encode(KeyError("k")))
    assert kept == StoredError("KeyError", "'k'", "")


def test_equal_sets_have_equal_bytes(codec):
    forth, back = set(), set()
    for number in range(100):
        forth.add(f"{number}")
        back.add(f"{99 - number}")
    assert codec.encode(forth) == codec.encode(back)


def test_the_order_in_which_attributes_were_set_does_not_show(codec):
    one, two = Open(1, 2), object.__new__(Open)
    two.b, two.a = 2, 1
    assert codec.encode(one) == codec.encode(two)


def test_a_cached_property_is_not_part_of_the_object():
    @dataclasses.dataclass
    class Circle:
        radius: float

        @functools.cached_property
        def area(self):
            return self.radius**2 * math.pi

    classes = Registry()
    classes.register(Circle)
    codec, circle = Codec(classes), Circle(2.0)
    assert circle.area > 12
    assert vars(codec.decode(codec.encode(circle))) == {"radius": 2.0}


def test_init_post_init_and_validators_do_not_run_when_reading():
    class Strict(pydantic.BaseModel):
        n: int

        @pydantic.field_validator("n")
        @classmethod
        def check(cls, n):
            calls.append(n)
            return n

    @dataclasses.dataclass(frozen=True)
    class Loud:
        n: int

        def __post_init__(self):
            calls.append(self.n)

    calls: list[int] = []
    classes = Registry()
    classes.register(Strict)
    classes.register(Loud)
    codec = Codec(classes)
    data = codec.encode([Strict(n=1), Loud(2)])
    calls.clear()
    assert codec.decode(data) == [Strict.model_construct(n=1), object_of(Loud, n=2)]
    assert calls == []


def object_of(kind, **attributes):
    made = object.__new__(kind)
    vars(made).update(attributes)
    return made


def test_lists_and_dicts_of_what_was_read_can_be_changed(codec):
    value = codec.decode(codec.encode([[], {}, bytearray(), Open(1)]))
    value[0].append(1)
    value[1]["a"] = 1
    value[2].append(1)
    value[3].a = 2
    assert value == [[1], {"a": 1}, bytearray(b"\1"), Open(2)]


def loop_in_a_list():
    loop: list = []
    loop.append(loop)
    return loop


def loop_in_a_dict():
    loop: dict = {"a": 1}
    loop["b"] = {"c": loop}
    return loop


def loop_through_objects():
    loop = Open(1, [])
    loop.b.append((loop, loop))
    return loop


def wide_loop():
    loop: list = []
    loop.extend((loop,) * 5)
    return loop


@pytest.mark.parametrize("make", [loop_in_a_list, loop_in_a_dict, loop_through_objects, wide_loop])
def test_a_value_that_contains_itself_is_refused(codec, make):
    with pytest.raises(NotStorable, match="contains itself"):
        codec.encode({"x": make()})


def nested(depth, wrap):
    value: object = 1
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS = [lambda v: [v], lambda v: {"k": v}, lambda v: {1: v}, lambda v: (v,), lambda v: Open(1, v)]


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("depth", [50, 95, 99, 100])
def test_a_hundred_levels_of_anything_can_be_stored(codec, wrap, depth):
    value = nested(depth, wrap)
    data = codec.encode(value)
    assert facts(codec.decode(data)) == facts(value)
    assert facts(Codec(CLASSES, pure=True).decode(data)) == facts(value)


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("depth", [256, 300, 5000])
def test_what_is_nested_too_deeply_is_refused(codec, wrap, depth):
    with pytest.raises(NotStorable, match="deep"):
        codec.encode(nested(depth, wrap))


def test_both_writers_draw_the_line_at_the_same_depth():
    def deepest(codec, wrap):
        for depth in range(90, 260):
            try:
                codec.encode(nested(depth, wrap))
            except NotStorable:
                return depth - 1
        return None

    lines = [[deepest(Codec(CLASSES, pure=pure), wrap) for wrap in WRAPS] for pure in (0, 1)]
    assert lines[0] == lines[1] == [255, 255, 100, 100, 100]


def test_an_object_that_is_reached_twice_comes_back_as_two(codec):
    shared = [1]
    first, second = codec.decode(codec.encode([shared, shared]))
    assert first == second == [1]
    assert first is not second


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91", b"\x01\x02", b"\xa5abc", b"\x81\x01\x02"])
def test_bytes_that_were_never_written_are_corrupt(codec, data):
    with pytest.raises(CorruptData):
        codec.decode(data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_read(codec, kind):
    assert codec.decode(kind(codec.encode({"a": (1,)}))) == {"a": (1,)}


def test_threads_share_a_codec():
    codec, values = Codec(CLASSES), [nested(12, lambda v: (v, [v])) for _ in range(4)]
    results: list = [None] * 4

    def work(place):
        results[place] = codec.decode(codec.encode(values[place]))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == values
