"""Tags in Redis: what a thread's hash says of them, and the keys that lead from a tag to threads.

    tag:KEY      in the hash of a thread: the value it has now
    was:VALUE    there, when it had another one before

    graphflow:tag:{VALUE}    sorted set: threads by the moment at which they got the value

What the hash says counts. It changes in one step with the commit, but in a cluster the sorted set
lies elsewhere, so that is written before. What it has too much is passed over, and goes when it is
found after `_SETTLED` seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from graphflow.checkpoint.protocol import Operation, Tag
from graphflow_checkpointers import redis_thread as facts
from graphflow_checkpointers.redis_entries import Fields
from graphflow_checkpointers.redis_names import TAG_BITS, Names, tag_of
from graphflow_checkpointers.redis_scripts import GET_TAGGED, PUT_TAGGED, REMOVE_TAGGED
from graphflow_checkpointers.redis_session import Step, asked, asked_each, evaluated, written

_SETTLED: Final = 3600
"""Seconds after which no commit comes any more that a sorted set was written for."""
_AT_ONCE: Final = 100
"""Threads that are looked at in one go, at least."""
_NOW: Final = b"tag:"
_BEFORE: Final = b"was:"


class Entry(NamedTuple):
    """A thread in a sorted set."""

    key: bytes
    """Of the set."""
    member: bytes
    score: bytes
    """Microseconds since the epoch."""

    @property
    def number(self) -> int:
        """The place among all threads: by time, then by name."""
        return int(float(self.score)) << TAG_BITS | int(self.member, 16)


def put(names: Names, thread: str, tags: Sequence[Tag]) -> Operation[None]:
    """Give a thread tags: at once in the sorted sets, with the commit in its hash."""
    if not tags:
        return
    number = tag_of(thread)
    key = names.thread(number)
    known = yield asked("HMGET", key, *(_field(tag) for tag in tags))
    for tag, value in zip(tags, known, strict=True):
        is_new = int(value != _hex(tag.value))
        yield evaluated(PUT_TAGGED, [names.tagged(tag.value)], _member(number), is_new)
    words = [word for tag in tags for word in (_hex(tag.key), _hex(tag.value))]
    yield written(Step("tags", (key,), (len(tags), *words)))


def found(
    names: Names, tags: Sequence[Tag], after: int, limit: int, address: str
) -> Operation[list[tuple[int, str]]]:
    """Return number and id of threads that have these tags, behind a number."""
    key, count = names.tagged(tags[0].value), max(limit, _AT_ONCE)
    threads: list[tuple[int, str]] = []
    while len(threads) < limit:
        flat = yield evaluated(GET_TAGGED, [key], after >> TAG_BITS, count)
        entries = [Entry(key, *pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
        page = [entry for entry in entries if entry.number > after]
        threads += yield from _verified(names, page, tags, address)
        if len(entries) < count:
            break
        after = max(after, entries[-1].number)
        count *= 1 if page else 2  # all of them have the same time
    return threads[:limit]


def _verified(
    names: Names, page: Sequence[Entry], tags: Sequence[Tag], address: str
) -> Operation[list[tuple[int, str]]]:
    """Return the threads of entries that have all of the tags."""
    fields = [b"thread", *(_field(tag) for tag in tags)]
    wanted = [_hex(tag.value) for tag in tags]
    told: list[list[bytes | None]] = yield asked_each(
        ("HMGET", names.thread(int(entry.member, 16)), *fields) for entry in page
    )
    threads = []
    for entry, (fact, *values) in zip(page, told, strict=True):
        if fact is not None and values == wanted:
            threads.append((entry.number, facts.name_and_birth(fact, address)[0]))
        elif fact is None or values[0] != wanted[0]:
            yield evaluated(REMOVE_TAGGED, [entry.key], entry.member, entry.score, _SETTLED)
    return threads


def by_birth(facts_found: Sequence[bytes | None], address: str) -> list[tuple[int, str]]:
    """Return number and id of threads, in order, given what their hashes say."""
    known = [facts.name_and_birth(fact, address) for fact in facts_found if fact is not None]
    numbered = [(born << TAG_BITS | tag_of(name), name) for name, born in known]
    return sorted(numbered, key=itemgetter(0))


def entries_of(names: Names, number: int, fields: Fields) -> Operation[list[Entry]]:
    """Return a thread's entries in sorted sets, given its hash."""
    values = [value for field, value in fields.items() if field.startswith(_NOW)]
    values += [field[len(_BEFORE) :] for field in fields if field.startswith(_BEFORE)]
    keys = [names.tagged(bytes.fromhex(value.decode())) for value in values]
    member = _member(number)
    scores: list[Any] = yield asked_each(("ZSCORE", key, member) for key in keys)
    return [
        Entry(key, member, b"%d" % int(float(score)))
        for key, score in zip(keys, scores, strict=True)
        if score is not None
    ]


def drop(entries: Sequence[Entry]) -> Operation[None]:
    """Remove entries, unless they were made anew."""
    for entry in entries:
        yield evaluated(REMOVE_TAGGED, [entry.key], entry.member, entry.score, 0)


def _field(tag: Tag) -> bytes:
    return _NOW + _hex(tag.key)


def _member(number: int) -> bytes:
    return b"%032x" % number


def _hex(digest: bytes) -> bytes:
    return digest.hex().encode()
