"""The built-in types beside msgpack's own, and their extension codes: part of the storage format.

Each type has a writer, `(value, pack) → payload`, and each code one way back: `MAKERS` get the
payload unpacked (it is msgpack again), `RAW` get its bytes. The table of codes with the layout of
every payload stands at the head of `codec.py`. Codes and layouts are for ever; new types get new
codes.

This module is loaded when a codec is first used, for it needs half of the standard library.
"""

from __future__ import annotations

import ipaddress
import re
import struct
import traceback
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any

from graphflow.checkpoint.codec_errors import CorruptData, NotStorable, StoredError, type_name
from graphflow.checkpoint.msgpack_pure import array_header
from graphflow.checkpoint.registry import Pack, Write
from graphflow.checkpoint.time_types import TIME_MAKERS, TIME_RAW, TIME_WRITERS


def items(data: Any) -> list[Any]:
    """Return the data if it is a list, which is what was written."""
    if type(data) is not list:
        raise CorruptData("a list was expected")
    return data


# ------------------------------------------------------------------------------------ containers


def write_items(value: Iterable[Any], pack: Pack) -> bytes:
    """Pack the items in their order."""
    return pack(list(value))


def write_set(value: Iterable[Any], pack: Pack) -> bytes:
    """Pack the items in the order of their bytes: equal sets, equal bytes."""
    parts = sorted(map(pack, value))
    return array_header(len(parts)) + b"".join(parts)


def write_map(value: dict[Any, Any], pack: Pack) -> bytes:
    """Pack keys and values in turn, for msgpack's own maps have str keys only."""
    _refuse_attributes(value)
    return pack([part for pair in value.items() for part in pair])


def make_map(data: Any) -> dict[Any, Any]:
    """Pair keys and values again."""
    flat = items(data)
    return dict(zip(flat[::2], flat[1::2], strict=True))


def make_counter(data: Any) -> Counter[Any]:
    """Fill a Counter without counting."""
    counter: Counter[Any] = Counter()
    dict.update(counter, make_map(data))
    return counter


FACTORIES: dict[str, type] = {
    kind.__name__: kind for kind in (list, int, dict, set, str, float, bool, tuple)
}
"""What a stored defaultdict may call for a missing key."""


def write_defaultdict(value: defaultdict[Any, Any], pack: Pack) -> bytes:
    """Pack the factory's name and the pairs."""
    factory: Any = value.default_factory
    name = None if factory is None else getattr(factory, "__name__", None)
    if factory is not None and FACTORIES.get(str(name)) is not factory:
        known = ", ".join(FACTORIES)
        raise NotStorable(f"its factory {factory!r} is none of {known}: use a plain dict")
    return pack([name, [part for pair in value.items() for part in pair]])


def make_defaultdict(data: Any) -> defaultdict[Any, Any]:
    """Take the factory from the closed list."""
    name, pairs = data
    return defaultdict(None if name is None else FACTORIES[name], make_map(pairs))


def write_deque(value: deque[Any], pack: Pack) -> bytes:
    """Pack the limit and the items."""
    return pack([value.maxlen, list(value)])


def make_deque(data: Any) -> deque[Any]:
    """Make a deque with the limit it had."""
    limit, content = data
    return deque(items(content), limit)


def _refuse_attributes(value: Any) -> None:
    if getattr(value, "__dict__", None):
        raise NotStorable(f"its attribute {next(iter(vars(value)))!r} would be lost")


# ------------------------------------------------------------------------------- numbers and text


