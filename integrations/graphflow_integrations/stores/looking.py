"""Commands that look into a store. They run none of the program's code."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from graphflow.checkpoint.check import Problem, check_thread
from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.codec_errors import CodecError
from graphflow.checkpoint.frames import open_frames, unpack_frame
from graphflow.checkpoint.history import Checkpoint, load, parent_of, read_thread
from graphflow.checkpoint.protocol import Branch, Operation, StoredRow
from graphflow.checkpoint.raw import raw_codec
from graphflow.checkpoint.records import Frame, Row, RowKind
from graphflow.checkpoint.report import StorageReport, Usage, open_questions, usage_of
from graphflow.errors import CheckpointError, UnknownCheckpointError
from graphflow.ids import checkpoint_id, parse_checkpoint_id
from graphflow_integrations.stores.printing import counted, progress, say, say_json, say_table
from graphflow_integrations.stores.shapes import moment, plain, size
from graphflow_integrations.stores.tags import threads_tagged

DONE, FAILED = 0, 1


class Standing(NamedTuple):
    """Where a thread stands."""

    thread: str
    branches: int
    checkpoint: str
    """The newest; empty: there is none."""
    step: int | None
    next: tuple[str, ...]
    questions: int
    newest: float | None


def threads(store: Checkpointer, options: argparse.Namespace) -> int:
    """List the threads and where each stands."""
    codec = raw_codec()
    names = threads_tagged(store, options.tag) if options.tag else store.run(store.threads())
    found = [store.run(_standing(store, codec, name)) for name in progress(names, "Reading")]
    if options.json:
        say_json([standing._asdict() for standing in found])
        return DONE
    say_table(
        ("thread", "branches", "checkpoint", "step", "next", "questions", "newest"),
        [(*one[:3], _or_none(one.step), ", ".join(one.next), one.questions, moment(one.newest))
         for one in found],
    )  # fmt: skip
    return DONE


def _or_none(step: int | None) -> int | str:
    return "" if step is None else step


def _standing(store: Checkpointer, codec: Codec, thread: str) -> Operation[Standing]:
    yield from store.begin()
    branches = yield from store.branches(thread)
    tip = max(branches, key=lambda branch: (branch.head, branch.ordinal), default=None)
    frame, rows = None, []
    if tip is not None:
        frame = yield from _head(store, codec, tip)
        rows = yield from store.rows(tip.id, tip.head)
    yield from store.end()
    if tip is None or frame is None:
        return Standing(thread, len(branches), "", None, (), open_questions(rows), None)
    identity = checkpoint_id(frame.seq, tip.ordinal)
    waiting = _waiting(frame, rows)
    questions = open_questions(rows)
    return Standing(
        thread, len(branches), identity, frame.step, waiting, questions, frame.created
    )  # fmt: skip


def _head(store: Checkpointer, codec: Codec, branch: Branch) -> Operation[Frame | None]:
    """Return a branch's own newest frame; None: it has none, or it cannot be read."""
    stored = yield from store.frames(branch.id, branch.head - 1, branch.head)
    try:
        return unpack_frame(stored[0], open_frames(codec, stored)[0], None) if stored else None
    except (CodecError, CheckpointError):
        return None  # `check` says why


def _waiting(frame: Frame, rows: Sequence[StoredRow] | Sequence[Row]) -> tuple[str, ...]:
    ended = {row.place for row in rows if row.kind == RowKind.RESULT}
    return tuple(task.name for place, task in enumerate(frame.pending) if place not in ended)


def history(store: Checkpointer, options: argparse.Namespace) -> int:
    """List the checkpoints of a thread, newest first."""
    _check_known(store, options.thread)
    operation = read_thread(store, raw_codec(), options.thread, options.scope)
    branches, frames, rows = store.run(operation)
    found = sorted(_listed(branches, frames, rows), key=lambda entry: entry["checkpoint"])
    found = found[::-1][: options.limit]
    if options.json:
        say_json(found)
        return DONE
    say_table(
        ("checkpoint", "branch", "source", "step", "ran", "next", "created"),
        [(entry["checkpoint"], entry["branch"], entry["source"], entry["step"],
          ", ".join(entry["ran"]), ", ".join(entry["next"]), moment(entry["created"]))
         for entry in found],
    )  # fmt: skip
    return DONE


def _listed(
    branches: Sequence[Branch], frames: dict[int, list[Frame]], rows: dict[int, tuple[Row, ...]]
) -> Iterator[dict[str, Any]]:
    for branch in branches:
        for frame in frames[branch.id]:
            before = parent_of(branches, branch, frame).ordinal
            is_head = frame.seq == branch.head
            yield {
                "checkpoint": checkpoint_id(frame.seq, branch.ordinal),
                "parent": checkpoint_id(frame.parent, before) if frame.parent >= 0 else None,
                "branch": branch.name,
                "source": frame.source.name.lower(),
                "step": frame.step,
                "ran": [task.name for task in frame.settled],
                "next": list(_waiting(frame, rows[branch.id] if is_head else ())),
                "created": frame.created,
            }


