"""MessagePack in plain Python: the bytes ormsgpack writes, where ormsgpack is not installed.

`packb` takes exactly None, bool, int (64 bit), float, str, bytes, list and dict with str keys;
everything else, subclasses included, goes to `default`, which returns an `Ext`. `unpackb` keeps its
own stack, so hostile nesting costs memory in proportion to the input and never the C stack; the
codec therefore also uses it to read what lies deeper than it lets native code go, and to find out
*why* native code refused some bytes.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

MAX_DEPTH = 255
"""Containers inside containers in one payload; ormsgpack's own limit when it writes."""

_FLOAT64 = Struct(">Bd")
_UINT = [(0x100, 0xCC, 1), (0x10000, 0xCD, 2), (0x1_0000_0000, 0xCE, 4), (1 << 64, 0xCF, 8)]
_INT = [(-0x80, 0xD0, 1), (-0x8000, 0xD1, 2), (-0x8000_0000, 0xD2, 4), (-(1 << 63), 0xD3, 8)]
_FIXEXT = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}


class Ext:
    """An extension value: an application's type code (0-127) and its payload."""

    __slots__ = ("data", "tag")

    def __init__(self, tag: int, data: bytes) -> None:
        """Hold the two until they are written."""
        self.tag = tag
        self.data = data


# --------------------------------------------------------------------------------------- writing


def packb(
    value: Any, /, default: Callable[[Any], Any] | None = None, option: int | None = None
) -> bytes:
    """Return the bytes of a value.

    Raises:
        TypeError: a value is neither native nor turned into an `Ext` by `default`.
    """
    parts: list[bytes] = []
    _write(value, default, parts.append, 0)
    return b"".join(parts)


def _write(value: Any, default: Any, emit: Callable[[bytes], None], depth: int) -> None:
    write = _WRITERS.get(type(value))
    if write is not None:
        emit(write(value))
    elif type(value) is list:
        depth = _deeper(depth)
        emit(array_header(len(value)))
        for item in value:
            _write(item, default, emit, depth)
    elif type(value) is dict:
        depth = _deeper(depth)
        emit(map_header(len(value)))
        for key, item in value.items():
            emit(_key(key))
            _write(item, default, emit, depth)
    elif default is None:
        raise TypeError(f"no msgpack form: {type(value).__name__}")
    else:
        emit(_ext(default(value)))


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise TypeError("nested too deeply")
    return depth + 1


def _key(key: Any) -> bytes:
    if type(key) is not str:
        raise TypeError(f"a map key is a str, not {type(key).__name__}")
    return _str(key)


def _ext(value: Any) -> bytes:
    if type(value) is not Ext:
        raise TypeError("default returns an Ext")
    return ext_header(value.tag, len(value.data)) + value.data


def _int(value: int) -> bytes:
    if -32 <= value < 128:
        return (value & 0xFF).to_bytes(1, "big")
    for limit, marker, size in _UINT if value >= 0 else _INT:
        if value < limit if value >= 0 else value >= limit:
            return bytes((marker,)) + value.to_bytes(size, "big", signed=value < 0)
    raise TypeError("an int of more than 64 bits")


def _str(value: str) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise TypeError("a str with lone surrogates") from error
    if len(data) < 32:
        return bytes((0xA0 | len(data),)) + data
    return _sized(len(data), (0xD9, 0xDA, 0xDB)) + data


_WRITERS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"\xc0",
    bool: lambda value: b"\xc3" if value else b"\xc2",
    int: _int,
    float: lambda value: _FLOAT64.pack(0xCB, value),
    str: _str,
    bytes: lambda value: _sized(len(value), (0xC4, 0xC5, 0xC6)) + value,
}


def array_header(size: int) -> bytes:
    """Return what stands before the `size` items of a list."""
    return bytes((0x90 | size,)) if size < 16 else _sized(size, (None, 0xDC, 0xDD))