def write_int(value: int, pack: Pack) -> bytes:
    """Write an int of any size, big-endian, two's complement."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def make_int(payload: bytes) -> int:
    """Read an int of any size."""
    return int.from_bytes(payload, "big", signed=True)


def write_str(value: str, pack: Pack) -> bytes:
    """Write a text with lone surrogates, which UTF-8 proper has no bytes for."""
    return value.encode("utf-8", "surrogatepass")


def make_str(payload: bytes) -> str:
    """Read a text with lone surrogates."""
    return payload.decode("utf-8", "surrogatepass")


_COMPLEX = struct.Struct(">dd")


def make_complex(payload: bytes) -> complex:
    """Read the real and the imaginary part."""
    return complex(*_COMPLEX.unpack(payload))


def make_fraction(data: Any) -> Fraction:
    """Make a Fraction of two ints."""
    numerator, denominator = data
    if type(numerator) is not int or type(denominator) is not int or denominator <= 0:
        raise CorruptData("a fraction of something else than two ints")
    return Fraction(numerator, denominator)


def write_uuid(value: uuid.UUID, pack: Pack) -> bytes:
    """Write the 16 bytes, and a 17th where the system said whether it made the UUID safely."""
    safety = value.is_safe.value
    return value.bytes if safety is None else value.bytes + safety.to_bytes(1, "big", signed=True)


_SAFETY = {safety.value: safety for safety in uuid.SafeUUID}


def make_uuid(payload: bytes) -> uuid.UUID:
    """Read a UUID and how safely it was made."""
    safety = int.from_bytes(payload[16:], "big", signed=True) if len(payload) > 16 else None
    if len(payload) not in (16, 17):
        raise CorruptData("a UUID of another length")
    return uuid.UUID(int=int.from_bytes(payload[:16], "big"), is_safe=_SAFETY[safety])


def _text(make: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda payload: make(payload.decode())


def _write_text(value: Any, pack: Pack) -> bytes:
    return str(value).encode()


def write_span(value: range | slice, pack: Pack) -> bytes:
    """Pack start, stop and step."""
    return pack([value.start, value.stop, value.step])


# ----------------------------------------------------------------------- paths, addresses, patterns

NAMED: dict[str, Callable[[str], Any]] = {
    kind.__name__: kind
    for kind in (
        *(PurePosixPath, PureWindowsPath, PosixPath, WindowsPath),
        *(ipaddress.IPv4Address, ipaddress.IPv4Interface, ipaddress.IPv4Network),
        *(ipaddress.IPv6Address, ipaddress.IPv6Interface, ipaddress.IPv6Network),
    )
}
"""Types that are fully told by their text."""


def write_named(value: Any, pack: Pack) -> bytes:
    """Pack the name of the type and the text."""
    return pack([type(value).__name__, str(value)])


def make_named(data: Any) -> Any:
    """Make the value from its text."""
    name, text = data
    if type(text) is not str:
        raise CorruptData(f"the text of a {name} is missing")
    return NAMED[name](text)


_FLAGS = int(re.A | re.I | re.L | re.M | re.S | re.U | re.X)


def write_pattern(value: re.Pattern[Any], pack: Pack) -> bytes:
    """Pack the pattern, str or bytes, and its flags."""
    if value.flags & ~_FLAGS:
        raise NotStorable("it was compiled with re.DEBUG")
    return pack([value.pattern, value.flags])


def make_pattern(data: Any) -> re.Pattern[Any]:
    """Compile the pattern again."""
    pattern, flags = data
    if type(pattern) not in (str, bytes) or flags & ~_FLAGS:
        raise CorruptData("not a pattern and its flags")
    compiled: re.Pattern[Any] = re.compile(pattern, flags)
    return compiled


# ------------------------------------------------------------------------------------- exceptions


def write_exception(value: BaseException, pack: Pack) -> bytes:
    """Pack what a person wants to know of an exception; it is read as a `StoredError`."""
    raised = "".join(traceback.format_exception(value)) if value.__traceback__ else ""
    return pack([type_name(type(value)), _message(value), raised])


def _message(value: BaseException) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"<str() of it raised {type(error).__name__}>"


def write_stored_error(value: StoredError, pack: Pack) -> bytes:
    """Pack the record as it is."""
    return pack([value.type_name, value.message, value.traceback])


# --------------------------------------------------------------------------------------- the table

TUPLE, SET, FROZENSET, MAP, INT, STR, BYTEARRAY, COMPLEX, DECIMAL, FRACTION, UUID = range(1, 12)
RANGE, SLICE, DEQUE, ORDERED_DICT, DEFAULT_DICT, COUNTER, NAMED_TEXT, PATTERN, ERROR = range(20, 29)

WRITERS: dict[type, tuple[int, Write]] = {
    tuple: (TUPLE, write_items),
    set: (SET, write_set),
    frozenset: (FROZENSET, write_set),
    dict: (MAP, write_map),
    int: (INT, write_int),
    str: (STR, write_str),
    bytearray: (BYTEARRAY, lambda value, pack: bytes(value)),
    complex: (COMPLEX, lambda value, pack: _COMPLEX.pack(value.real, value.imag)),
    Decimal: (DECIMAL, _write_text),
    Fraction: (FRACTION, lambda value, pack: pack([value.numerator, value.denominator])),
    uuid.UUID: (UUID, write_uuid),
    range: (RANGE, write_span),
    slice: (SLICE, write_span),
    deque: (DEQUE, write_deque),
    OrderedDict: (ORDERED_DICT, write_map),
    defaultdict: (DEFAULT_DICT, write_defaultdict),
    Counter: (COUNTER, write_map),
    **{kind: (NAMED_TEXT, write_named) for kind in NAMED.values() if isinstance(kind, type)},
    re.Pattern: (PATTERN, write_pattern),
    StoredError: (ERROR, write_stored_error),
    **TIME_WRITERS,
}

RAW: dict[int, Callable[[bytes], Any]] = {
    INT: make_int,
    STR: make_str,
    BYTEARRAY: bytearray,
    COMPLEX: make_complex,
    DECIMAL: _text(Decimal),
    UUID: make_uuid,
    **TIME_RAW,
}

MAKERS: dict[int, Callable[[Any], Any]] = {
    TUPLE: lambda data: tuple(items(data)),
    SET: lambda data: set(items(data)),
    FROZENSET: lambda data: frozenset(items(data)),
    MAP: make_map,
    FRACTION: make_fraction,
    RANGE: lambda data: range(*items(data)),
    SLICE: lambda data: slice(*items(data)),
    DEQUE: make_deque,
    ORDERED_DICT: lambda data: OrderedDict(make_map(data)),
    DEFAULT_DICT: make_defaultdict,
    COUNTER: make_counter,
    NAMED_TEXT: make_named,
    PATTERN: make_pattern,
    ERROR: lambda data: StoredError(*items(data)),
    **TIME_MAKERS,
}
