"""An errand: one operation of the store, carried out on one connection.

Statements that wait for no answer go to the server together with the next one, so a transaction
costs a round trip for every answer that is needed, and one for its end.

A connection may break at any moment. What can be done about it is decided here:

- nothing was answered on it yet: everything is sent again on another one. A commit that was carried
  out the first time is then refused, and recognised by what it has stored (`Statement.proof`);
- in the middle of a transaction: nothing of it is stored, which the caller is told;
- at its end: the server is asked what became of it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, TypeVar

import psycopg

from graphflow.checkpoint.protocol import Operation
from graphflow_checkpointers import postgres_statements as sql
from graphflow_checkpointers.postgres_connections import Answer, Link, Source
from graphflow_checkpointers.postgres_errors import FIRST, taken_back, unsettled
from graphflow_checkpointers.postgres_statements import Statement, Tables, Word

T = TypeVar("T")
PAUSES: Final = (0.0, *[0.1] * 50)
"""Seconds before the server is asked, and asked again, about a commit that it is still at."""


async def carry(source: Source, tables: Tables, operation: Operation[T]) -> T:
    """Carry out an operation and return its result; without blocking, if `source` does not block.

    Raises:
        psycopg.Error: The server cannot be reached or refuses.
        CheckpointError: The connection broke during a commit.
    """
    errand = _Errand(source, tables)
    try:
        wish = next(operation)
        while True:
            wish = operation.send(await errand.fulfil(wish))
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # what the operation returned
    finally:
        await errand.leave()


class _Errand:
    """What is known while an operation is carried out."""

    def __init__(self, source: Source, tables: Tables) -> None:
        self.source = source
        self.tables = tables
        self.link: Link | None = None
        self.depth = 0
        """Of transactions in one another; 0: every statement is one by itself."""
        self.deferred: list[Statement] = []
        self.is_bound = False
        """Whether the link holds a transaction that the operation has seen answers of."""
        self.transaction: str | None = None
        """The server's number for it, if it writes."""

    async def fulfil(self, wish: Statement | Word) -> Answer | None:
        """Do what the operation wishes; None if somebody else was first, or nobody waits."""
        if wish is Word.END:
            await self._end()
        elif isinstance(wish, Word):
            self.depth += 1
            self.deferred += sql.OPENING[wish] if self.depth == 1 else ()
        else:
            self.deferred.append(wish)
            return None if wish.is_deferred else await self._answer()
        return None

    async def _answer(self) -> Answer | None:
        batch, self.deferred = self.deferred, []
        try:
            return await self._sent(batch)
        except psycopg.Error as error:
            if self.is_bound or not self._is_lost(error):
                raise
        return await self._again(batch, batch[-1].proof)

    async def _again(self, batch: list[Statement], proof: Statement | None) -> Answer | None:
        """Send what was sent before, on another connection.

        Raises:
            CheckpointError: That breaks, too, and the first sending may have been carried out.
        """
        try:
            await self._renew()
            answer = await self._sent(batch)
            return answer if answer or proof is None else await self._sent([proof])
        except psycopg.Error as error:
            if proof is None:
                raise
            raise unsettled(self.source.where, error) from error

    async def _sent(self, batch: list[Statement]) -> Answer | None:
        try:
            answers = await self._exchange(batch)
        except FIRST:
            if batch[-1].is_contested:
                return None
            raise
        if self.depth and not self.is_bound:
            self.is_bound = True
            if sql.TRANSACTION in batch:
                self.transaction = answers[batch.index(sql.TRANSACTION)][0][0]  # type: ignore[index]
        return answers[-1]

    async def _exchange(self, batch: list[Statement]) -> list[Answer]:
        if self.link is None:
            self.link = await self.source.take()
        return await self.link.exchange([(self.tables.query(text), v) for text, v, *_ in batch])

    def _is_lost(self, error: psycopg.Error) -> bool:
        return self.link is not None and self.link.is_lost(error)

    async def _renew(self) -> None:
        """Put another connection in the place of the lost one."""
        await self._give_back()
        await self.source.renew()

    async def _end(self) -> None:
        self.depth -= 1
        if self.depth or not self.is_bound:
            return
        batch, self.deferred, self.is_bound = [*self.deferred, sql.COMMIT], [], False
        try:
            await self._exchange(batch)
        except psycopg.Error as error:
            if not self._is_lost(error):
                raise
            await self._renew()
            if self.transaction is not None:
                await self._settle(self.transaction)

    async def _settle(self, transaction: str) -> None:
        """Find out what became of a commit whose answer was lost.

        Raises:
            CheckpointError: It was taken back, or the server cannot say.
        """
        fate = await self._fate(transaction)
        if fate == "aborted":
            raise taken_back(self.source.where)
        if fate != "committed":
            raise unsettled(self.source.where)

    async def _fate(self, transaction: str) -> str | None:
        for pause in PAUSES:
            try:
                answer = await self._exchange([Statement(sql.FATE, (transaction, pause))])
            except psycopg.Error as error:
                if not self._is_lost(error):
                    return None
                await self._renew()
                continue
            fate = str(answer[0][0][0])  # type: ignore[index]  # a row of one column
            if fate != "in progress":
                return fate
        return None

    async def leave(self) -> None:
        """Take back what is open and return the connection."""
        if self.link is None:
            return
        try:
            if not self.link.is_idle:
                with suppress(psycopg.Error):
                    await self._exchange([sql.ROLLBACK])
        finally:
            await self._give_back()

    async def _give_back(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            await self.source.give(link)
