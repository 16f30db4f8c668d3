"""The node that runs the tools a model asks for.

    graph.add_node("tools", ToolNode([look_up, book]))
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")

The calls of a message run side by side: async tools on the loop, blocking ones in threads. A tool
that fails is answered with what went wrong, so that the model can do better. A tool may ask a
person with `interrupt()`, call graphs, and return a `Command`. While one of them waits for a
person, the others end; when the answer has come the node, and so each of its tools, runs again from
the first line. To have them run once, give each a task: `[Send("tools", [call]) for call in …]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from graphflow.errors import GraphInterrupt, GraphSignal
from graphflow.parts import divided
from graphflow.runtime import TaskContext, current_or_none
from graphflow.state.message_parts import ToolCall
from graphflow.types import Command
from graphflow_integrations.tools.answers import Answer, failure
from graphflow_integrations.tools.attempt import Attempt, Stop
from graphflow_integrations.tools.calls import is_call_list, open_calls
from graphflow_integrations.tools.handling import Handling
from graphflow_integrations.tools.tool import Tool

T = TypeVar("T")
_FIRST = (SystemExit, KeyboardInterrupt, GraphInterrupt, GraphSignal)
"""Of several stops, the kind that the node ends with; of one kind, the first in the message."""


class ToolNode:
    """Runs the tool calls of the last assistant message and adds the answers.

    Args:
        tools: Functions, or what `tool` makes of them.
        name: What the node is called if `add_node` is not told.
        handle_tool_errors: What is answered when a tool raises. True: the error; a text; a function
            of the error that returns the text; exception types: just those are answered. With
            False the run fails. A call that names no tool is answered in any case.
        messages_key: Where the state keeps its messages.

    Raises:
        TypeError: Something among `tools` cannot be run.
        ValueError: Two tools have one name.
    """

    def __init__(
        self,
        tools: Iterable[Callable[..., Any] | Tool],
        *,
        name: str = "tools",
        handle_tool_errors: Any = True,
        messages_key: str = "messages",
    ) -> None:
        self.__name__ = name
        self.messages_key = messages_key
        self.tools = _by_name(map(Tool.of, tools))
        self._handling = Handling(handle_tool_errors)

    def __repr__(self) -> str:
        """Shows the names of the tools."""
        return f"ToolNode({', '.join(self.tools)})"

    async def __call__(self, state: Any) -> Any:
        """Runs the calls that are not answered yet.

        Args:
            state: A state, its list of messages, or a list of tool calls.

        Returns:
            The update of the state: the answers, and the Commands that tools returned.

        Raises:
            ValueError: There is no assistant message, or a Command leaves its call unanswered.
            GraphInterrupt: A tool asks a person; of several, the first in the message.
            Exception: What a tool raised and `handle_tool_errors` leaves to the run.
        """
        calls = open_calls(state, self.messages_key)
        task = current_or_none()
        places = [None] * len(calls) if task is None else divided(task, len(calls))
        threads = ThreadPoolExecutor(len(calls) or 1, thread_name_prefix="graphflow-tool")
        try:
            work = [
                partial(self._ending, call, place, state, threads)
                for call, place in zip(calls, places, strict=True)
            ]
            endings = await _together(work, _limit(task))
        finally:
            threads.shutdown(wait=False)
        return self._update(state, _answers(endings))

    async def _ending(
        self, call: ToolCall, place: TaskContext | None, state: Any, threads: ThreadPoolExecutor
    ) -> Answer | Stop:
        tool = self.tools.get(call.name)
        if tool is None:
            known = ", ".join(self.tools) or "none"
            return failure(call, f"Error: there is no tool '{call.name}'. Known tools: {known}.")
        return await Attempt(
            tool, call, place, state, self.messages_key, self._handling, threads
        ).ending()

    def _update(self, state: Any, answers: Sequence[Answer]) -> Any:
        if not any(isinstance(one, Command) for one in answers):
            return self._written(state, answers)
        return [one if isinstance(one, Command) else self._written(state, [one]) for one in answers]

    def _written(self, state: Any, messages: Sequence[Answer]) -> Any:
        """Return messages as an update of the kind of state that the node was given."""
        is_list = isinstance(state, list) and not is_call_list(state)
        return messages if is_list else {self.messages_key: messages}


def _by_name(tools: Iterable[Tool]) -> dict[str, Tool]:
    named: dict[str, Tool] = {}
    for tool in tools:
        if tool.name in named:
            raise ValueError(f"Two tools are called '{tool.name}': a model could not choose.")
        named[tool.name] = tool
    return named


def _limit(task: TaskContext | None) -> int | None:
    """Return how many tools may run at once, as far as the run's config says."""
    return None if task is None else task.run.config.get("max_concurrency")


async def _together(
    work: Sequence[Callable[[], Coroutine[Any, Any, T]]], limit: int | None
) -> list[T]:
    """Do all of the work at once, and return what came of it in its order.

    Raises:
        BaseException: What the first to fail raised; the others are cancelled.
    """
    gate = asyncio.Semaphore(limit or len(work))

    async def gated(start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with gate:
            return await start()

    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(gated(start)) for start in work]
    except BaseExceptionGroup as failures:
        failed = failures.exceptions[0]
    else:
        return [each.result() for each in running]
    raise failed


def _answers(endings: Iterable[Answer | Stop]) -> list[Answer]:
    """Return the answers, if nothing stops the node."""
    answers: list[Answer] = []
    stops: list[Stop] = []
    for ending in endings:
        if isinstance(ending, Stop):
            stops.append(ending)
        else:
            answers.append(ending)
    if stops:
        raise min(stops, key=_urgency)
    return answers


def _urgency(stop: Stop) -> int:
    return next(n for n, kind in enumerate(_FIRST) if isinstance(stop, kind))
