"""Reading stored values without the classes they were made of.

Administration tools run none of the program's code, so its classes are not registered with them.
What such a class made is read as an `Unregistered`, which shows what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.numpy_types import ARRAY, SCALAR
from graphflow.checkpoint.registry import REGISTERED, Pack, Registry


@dataclass(frozen=True, slots=True)
class Unregistered:
    """An instance of a class that is not here."""

    tag: str
    """The name under which the class was registered."""
    version: Any
    data: Any
    """Its fields by name; for other kinds of classes see `codec`, extension 64."""

    def __hash__(self) -> int:
        return hash(self.tag)  # as an item of a set: what it holds need not be hashable


class _Nobody(Registry):
    """Has no classes."""

    def __init__(self) -> None:
        super().__init__()
        self.writers[Unregistered] = (REGISTERED, _write)

    def _make(self, data: Any) -> Any:
        return Unregistered(*data)


def _write(value: Unregistered, pack: Pack) -> bytes:
    return pack([value.tag, value.version, value.data])


def raw_codec() -> Codec:
    """Return a codec that reads what no code of this process registered, NumPy's arrays included.

    It can write what it has read, in bytes that tell equal values from others; they are not those
    of the store.
    """
    classes = _Nobody()
    codec = Codec(classes)
    codec.decode(codec.encode(None))  # now it has all of its makers
    classes.makers[ARRAY] = lambda data: Unregistered(f"numpy.ndarray {data[0]} {data[1]}", 1, data)
    classes.makers[SCALAR] = lambda data: Unregistered(f"numpy {data[0]}", 1, data)
    return codec
