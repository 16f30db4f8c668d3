"""A store over a shelf: what is the same whatever the rows are kept in.

A batch has three parts. Requests are checked and values encoded, so that whatever is wrong shows
before anything happens; texts of all requests are embedded in one call; then one transaction does
the rest. Only the second part differs between blocking and async callers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

from graphflow.checkpoint.codec import codec
from graphflow.checkpoint.codec_errors import NotStorable
from graphflow.memory.filters import check_filter, matches
from graphflow.memory.items import Item, SearchItem
from graphflow.memory.places import Namespace, check_labels, check_place, fits
from graphflow.memory.requests import GetOp, ListNamespacesOp, Op, PutOp, SearchOp
from graphflow.memory.semantic_index import IndexConfig, SemanticIndex
from graphflow.memory.shelf import Row, Shelf
from graphflow.memory.store import BaseStore
from graphflow.memory.vectors import nearest

Clock = Callable[[], float]
"""Seconds since the epoch."""


class _Job(NamedTuple):
    """A request that was checked."""

    op: Op
    texts: list[str]
    """What must be embedded for it."""
    body: bytes = b""
    """The encoded value of a `PutOp`."""


class ShelfStore(BaseStore):
    """Keeps items as rows of a shelf."""

    def __init__(
        self, shelf: Shelf, index: IndexConfig | None = None, clock: Clock = time.time
    ) -> None:
        self._shelf = shelf
        self._index = None if index is None else SemanticIndex(index)
        self._clock = clock

    def batch(self, ops: Iterable[Op]) -> list[Any]:
        jobs = [self._checked(op) for op in ops]
        vectors = self._index.embed(_texts(jobs)) if self._index else []
        return self._carry_out(jobs, iter(vectors))

    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        jobs = [self._checked(op) for op in ops]
        vectors = await self._index.aembed(_texts(jobs)) if self._index else []
        return await self._shelf.aside(partial(self._carry_out, jobs, iter(vectors)))

    def close(self) -> None:
        self._shelf.close()

    # -- checking ------------------------------------------------------------------------------

    def _checked(self, op: Op) -> _Job:
        match op:
            case PutOp():
                return self._checked_put(op)
            case SearchOp():
                return self._checked_search(op)
            case GetOp():
                check_place(op.namespace, op.key)
            case ListNamespacesOp():
                _check_listing(op)
            case _:
                raise TypeError(f"{op!r} is none of GetOp, SearchOp, PutOp, ListNamespacesOp.")
        return _Job(op, [])

    def _checked_put(self, op: PutOp) -> _Job:
        check_place(op.namespace, op.key)
        if op.value is None:
            return _Job(op, [])
        if not isinstance(op.value, dict):
            raise TypeError(f"A store keeps dicts, not {op.value!r} for key {op.key!r}.")
        if op.ttl is not None and not op.ttl > 0:
            raise ValueError(f"ttl is minutes to live, more than none; not {op.ttl!r}.")
        if isinstance(op.index, str):
            raise TypeError(f"index is a list of paths: write [{op.index!r}].")
        texts = self._index.texts(op.value, op.index) if self._index else []
        return _Job(op, texts, _encoded(op))

    def _checked_search(self, op: SearchOp) -> _Job:
        check_labels(op.namespace_prefix)
        _check_page(op.limit, op.offset)
        check_filter(op.filter or {})
        if op.query and self._index is None:
            raise ValueError(
                f"This store cannot search by meaning (query={op.query!r}). Make it with "
                f"{type(self).__name__}(index={{'embed': function, 'dims': number}}), or search "
                "with filter= only."
            )
        return _Job(op, [op.query] if op.query else [])

    # -- carrying out --------------------------------------------------------------------------

    def _carry_out(self, jobs: list[_Job], vectors: Iterator[bytes]) -> list[Any]:
        is_write = any(isinstance(job.op, PutOp) for job in jobs)
        visit = _Visit(self._shelf, self._clock())
        with self._shelf.opened(write=is_write):
            if is_write:
                self._shelf.sweep(visit.now)
            results = [visit.do(job, list(islice(vectors, len(job.texts)))) for job in jobs]
        if visit.read:
            with self._shelf.opened(write=True):
                self._shelf.refresh(visit.read, visit.now)
        return results


class _Visit:
    """One batch at an opened shelf."""

    def __init__(self, shelf: Shelf, now: float) -> None:
        self.shelf = shelf
        self.now = now
        self.read: list[tuple[Namespace, str]] = []
        """Whose time to live starts anew."""

    def do(self, job: _Job, vectors: list[bytes]) -> Any:
        match job.op:
            case GetOp():
                return self.get(job.op)
            case SearchOp():
                return self.search(job.op, vectors)
            case PutOp():
                return self.put(job.op, job.body, vectors)
            case _:
                return self.list(job.op)

    def put(self, op: PutOp, body: bytes, vectors: list[bytes]) -> None:
        if op.value is None:
            self.shelf.remove(op.namespace, op.key)
            return
        now, ttl = self.now, None if op.ttl is None else op.ttl * 60
        expires = None if ttl is None else now + ttl
        row = Row(op.namespace, op.key, body, now, now, ttl, expires, tuple(vectors))
        self.shelf.put(row)

    def get(self, op: GetOp) -> Item | None:
        row = self.shelf.find(op.namespace, op.key, self.now)
        if row is None:
            return None
        self.note([row], op.refresh_ttl)
        return Item(**_fields(row))

    def search(self, op: SearchOp, vectors: list[bytes]) -> list[SearchItem]:
        rows: Iterable[Row] = self.shelf.scan(op.namespace_prefix, self.now)
        if wanted := op.filter:
            rows = (row for row in rows if matches(codec.decode(row.body), wanted))
        found = _ranked(rows, vectors, op.offset + op.limit)
        page = list(islice(found, op.offset, op.offset + op.limit))
        self.note([row for _, row in page], op.refresh_ttl)
        return [SearchItem(**_fields(row), score=score) for score, row in page]

    def list(self, op: ListNamespacesOp) -> list[Namespace]:
        conditions = op.match_conditions or ()
        found = {
            namespace[: op.max_depth]
            for namespace in self.shelf.namespaces(self.now)
            if all(fits(namespace, *condition) for condition in conditions)
        }
        return sorted(found)[op.offset : op.offset + op.limit]

    def note(self, rows: Iterable[Row], refresh: bool) -> None:
        if refresh:
            self.read += [(row.namespace, row.key) for row in rows if row.ttl is not None]


def _ranked(
    rows: Iterable[Row], vectors: list[bytes], count: int
) -> Iterable[tuple[float | None, Row]]:
    if not vectors:
        return ((None, row) for row in rows)
    return nearest(((row, row.vectors) for row in rows), vectors[0], count)


def _fields(row: Row) -> dict[str, Any]:
    return {
        "value": codec.decode(row.body),
        "key": row.key,
        "namespace": row.namespace,
        "created_at": datetime.fromtimestamp(row.created, UTC),
        "updated_at": datetime.fromtimestamp(row.updated, UTC),
    }


def _encoded(op: PutOp) -> bytes:
    try:
        return codec.encode(op.value)
    except NotStorable as error:
        error.add_note(f"It was put as {op.key!r} in {op.namespace!r}. Nothing was stored.")
        raise


def _texts(jobs: Iterable[_Job]) -> list[str]:
    return list(chain.from_iterable(job.texts for job in jobs))


def _check_listing(op: ListNamespacesOp) -> None:
    _check_page(op.limit, op.offset)
    if op.max_depth is not None and op.max_depth < 1:
        raise ValueError(f"max_depth is a number of labels, at least 1; not {op.max_depth!r}.")
    for kind, path in op.match_conditions or ():
        if kind not in ("prefix", "suffix"):
            raise ValueError(f"A namespace is matched by 'prefix' or 'suffix', not by {kind!r}.")
        check_labels(path)


def _check_page(limit: int, offset: int) -> None:
    if limit < 0 or offset < 0:
        raise ValueError(f"limit and offset are at least 0, not {limit!r} and {offset!r}.")
