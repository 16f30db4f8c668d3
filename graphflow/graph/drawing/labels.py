"""Text on a picture: how wide it will be, where it may break, what must never reach a file.

No font is at hand when a picture is made and none is shipped inside it, so widths are estimates on
the generous side (the widest of the usual sans-serif faces).
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import combining, east_asian_width

_NARROW = frozenset("ijltfrI.,;:'`|!()[]{}/\\ -\"")
_WIDE = frozenset("mwMW@%")
_UNDRAWABLE = re.compile("[^\t\n\r\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BREAK = re.compile(r"(?<=[\s_\-./:,])|(?<=[a-z0-9])(?=[A-Z])")
_LONGEST = 400
"""Characters looked at; a picture has no room for more."""


def drawable(text: str) -> str:
    """The text in one line, what XML cannot carry (control characters, surrogates) replaced."""
    return " ".join(_UNDRAWABLE.sub("\ufffd", text).split())


def text_width(text: str, size: float) -> float:
    """The estimated width in pixels of one line in a font of that size."""
    return size * sum(map(_ems, text))


@lru_cache(maxsize=1024)
def _ems(char: str) -> float:
    if char in _NARROW:
        return 0.42
    if char in _WIDE:
        return 0.98
    if char.isascii():
        return 0.74 if char.isupper() else 0.63
    if combining(char):
        return 0.0
    return 1.1 if east_asian_width(char) in "WF" else 0.72


def wrapped(text: str, size: float, width: float, most: int) -> tuple[str, ...]:
    """At most `most` lines of at most `width` pixels; what is cut ends in an ellipsis."""
    lines = _lines(drawable(text)[:_LONGEST], size, width)
    if len(lines) <= most:
        return tuple(lines)
    return (*lines[: most - 1], _cut(lines[most - 1] + lines[most], size, width))


def _lines(text: str, size: float, width: float) -> list[str]:
    lines = [""]
    for piece in _pieces(text, size, width):
        if lines[-1] and text_width(lines[-1] + piece.rstrip(), size) > width:
            lines.append("")
        lines[-1] += piece
    return [line.strip() for line in lines]


def _pieces(text: str, size: float, width: float) -> list[str]:
    """The parts between which a line may break; a part wider than a line is cut into characters."""
    pieces: list[str] = []
    for piece in _BREAK.split(text):
        pieces.extend([piece] if text_width(piece, size) <= width else piece)
    return pieces


def _cut(text: str, size: float, width: float) -> str:
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"
