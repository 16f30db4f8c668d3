"""The two libraries behind one set of names, so that every case is written once.

graphflow takes LangGraph's names; what differs is where they are imported from, how a message is
made, how a store is opened and how a fork is begun.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
)
from dataclasses import dataclass, replace
from importlib import import_module, metadata, util
from operator import add
from typing import Annotated, Any


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
    sqlite: Callable[..., AbstractContextManager[Any]]
    """Opens a checkpointer on a path, and closes it; with `synchronous="normal"` its commits need
    not survive a power cut."""
    async_sqlite: Callable[[str], AbstractAsyncContextManager[Any]]
    """The same for runs on an event loop."""
    postgres: Callable[[str, int], AbstractContextManager[Any]]
    """Connects a checkpointer to a dsn with at most so many connections, and makes its tables."""
    async_postgres: Callable[[str, int], AbstractAsyncContextManager[Any]]
    """The same for runs on an event loop."""
    growing: Any
    """Annotation of a list that grows."""
    interrupt: Callable[[Any], Any]
    command: Callable[..., Any]
    """Command: takes `resume`."""
    fork: Callable[[Any, Any], object]
    """Begins another line at a checkpoint: takes an app and a config."""


def installed() -> tuple[str, ...]:
    """Names of the libraries that can be imported here."""
    modules = {"graphflow": "graphflow", "LangGraph": "langgraph"}
    return tuple(name for name, module in modules.items() if util.find_spec(module))


def has_modules(*names: str) -> bool:
    """Whether all of these can be imported here."""
    try:
        return all(util.find_spec(name) for name in names)
    except ModuleNotFoundError:  # a package around one
        return False


DISTRIBUTIONS = (
    "graphflow",
    "langgraph",
    "langgraph-checkpoint-sqlite",
    "langgraph-checkpoint-postgres",
)


def versions() -> dict[str, str]:
    """Version of every installed distribution that takes part."""
    found = {}
    for name in DISTRIBUTIONS:
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
    from graphflow import Command, Message, MessagesState, Send, StateGraph, interrupt

    return Library(
        name="graphflow",
        graph=StateGraph,
        send=Send,
        messages_state=MessagesState,
        message=lambda text: Message(role="user", content=text),
        sqlite=_open_graphflow,
        async_sqlite=_open_graphflow_on_loop,
        postgres=_connect_graphflow,
        async_postgres=_connect_graphflow_on_loop,
        growing=Annotated[list, add],
        interrupt=interrupt,
        command=Command,
        fork=lambda app, config: app.fork(config),
    )


def _open_graphflow(path: str, **settings: Any) -> AbstractContextManager[Any]:
    from graphflow_checkpointers.sqlite import SqliteCheckpointer

    return closing(SqliteCheckpointer(path, **settings))


@asynccontextmanager
async def _open_graphflow_on_loop(path: str) -> AsyncIterator[Any]:
    with _open_graphflow(path) as checkpointer:
        yield checkpointer


@contextmanager
def _connect_graphflow(dsn: str, connections: int) -> Iterator[Any]:
    from graphflow_checkpointers.postgres import PostgresCheckpointer

    with PostgresCheckpointer(
        dsn, max_connections=connections, prepare_threshold=5
    ) as checkpointer:
        checkpointer.run(checkpointer.threads())
        yield checkpointer


@asynccontextmanager
async def _connect_graphflow_on_loop(dsn: str, connections: int) -> AsyncIterator[Any]:
    with _connect_graphflow(dsn, connections) as checkpointer:
        yield checkpointer


def with_delta_channel(lib: Library) -> Library:
    """LangGraph with its delta channel for lists that grow; graphflow stores deltas anyway."""
    if lib.name != "LangGraph":
        return lib
    channel = import_module("langgraph.channels.delta").DeltaChannel(_all_appended)
    return replace(lib, growing=Annotated[list, channel])


def _all_appended(state: list[Any], writes: list[list[Any]]) -> list[Any]:
    return [*state, *(item for write in writes for item in write)]


def _langgraph() -> Library:
    graph, messages = import_module("langgraph.graph"), import_module("langchain_core.messages")
    types = import_module("langgraph.types")
    return Library(
        name="LangGraph",
        graph=graph.StateGraph,
        send=types.Send,
        messages_state=graph.MessagesState,
        message=messages.HumanMessage,
        sqlite=_open_langgraph,
        async_sqlite=_open_langgraph_on_loop,
        postgres=_connect_langgraph,
        async_postgres=_connect_langgraph_on_loop,
        growing=Annotated[list, add],
        interrupt=types.interrupt,
        command=types.Command,
        fork=lambda app, config: app.update_state(config, None, as_node="__copy__"),
    )


@contextmanager
def _open_langgraph(path: str, synchronous: str = "full") -> Iterator[Any]:
    with import_module("langgraph.checkpoint.sqlite").SqliteSaver.from_conn_string(path) as saver:
        saver.setup()
        saver.conn.execute(f"PRAGMA synchronous={synchronous}")
        yield saver


@asynccontextmanager
async def _open_langgraph_on_loop(path: str) -> AsyncIterator[Any]:
    module = import_module("langgraph.checkpoint.sqlite.aio")
    async with module.AsyncSqliteSaver.from_conn_string(path) as saver:
        yield saver


@contextmanager
def _connect_langgraph(dsn: str, connections: int) -> Iterator[Any]:
    saver = import_module("langgraph.checkpoint.postgres").PostgresSaver
    if connections == 1:
        with saver.from_conn_string(dsn) as checkpointer:
            checkpointer.setup()
            yield checkpointer
        return
    pool = import_module("psycopg_pool").ConnectionPool
    with pool(dsn, min_size=connections, kwargs=_connection()) as given:
        checkpointer = saver(given)
        checkpointer.setup()
        yield checkpointer


@asynccontextmanager
async def _connect_langgraph_on_loop(dsn: str, connections: int) -> AsyncIterator[Any]:
    saver = import_module("langgraph.checkpoint.postgres.aio").AsyncPostgresSaver
    pool = import_module("psycopg_pool").AsyncConnectionPool
    async with pool(dsn, min_size=connections, open=False, kwargs=_connection()) as given:
        checkpointer = saver(given)
        await checkpointer.setup()
        yield checkpointer


def _connection() -> dict[str, Any]:
    """What its saver asks of connections, and sets on those that it makes itself."""
    row_factory = import_module("psycopg.rows").dict_row
    return {"autocommit": True, "prepare_threshold": 0, "row_factory": row_factory}