def map_header(size: int) -> bytes:
    """Return what stands before the `size` pairs of a dict."""
    return bytes((0x80 | size,)) if size < 16 else _sized(size, (None, 0xDE, 0xDF))


def ext_header(tag: int, size: int) -> bytes:
    """Return what stands before an extension's payload of `size` bytes."""
    if size in _FIXEXT:
        return bytes((_FIXEXT[size], tag))
    return _sized(size, (0xC7, 0xC8, 0xC9)) + bytes((tag,))


def _sized(size: int, markers: tuple[int | None, int, int]) -> bytes:
    """Return a marker and the size in one, two or four bytes; None where one is not offered."""
    for marker, width in zip(markers, (1, 2, 4), strict=True):
        if marker is not None and size < 1 << 8 * width:
            return bytes((marker,)) + size.to_bytes(width, "big")
    raise TypeError("longer than 4 GiB")


# --------------------------------------------------------------------------------------- reading

ExtHook = Callable[[int, bytes], Any]


def unpackb(
    data: bytes,
    /,
    *,
    ext_hook: ExtHook | None = None,
    nested: Mapping[int, Callable[[Any], Any]] | None = None,
    max_levels: int = 0,
) -> Any:
    """Return the first value in `data`; like ormsgpack, leave whatever follows unread.

    `nested` maps the codes whose payload is itself MessagePack to what makes the value of it; they
    are read on the same stack, `max_levels` inside each other at most. All other codes go to
    `ext_hook`.

    Raises:
        ValueError: the bytes are cut short, malformed or nested too deeply. What `ext_hook` and
            the makers in `nested` raise passes through.
    """
    return _Reader(bytes(data), ext_hook, nested or {}, max_levels).read()


class _Open:
    """A container that still waits for items."""

    __slots__ = ("close", "depth", "end", "items", "level", "missing", "wants_keys")

    def __init__(
        self,
        close: Callable[[list[Any]], Any],
        missing: int,
        depth: int,
        level: int,
        wants_keys: bool = False,
        end: int = -1,
    ) -> None:
        self.close = close
        self.items: list[Any] = []
        self.missing = missing
        self.depth = depth
        self.level = level
        self.wants_keys = wants_keys
        self.end = end