def show(store: Checkpointer, options: argparse.Namespace) -> int:
    """Show the state at a checkpoint, what runs next, and what is asked."""
    _check_known(store, options.thread)
    at = None if options.checkpoint is None else parse_checkpoint_id(options.checkpoint)
    if options.checkpoint is not None and at is None:
        raise UnknownCheckpointError(
            f"{options.checkpoint!r} is no checkpoint; `graphflow history` lists them."
        )
    found = store.run(
        load(store, raw_codec(), options.thread, options.scope, at=at, branch=options.branch)
    )
    if found is None:
        raise UnknownCheckpointError(
            f"Thread {options.thread!r} has no checkpoint in the graph {options.scope!r}."
        )
    shown = _shown(found)
    shown["scopes"] = [scope for scope in store.run(store.scopes(options.thread)) if scope]
    if options.json:
        say_json(shown)
    else:
        _say_checkpoint(options.thread, shown)
    return DONE


def _shown(found: Checkpoint) -> dict[str, Any]:
    frame, branch = found.frame, found.branch
    return {
        "checkpoint": checkpoint_id(frame.seq, branch.ordinal),
        "branch": branch.name,
        "source": frame.source.name.lower(),
        "step": frame.step,
        "created": frame.created,
        "next": list(_waiting(frame, found.rows)),
        "metadata": plain(found.metadata),
        "values": plain(found.values),
        "rows": [
            {"task": row.place, "kind": row.kind.name.lower(), "number": row.number,
             "value": _row_value(row)}
            for row in found.rows
        ],
    }  # fmt: skip


def _row_value(row: Row) -> Any:
    if row.kind is RowKind.RESULT:
        writes, targets = row.value
        return {"wrote": plain(writes), "goes to": plain(targets)}
    if row.kind is RowKind.CALL:
        path, name, returned = row.value
        return {"call": plain(path), "of": name, "returned": plain(returned)}
    return plain(row.value)


def _say_checkpoint(thread: str, shown: dict[str, Any]) -> None:
    say(f"thread {thread}, branch {shown['branch']}, checkpoint {shown['checkpoint']}")
    say(f"{shown['source']} of step {shown['step']}, {moment(shown['created'])}")
    say(f"next: {', '.join(shown['next']) or 'nothing'}")
    say(_indented("state", shown["values"]))
    if shown["metadata"]:
        say(_indented("metadata", shown["metadata"]))
    for row in shown["rows"]:
        say(_indented(f"{row['kind']} of task {row['task']}", row["value"]))
    for scope in shown["scopes"]:
        say(f"graph inside: --scope {scope}")


def _indented(title: str, value: Any) -> str:
    return f"{title}: {json.dumps(value, indent=2, ensure_ascii=False)}"


def report(store: Checkpointer, options: argparse.Namespace) -> int:
    """Tell how much each thread takes up."""
    for thread in options.threads:
        _check_known(store, thread)
    names = options.threads or store.run(store.threads())
    counted = [store.run(usage_of(store, name)) for name in progress(names, "Counting")]
    found = StorageReport(tuple(counted))
    if options.json:
        say_json({"threads": [_told(one) for one in counted], "total": _told(found.total)})
        return DONE
    say_table(
        ("thread", "branches", "checkpoints", "questions", "frames", "rows", "snapshots",
         "oldest", "newest"),
        [_usage_line(one.thread, one) for one in counted]
        + [_usage_line(f"({len(counted)} in all)", found.total)],
    )  # fmt: skip
    return DONE


def _told(usage: Usage) -> dict[str, Any]:
    return {**usage._asdict(), "bytes": usage.bytes}


def _usage_line(name: str, usage: Usage) -> tuple[Any, ...]:
    sizes = map(size, usage[4:7])
    return (name, *usage[1:4], *sizes, moment(usage.oldest), moment(usage.newest))


def check(store: Checkpointer, options: argparse.Namespace) -> int:
    """Read everything and tell what is wrong; the exit status says whether anything is."""
    for thread in options.threads:
        _check_known(store, thread)
    names = options.threads or store.run(store.threads())
    codec, found = raw_codec(), list[Problem]()
    for name in progress(names, "Checking"):
        found += _checked(store, codec, name)
    if options.json:
        say_json({"threads": len(names), "problems": [problem._asdict() for problem in found]})
    else:
        for problem in found:
            inside = f", graph {problem.scope}" if problem.scope else ""
            say(f"thread {problem.thread}{inside}, branch {problem.branch}: {problem.what}")
        say(f"{counted(len(names), 'thread')} checked, {counted(len(found), 'problem')}")
    return FAILED if found else DONE


def _checked(store: Checkpointer, codec: Codec, thread: str) -> list[Problem]:
    try:
        return store.run(check_thread(store, codec, thread))
    except CheckpointError as error:
        return [Problem(thread, "", "", str(error))]


def _check_known(store: Checkpointer, thread: str) -> None:
    if not store.run(store.scopes(thread)):
        raise UnknownCheckpointError(f"The store has no thread {thread!r}.")
