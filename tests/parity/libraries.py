"""graphflow and LangGraph behind one set of names, so that every program is written once."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

_HOMES = {
    "langgraph.graph": "START END StateGraph MessagesState add_messages",
    "langgraph.graph.message": "REMOVE_ALL_MESSAGES push_message",
    "langgraph.types": (
        "CachePolicy Command GraphOutput Interrupt Overwrite PregelTask RetryPolicy Send "
        "StateSnapshot StateUpdate TimeoutPolicy interrupt"
    ),
    "langgraph.errors": (
        "EmptyInputError GraphDrained GraphInterrupt GraphRecursionError InvalidUpdateError "
        "NodeCancelledError NodeError NodeTimeoutError ParentCommand is_invalid_resume"
    ),
    "langgraph.func": "entrypoint task",
    "langgraph.runtime": "ExecutionInfo RunControl Runtime get_runtime",
    "langgraph.config": "get_config get_store get_stream_writer",
    "langgraph.managed": "IsLastStep RemainingSteps",
    "langgraph.channels": "EphemeralValue UntrackedValue",
    "langgraph.checkpoint.memory": "InMemorySaver",
    "langgraph.store.base": "BaseStore",
    "langgraph.store.memory": "InMemoryStore",
    "langgraph.cache.memory": "InMemoryCache",
    "langgraph.prebuilt": "InjectedState InjectedStore ToolNode ToolRuntime tools_condition",
    "langchain_core.tools": "InjectedToolCallId tool",
    "langchain_core.messages": "AIMessage HumanMessage RemoveMessage SystemMessage ToolMessage",
    "langchain_core.runnables": "RunnableConfig",
}
"""Where LangGraph keeps what graphflow has at its top level."""
_TOOLS = "InjectedState InjectedStore InjectedToolCallId ToolNode ToolRuntime tool tools_condition"


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two: `library.StateGraph`, `library.interrupt`, …"""

    name: str
    homes: dict[str, str]
    """Name → module that has it."""

    def __getattr__(self, name: str) -> Any:
        if name not in self.homes:
            raise AttributeError(f"no program uses {name!r} yet: add it to the table of names")
        return getattr(import_module(self.homes[name]), name)

    @property
    def signals(self) -> tuple[type[BaseException], ...]:
        """Whatever a run may raise: graphflow's signals are no `Exception` (contract §32.2)."""
        return (Exception, self.GraphInterrupt, self.GraphDrained, self.ParentCommand)


def _names() -> Iterator[tuple[str, str]]:
    for module, names in _HOMES.items():
        for name in names.split():
            yield name, module


LANGGRAPH = Library("LangGraph", dict(_names()))
GRAPHFLOW = Library(
    "graphflow",
    {name: "graphflow" for name, _ in _names()}
    | dict.fromkeys(_TOOLS.split(), "graphflow_integrations.tools"),
)
