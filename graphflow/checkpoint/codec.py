"""The codec: any value that a state may hold, as bytes and back, exactly or with a loud error.

The bytes are standard MessagePack, with one extension type per kind of object that MessagePack does
not know. Reading calls constructors of a closed set of types with plain data; no name that comes
from bytes is ever imported or looked up anywhere but in the registry that code filled. There is no
pickle and no fallback.

The format, for ever (golden files in tests/histories hold us to it):

====  =====================  ==========================================================
code  type                   payload: MessagePack again, unless marked *raw*
====  =====================  ==========================================================
  1   tuple                  [item, ...]
  2   set                    [item, ...], ascending by their bytes
  3   frozenset              as set
  4   dict                   [key, value, key, value, ...] where not all keys are plain str
  5   int                    raw: beyond 64 bits; big-endian two's complement
  6   str                    raw: with lone surrogates; UTF-8 with surrogates encoded
  7   bytearray              raw
  8   complex                raw: two big-endian doubles
  9   Decimal                raw: its str
 10   Fraction               [numerator, denominator]
 11   UUID                   raw: 16 bytes (+ 1: is_safe, where it is known)
 12   datetime               ISO text; [ISO text of the wall clock, fold, tzinfo] where that
                             is not all: fold=1, a ZoneInfo, a named offset
 13   date                   raw: ISO text
 14   time                   as datetime
 15   timedelta              [days, seconds, microseconds]
 16   timezone               [timedelta] or [timedelta, name]
 17   ZoneInfo               raw: key
 20   range                  [start, stop, step]
 21   slice                  [start, stop, step]
 22   deque                  [maxlen, [item, ...]]
 23   OrderedDict            [key, value, ...]
 24   defaultdict            [name of the factory or nil, [key, value, ...]]
 25   Counter                [key, value, ...]
 26   path, IP address ...   [name of the type, its str]
 27   re.Pattern             [pattern, flags]
 28   exception              [type name, message, traceback]; read as a `StoredError`
 30   numpy array            [dtype, shape, in Fortran order, bytes]
 31   numpy scalar           [dtype, bytes]
 64   registered class       [tag, version, data], data by kind:
                             dataclass, named tuple: {field: value};
                             pydantic model: [{field: value}, [name that was set, ...] or
                             nil for all, extra, private] up to the last that is not nil;
                             enumeration: name; flag: int; subclass of a built-in: the
                             built-in; otherwise what dump= returned
65+   graphflow's records    [version, data], data as for 64
====  =====================  ==========================================================

Codes 18, 19, 29, 32-63 are free. Equal values (same types, same insertion order) have equal bytes.
An object that is reached twice is stored twice and comes back as two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from graphflow.checkpoint import msgpack_pure
from graphflow.checkpoint.careful_writer import (
    FAST_LEVELS,
    MAX_LEVELS,
    CarefulWriter,
    advice,
    explain,
    holds_buffer,
)
from graphflow.checkpoint.codec_errors import (
    CodecError,
    CorruptData,
    NotStorable,
    UnknownType,
    shown,
)
from graphflow.checkpoint.registry import Pack, Registry, Write, registry

_NATIVE_LEVELS = 8
"""Objects inside each other that native code reads; each may cost it half a megabyte of stack."""
_AT_ONCE = 64
"""Encoded values that are joined to be read in one go: few enough to stay in the cache."""
_PAIR = b"\x92"
_ENCRYPTED = b"\xc1E"
"""What encrypted bodies begin with; no MessagePack does."""
_END_VALUE = 0x677261_7068_666C_6F
_END = b"\xcf" + _END_VALUE.to_bytes(8, "big")
"""Read as the second item of a pair whose first is the data, it shows that nothing follows it."""


class Codec:
    """Values to bytes and back, with the classes of one registry. Safe for threads."""

    def __init__(self, classes: Registry = registry, *, pure: bool = False) -> None:
        """Prepare nothing: half of the standard library is loaded at the first use.

        Args:
            classes: The registered classes.
            pure: Do without ormsgpack even where it is installed.
        """
        self.classes = classes
        self._is_pure = pure
        self._pack: Pack = self._start_packing
        self._unpack: Callable[[Any], Any] = self._start_unpacking

    def encode(self, value: object) -> bytes:
        """Return the bytes of a value.

        Raises:
            NotStorable: The value, or one that it holds, has no exact stored form.
        """
        try:
            return self._pack(value)
        except Exception:  # native code does not say what went wrong
            return self._encode_carefully(value)

    def decode(self, data: bytes) -> Any:
        """Return the value that was encoded.

        Raises:
            UnknownType: It needs a class, version or field that is not registered here.
            CorruptData: The bytes are not what `encode` returned.
        """
        framed = b"".join((_PAIR, data, _END))
        try:
            value, end = self._unpack(framed)
            if type(end) is int and end == _END_VALUE:
                return value
        except Exception:  # native code does not say what went wrong
            pass
        return self._decode_carefully(framed)

    def decode_all(self, parts: Sequence[bytes]) -> list[Any]:
        """Return the values of many `encode` calls; as `decode` of each, faster.

        Raises:
            UnknownType: As `decode`.
            CorruptData: As `decode`.
        """
        values: list[Any] = []
        for start in range(0, len(parts), _AT_ONCE):
            values += self._decode_some(parts[start : start + _AT_ONCE])
        return values

    def _decode_some(self, parts: Sequence[bytes]) -> list[Any]:
        head = b"\xdd" + (len(parts) + 1).to_bytes(4, "big")
        try:
            values = self._unpack(b"".join((head, *parts, _END)))
            if type(values) is list and values.pop() == _END_VALUE:
                return values
        except Exception:  # native code does not say what went wrong, nor in which part
            pass
        return [self.decode(part) for part in parts]

    # ------------------------------------------------------------------ the fast path, set up once

    def _start_packing(self, value: Any) -> bytes:
        self._start()
        return self._pack(value)

    def _start_unpacking(self, data: bytes) -> Any:
        self._start()
        return self._unpack(data)

    def _start(self) -> None:
        """Load the built-in types and choose who reads and writes MessagePack."""
        from graphflow.checkpoint.builtin_types import MAKERS, RAW, WRITERS
        from graphflow.checkpoint.numpy_types import NUMPY_MAKERS
        from graphflow.checkpoint.own_types import register_own_types

        register_own_types(self.classes)
        for kind, entry in WRITERS.items():
            self.classes.writers.setdefault(kind, entry)
        self.classes.makers.update(MAKERS | NUMPY_MAKERS)
        self._read_raw = _raw_reader(RAW)
        msgpack, option = _backend(self._is_pure)
        self._unpack = self._unpacking(msgpack)
        self._packs = self._packing(msgpack, option)
        self._pack = self._packs[-1]

    def _packing(self, msgpack: Any, option: int | None) -> list[Pack]:
        """Return the writers: the n-th allows n objects inside each other, so none has to count."""
        packs = [_packer(msgpack, option, _refuse)]
        for _ in range(FAST_LEVELS):
            packs.append(_packer(msgpack, option, self._hook(msgpack.Ext, packs[-1])))
        return packs

    def _hook(self, ext: Any, pack: Pack) -> Callable[[Any], Any]:
        """Return what turns an object into an extension, its payload packed one level deeper."""
        writers, find = self.classes.writers, self._find

        def default(value: Any) -> Any:
            code, write = writers.get(type(value)) or find(type(value))
            return ext(code, write(value, pack))

        return default

    def _find(self, kind: type) -> tuple[int, Write]:
        """Return code and writer of a type, also of one that is met for the first time."""
        from graphflow.checkpoint.builtin_types import ERROR, write_exception
        from graphflow.checkpoint.numpy_types import numpy_writer

        entry = self.classes.writers.get(kind) or numpy_writer(kind)
        if entry is None and issubclass(kind, BaseException):
            entry = (ERROR, write_exception)
        if entry is None:
            raise NotStorable(advice(kind))
        self.classes.writers[kind] = entry
        return entry

    def _unpacking(self, msgpack: Any) -> Callable[[Any], Any]:
        """Return the reader: native code near the top, the one without recursion below."""
        hook = self._maker(self._unpack_purely)
        for _ in range(_NATIVE_LEVELS - 1):
            hook = self._maker(partial(msgpack.unpackb, ext_hook=hook))
        return partial(msgpack.unpackb, ext_hook=hook)

    def _maker(self, unpack: Callable[[bytes], Any]) -> Callable[[int, bytes], Any]:
        """Return what turns an extension into a value."""
        makers, read_raw = self.classes.makers, self._read_raw

        def ext_hook(code: int, payload: bytes) -> Any:
            make = makers.get(code)
            return read_raw(code, payload) if make is None else make(unpack(payload))

        return ext_hook

    def _unpack_purely(self, data: bytes) -> Any:
        return msgpack_pure.unpackb(
            data, ext_hook=self._read_raw, nested=self.classes.makers, max_levels=MAX_LEVELS
        )

    # ---------------------------------------------------------------------------- the careful path

    def _write_carefully(self, value: Any) -> bytes:
        return CarefulWriter(self._packs, self._find).write(value)

    def _encode_carefully(self, value: Any) -> bytes:
        try:
            return self._write_carefully(value)
        except Exception as error:
            refusal = explain(value, self._write_carefully, self.classes)
            raise refusal from (None if isinstance(error, NotStorable) else error)

    def _decode_carefully(self, framed: bytes) -> Any:
        """Read without native code, which either finds the value or says what is wrong."""
        if framed.startswith(_PAIR + _ENCRYPTED):
            raise CorruptData(
                "the stored bytes are encrypted: open the store as EncryptedCheckpointer(store, "
                "keys), see graphflow_checkpointers.encryption"
            )
        try:
            value, end = self._unpack_purely(framed)
        except CodecError:
            raise
        except Exception as error:
            raise CorruptData(f"stored bytes cannot be read: {shown(error)}") from error
        if type(end) is not int or end != _END_VALUE:
            raise CorruptData("more bytes follow the stored value")
        return value


def _refuse(value: Any) -> Any:
    raise TypeError("more levels of objects than the fast path goes down")


def _packer(msgpack: Any, option: int | None, hook: Callable[[Any], Any]) -> Pack:
    packb = msgpack.packb

    def pack(value: Any) -> bytes:
        data: bytes = packb(value, hook, option)
        if (0xC4 in data or 0xC5 in data or 0xC6 in data) and holds_buffer(value):
            raise TypeError("a bytearray or memoryview was written as bytes")
        return data

    return pack


def _raw_reader(raw: dict[int, Callable[[bytes], Any]]) -> Callable[[int, bytes], Any]:
    def read(code: int, payload: bytes) -> Any:
        make = raw.get(code)
        if make is None:
            raise UnknownType(f"extension {code} is not known here: a newer graphflow wrote it")
        return make(payload)

    return read


def _backend(is_pure: bool) -> tuple[Any, int | None]:
    """Return the msgpack module to use and its options: hand us everything that is not exact."""
    try:
        import ormsgpack
    except ImportError:
        return msgpack_pure, None
    if is_pure or not is_safe(ormsgpack.__version__):
        return msgpack_pure, None
    return ormsgpack, (
        ormsgpack.OPT_PASSTHROUGH_BIG_INT
        | ormsgpack.OPT_PASSTHROUGH_DATACLASS
        | ormsgpack.OPT_PASSTHROUGH_DATETIME
        | ormsgpack.OPT_PASSTHROUGH_ENUM
        | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
        | ormsgpack.OPT_PASSTHROUGH_TUPLE
        | ormsgpack.OPT_PASSTHROUGH_UUID
    )


def is_safe(version: str) -> bool:
    """Tell whether this ormsgpack survives a list that announces billions of items.

    Those before 1.13.1 crash the process on such bytes.
    """
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit()) >= (1, 13, 1)


codec = Codec()
"""The codec of everything that is registered by `storable`."""
