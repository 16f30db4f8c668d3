"""Reading a long thread back from SQLite, with a checkpointer that has never seen it."""

import json
import sqlite3
from contextlib import closing
from typing import Any

from .case import Case, Figures, Group
from .cases_sqlite import append, database, on, one_row, plain_log, run_talk
from .conversation import Pace, conversation
from .library import Library
from .stopwatch import MILLI, cpu

LIST = "ms CPU to list"
READ = "ms CPU to list and read every state"
STATE = "ms CPU to open and read the state"
CONTINUE = "ms CPU to open and run the next superstep"
TURN = "ms CPU for another turn of one superstep"


def compiled(lib: Library, checkpointer: Any, steps: int) -> Any:
    """The conversation as a new process would open it."""
    graph = conversation(lib, steps)
    return graph.compile(checkpointer=checkpointer, interrupt_before=["finish"])


def listing(lib: Library, steps: int) -> Figures:
    """`list(get_state_history(...))` of a thread with this many checkpoints and messages."""
    with database() as path:
        with lib.sqlite(path) as checkpointer:
            run_talk(lib, checkpointer, steps, "1", Pace())
        with lib.sqlite(path) as checkpointer:
            app, history = compiled(lib, checkpointer, steps), []
            listed = cpu(lambda: history.extend(app.get_state_history(on("1"))))
            read = cpu(lambda: [len(past.values.get("messages", ())) for past in history])
    assert len(history) >= steps, f"{len(history)} checkpoints for {steps} supersteps"
    return {LIST: listed * MILLI, READ: (listed + read) * MILLI}


def written_by_hand(path: str, steps: int) -> None:
    """One row per message."""
    with closing(plain_log(path)) as connection:
        append(connection, one_row(), steps)


def read_by_hand(path: str) -> list[Any]:
    """All messages of the log."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT body FROM log ORDER BY seq").fetchall()
        return [json.loads(body) for (body,) in rows]


def plain_listing(steps: int) -> Figures:
    """As many rows selected, and their JSON read."""
    with database() as path:
        written_by_hand(path, steps)
        milliseconds = cpu(lambda: read_by_hand(path)) * MILLI
        return {LIST: milliseconds, READ: milliseconds}


def resuming(lib: Library, messages: int) -> Figures:
    """A thread with this many messages that waits before its last node, opened anew."""
    with database() as path:
        with lib.sqlite(path) as checkpointer:
            run_talk(lib, checkpointer, messages, "1", Pace())
        return {
            STATE: cpu(lambda: read_state(lib, path, messages)) * MILLI,
            CONTINUE: cpu(lambda: continue_run(lib, path, messages)) * MILLI,
            TURN: another_turn(lib, path) * MILLI,
        }


def read_state(lib: Library, path: str, messages: int) -> None:
    """Opens the file and reads the state."""
    with lib.sqlite(path) as checkpointer:
        snapshot = compiled(lib, checkpointer, 0).get_state(on("1"))
        assert len(snapshot.values["messages"]) == messages


def continue_run(lib: Library, path: str, messages: int) -> None:
    """Opens the file and runs the node that the thread waits for."""
    with lib.sqlite(path) as checkpointer:
        app = compiled(lib, checkpointer, 0)
        state = app.invoke(None, on("1"), durability="sync")
        assert len(state["messages"]) == messages


def another_turn(lib: Library, path: str) -> float:
    """Seconds for new input on a thread that this process has just worked on."""
    with lib.sqlite(path) as checkpointer:
        app = compiled(lib, checkpointer, 1)
        given = {"messages": [lib.message("And then?")], "n": 0}
        app.invoke(given, on("1"), durability="sync")
        return cpu(lambda: app.invoke(given, on("1"), durability="sync"))


def plain_resuming(messages: int) -> Figures:
    """The rows read back; where the graph runs, one more is committed."""
    with database() as path:
        written_by_hand(path, messages)
        return {
            STATE: cpu(lambda: read_by_hand(path)) * MILLI,
            CONTINUE: cpu(lambda: continue_by_hand(path)) * MILLI,
            TURN: cpu(lambda: continue_by_hand(path)) * MILLI,
        }


def continue_by_hand(path: str) -> None:
    """Reads the log and commits one row."""
    read_by_hand(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        append(connection, b"{}", 1)


HISTORY = Group(
    "Reading a thread back from SQLite",
    (
        Case("history.list", listing, (1000,), plain_listing),
        Case("history.resume", resuming, (1000,), plain_resuming),
    ),
)
