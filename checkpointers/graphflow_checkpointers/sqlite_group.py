"""Group commit: runs that end a superstep at the same time wait for the disk once.

Who finds the connection free does what he has to do. Who does not puts it into a queue and waits.
Who gets the connection then does what the others have put there meanwhile, too: commits go into one
transaction, each in a part of its own that can be taken back without the others; all else is done
one by one. Nobody is told that his is done before all of it is on the disk.

The main thread does only its own: Ctrl-C strikes there, and must not end what is another's.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar

from graphflow.checkpoint.protocol import Operation
from graphflow_checkpointers import statements as sql
from graphflow_checkpointers.sqlite_file import SqliteFile
from graphflow_checkpointers.statements import Statement

T = TypeVar("T")

_COMMITS: Final = frozenset({sql.APPEND, sql.APPEND_FENCED, sql.BEGIN_WRITE, sql.HEAD})
"""What operations begin with that wait for the disk."""
_IN_GROUP: Final = {
    sql.BEGIN_WRITE: "SAVEPOINT part",
    sql.COMMIT: "RELEASE part",
}
"""What such words become inside a transaction for many."""
_TAKE_BACK: Final = ("ROLLBACK TO part", "RELEASE part")
AT_MOST: Final = 256
"""Commits that go into one transaction."""


class Ticket(Generic[T]):
    """An operation on its way."""

    __slots__ = ("error", "first", "is_done", "operation", "result")

    def __init__(self, operation: Operation[T]) -> None:
        self.operation = operation
        self.first: Any = None
        """Its first statement, once it was asked."""
        self.is_done = False
        self.result: T | None = None
        self.error: BaseException | None = None

    def returned(self) -> T:
        """Return the operation's result, or raise what it raised."""
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # its traceback holds this frame
        return self.result  # type: ignore[return-value]  # it is done

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """Note how it ended."""
        self.result, self.error, self.is_done = result, error, True


class Group:
    """Carries out the operations of many callers on one connection.

    Args:
        file: Whose connection and lock it is.
        forget: Called when anything was taken back.
    """

    def __init__(self, file: SqliteFile, forget: Callable[[], object]) -> None:
        self._file = file
        self._execute = file.connection.execute
        self._forget = forget
        self._queue: deque[Ticket[Any]] = deque()

    def do(self, operation: Operation[T]) -> T:
        """Carry out an operation in blocking code."""
        lock = self._file.lock
        if not self._queue and lock.acquire(blocking=False):
            try:
                return self._directly(operation)
            finally:
                lock.release()
        ticket = self.put(operation)
        try:
            return self.finish(ticket)
        except BaseException:
            self.drop(ticket)
            raise

    def put(self, operation: Operation[T]) -> Ticket[T]:
        """Queue an operation; somebody must call `finish` or `drop` for it."""
        ticket = Ticket(operation)
        self._queue.append(ticket)
        return ticket

    def finish(self, ticket: Ticket[T]) -> T:
        """See to it that an operation is carried out, and return its result."""
        with self._file.lock:
            if not ticket.is_done and _is_main():
                self._queue.remove(ticket)
                return self._directly(ticket.operation)
            while not ticket.is_done:  # others may have filled the transaction before it
                self._work_off()
        return ticket.returned()

    def drop(self, ticket: Ticket[Any]) -> None:
        """Leave out an operation for which nobody waits any more, if it is still queued."""
        with self._file.lock:
            if ticket in self._queue:
                self._queue.remove(ticket)
                ticket.operation.close()

    def _directly(self, operation: Operation[T], first: Statement | None = None) -> T:
        """Do one thing, whose first statement may have been asked; with the lock held."""
        execute, send = self._execute, operation.send
        try:
            if first is None:
                self._clear_up()
            statement = first or next(operation)
            while True:
                cursor = execute(*statement)
                statement = send(cursor.fetchall() if cursor.description else cursor.rowcount)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # what the operation returns
        except BaseException as error:
            self._forget()
            self._file.take_back()
            if isinstance(error, sqlite3.Error):
                raise self._file.told(error) from error
            raise

    def _clear_up(self) -> None:
        """Take back a transaction that could not be taken back before."""
        if self._file.connection.in_transaction:
            self._execute("ROLLBACK")

    def _work_off(self) -> None:
        """Do all that is queued; with the lock held."""
        queue, commits = self._queue, list[Ticket[Any]]()
        try:
            self._clear_up()
        except sqlite3.Error as error:  # goes to all who wait; the connection may be closed
            self._take_back(tuple(queue), error)
            queue.clear()
        alone = len(queue) == 1
        while queue and len(commits) < AT_MOST:
            ticket = queue.popleft()
            try:
                ticket.first = next(ticket.operation)
            except StopIteration as stop:
                ticket.end(stop.value)
            except BaseException as error:  # goes to whoever waits for it
                ticket.end(error=error)
            else:
                if alone or ticket.first[0] not in _COMMITS:
                    self._alone(ticket)
                else:
                    commits.append(ticket)
        if len(commits) == 1:
            self._alone(commits[0])
        elif commits:
            self._together(commits)

    def _alone(self, ticket: Ticket[Any]) -> None:
        try:
            ticket.end(self._directly(ticket.operation, ticket.first))
        except BaseException as error:  # goes to whoever waits for it
            ticket.end(error=error)

    def _together(self, commits: list[Ticket[Any]]) -> None:
        done: list[tuple[Ticket[Any], Any]] = []
        try:
            self._execute(sql.BEGIN_WRITE)
            for ticket in commits:
                self._part(ticket, done)
            self._execute(sql.COMMIT)
        except BaseException as error:  # goes to all whose part was in it
            self._take_back([ticket for ticket in commits if not ticket.is_done], error)
            return
        for ticket, result in done:
            ticket.end(result)

    def _part(self, ticket: Ticket[Any], done: list[tuple[Ticket[Any], Any]]) -> None:
        """Carry out one commit of several; what it raises by itself is its own affair.

        Raises:
            sqlite3.Error: The transaction as a whole is over.
        """
        execute, operation, statement = self._execute, ticket.operation, ticket.first
        is_open = False
        try:
            while True:
                word = _IN_GROUP.get(statement[0])
                cursor = execute(*statement) if word is None else execute(word)
                if word is not None:
                    is_open = statement[0] == sql.BEGIN_WRITE
                statement = operation.send(
                    cursor.fetchall() if cursor.description else cursor.rowcount
                )
        except StopIteration as stop:
            done.append((ticket, stop.value))
        except Exception as error:
            if not self._file.connection.in_transaction:
                raise
            if is_open:
                try:
                    for text in _TAKE_BACK:
                        execute(text)
                except sqlite3.Error as broken:
                    raise error if isinstance(error, sqlite3.Error) else broken from None
            self._forget()
            ticket.end(error=self._told(error))

    def _take_back(self, tickets: Iterable[Ticket[Any]], error: BaseException) -> None:
        self._forget()
        self._file.take_back()
        for ticket in tickets:
            ticket.end(error=self._told(error))

    def _told(self, error: BaseException) -> BaseException:
        if not isinstance(error, sqlite3.Error):
            return error
        told = self._file.told(error)
        told.__cause__ = error
        return told


def _is_main() -> bool:
    return threading.get_ident() == threading.main_thread().ident
