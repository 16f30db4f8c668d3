"""The names of keys, and the numbers of branches they come from.

    graphflow:{6f1e…}                  hash: what a thread is, its branches and their heads
    graphflow:{6f1e…}:9a03…:frames     stream: the frames of a branch
    graphflow:{6f1e…}:9a03…:rows       hash: the rows of its open superstep
    graphflow:{6f1e…}:9a03…:snapshot   stream of one entry: its snapshot
    graphflow:{6f1e…}:lease:77d2…      string: who runs on a branch; goes when the lease ends
    graphflow:tag:{51c0…}              sorted set: threads that have a tag, see `redis_tags`

What lies between braces decides on which server of a cluster a key is: a thread is always on one.
It is a hash of the thread's id. A branch's number holds it, too, so that whoever has a branch finds
its keys; the rest of the number is drawn and never comes again.
"""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b
from typing import Final

from graphflow.checkpoint.protocol import Lease

_BITS: Final = 64
"""Of a branch's number those that are drawn."""
TAG_BITS: Final = 128
"""Of the number that a thread's keys are named by."""


def checked_prefix(prefix: str) -> bytes:
    """Return a prefix as it stands in keys.

    Raises:
        ValueError: It has braces.
    """
    if "{" in prefix or "}" in prefix:
        raise ValueError(
            f"prefix={prefix!r} has braces; by those a cluster decides where a key lies. "
            "Leave them out."
        )
    return prefix.encode(errors="surrogatepass")


def pattern_of(name: bytes) -> bytes:
    """Return the pattern that only this name matches."""
    return re.sub(rb"([\\*?\[\]])", rb"\\\1", name)


def tag_of(thread: str) -> int:
    """Return the number that a thread's keys are named by."""
    digest = blake2b(thread.encode(errors="surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest, "big")


def drawn_branch(tag: int) -> int:
    """Return a number for a new branch of a thread."""
    return numbered_branch(tag, drawn_token())


def drawn_token() -> int:
    """Return what nobody else has drawn, also after a fork of the process."""
    return secrets.randbits(_BITS - 1) + 1


def numbered_branch(tag: int, number: int) -> int:
    """Return the number of a branch whose drawn part is known."""
    return tag << _BITS | number


def tag_in(branch: int) -> int:
    """Return the tag of the thread that a branch belongs to."""
    return branch >> _BITS


def field_of(branch: int) -> bytes:
    """Return what a branch is called in its thread's hash."""
    return b"%016x" % (branch & ((1 << _BITS) - 1))


class Names:
    """The keys of one store.

    Args:
        prefix: What they all begin with, as `checked_prefix` returns it.
    """

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix

    def thread(self, tag: int) -> bytes:
        """Return the key of a thread's hash."""
        return b"%b:{%032x}" % (self._prefix, tag)

    def any_thread(self) -> bytes:
        """Return the pattern of `thread`."""
        return b"%b:{%b}" % (pattern_of(self._prefix), b"?" * 32)

    def frames(self, branch: int) -> bytes:
        """Return the key of a branch's frames."""
        return self._of(branch, b"frames")

    def rows(self, branch: int) -> bytes:
        """Return the key of a branch's rows."""
        return self._of(branch, b"rows")

    def snapshot(self, branch: int) -> bytes:
        """Return the key of a branch's snapshot."""
        return self._of(branch, b"snapshot")

    def lease(self, lease: Lease) -> bytes:
        """Return the key of who runs on a branch."""
        return b"%b:lease:%b" % (self.thread(tag_of(lease.thread)), lease.place.hex().encode())

    def tagged(self, value: bytes) -> bytes:
        """Return the key of the threads that have a tag of this value."""
        return b"%b:tag:{%b}" % (self._prefix, value.hex().encode())

    def _of(self, branch: int, part: bytes) -> bytes:
        return b"%b:%b:%b" % (self.thread(tag_in(branch)), field_of(branch), part)
