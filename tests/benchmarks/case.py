"""One benchmark case: the same work for every contender, and for plain Python as the floor.

A case is a function of a library and a size that returns its figures, keyed by what they are
("µs CPU per superstep"). The key carries the unit, and two contenders' figures under one key are
comparable; smaller is better everywhere. A case measures itself, because only it knows which part
is preparation; `stopwatch` says how.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from .library import Library, has_modules

Figures = dict[str, float]

PLAIN = "plain Python"
LIBRARIES = ("graphflow", "LangGraph")


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured, at which sizes, and against which floor."""

    name: str
    """Dotted, as given to `--only`."""
    run: Callable[[Library, int], Figures]
    """Does the work with one library; the first line of its docstring is shown under the table."""
    sizes: tuple[int, ...]
    floor: Callable[[int], Figures] | None = None
    """The same node work with no framework."""
    grows: tuple[str, ...] = ()
    """Figures whose growth exponents between the sizes are rows of their own."""
    libraries: tuple[str, ...] = LIBRARIES
    largest: Mapping[str, int] = field(default_factory=dict)
    """Contender → the size above which it would take too long or fill the disk."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Contender → modules that it takes part only with."""
    server: Callable[[], AbstractContextManager[str]] | None = None
    """Starts what the contenders connect to, once for the case, and says where it is."""
    most_repeats: int = 100
    """Processes per figure at most, where they hardly differ or take long."""

    def contenders(self, installed: tuple[str, ...], size: int) -> tuple[str, ...]:
        """Who takes part at a size, among the installed libraries."""
        named = tuple(name for name in self.libraries if name in installed)
        return tuple(
            name
            for name in (*named, *((PLAIN,) if self.floor else ()))
            if size <= self.largest.get(name, size) and has_modules(*self.needs.get(name, ()))
        )

    def description(self) -> str:
        """The first line of the case's docstring."""
        return (self.run.__doc__ or "").strip().splitlines()[0]


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that share a table."""

    title: str
    cases: tuple[Case, ...]
