"""Bytes that somebody made up cost a CodecError, and nothing else happens.

Hundreds of thousands of changed ones: tests/property/test_mutations.py.
"""

import resource
import subprocess
import sys
import textwrap

import ormsgpack
import pytest

from graphflow.checkpoint.codec import Codec, is_safe
from graphflow.checkpoint.codec_errors import CorruptData, UnknownType
from graphflow.checkpoint.msgpack_pure import ext_header, packb

from .kinds import CLASSES

SEEDS = """
import collections, dataclasses, datetime, decimal, enum, fractions, ipaddress, pathlib, re, uuid
import typing, zoneinfo
import pydantic
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.registry import Registry

@dataclasses.dataclass
class Order:
    item: typing.Any
    amount: int = 1

class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: typing.Any = 1
    _private: int = 0

class Colour(enum.Enum):
    RED = 1

class Rights(enum.Flag):
    READ = 1

class MyDict(dict):
    pass

classes = Registry()
for kind in (Order, Model, Colour, Rights, MyDict):
    classes.register(kind)
rome = zoneinfo.ZoneInfo("Europe/Rome")
now = datetime.datetime(2026, 11, 20, 10, 30)
values = [
    [1, "text", b"bytes", None, True, 1.5, {"k": [1, 2]}], (1, (2,)), {1, 2}, frozenset("ab"),
    {1: 2, (1,): 3}, 2**80, "\\ud800", bytearray(b"ab"), 1j, decimal.Decimal("1.5"),
    fractions.Fraction(1, 3), uuid.UUID(int=5), uuid.uuid1(), now, now.replace(tzinfo=rome, fold=1),
    now.date(), now.time(), now.replace(tzinfo=datetime.UTC), datetime.timedelta(1, 2, 3),
    datetime.timezone(datetime.timedelta(hours=1), "CET"), rome, range(1, 9, 2), slice(1, 2, 3),
    collections.deque([1], 3), collections.OrderedDict(a=1), collections.defaultdict(list, a=[1]),
    collections.Counter("ab"), pathlib.PurePosixPath("a/b"), ipaddress.ip_address("::1"),
    ipaddress.ip_network("10.0.0.0/8"), re.compile("a+", re.I), ValueError("no"), Order((1, 2)),
    Model(a=Order(1), x=2), Colour.RED, Rights.READ, MyDict(a=Colour.RED),
]
codec = Codec(classes, pure=pure)
seeds = [codec.encode(value) for value in values] + [codec.encode(values[:35] + values[36:])]
"""

MUTATE = """
import random
def mutated(data, dice):
    data = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at, how = dice.randrange(len(data) or 1), dice.randrange(5)
        if how == 0: data[at:at + 1] = bytes((dice.randrange(256),))
        elif how == 1: del data[at:at + dice.randint(1, 8)]
        elif how == 2: data[at:at] = dice.randbytes(dice.randint(1, 4))
        elif how == 3 and data: data[at] ^= 1 << dice.randrange(8)
        else: data[at:at] = data[dice.randrange(len(data) or 1):][:dice.randint(1, 30)]
    return bytes(data)
"""


def test_hostile_bytes_cause_no_import_no_execution_and_open_no_file():
    script = f"""
import sys, warnings
warnings.simplefilter("ignore")
pure = False
{SEEDS}
{MUTATE}
for data in seeds:
    codec.decode(data)
codec2, seen = Codec(classes, pure=True), set()
hostile = [mutated(random.Random(n).choice(seeds), random.Random(n)) for n in range(6000)]
for name in (b"os", b"../../etc/passwd", b"/etc/passwd", b"Europe", b"zone.tab", b"No/Such"):
    hostile.append(bytes((0xC7, len(name), 17)) + name)
hostile.append(codec.encode(["os", "system", "id"]))
hostile += [bytes((0xC7, 17, code)) + bytes((0x93, 0xA2)) + b"os" + bytes((0xA6,)) + b"system"
            + bytes((0xA4,)) + b"true" for code in range(128)]
def watch(event, arguments):
    seen.add(event)
sys.addaudithook(watch)
for data in hostile:
    for reader in (codec, codec2):
        try:
            reader.decode(data)
        except Exception:
            pass
allowed = {{"object.__getattr__", "builtins.id", "sys._getframe", "object.__setattr__"}}
print(sorted(seen - allowed))
"""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "[]\n"


@pytest.fixture(params=["native", "pure"])
def codec(request):
    return Codec(pure=request.param == "pure")


def wrapped(levels, code, per_level):
    data = b"\xc0"
    for _ in range(levels):
        data = b"\x91" * per_level + data
        data = ext_header(code, len(data)) + data
    return data


