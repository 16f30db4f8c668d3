"""Tables, JSON and progress: coloured by rich on a terminal, plain columns in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
_LONG = 20
"""Steps; shorter work shows no progress."""


def visible(text: str) -> str:
    """Return text in which nothing can steer the terminal: what cannot be printed is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(text: str) -> None:
    """Print lines."""
    for line in text.split("\n"):
        print(visible(line))


def counted(count: int, what: str) -> str:
    """Return `1 thread`, `2 threads`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def complain(text: str) -> None:
    """Print a line where errors go."""
    print(visible(text), file=sys.stderr)


def say_json(value: Any) -> None:
    """Print a value for machines."""
    print(json.dumps(value, indent=2))


def say_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; numbers stand at the right."""
    cells = [[visible(str(cell)) for cell in row] for row in rows]
    right = [any(isinstance(row[at], int) for row in rows) for at in range(len(columns))]
    if not (sys.stdout.isatty() and _say_rich_table(columns, cells, right)):
        _say_plain_table(columns, cells, right)


def _say_plain_table(
    columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]
) -> None:
    lines = [[column.upper() for column in columns], *cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        parts = zip(line, widths, right, strict=True)
        print("  ".join(f"{cell:>{w}}" if r else f"{cell:<{w}}" for cell, w, r in parts).rstrip())


def _say_rich_table(
    columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]
) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column, is_number in zip(columns, right, strict=True):
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
    return True


def progress(items: Sequence[T], what: str) -> Iterable[T]:
    """Yield the items, with a bar on the terminal while it takes long."""
    if len(items) < _LONG or not sys.stderr.isatty():
        return items
    try:
        from rich.console import Console
        from rich.progress import track
    except ImportError:
        return items
    return track(items, what, console=Console(stderr=True), transient=True)
