"""Encrypted bodies: what is stored instead of the bytes of a frame, a row or a snapshot.

    magic   3 bytes, b"\xc1E1": no value that the codec writes begins with the first of them
    key id  1 byte length, then its UTF-8
    nonce   12 random bytes
    text    AES-256-GCM: as long as the body, and 16 bytes that prove it

A body is bound to its place. The line it is on (thread, scope, number of the branch) and the id of
its key are in the derived key, its number on the line is associated data: elsewhere it is refused.
"""

from __future__ import annotations

from os import urandom
from struct import Struct
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag

from graphflow.errors import CheckpointError
from graphflow_checkpointers.encryption_keys import Keys

MAGIC: Final = b"\xc1E1"
NONCE: Final = 12
"""Bytes."""
_LENGTHS: Final = Struct(">II")
_ORDINAL: Final = Struct(">Q")


class DecryptionError(CheckpointError):
    """What is stored at a place is not what was encrypted for it, or its key is not at hand."""


class Kind(NamedTuple):
    """A kind of body: which numbers say where on its line it is."""

    letter: bytes
    numbers: Struct
    told: str
    """In errors."""

    def packed(self, numbers: tuple[int, ...]) -> bytes:
        """Return the associated data of a body."""
        return self.letter + self.numbers.pack(*numbers)


FRAME: Final = Kind(b"F", Struct(">q"), "frame {}")
ROW: Final = Kind(b"R", Struct(">qqqq"), "the row of task {1} (kind {2}, number {3}) at frame {0}")
SNAPSHOT: Final = Kind(b"S", Struct(">q"), "the snapshot at {}")


class Line:
    """Encrypts and decrypts what is on one line of frames.

    Args:
        keys: All keys.
        place: Thread, scope, and the number of the branch in it.
        allow_plaintext: Whether what was never encrypted may be read.
    """

    __slots__ = ("_allow_plaintext", "_head", "_key_id", "_keys", "_place", "_purpose")

    def __init__(self, keys: Keys, place: tuple[str, str, int], *, allow_plaintext: bool) -> None:
        self._keys = keys
        self._place = place
        self._allow_plaintext = allow_plaintext
        self._purpose = _purpose(*place)
        self._key_id = keys.current.encode()
        self._head = MAGIC + bytes((len(self._key_id),)) + self._key_id

    def encrypted(self, kind: Kind, body: bytes, *numbers: int) -> bytes:
        """Return what to store instead of a body, with the current key."""
        nonce = urandom(NONCE)
        cipher = self._keys.cipher(self._key_id, self._purpose)
        return self._head + nonce + cipher.encrypt(nonce, body, kind.packed(numbers))

    def decrypted(self, kind: Kind, stored: bytes, *numbers: int) -> bytes:
        """Return the body.

        Raises:
            DecryptionError: It was never encrypted, its key is not known, or it was changed.
        """
        key_id = key_id_of(stored)
        if key_id is None:
            return self._plaintext(kind, stored, numbers)
        if key_id not in self._keys:
            raise self._unknown(kind, key_id, numbers)
        start = len(MAGIC) + 1 + len(key_id)
        text = start + NONCE
        try:
            return self._keys.cipher(key_id, self._purpose).decrypt(
                stored[start:text], stored[text:], kind.packed(numbers)
            )
        except (InvalidTag, ValueError):  # ValueError: cut off within the nonce
            raise self._changed(kind, key_id, numbers) from None

    def _plaintext(self, kind: Kind, stored: bytes, numbers: tuple[int, ...]) -> bytes:
        if self._allow_plaintext and not stored.startswith(MAGIC[:1]):
            return stored
        raise DecryptionError(
            f"{self._where(kind, numbers)} is not encrypted as this store wants it: it is older "
            "than the encryption, somebody without a key wrote it, or a newer graphflow did. If it "
            "is older and yours, open the store with allow_plaintext=True."
        )

    def _unknown(self, kind: Kind, key_id: bytes, numbers: tuple[int, ...]) -> DecryptionError:
        known = ", ".join(map(repr, self._keys.ids))
        return DecryptionError(
            f"{self._where(kind, numbers)} is encrypted with the key {_text(key_id)!r}, which is "
            f"not among the given ones: {known}. Add it to Keys; it need not be the current one."
        )

    def _changed(self, kind: Kind, key_id: bytes, numbers: tuple[int, ...]) -> DecryptionError:
        return DecryptionError(
            f"{self._where(kind, numbers)} cannot be decrypted with the key {_text(key_id)!r}: "
            "that is another key than the one which wrote it, or the bytes were changed or belong "
            "elsewhere. Check the key; if it is the right one, restore the store from a backup. "
            "Other threads in it can still be read."
        )

    def _where(self, kind: Kind, numbers: tuple[int, ...]) -> str:
        thread, scope, ordinal = self._place
        graph = f", scope {scope!r}" if scope else ""
        return f"Thread {thread!r}{graph}, branch number {ordinal}: {kind.told.format(*numbers)}"


def key_id_of(stored: bytes) -> bytes | None:
    """Return the id of the key that encrypted a body; None: it is not encrypted."""
    start = len(MAGIC) + 1
    if not stored.startswith(MAGIC) or len(stored) < start:
        return None
    return stored[start : start + stored[start - 1]]


def _purpose(thread: str, scope: str, ordinal: int) -> bytes:
    """Return what a line's key is derived for; no two lines have the same."""
    names = [name.encode("utf-8", "surrogatepass") for name in (thread, scope)]
    return b"".join((_LENGTHS.pack(*map(len, names)), *names, _ORDINAL.pack(ordinal)))


def _text(key_id: bytes) -> str:
    return key_id.decode("utf-8", "replace")
