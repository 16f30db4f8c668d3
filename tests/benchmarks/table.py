"""Measurements as tables: for the terminal while it runs, and as the page in the docs."""

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

from .case import LIBRARIES, PLAIN, Group
from .library import versions
from .measure import Measurement

HEADINGS = (
    "case",
    "size",
    "figure",
    *LIBRARIES,
    PLAIN,
    "over plain",
    "LangGraph ÷ graphflow",
)
WIDTHS = (23, 14, 47, 9, 9, 12, 10, 21)
ABSENT = "—"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one case at one size, for every contender that has it."""

    case: str
    size: str
    figure: str
    values: dict[str, float]
    comparable: bool = True
    """Whether differences and quotients of the values mean something."""

    def cells(self) -> tuple[str, ...]:
        """The row as text, under `HEADINGS`."""
        ours, theirs, plain = (self.values.get(name) for name in (*LIBRARIES, PLAIN))
        return (
            self.case,
            self.size,
            self.figure,
            *(number(value) for value in (ours, theirs, plain)),
            number(ours - plain if self.comparable and ours is not None and plain else None),
            quotient(theirs, ours) if self.comparable else "",
        )


def number(value: float | None) -> str:
    """Three significant digits, thousands apart."""
    if value is None:
        return ABSENT
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def quotient(theirs: float | None, ours: float | None) -> str:
    """How many times ours theirs is."""
    if theirs is None or not ours:
        return ABSENT
    return f"{number(theirs / ours)}x"


def rows(measurement: Measurement) -> Iterator[Row]:
    """A row for each figure."""
    figures = measurement.figures
    for key in dict.fromkeys(key for found in figures.values() for key in found):
        values = {name: found[key] for name, found in figures.items() if key in found}
        ratio = "÷" in key
        yield Row(measurement.case.name, _size(measurement), key, values, not ratio)


def _size(measurement: Measurement) -> str:
    return f"{measurement.size:,}" if measurement.size > 1 else ""


def growth(measurements: Sequence[Measurement]) -> Iterator[Row]:
    """The exponents with which figures grow between the smallest and the largest size."""
    if len(measurements) < 2:
        return
    first, last = measurements[0], measurements[-1]
    for key in first.case.grows:
        exponents = {
            name: log(last.figures[name][key] / figures[key]) / log(last.size / first.size)
            for name, figures in first.figures.items()
            if key in last.figures.get(name, ()) and key in figures
        }
        size = f"{first.size:,} → {last.size:,}"
        yield Row(first.case.name, size, f"growth exponent of {key}", exponents, False)


def all_rows(measurements: Sequence[Measurement]) -> list[Row]:
    """Everything one case has to say."""
    found = [row for measurement in measurements for row in rows(measurement)]
    return found + list(growth(measurements))


def text(found: Sequence[Row]) -> str:
    """Rows for a terminal."""
    return "\n".join(lined_up(row.cells()) for row in found)


def lined_up(cells: Sequence[str]) -> str:
    """One line, its cells as wide as those of every other line."""
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def markdown(groups: Sequence[tuple[Group, Sequence[Row]]], repeats: int) -> str:
    """The page: how it was measured, and a table for each group."""
    parts = [INTRODUCTION, conditions(repeats)]
    for group, found in groups:
        parts += [f"## {group.title}", *_descriptions(group, found), _markdown_table(found)]
    return "\n\n".join(parts) + "\n"


def _descriptions(group: Group, found: Sequence[Row]) -> list[str]:
    shown = {row.case for row in found}
    lines = [f"* `{case.name}`: {case.description()}" for case in group.cases if case.name in shown]
    return ["\n".join(lines)]


def _markdown_table(found: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---|---|---|" + "---:|" * (len(HEADINGS) - 3)]
    for row in found:
        case, *rest = row.cells()
        lines.append("| " + " | ".join([f"`{case}`", *rest]) + " |")
    return "\n".join(lines)


def conditions(repeats: int) -> str:
    """What the figures were measured with."""
    taking_part = ", ".join(f"{name} {version}" for name, version in versions().items())
    missing = "" if "langgraph" in versions() else " LangGraph is not installed: no comparison."
    return (
        f"Measured with Python {platform.python_version()} on {sys.platform} "
        f"({os.cpu_count()} cores); {taking_part}.{missing} Every figure is the median of "
        f"{repeats} processes, fewer where one takes long."
    )


INTRODUCTION = """# Benchmarks

Written by `python -m tests.benchmarks --markdown docs/benchmarks.md`; do not edit by hand.

Every measurement runs in a process of its own, the contenders take turns, and the table shows
medians. CPU time is that of the whole process, all threads; wall time is shown only where waiting
is the point. Smaller is better everywhere. *Plain Python* is the same node work with no framework:
a loop, `asyncio.gather`, one raw durable commit per step. *Over plain* is what graphflow adds to
it. Compare the quotients: the figures themselves are those of one machine, and of its disk."""
