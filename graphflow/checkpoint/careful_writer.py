"""Writing what the fast path cannot, and saying where and why something cannot be written.

The fast writer fails as a whole, and cannot say at what. `CarefulWriter` goes down to the values it
failed at: a dict with other keys than str, a str with lone surrogates, a bytearray (ormsgpack takes
it for bytes). Everything beside the way down is still written fast, and the bytes are the same in
any case.

`explain` is for values with no stored form at all. It looks for the innermost value that cannot be
written although everything in it can, and names the way to it.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, time
from typing import Any

from graphflow.checkpoint.codec_errors import NotStorable, shown
from graphflow.checkpoint.msgpack_pure import MAX_DEPTH, array_header, ext_header, map_header
from graphflow.checkpoint.registry import Pack, Registry, Write
from graphflow.checkpoint.stored_forms import form_of

MAX_LEVELS = 100
"""Typed objects (tuples, sets, registered classes ...) inside each other."""
FAST_LEVELS = 16
"""How many of them the fast path goes down; each costs native stack."""

Find = Callable[[type], tuple[int, Write]]

_ATOMS = {type(None), bool, int, float, str, bytes}
_WALKED = {list, dict}
_BUFFERS = {bytearray, memoryview}


def holds_buffer(value: Any) -> bool:
    """Tell whether a bytearray or memoryview lies in lists and dicts, where ormsgpack misses it."""
    level = [value]
    while level:
        kinds = set(map(type, level))
        if kinds & _BUFFERS:
            return True
        if not kinds & _WALKED:
            return False
        if not kinds <= _ATOMS | _WALKED:
            level = [item for item in level if type(item) in _WALKED]
        level = gc.get_referents(*level)
    return False


class CarefulWriter:
    """One attempt to write a value that the fast path refused."""

    def __init__(self, packs: Sequence[Pack], find: Find) -> None:
        """Use `packs[n]` where `n` levels suffice and no care is needed, `find` for the rest."""
        self.packs = packs
        self.find = find

    def write(self, value: Any, depth: int = 0, level: int = 0) -> bytes:
        """Return the bytes of a value `depth` containers deep in a payload, `level` objects deep.

        Raises:
            NotStorable: Something in it has no stored form.
        """
        fast = self.write_fast(value, depth, level)
        if fast is not None:
            return fast
        if type(value) is list:
            parts = self.inside(value, depth, level)
            return array_header(len(value)) + b"".join(parts)
        if type(value) is dict and all(map(self.is_key, value)):
            keys, parts = map(self.packs[0], value), self.inside(value.values(), depth, level)
            pairs = (key + part for key, part in zip(keys, parts, strict=True))
            return map_header(len(value)) + b"".join(pairs)
        return self.write_object(value, level)

    def write_fast(self, value: Any, depth: int, level: int) -> bytes | None:
        """Return the bytes if no care is needed, counting the depth from the payload's start."""
        pack = self.packs[min(FAST_LEVELS, MAX_LEVELS - level)]
        for _ in range(depth):
            value = [value]  # one byte each
        try:
            return pack(value)[depth:]
        except Exception:  # native code does not say what it met: it is written with care then
            return None

    def inside(self, values: Iterable[Any], depth: int, level: int) -> Iterator[bytes]:
        """Yield the bytes of the items of a container at this depth."""
        if depth >= MAX_DEPTH:
            raise TooDeep(f"containers are nested deeper than {MAX_DEPTH}")
        for value in values:
            yield self.write(value, depth + 1, level)

    def is_key(self, key: Any) -> bool:
        """Tell whether msgpack's own maps can have this key."""
        return type(key) is str and (key.isascii() or self.write_fast(key, 0, 0) is not None)

    def write_object(self, value: Any, level: int) -> bytes:
        """Write an extension: what everything but msgpack's own types becomes."""
        if level >= MAX_LEVELS:
            raise TooDeep(f"objects are nested deeper than {MAX_LEVELS}")
        code, write = self.find(type(value))
        payload = write(value, lambda part: self.write(part, 0, level + 1))
        return ext_header(code, len(payload)) + payload


class TooDeep(NotStorable):
    """A value is nested beyond the limits, perhaps because it contains itself."""


def explain(value: Any, try_to_write: Callable[[Any], bytes], registry: Registry) -> NotStorable:
    """Return the error that names the innermost value which cannot be written."""
    error = _refusal(value, try_to_write) or NotStorable("it changed while it was written")
    if isinstance(error, TooDeep):
        loop = find_loop(value, registry)
        reason = error.reason if loop is None else "it contains itself: store an id instead"
        return NotStorable(reason, path=loop or "", kind=type(value))
    path = ""
    while found := _first_refused(value, try_to_write, registry):
        step, value, error = found
        path += step
    return NotStorable(error.reason, path=path, kind=type(value))


def _first_refused(
    value: Any, try_to_write: Callable[[Any], bytes], registry: Registry
) -> tuple[str, Any, NotStorable] | None:
    for step, part in _parts(value, registry):
        if error := _refusal(part, try_to_write):
            return step, part, error
    return None


def _refusal(value: Any, try_to_write: Callable[[Any], bytes]) -> NotStorable | None:
    """Return why a value cannot be written, or None if it can."""
    try:
        try_to_write(value)
    except NotStorable as error:
        return error
    except RecursionError:
        return TooDeep("it is nested too deeply for the stack")
    except Exception as error:
        return NotStorable(f"reading it raised {type(error).__name__}: {error}")
    return None


def find_loop(value: Any, registry: Registry) -> str | None:
    """Return the path to the first value that lies in itself."""
    above, done = {id(value)}, set[int]()
    walk = [(id(value), "", iter(_parts(value, registry)))]
    while walk:
        key, path, parts = walk[-1]
        for step, part in parts:
            if id(part) in above:
                return path + step
            if id(part) not in done:
                above.add(id(part))
                walk.append((id(part), path + step, iter(_parts(part, registry))))
                break
        else:
            walk.pop()
            above.discard(key)
            done.add(key)
    return None


def _parts(value: Any, registry: Registry) -> Iterable[tuple[str, Any]]:
    """Yield what a value holds, each with its step of the path."""
    form = registry.form(type(value))
    if form is not None:
        return form.parts(value)
    if isinstance(value, dict):
        return _pairs(value)
    if isinstance(value, datetime | time):
        return [(".tzinfo", value.tzinfo)]
    if isinstance(value, set | frozenset):
        return [("{...}", part) for part in value]
    if isinstance(value, list | tuple | deque):
        return [(f"[{place}]", part) for place, part in enumerate(value)]
    return ()


def _pairs(value: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, part in value.items():
        yield f"[{shown(key)}]", part
    for key in value:
        yield f"(key {shown(key)})", key


def advice(kind: type) -> str:
    """Return why a type has no stored form, and what to do about it."""
    if kind.__name__ in ("SecretStr", "SecretBytes"):
        return "it would be stored in clear: keep it out of the state, or store its secret value"
    if kind is memoryview:
        return "it is a view of memory that may change: store bytes(...) of it"
    if form_of(kind) is not None:
        return (
            f"its class is not registered: put @storable above {kind.__qualname__}, "
            f"or name the class in the state's annotations"
        )
    return (
        "it has no stored form: make it in the node that needs it, or give its class "
        "@storable(tag, dump=..., load=...)"
    )
