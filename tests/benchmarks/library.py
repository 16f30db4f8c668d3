"""The two libraries behind one set of names, so that every case is written once.

graphflow takes LangGraph's names; what differs is where they are imported from, how a message is
made and how a SQLite file is opened.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
)
from dataclasses import dataclass
from importlib import import_module, metadata, util
from typing import Any


@dataclass(frozen=True, slots=True)
class Library:
    """The names a case uses."""

    name: str
    graph: Callable[..., Any]
    """StateGraph: takes the state schema."""
    send: Callable[[str, Any], Any]
    messages_state: type
    """MessagesState."""
    message: Callable[[str], Any]
    """One user message of this text, without an id."""
    sqlite: Callable[[str], AbstractContextManager[Any]]
    """Opens a checkpointer on a path, and closes it."""
    async_sqlite: Callable[[str], AbstractAsyncContextManager[Any]]
    """The same for runs on an event loop."""


def installed() -> tuple[str, ...]:
    """Names of the libraries that can be imported here."""
    modules = {"graphflow": "graphflow", "LangGraph": "langgraph"}
    return tuple(name for name, module in modules.items() if util.find_spec(module))


def versions() -> dict[str, str]:
    """Version of every installed distribution that takes part."""
    found = {}
    for name in ("graphflow", "langgraph", "langgraph-checkpoint-sqlite"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def library(name: str) -> Library:
    """Imports one library.

    Raises:
        ImportError: it is not installed.
        KeyError: the name is not one of `case.LIBRARIES`.
    """
    return {"graphflow": _graphflow, "LangGraph": _langgraph}[name]()


def _graphflow() -> Library:
    from graphflow import Message, MessagesState, Send, StateGraph

    return Library(
        name="graphflow",
        graph=StateGraph,
        send=Send,
        messages_state=MessagesState,
        message=lambda text: Message(role="user", content=text),
        sqlite=_open_graphflow,
        async_sqlite=_open_graphflow_on_loop,
    )


def _open_graphflow(path: str) -> AbstractContextManager[Any]:
    from graphflow_checkpointers.sqlite import SqliteCheckpointer

    return closing(SqliteCheckpointer(path))


@asynccontextmanager
async def _open_graphflow_on_loop(path: str) -> AsyncIterator[Any]:
    with _open_graphflow(path) as checkpointer:
        yield checkpointer


def _langgraph() -> Library:
    graph, messages = import_module("langgraph.graph"), import_module("langchain_core.messages")
    return Library(
        name="LangGraph",
        graph=graph.StateGraph,
        send=import_module("langgraph.types").Send,
        messages_state=graph.MessagesState,
        message=messages.HumanMessage,
        sqlite=_open_langgraph,
        async_sqlite=_open_langgraph_on_loop,
    )


@contextmanager
def _open_langgraph(path: str) -> Iterator[Any]:
    with import_module("langgraph.checkpoint.sqlite").SqliteSaver.from_conn_string(path) as saver:
        yield saver


@asynccontextmanager
async def _open_langgraph_on_loop(path: str) -> AsyncIterator[Any]:
    module = import_module("langgraph.checkpoint.sqlite.aio")
    async with module.AsyncSqliteSaver.from_conn_string(path) as saver:
        yield saver
