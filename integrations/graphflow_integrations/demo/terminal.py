"""The terminal: what a person sees while the demo runs.

`RichScreen` redraws a small table in place; `PlainScreen` prints a line for everything that was
finished, for pipes, logs, and where rich is not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from graphflow_integrations.demo.progress import NODES, Mark, Progress

MOST_SHOWN = 3
"""Tasks of one node that are named while they run."""
_LOOKS: dict[Mark, tuple[str, str]] = {
    "done": ("✓", "green"),
    "running": ("●", "cyan"),
    "asks": ("?", "bold yellow"),
    "ahead": ("·", "dim"),
}
_WIDEST = max(map(len, NODES))


class Screen(Protocol):
    """Where the demo speaks."""

    def say(self, text: str) -> None:
        """Show a paragraph."""
        ...

    def watch(self, progress: Progress) -> AbstractContextManager[None]:
        """Show a run's progress while the context is open."""
        ...

    def refresh(self, finished: Sequence[tuple[str, str]]) -> None:
        """Show that something changed; `finished` says what ended, as `(node, what)`."""
        ...

    def show_draft(self, question: Mapping[str, Any]) -> None:
        """Show the draft that a question is about."""
        ...


class PlainScreen:
    """Lines, each printed once."""

    def say(self, text: str) -> None:
        """Print a paragraph."""
        print(text, flush=True)

    @contextmanager
    def watch(self, progress: Progress) -> Iterator[None]:
        """Print the cost in the end."""
        before = progress.usage
        yield
        if progress.usage != before:
            self.say(f"model: {progress.cost()}")

    def refresh(self, finished: Sequence[tuple[str, str]]) -> None:
        """Print what ended."""
        for node, what in finished:
            self.say(f"{node}: {what}")

    def show_draft(self, question: Mapping[str, Any]) -> None:
        """Print the draft between two rules."""
        rule = "-" * 72
        self.say(f"\ndraft {question['number']}\n{rule}\n{question['draft']}\n{rule}")


class RichScreen:
    """A table that is redrawn in place, and the draft as it reads."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(highlight=False)

    def say(self, text: str) -> None:
        """Print a paragraph, nothing in it taken for markup."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def watch(self, progress: Progress) -> Iterator[None]:
        """Keep the table up to date; its last state stays on the screen."""
        from rich.live import Live

        view = _Table(progress)
        self.console.print()
        with Live(view, console=self.console, refresh_per_second=8):
            yield

    def refresh(self, finished: Sequence[tuple[str, str]]) -> None:
        """Do nothing: the table reads the progress whenever it is drawn."""

    def show_draft(self, question: Mapping[str, Any]) -> None:
        """Show the draft in a frame."""
        from rich.markdown import Markdown
        from rich.panel import Panel

        title = f"draft {question['number']}"
        self.console.print()
        self.console.print(Panel(Markdown(question["draft"]), title=title, padding=(1, 2)))


class _Table:
    """Renders a progress whenever it is drawn."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        return Group(*map(self._line, NODES), Text(f"     {self.progress.cost()}", style="dim"))

    def _line(self, node: str) -> Any:
        from rich.text import Text

        sign, style = _LOOKS[self.progress.mark(node)]
        line = f"  {sign}  {node:<{_WIDEST}}  {self._detail(node)}"
        return Text(line, style=style, no_wrap=True, overflow="ellipsis")

    def _detail(self, node: str) -> str:
        detail = self.progress.detail(node)
        running = self.progress.running.get(node, []) if node == "summarise" else []
        if not running:
            return detail
        more = [f"{len(running) - MOST_SHOWN} more"] if len(running) > MOST_SHOWN else []
        return f"{detail}   {', '.join([*running[:MOST_SHOWN], *more])}"


def screen() -> Screen:
    """Return what suits where the output goes."""
    if not sys.stdout.isatty():
        return PlainScreen()
    try:
        return RichScreen()
    except ImportError:
        return PlainScreen()
