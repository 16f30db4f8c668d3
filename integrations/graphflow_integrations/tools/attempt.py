"""One tool call on its way: told in mode `tools`, run, answered."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Any

from graphflow.drivers.call import Blocking
from graphflow.errors import (
    CheckpointError,
    DriftError,
    GraphSignal,
    ParentCommand,
    SwallowedInterruptError,
    is_invalid_resume,
)
from graphflow.runtime import TaskContext, enter_task
from graphflow.state.message_parts import ToolCall
from graphflow_integrations.tools.answers import Answer, answer, failure
from graphflow_integrations.tools.handling import Handling
from graphflow_integrations.tools.injected import tool_runtime
from graphflow_integrations.tools.tool import Tool

Stop = GraphSignal | SystemExit | KeyboardInterrupt
"""What ends the node, but only when the other tools have ended."""
STOPS = (GraphSignal, SystemExit, KeyboardInterrupt)

_OF_THE_RUN = (CheckpointError, DriftError, SwallowedInterruptError)
"""What is no business of a model's, even where a graph that the tool called raised it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call and what it needs."""

    tool: Tool
    call: ToolCall
    place: TaskContext | None
    """The part of the node's task that it is; None outside of a running graph."""
    state: Any
    """What the node was given."""
    messages_key: str
    handling: Handling
    threads: Executor
    """Where blocking tools run."""

    async def ending(self) -> Answer | Stop:
        """Run the tool, and return the answer to its call, or the signal that stopped it.

        Raises:
            Exception: What the tool raised, if the run is to fail of it.
        """
        if self.place is not None:
            enter_task(self.place)
        injected = self._injected()
        self._tell({"event": "tool-started", "tool_call_id": self.call.id,
                    "tool_name": self.tool.name, "input": self._input()})  # fmt: skip
        try:
            output = await self._output(injected)
        except ParentCommand as signal:  # of a graph that the tool called: meant for this one
            answered: Answer = replace(signal.command, graph=None)
        except STOPS as stop:
            return stop
        except Exception as error:
            return self._failed(error)
        else:
            answered = answer(output, self.call, self.messages_key)
        finished = {"event": "tool-finished", "tool_call_id": self.call.id, "output": answered}
        self._tell(finished)
        return answered

    def _input(self) -> Any:
        return self.call.raw if self.call.args is None else self.call.args

    def _tell(self, event: dict[str, Any]) -> None:
        if self.place is not None:
            self.place.touch()
            self.place.run.emit("tools", event)

    def _injected(self) -> dict[str, Any]:
        if not self.tool.injections:
            return {}
        runtime = tool_runtime(self.place, self.state, self.call, self._tell)
        return {name: mark.value(runtime) for name, mark in self.tool.injections.items()}

    async def _output(self, injected: dict[str, Any]) -> Any:
        given = {**self.tool.arguments(self.call), **injected}
        if self.tool.is_async:
            return await self.tool.function(**given)
        blocking = Blocking(self.tool.function, **given)
        loop = asyncio.get_running_loop()
        output = await loop.run_in_executor(self.threads, copy_context().run, blocking)
        return await output if isawaitable(output) else output

    def _failed(self, error: Exception) -> Answer:
        if isinstance(error, _OF_THE_RUN) or is_invalid_resume(error):
            raise error
        told = {"event": "tool-error", "tool_call_id": self.call.id, "message": str(error)}
        self._tell(told)
        text = self.handling.text(error)
        if text is None:
            raise error
        return failure(self.call, text)
