"""How far a run is: what its events add up to, for people.

Pure counting: no terminal, no clock. `Progress` starts from a saved state, so that what an earlier
process finished is counted, and takes the chunks of a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from graphflow import MessageChunk, Usage

NODES = ("split", "summarise", "draft", "review", "publish")
Mark = Literal["done", "running", "asks", "ahead"]


@dataclass(slots=True)
class Progress:
    """Counts of one run so far."""

    sections: int = 0
    summaries: int = 0
    drafts: int = 0
    verdict: str = ""
    """Of the newest review; empty while a draft has none."""
    written: str = ""
    usage: Usage = field(default_factory=Usage)
    running: dict[str, list[str]] = field(default_factory=dict)
    """Node → what its tasks are at."""
    words: int = 0
    """Of the draft that is being written, as its pieces arrive."""
    is_asking: bool = False
    """Whether the run waits for a person."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Progress:
        """Return the progress that a state stands for."""
        progress = cls()
        progress._add(values)
        if len(values.get("reviews", ())) < progress.drafts:
            progress.verdict = ""
        return progress

    def take(self, mode: str, chunk: Any) -> list[tuple[str, str]]:
        """Take one chunk of a stream and return what was finished: `(node, what)`."""
        if mode == "custom":
            self.running.setdefault(chunk["node"], []).append(chunk["about"])
        elif mode == "messages":
            self._hear(*chunk)
        elif "__interrupt__" in chunk:
            self.is_asking = True
        elif "__metadata__" not in chunk:  # there: told again of what an earlier process finished
            return [(node, self._finished(node, writes)) for node, writes in chunk.items()]
        return []

    def mark(self, node: str) -> Mark:
        """Return how a node stands."""
        if self.running.get(node):
            return "running"
        if node == "review" and self.is_asking:
            return "asks"
        return "done" if self._is_done(node) else "ahead"

    def detail(self, node: str) -> str:
        """Return what there is to say about a node; empty where there is nothing."""
        if node == "split" and self.sections:
            return counted(self.sections, "section")
        if node == "summarise" and self.sections:
            return f"{self.summaries} of {self.sections}"
        if node == "draft":
            return self._newest_draft()
        if node == "review":
            return "waits for you" if self.is_asking else self.verdict
        return self.written if node == "publish" else ""

    def cost(self) -> str:
        """Return tokens and money in one line."""
        usage = self.usage
        if not usage.calls:
            return "no model call has ended yet"
        return f"{usage.input:,} tokens in, {usage.output:,} out, {_price(usage.cost)}"

    def _newest_draft(self) -> str:
        if self.running.get("draft"):
            return f"{self.running['draft'][-1]}: {counted(self.words, 'word')}"
        return f"draft {self.drafts}" if self.drafts else ""

    def _hear(self, piece: MessageChunk, metadata: Mapping[str, Any]) -> None:
        if metadata.get("langgraph_node") == "draft":
            self.words += piece.text.count(" ")

    def _is_done(self, node: str) -> bool:
        done = {
            "split": self.sections,
            "summarise": self.sections and self.summaries == self.sections,
            "draft": self.drafts and self.verdict != "reject",
            "review": self.verdict,
            "publish": self.written,
        }
        return bool(done[node])

    def _add(self, writes: Mapping[str, Any]) -> None:
        self.sections += len(writes.get("sections", ()))
        self.summaries += len(writes.get("summaries", ()))
        self.drafts += writes.get("drafts", 0)
        self.usage += writes.get("usage", Usage())
        self.written = writes.get("written", self.written)
        if writes.get("drafts"):
            self.verdict = ""
        for review in writes.get("reviews", ()):
            self.verdict = review.verdict

    def _finished(self, node: str, writes: Mapping[str, Any]) -> str:
        self._add(writes)
        what = self.detail(node)
        for summary in writes.get("summaries", ()):
            self._ends(node, summary.label)
            what = f"{what}: {summary.label}"
        if node == "draft":
            what = f"draft {self.drafts}, {len(writes['draft'].split())} words"
            self.running.pop(node, None)
            self.words = 0
        return what

    def _ends(self, node: str, about: str) -> None:
        if about in self.running.get(node, ()):
            self.running[node].remove(about)


def _price(dollars: float | None) -> str:
    if dollars is None:
        return "price unknown"
    return f"${dollars:,.4f}" if dollars else "free"


def counted(number: int, word: str) -> str:
    """Return `1 section`, `2 sections`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
