"""The demo's workflow: summarise every section, draft a brief, ask a person, publish.

    split ──▷ summarise (one task a section) ──▷ draft ──▷ review ──▷ publish
                                                   ◁── reject ──┘

Nodes take what they need from outside (the model, the files, the journal) from the run's context,
and everything else from the state, so that a run can be left at any point and gone on with by
another process.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from graphflow import (
    END,
    START,
    CompiledStateGraph,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
    Usage,
    interrupt,
)
from graphflow_integrations.chat import ChatModel, ModelError
from graphflow_integrations.demo.documents import Document, Section, split_sections
from graphflow_integrations.demo.journal import Journal, write_once

SUMMARISE = "Summarise this section in 2 sentences. Say only what the text says."
BRIEF = (
    "Write a brief over the sections below, in Markdown: a title, then one bullet for each "
    "heading. Say only what the sections say. Follow the reviewer's feedback."
)
MOST_HEADINGS = 20
"""Sections up to which each has a heading of its own in the brief."""


@dataclass(frozen=True, slots=True)
class Review:
    """A person's answer to a draft."""

    verdict: Literal["approve", "edit", "reject"]
    """Publish the draft; publish `text` instead; or draft again after `feedback`."""
    text: str = ""
    """With `edit`: the brief as it shall be."""
    feedback: str = ""
    """With `reject`: what to do differently."""

    def __post_init__(self) -> None:
        """Refuse a verdict that lacks what it needs."""
        if self.verdict == "edit" and not self.text.strip():
            raise ValueError("An edit needs the text of the brief.")
        if self.verdict == "reject" and not self.feedback.strip():
            raise ValueError("A rejection needs feedback: what shall be different?")


class DemoState(TypedDict, total=False):
    """What a run of the demo knows."""

    documents: list[Document]
    sections: list[Section]
    summaries: Annotated[list[Section], operator.add]
    """The sections again, each with its summary for a text."""
    draft: str
    drafts: Annotated[int, operator.add]
    """How many there were."""
    reviews: Annotated[list[Review], operator.add]
    usage: Annotated[Usage, operator.add]
    """Tokens and money of all model calls whose results were kept."""
    written: str
    """Where the brief is."""


class OneSection(TypedDict):
    """What one task of the fan-out gets."""

    section: Section


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the nodes need that is not state."""

    model: ChatModel
    out: Path
    """Where the brief goes."""
    journal: Journal
    pause: float = 0.0
    """Seconds to wait before each section, so that a person can watch, or kill."""


def split(state: DemoState) -> DemoState:
    """Cut the documents into sections."""
    return {"sections": split_sections(state["documents"])}


def each_section(state: DemoState) -> list[Send]:
    """Send every section to a task of its own."""
    return [Send("summarise", {"section": section}) for section in state["sections"]]


async def summarise(state: OneSection, runtime: Runtime[Surroundings]) -> DemoState:
    """Summarise one section."""
    section, around = state["section"], runtime.context
    runtime.stream_writer({"node": "summarise", "about": section.label})
    await asyncio.sleep(around.pause)
    around.journal.note("asked", "summarise", told(section))
    answer = await around.model.acomplete(
        f"{SUMMARISE}\n\nTopic: {section.label}\n\nText:\n{section.text}"
    )
    summary = replace(section, text=answer.text.strip())
    return {"summaries": [summary], "usage": answer.usage or Usage(calls=1)}


async def draft(state: DemoState, runtime: Runtime[Surroundings]) -> DemoState:
    """Write a brief over all summaries; a rejected one is written differently."""
    number = state.get("drafts", 0) + 1
    runtime.stream_writer({"node": "draft", "about": f"draft {number}"})
    runtime.context.journal.note("asked", "draft", f"draft {number}")
    answer = await runtime.context.model.acomplete(_order(state))
    return {"draft": answer.text.strip(), "drafts": 1, "usage": answer.usage or Usage(calls=1)}


def review(state: DemoState) -> DemoState:
    """Show the draft to a person and wait."""
    question = {
        "question": "Shall this brief be published?",
        "draft": state["draft"],
        "number": state["drafts"],
    }
    answer: Review = interrupt(question, response_schema=Review)
    if answer.verdict == "edit":
        return {"reviews": [answer], "draft": answer.text}
    return {"reviews": [answer]}


def verdict(state: DemoState) -> str:
    """Return what the person decided."""
    return state["reviews"][-1].verdict


def publish(state: DemoState, runtime: Runtime[Surroundings]) -> DemoState:
    """Write the brief to its file: safe to repeat, for it leaves a file that is right alone."""
    out, journal = runtime.context.out, runtime.context.journal
    if write_once(out, state["draft"].strip() + "\n"):
        journal.note("wrote", "publish", str(out))
    return {"written": str(out)}


def build() -> StateGraph[DemoState]:
    """Declare the workflow."""
    again = RetryPolicy(retry_on=_passes, max_attempts=4)
    graph: StateGraph[DemoState] = StateGraph(DemoState, context_schema=Surroundings)
    graph.add_node("split", split)
    graph.add_node("summarise", summarise, retry_policy=again)
    graph.add_node("draft", draft, retry_policy=again)
    graph.add_node("review", review)
    graph.add_node("publish", publish)
    graph.add_edge(START, "split")
    graph.add_conditional_edges("split", each_section, ["summarise"])
    graph.add_edge("summarise", "draft")
    graph.add_edge("draft", "review")
    graph.add_conditional_edges(
        "review", verdict, {"approve": "publish", "edit": "publish", "reject": "draft"}
    )
    graph.add_edge("publish", END)
    return graph


def compiled(checkpointer: Any = None) -> CompiledStateGraph:
    """Return the workflow, ready to run."""
    return build().compile(checkpointer, name="demo")


def told(section: Section) -> str:
    """Return how the journal calls a section: the number makes it unique."""
    return f"{section.place + 1} {section.label}"


def topic_of(documents: Sequence[Document]) -> str:
    """Return what a brief over these documents is about."""
    names = [document.name.rpartition(".")[0] or document.name for document in documents]
    more = [f"{len(names) - 3} more"] if len(names) > 3 else []
    listed = [*names[:3], *more]
    return " and ".join(filter(None, [", ".join(listed[:-1]), listed[-1]]))


def _passes(error: BaseException) -> bool:
    return isinstance(error, ModelError) and error.retryable


def _order(state: DemoState) -> str:
    """Return what the model is told for the next draft."""
    remarks = [" ".join(review.feedback.split()) for review in state.get("reviews", ())]
    parts = [BRIEF, f"Topic: {topic_of(state['documents'])}"]
    parts += [f"Reviewer feedback: {remark}" for remark in remarks if remark]
    if state.get("draft"):
        parts.append(f"Previous draft:\n{state['draft']}")
    return "\n\n".join([*parts, f"Sections:\n{_outline(state['summaries'])}"])


def _outline(summaries: Sequence[Section]) -> str:
    """Return the summaries under headings: by section, or by document if there are many."""
    is_one = len({summary.document for summary in summaries}) == 1
    is_long = len(summaries) > MOST_HEADINGS and not is_one
    texts: dict[str, list[str]] = {}
    for summary in summaries:
        heading = summary.document if is_long else summary.title if is_one else summary.label
        texts.setdefault(heading, []).append(summary.text)
    return "\n\n".join(f"## {heading}\n{' '.join(said)}" for heading, said in texts.items())
