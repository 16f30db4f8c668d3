"""Every kind of value that a state may hold or may not, and how two values are compared.

`EXACT` comes back as it was; `REFUSED` is refused, with the way to it.
"""

import array
import ast
import asyncio
import collections
import contextvars
import dataclasses
import decimal
import enum
import functools
import io
import ipaddress
import itertools
import logging
import math
import operator
import pathlib
import queue
import random
import re
import string
import struct
import sys
import threading
import time as clock
import types
import typing
import uuid
import weakref
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import numpy
import pydantic

from graphflow.checkpoint.codec_errors import StoredError
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


@stored
class MyBytes(bytes):
    pass


@stored
class MyFloat(float):
    pass


@stored
class MySet(set):
    pass


@stored
class MyFrozenSet(frozenset):
    pass


@stored
class MyCounter(collections.Counter):
    pass


@stored
class Weight(float, enum.Enum):
    LIGHT = 1.5


@stored
class Loop(enum.Enum):
    NAN = math.nan


@stored
class Kept(enum.Flag, boundary=enum.KEEP):
    ONE = 1


@stored
@dataclasses.dataclass
class Quiet:
    a: int
    b: int = dataclasses.field(default=0, init=False, repr=False, compare=False)
    c: typing.ClassVar[int] = 3


@stored
@dataclasses.dataclass
class Box(typing.Generic[typing.TypeVar("T")]):
    content: typing.Any


class Temperature:
    def __init__(self, celsius):
        self.celsius = celsius


CLASSES.register(Temperature, dump=lambda value: value.celsius, load=Temperature)


def visited(user, times):
    user._visits = times
    return user


def nan(bits):
    """Return the not-a-number of these 64 bits."""
    return struct.unpack(">d", bits.to_bytes(8, "big"))[0]


