"""The names of keys. What lies between braces decides on which server of a cluster a key is."""

from __future__ import annotations

import re


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