BOMBS = {
    "lists": b"\x91" * 100_000 + b"\xc0",
    "maps": b"\x81\xa1a" * 100_000 + b"\xc0",
    "tuples": wrapped(5000, 1, 1),
    "tuples and lists": wrapped(60, 1, 1000),
    "lists as deep as native code goes": wrapped(8, 1, 1000),
    "registered": wrapped(2000, 64, 1),
    "long list": b"\xdd\xff\xff\xff\xff",
    "long map": b"\xdf\xff\xff\xff\xff",
    "long text": b"\xdb\xff\xff\xff\xffabc",
    "long bytes": b"\xc6\xff\xff\xff\xffabc",
    "long extension": b"\xc9\xff\xff\xff\xff\x01abc",
    "long lists in long lists": b"\xdd\x00\x0f\xff\xff" * 1000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_costs_memory(codec, name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorruptData):
        codec.decode(BOMBS[name])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def extension(code, content):
    payload = content if isinstance(content, bytes) else packb(content)
    return ext_header(code, len(payload)) + payload


NO_REPR = extension(5, b"\x7f" * 3000)
"""An int that Python does not print."""

MADE_UP = [
    *(extension(1, "abc"), extension(2, [[1]]), extension(4, [1]), extension(4, [[], 1])),
    *(extension(6, b"\xff"), extension(8, b"123"), extension(9, b"one"), extension(10, [1, 0])),
    *(extension(10, [1.5, 2]), extension(11, b"short"), extension(11, b"x" * 18)),
    *(extension(12, "yesterday"), extension(12, ["2026-01-01", 2, None]), extension(12, 5)),
    *(extension(12, ["2026-01-01", 0, "UTC"]), extension(13, b"x"), extension(15, ["a", 1, 2])),
    *(extension(15, [10**15, 0, 0]), extension(17, b"Mars/Base"), extension(17, b"../localtime")),
    *(
        extension(17, b"posix/../../../../etc/passwd"),
        extension(20, [1, 2, 0]),
        extension(20, ["a"]),
    ),
    *(extension(22, [-1, []]), extension(22, [None, "ab"]), extension(24, ["eval", []])),
    *(extension(24, ["list", 5]), extension(26, ["eval", "1"]), extension(26, ["PosixPath", 5])),
    *(extension(26, ["IPv4Address", "1.2.3"]), extension(27, ["(", 0]), extension(27, ["a", 128])),
    *(extension(24, b"\x92" + NO_REPR + b"\x90"), extension(26, b"\x92" + NO_REPR + b"\xa1a")),
    *(extension(28, ["a"]), extension(64, []), extension(64, ["x"]), extension(64, [[], 1, {}])),
]


@pytest.mark.parametrize("data", MADE_UP, ids=lambda data: repr(data)[:60])
def test_made_up_payloads_are_corrupt(codec, data):
    with pytest.raises(CorruptData):
        codec.decode(data)


ENDLESS = range(2**62)
BUILT = ("MyList", "MyTuple", "MySet", "MyFrozenSet", "MyBytes", "MyDict", "MyStr", "MyInt")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        *((kind, ENDLESS) for kind in (*BUILT, "MyFloat", "User", "Root", "Point", "Open")),
        *(("MyBytes", 10**12), ("MyStr", 10**12), ("User", [{"name": "a"}, ENDLESS])),
    ],
)
def test_a_registered_class_is_not_filled_with_what_has_no_end(kind, content):
    codec = Codec(CLASSES)
    (tag,) = [tag for tag, _, known in CLASSES if known.__name__ == kind]
    with pytest.raises(CorruptData):
        codec.decode(extension(64, codec.encode([tag, 1, content])))


@pytest.mark.parametrize("code", [16, 30])
def test_a_payload_without_end_is_corrupt(codec, code):
    endless = Codec().encode(range(2**62))
    array = packb("<i4")
    payload = endless if code == 16 else b"\x94" + array + endless + b"\xc2\xc4\x00"
    with pytest.raises(CorruptData):
        codec.decode(extension(code, payload))


@pytest.mark.parametrize("code", [0, 18, 29, 40, 63, 99, 127])
def test_an_unknown_extension_is_named(codec, code):
    with pytest.raises(UnknownType, match=f"extension {code} "):
        codec.decode(extension(code, [1]))


def test_a_reader_that_hostile_bytes_can_crash_is_not_used():
    assert is_safe(ormsgpack.__version__)
    assert [is_safe(v) for v in ("1.9.1", "1.13.0", "1.13", "1.13.1", "1.14.0", "2.0.0rc1")] == [
        *(False, False, False, True, True, True)
    ]