def at_offset(**parts):
    """Return a moment and a time of day at an offset from UTC."""
    zone = timezone(timedelta(**parts))
    return datetime(2026, 1, 2, 3, 4, 5, 6, zone), time(1, 2, tzinfo=zone)


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
    *(uuid.UUID(int=0), uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")),
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
    *(nan(0x7FF8000000000123), nan(0xFFF8000000000000), nan(0x7FF0000000000001)),
    *(complex(nan(0x7FF8000000000123), -0.0), {math.nan}, {math.nan: 1}, {-0.0}, {-0.0: 1}),
    *(1 << 100_000, -(1 << 64), -(1 << 127), (1 << 127) - 1),
    *("\ud83d\ude00", "a\ud800b\U0001f600", "\u2028", "\ufeff", "e\u0301", "\u202e", "x" * 65_536),
    *(MyBytes(b"a"), MyFloat(-0.0), MySet({1}), MyFrozenSet({(1,)}), MyCounter("aa")),
    *(Weight.LIGHT, Loop.NAN, Kept(9), Quiet(1), Box(Box((1,)))),
    *(frozenset({frozenset({frozenset()})}), {(1, (2, frozenset({3}))): 1}, ((), ((), ((),)))),
    *({1: 1, "1": 2}, {True: 1, "True": 2}, {b"a": 1, "a": 2}, {2**70: 1}, {"": {"": {}}}),
    *(collections.OrderedDict([(1, 2), ("a", 3)]), collections.defaultdict(set, {1: {2}})),
    *(collections.deque([1, 2, 3], 2), collections.deque([collections.deque()])),
    *(range(0, 10**30, 7), slice([1], None, {"a": 1}), list(range(70_000))),
    *(Decimal("NaN123"), Decimal("-sNaN99"), Decimal("-0E+5"), Decimal("1E-999999")),
    *(Decimal("1." + "1" * 60), Fraction(0), Fraction(10**40, 3), complex(math.inf, math.nan)),
    *(uuid.UUID(int=2**128 - 1), uuid.UUID(int=5, is_safe=uuid.SafeUUID.safe)),
    *(*at_offset(microseconds=1), *at_offset(microseconds=-1), *at_offset(milliseconds=500)),
    *(*at_offset(seconds=1), *at_offset(seconds=-1), *at_offset(hours=23, microseconds=1)),
    *(datetime(2026, 1, 2, tzinfo=timezone(timedelta(0), "UTC")), datetime.min, time.max),
    *(datetime(2026, 1, 2, tzinfo=ZoneInfo("UTC")), timezone.min, timezone.max),
    *(timezone(timedelta(hours=1), ""), timezone(timedelta(hours=1), "\ud800")),
    *(time(1, 2, fold=1, tzinfo=ROME), ZoneInfo("Etc/GMT+5"), timedelta.resolution),
    *(ZoneInfo("America/Argentina/Buenos_Aires"), ZoneInfo("America/North_Dakota/New_Salem")),
    *(pathlib.PurePosixPath("//a"), pathlib.PurePosixPath("a\udc80"), pathlib.PurePosixPath("\0")),
    *(pathlib.PureWindowsPath("C:a"), pathlib.PureWindowsPath("//srv/share/x"), pathlib.Path("..")),
    *(ipaddress.ip_network("::/0"), ipaddress.ip_interface("fe80::1%e/64")),
    *(ipaddress.IPv4Network("10.0.0.0/0.0.0.255"), ipaddress.ip_address("255.255.255.255")),
    *(re.compile(b"\xff", re.S), re.compile(b"a", re.L), re.compile("\ud800"), re.compile("(?i)a")),
    *(numpy.int8(-1), numpy.uint64(2**64 - 1), numpy.float16(1.5), numpy.complex64(1j)),
    *(
        numpy.bool_(True),
        numpy.str_("é"),
        numpy.bytes_(b"a"),
        numpy.float64(nan(0x7FF8000000000123)),
    ),
    *(numpy.datetime64("2026-01-02"), numpy.datetime64("NaT", "s"), numpy.timedelta64(1, "D")),
    *(numpy.array(1), numpy.zeros((0, 3)), numpy.arange(6).reshape(2, 3), numpy.array(["a", "bc"])),
    *(
        numpy.asfortranarray(numpy.ones((2, 3))),
        numpy.array([1], ">i4"),
        numpy.array([True, False]),
    ),
    *(numpy.array([nan(0x7FF8000000000123), -0.0]), {"a": [numpy.arange(3)]}),
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


class ForgottenBytes(bytes):
    pass


class ForgottenByteArray(bytearray):
    pass


class ForgottenInt(int):
    pass


class ForgottenFloat(float):
    pass


class ForgottenList(list):
    pass


class ForgottenSet(set):
    pass


class ForgottenDeque(collections.deque):
    pass


class ForgottenOrderedDict(collections.OrderedDict):
    pass


class ForgottenDate(date):
    pass


class ForgottenMoment(datetime):
    pass


class ForgottenDecimal(Decimal):
    pass


class ForgottenPath(pathlib.PurePosixPath):
    pass


class ForgottenPoint(typing.NamedTuple):
    x: int


class ForgottenModel(pydantic.BaseModel):
    x: int = 1


class BadManners:
    """Raises whatever is asked of it."""

    def __repr__(self):
        raise RuntimeError("no repr")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    def __hash__(self):
        return 1


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
    *(memoryview(bytearray(b"a")), array.array("i", [1]), io.BytesIO(b"a"), io.StringIO("a")),
    *(sys.__stderr__, io.TextIOWrapper(io.BytesIO()), logging.getLogger("x"), string.Template("a")),
    *(threading.RLock(), threading.Event(), threading.local(), threading.current_thread()),
    *(queue.Queue(), asyncio.Event(), contextvars.ContextVar("x"), contextvars.copy_context()),
    *(functools.partial(int), functools.lru_cache(len), operator.itemgetter(1), "".join),
    *(property(), staticmethod(len), classmethod(len), list[int], int | str, typing.Any),
    *(typing.TypeVar("Q"), weakref.ref(CLASSES), compile("1", "x", "eval"), ast.parse("1")),
    *(enumerate([]), itertools.cycle([1]), map(len, []), {}.items(), {}.values(), reversed([])),
    *(collections.UserList(), collections.UserString("a"), random.Random(1), struct.Struct("b")),
    *(clock.localtime(0), sys.version_info, decimal.Context(), re.match("a", "a"), ValueError),
    *(collections.defaultdict(collections.OrderedDict), collections.defaultdict({}.get)),
    *(re.finditer("a", "a"), types.FunctionType, sys._getframe()),
    *(ForgottenBytes(b"a"), ForgottenInt(1), ForgottenFloat(1.0), ForgottenList(), ForgottenSet()),
    *(ForgottenDeque(), ForgottenOrderedDict(), ForgottenDate(2026, 1, 2), ForgottenDecimal(1)),
    *(ForgottenMoment(2026, 1, 2), ForgottenPath("a"), ForgottenPoint(1), ForgottenByteArray()),
    *(
        ForgottenModel(),
        BadManners(),
        {BadManners(): 1},
        {BadManners(): object(), 10**5000: object()},
    ),
    *(numpy.array([object()]), numpy.array([(1,)], [("a", "i4")]), numpy.ma.array([1], mask=[1])),
    *(numpy.memmap, numpy.random.default_rng(1), numpy.dtype("i4"), numpy.str_("a\0")),
]


def facts(value):
    """Describe a value to the last detail that Python shows, types included."""
    kind = type(value)
    if value is None or kind in (bool, int, str, bytes, bytearray):
        return kind, value
    if isinstance(value, enum.Enum):
        return kind, value.name, value._value_ if isinstance(value, enum.Flag) else None
    if isinstance(value, numpy.ndarray | numpy.generic):
        layout = value.flags.c_contiguous, value.flags.f_contiguous
        return kind, value.dtype.str, value.shape, layout, value.tobytes()
    if isinstance(value, float | complex):
        return kind, struct.pack(">dd", value.real, value.imag)
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


def label(value):
    """Return a name for a value of the tables: its type, and how it looks."""
    try:
        shown = repr(value)
    except Exception:
        shown = "?"
    shown = re.sub(r" at 0x\w+|0x\w+|, line \d+", "", shown)
    return f"{type(value).__name__} {shown[:50]}".encode("ascii", "backslashreplace").decode()
