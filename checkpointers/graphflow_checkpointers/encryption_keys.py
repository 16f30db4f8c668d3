"""The keys of an encrypted store: all of them can read, one of them writes.

    Keys({"2026-11": key, "2026-10": old}, current="2026-11")

What is stored names its key by its id. To rotate, add a key and make it the current one; the old
one stays for what it wrote. A key itself encrypts nothing: every line of frames has a key of its
own, derived from it, so that random nonces cannot meet (`Keys.cipher`).
"""

from __future__ import annotations

import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

try:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
except ImportError as error:
    raise ImportError(f'{error}. Install it with: pip install "graphflow[encryption]"') from error

KEY_BYTES: Final = 32
VARIABLE: Final = "GRAPHFLOW_KEYS"
"""Where `Keys.from_env` looks."""
_CIPHERS: Final = 1024
"""Derived keys that are kept at hand."""
_DIGESTS: Final = b"digest"
"""What a key for digests is derived for. The purposes of lines are longer."""
_URL_SAFE: Final = str.maketrans("-_", "+/")


def new_key() -> str:
    """Return a new random key, as the base64 that `Keys` takes."""
    return b64encode(os.urandom(KEY_BYTES)).decode()


class Keys:
    """Keys by their ids. Their text is never shown.

    Args:
        keys: By id (1 to 255 bytes of UTF-8) 32 random bytes, or their base64; see `new_key`.
        current: The id of the key that writes; may be left out if there is one key.

    Raises:
        ValueError: A key or an id has another form, or `current` names none of them.
    """

    def __init__(self, keys: Mapping[str, bytes | str], current: str | None = None) -> None:
        packed = {name: _packed(name) for name in keys}
        self._keys = {packed[name]: _checked(name, key) for name, key in keys.items()}
        if current is None and len(keys) == 1:
            current = next(iter(keys))
        if current is None or current not in keys:
            raise ValueError(
                "current= must be the id of the key that writes, one of "
                f"{', '.join(map(repr, keys)) or 'none: there are no keys'}."
            )
        self.ids = tuple(keys)
        self.current = current
        self.cipher = lru_cache(_CIPHERS)(self._derived)
        """As `_derived`, which see."""

    @classmethod
    def from_env(cls, variable: str = VARIABLE) -> Keys:
        """Read `id:base64,id:base64,…` from the environment; the first key writes.

        Raises:
            ValueError: The variable is not set, or not of this form.
        """
        found: dict[str, str] = {}
        for number, entry in enumerate(os.environ.get(variable, "").split(","), 1):
            name, _, key = entry.strip().partition(":")
            if name in found or not _fit(name, key):
                raise ValueError(
                    f"The environment variable {variable} must be id:key,id:key,… where each key "
                    "is the base64 of 32 random bytes, as new_key() makes it, and the one that "
                    f"writes comes first. Entry {number} is not like that, or its id came before."
                )
            found[name] = key
        return cls(found, current=next(iter(found)))

    def __contains__(self, key_id: object) -> bool:
        """Tell whether there is a key of this id, as it is packed."""
        return key_id in self._keys

    def __repr__(self) -> str:
        """Return the ids, never the keys."""
        return f"Keys({', '.join(map(repr, self.ids))}, current={self.current!r})"

    def _derived(self, key_id: bytes, purpose: bytes) -> AESGCM:
        """Return AES-256-GCM with a key that is derived from one of the keys for a purpose.

        Random nonces of 96 bits are safe for 2**32 bodies under one key (NIST SP 800-38D, 8.3).
        With a key for each line, that is more than a line can hold.
        """
        return AESGCM(self._expanded(key_id, purpose))

    def _expanded(self, key_id: bytes, purpose: bytes) -> bytes:
        told = bytes((len(key_id),)) + key_id + purpose
        expand = HKDFExpand(algorithm=SHA256(), length=KEY_BYTES, info=told)
        return expand.derive(self._keys[key_id])

    def digest(self, key_id: str, text: bytes) -> bytes:
        """Return 32 bytes that stand for a text, and that nobody can tell without the key."""
        return hmac.digest(self._expanded(key_id.encode(), _DIGESTS), text, "sha256")


def _fit(name: str, key: str) -> bool:
    try:
        Keys({name: key})
    except ValueError:
        return False
    return True


def _packed(name: str) -> bytes:
    """Return an id as bytes. It is shown in errors, so a key must not get into its place."""
    packed = name.encode()
    if len(_unpacked(name)) == KEY_BYTES:
        raise ValueError("An id of a key is a key itself. Keys takes {id: key}, not {key: id}.")
    if not 0 < len(packed) < 256:
        raise ValueError(f"The id of a key is 1 to 255 bytes long; one of these has {len(packed)}.")
    return packed


def _checked(name: str, key: bytes | str) -> bytes:
    """Return a key as bytes. What is wrong with it is said without it."""
    found = _unpacked(key) if isinstance(key, str) else key
    if not isinstance(found, bytes) or len(found) != KEY_BYTES:
        raise ValueError(
            f"The key {name!r} is not {KEY_BYTES} random bytes or their base64. A password is no "
            "key; make one with graphflow_checkpointers.encryption.new_key()."
        )
    return found


def _unpacked(text: str) -> bytes:
    """Return what base64 stands for; nothing, if it is no base64."""
    try:
        return b64decode(text.strip().translate(_URL_SAFE), validate=True)
    except ValueError:
        return b""
