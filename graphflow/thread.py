"""The thread handle: one conversation with a graph, comfortable in a notebook.

    thread = app.thread("42")
    run = thread.run({"topic": "bees"})
    run.status, run.value, run.interrupts
    thread.answer({"approved": True})

A thin face over the same calls that `invoke`, `get_state` and `update_state` are; displaying it
shows the graph with the run drawn over it, the state and the open questions.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from graphflow.calls import merge_configs
from graphflow.errors import AlreadyAnswered, UnknownInterruptError
from graphflow.types import Command, Config, Interrupt, StateSnapshot

if TYPE_CHECKING:
    from graphflow.compiled import CompiledStateGraph

Standing = Literal["done", "waiting"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run of a thread ended."""

    status: Standing
    """`waiting`: for an answer, or at a breakpoint."""
    value: Any
    """The output keys of the state."""
    interrupts: tuple[Interrupt, ...]
    """The open questions; empty at a breakpoint."""
    next: tuple[str, ...]
    """Nodes still to run."""


class Thread:
    """A handle on one thread, or on one branch of it.

    Args:
        app: The graph; it needs a checkpointer.
        thread_id: The thread's id; it need not exist yet.
        branch: Name of a branch; None: the one that grew last.
        config: Merged into the config of every call.
    """

    def __init__(
        self,
        app: CompiledStateGraph,
        thread_id: str,
        branch: str | None = None,
        config: Config | None = None,
    ) -> None:
        self.app = app
        self.id = str(thread_id)
        self.branch = branch
        place = {"thread_id": self.id, **({} if branch is None else {"branch": branch})}
        self.config = merge_configs(config, {"configurable": place})

    def __repr__(self) -> str:
        branch = "" if self.branch is None else f", branch={self.branch!r}"
        return f"Thread({self.id!r}{branch})"

    # -- running -------------------------------------------------------------------------------

    def run(self, input: Any = None, **options: Any) -> RunResult:
        """Run with new input, or go on without; options as for `stream`."""
        output = self.app.invoke(input, self.config, version="v2", **options)
        return self._told(output, self.state)

    async def arun(self, input: Any = None, **options: Any) -> RunResult:
        """As `run`, on the running event loop."""
        output = await self.app.ainvoke(input, self.config, version="v2", **options)
        return self._told(output, await self.app.aget_state(self.config))

    def answer(self, value: Any, question: str | Interrupt | None = None) -> RunResult:
        """Answer an open question and go on.

        Args:
            value: The answer; checked against the question's `response_schema`.
            question: The question, its id, or the node that asks; None: the only one.

        Raises:
            AlreadyAnswered: Nothing is asked any more.
            UnknownInterruptError: It is not clear which question is meant.
            pydantic.ValidationError: The answer does not fit; the question stays open.
        """
        return self.run(Command(resume={self._asked(self.questions, question): value}))

    async def aanswer(self, value: Any, question: str | Interrupt | None = None) -> RunResult:
        """As `answer`, on the running event loop."""
        open_questions = (await self.app.aget_state(self.config)).interrupts
        return await self.arun(Command(resume={self._asked(open_questions, question): value}))

    def _asked(
        self, open_questions: tuple[Interrupt, ...], question: str | Interrupt | None
    ) -> str:
        if not open_questions:
            raise AlreadyAnswered(f"Thread {self.id!r} asks nothing; the answer was not used.")
        wanted = question.id if isinstance(question, Interrupt) else question
        found = [q for q in open_questions if wanted in (None, q.id, q.node)]
        if len(found) != 1:
            known = ", ".join(f"{q.node} ({q.id})" for q in open_questions)
            raise UnknownInterruptError(
                f"Thread {self.id!r}: {wanted!r} means {len(found)} of the open questions: {known}."
            )
        return found[0].id

    def _told(self, output: Any, state: StateSnapshot) -> RunResult:
        waits = bool(output.interrupts or state.next)
        return RunResult(
            "waiting" if waits else "done", output.value, output.interrupts, state.next
        )

    # -- looking -------------------------------------------------------------------------------

    @property
    def state(self) -> StateSnapshot:
        """The thread as it stands now."""
        return self.app.get_state(self.config)

    @property
    def values(self) -> Any:
        """The state's values as they stand now."""
        return self.state.values

    @property
    def questions(self) -> tuple[Interrupt, ...]:
        """What the thread asks now."""
        return self.state.interrupts

    def history(self, limit: int | None = None) -> Iterator[StateSnapshot]:
        """Yield the thread's checkpoints, newest first, over all its branches."""
        return self.app.get_state_history(self.config, limit=limit)

    def branches(self) -> dict[str, str]:
        """Return the names of the thread's branches and the checkpoint id of each one's head."""
        return self.app.branches(self.id)

    def diff(self, branch: str, other: str | None = None) -> dict[str, tuple[Any, Any]]:
        """Return the keys in which two branches differ, with the value on either side.

        Args:
            branch: Name of a branch.
            other: Name of the other; None: this handle's.
        """
        here = self._on(branch).values
        there = (self if other is None else self._on(other)).values
        if not isinstance(here, Mapping):
            return {} if here == there else {"": (here, there)}
        keys = dict.fromkeys((*here, *there))
        return {key: (here.get(key), there.get(key)) for key in keys if _differ(key, here, there)}

    # -- changing ------------------------------------------------------------------------------

    def update(self, values: Any, as_node: str | None = None) -> StateSnapshot:
        """Write as if `as_node` had returned `values`: reducers apply, its edges are followed."""
        self.app.update_state(self.config, values, as_node)
        return self.state

    def edit(
        self, values: Mapping[str, Any], *, reason: str = "", author: str = ""
    ) -> StateSnapshot:
        """Replace values by hand; what is to run next stays as it is.

        Args:
            values: Key to new value; no reducer is applied.
            reason: Kept in the checkpoint's metadata, as is `author`.
            author: Who did it.

        Raises:
            HeadMoved: Somebody else ran or edited the thread meanwhile.
            InvalidUpdateError: A key is none of the state's.
        """
        told = {key: text for key, text in (("reason", reason), ("author", author)) if text}
        self.app.edit_state(merge_configs(self.config, {"metadata": told}), values)
        return self.state

    def fork(self, at: int | str | None = None, branch: str | None = None) -> Thread:
        """Begin a branch and return its handle. No state is copied.

        Args:
            at: A step number, as `history()` shows it in `metadata["step"]`, or a checkpoint id;
                None: the head.
            branch: The new branch's name; None: one is made up.

        Raises:
            UnknownCheckpointError: There is no such checkpoint.
            HeadMoved: The thread has a branch of that name.
        """
        name = self.app.fork(self.config, at, branch)
        return self._on(name)

    def _on(self, branch: str) -> Thread:
        return Thread(self.app, self.id, branch, self.config)

    # -- showing -------------------------------------------------------------------------------

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        state = self.state
        bundle = self.app.get_graph(self.config)._repr_mimebundle_(**options)
        bundle["text/html"] += _table("State", _rows(state.values)) + _table(
            "Open questions", {f"{q.node}": q.value for q in state.interrupts}
        )
        bundle["text/plain"] = f"{self!r}: next {state.next}\n{bundle['text/plain']}"
        bundle.pop("image/svg+xml", None)
        return bundle


def _differ(key: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    return (key in here) != (key in there) or here.get(key) != there.get(key)


def _rows(values: Any) -> Mapping[str, Any]:
    return values if isinstance(values, Mapping) else {"": values}


def _table(title: str, rows: Mapping[str, Any]) -> str:
    if not rows:
        return ""
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(str(key))}</th>"
        f"<td style='text-align:left'><pre>{html.escape(_short(value))}</pre></td></tr>"
        for key, value in rows.items()
    )
    return f"<b>{html.escape(title)}</b><table>{cells}</table>"


def _short(value: Any, limit: int = 600) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text)} characters)"