class _Reader:
    """One pass over the bytes: the open containers are the only state beside the position."""

    def __init__(
        self,
        data: bytes,
        ext_hook: ExtHook | None,
        nested: Mapping[int, Callable[[Any], Any]],
        max_levels: int,
    ) -> None:
        self.data = data
        self.at = 0
        self.ext_hook = ext_hook
        self.nested = nested
        self.max_levels = max_levels
        self.open: list[_Open] = []

    def read(self) -> Any:
        while True:
            start = len(self.open)
            value = self.step(self.take(1)[0])
            if len(self.open) > start:
                continue
            done, value = self.settle(value)
            if done:
                return value

    def settle(self, value: Any) -> tuple[bool, Any]:
        """Give a finished value to the container that waits for it, and close what that fills."""
        while self.open:
            top = self.open[-1]
            top.items.append(value)
            top.missing -= 1
            if top.missing:
                return False, None
            self.open.pop()
            self.leave(top.end)
            value = top.close(top.items)
        return True, value

    def leave(self, end: int) -> None:
        if end >= 0:
            if self.at > end:
                raise ValueError("a value runs over the end of its extension")
            self.at = end

    def take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        if len(taken) < size:
            raise ValueError(f"cut short: {size} bytes expected at {self.at}")
        self.at += size
        return taken

    def size(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def step(self, marker: int) -> Any:
        """Read what one marker announces: a finished value, or a container put on the stack."""
        if self.open and self.open[-1].wants_keys and not len(self.open[-1].items) % 2:
            self.check_key(marker)
        if marker < 0x80:
            return marker
        if marker < 0x90:
            return self.mapping(marker & 0x0F)
        if marker < 0xA0:
            return self.array(marker & 0x0F)
        if marker < 0xC0:
            return self.text(marker & 0x1F)
        if marker >= 0xE0:
            return marker - 0x100
        return _MARKERS[marker - 0xC0](self)

    def check_key(self, marker: int) -> None:
        if not (0xA0 <= marker < 0xC0 or 0xD9 <= marker <= 0xDB):
            raise ValueError(f"a map key is a str, not the marker {marker:#x}")

    def text(self, size: int) -> str:
        return self.take(size).decode()

    def array(self, size: int) -> Any:
        return self.enter(list, size, size) if size else []

    def mapping(self, size: int) -> Any:
        return self.enter(_pairs, 2 * size, 2 * size, wants_keys=True) if size else {}

    def enter(self, close: Any, missing: int, at_least: int, wants_keys: bool = False) -> None:
        if at_least > len(self.data) - self.at:
            raise ValueError(f"cut short: {missing} items announced at {self.at}")
        top = self.open[-1] if self.open else None
        depth, level = (top.depth + 1, top.level) if top else (1, 0)
        if depth > MAX_DEPTH + 1:
            raise ValueError("nested too deeply")
        self.open.append(_Open(close, missing, depth, level, wants_keys))

    def extension(self, size: int) -> Any:
        tag = int.from_bytes(self.take(1), "big", signed=True)
        make = self.nested.get(tag)
        if make is not None:
            return self.descend(make, size)
        payload = self.take(size)
        if self.ext_hook is None:
            raise ValueError(f"extension {tag} without ext_hook")
        return self.ext_hook(tag, payload)

    def descend(self, make: Callable[[Any], Any], size: int) -> None:
        end = self.at + size
        level = self.open[-1].level + 1 if self.open else 1
        if end > len(self.data) or not size:
            raise ValueError(f"cut short: {size} bytes expected at {self.at}")
        if level > self.max_levels:
            raise ValueError("nested too deeply")
        self.open.append(_Open(lambda items: make(items[0]), 1, 0, level, end=end))


def _pairs(items: list[Any]) -> dict[str, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _float(width: int) -> Callable[[_Reader], float]:
    unpack = Struct(">f" if width == 4 else ">d").unpack
    return lambda reader: float(unpack(reader.take(width))[0])


def _signed(width: int) -> Callable[[_Reader], int]:
    return lambda reader: int.from_bytes(reader.take(width), "big", signed=True)


def _unsigned(width: int) -> Callable[[_Reader], int]:
    return lambda reader: reader.size(width)


def _after_size(read: Callable[[_Reader, int], Any], width: int) -> Callable[[_Reader], Any]:
    return lambda reader: read(reader, reader.size(width))


def _constant(value: bool | None) -> Callable[[_Reader], bool | None]:
    return lambda reader: value


def _reserved(reader: _Reader) -> Any:
    raise ValueError(f"the reserved marker 0xc1 at {reader.at - 1}")


def _fixext(size: int) -> Callable[[_Reader], Any]:
    return lambda reader: reader.extension(size)


_MARKERS: list[Callable[[_Reader], Any]] = [  # 0xc0 ... 0xdf, in order
    *(_constant(None), _reserved, _constant(False), _constant(True)),
    *(_after_size(_Reader.take, width) for width in (1, 2, 4)),
    *(_after_size(_Reader.extension, width) for width in (1, 2, 4)),
    *(_float(4), _float(8)),
    *(_unsigned(width) for width in (1, 2, 4, 8)),
    *(_signed(width) for width in (1, 2, 4, 8)),
    *(_fixext(size) for size in (1, 2, 4, 8, 16)),
    *(_after_size(_Reader.text, width) for width in (1, 2, 4)),
    *(_after_size(_Reader.array, width) for width in (2, 4)),
    *(_after_size(_Reader.mapping, width) for width in (2, 4)),
]
