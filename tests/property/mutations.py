"""Stored bytes that were changed at random: what reading them may do, and what it may not.

    python -m tests.property.mutations 10000000 [seed]

Values of every kind, frames, rows, snapshots and export files are changed and read, by the native
and by the pure reader. What must not happen: another error than those that stand in the contract,
an import, an execution, an opened file (time zones are looked up in the system's database, nothing
else is), memory or time beyond what the bytes are worth. Prints what happened as JSON; a process of
its own, as an audit hook cannot be taken away again.
"""

from __future__ import annotations

import json
import operator
import random
import resource
import signal
import sys
import time
import warnings
import zoneinfo
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Annotated, Any, NamedTuple, TypedDict

from graphflow import (
    START,
    Command,
    CorruptCheckpointError,
    MemoryCheckpointer,
    Send,
    StateGraph,
    StoreTooNewError,
    interrupt,
)
from graphflow.checkpoint.archive import read_threads, written
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.codec_errors import CodecError
from graphflow.checkpoint.frames import (
    NO_FRAME,
    Body,
    delta_of,
    open_frames,
    pack_snapshot,
    unpack_frame,
    unpack_row,
    unpack_snapshot,
)
from graphflow.checkpoint.msgpack_pure import Ext, packb, unpackb
from graphflow.checkpoint.protocol import StoredFrame, StoredRow
from graphflow.checkpoint.transfer import read_whole

from ..unit.checkpoint.kinds import CLASSES, EXACT

REFUSALS = (CodecError, CorruptCheckpointError, StoreTooNewError)
"""What reading may raise."""
HARMLESS = {"object.__getattr__", "object.__setattr__", "builtins.id", "sys._getframe"}
"""Audit events of looking at objects."""
LARGEST = 4000
"""Bytes of what is changed; there is nothing more to find in more."""
SHARES = (*["value"] * 6, *["frame"] * 3, *["row"] * 2, "snapshot", "export")
"""How often what is changed."""
PATIENCE = 60
"""Seconds for a hundred of them."""
ROOM = 1 << 30
"""Bytes of address space that reading may take beyond what the process has."""
BOMBS = (
    *(b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"),
    *(b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xc9\x7f\xff\xff\xff\x16"),
    *(b"\x91" * 300, b"\xc7\x03\x01\x91\xc7\x01\x01" * 50, b"\x81\xa1a" * 260),
    *(b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7, b"\xcb\x7f\xf0" + b"\1" * 6),
    *(b"\xc0", b"\xc2", b"\x90", b"\x80", b"\xa0", b"\xa2os", b"\xa4eval", b"\xa9/dev/zero"),
)
"""What is put in: announcements of billions, depth, the largest numbers, names."""


ODDITIES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, -(2**63), 1.5, float("nan"), "", "os", b"", [], {}, {"a": 1}),
    *(
        (5, b"\x7f" * 3000, True),
        (9, b"1E+999999", True),
        (9, b"sNaN", True),
        (6, b"\xed\xa0\x80", True),
    ),
)
"""What is put where something else belongs: extremes, and an int that Python does not print."""


class Sample(NamedTuple):
    """Bytes, and how they are read."""

    what: str
    data: bytes
    read: Callable[[bytes], object]
    tree: Any = None
    """What the bytes say; see `parsed`."""


class Endless(BaseException):
    """Reading some bytes has not come to an end."""


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    thing: Any


# -- what is changed ----------------------------------------------------------------------------


def samples(codecs: list[Codec]) -> list[Sample]:
    """Return stored bytes of every kind, small ones."""
    writer, found = codecs[0], []
    encoded = [writer.encode([value]) for value in EXACT]
    encoded += [writer.encode([ValueError("no"), EXACT[at::9]]) for at in range(9)]
    for codec in codecs:
        found += [Sample("value", data, codec.decode) for data in encoded]
        found += list(of_threads(codec))
    small = [sample for sample in found if len(sample.data) <= LARGEST]
    return [
        sample._replace(tree=parsed(sample.data))
        if len(sample.data) < 500 and sample.what != "export"
        else sample
        for sample in small
    ]


def of_threads(codec: Codec) -> Iterator[Sample]:
    """Yield what a thread is stored as, at a question and at its end."""
    store = played(codec)
    for thread in ("asked", "ended"):
        whole = store.run(read_whole(store, thread))
        data = b"".join(written(whole))
        yield Sample("export", data, lambda data: list(read_threads(data.splitlines(True))))
        for branch in whole.branches:
            before = NO_FRAME
            for frame in branch.frames:
                yield Sample("frame", frame.body, frame_reader(codec, frame, before))
                before = open_frames(codec, [frame])[0]
            for row in branch.rows:
                yield Sample("row", row.body, row_reader(codec, row))
        body = pack_snapshot(codec, {"log": ["a", ("b", {1})], "thing": {1: 2}}, {"user": "ana"})
        yield Sample("snapshot", body, lambda data: unpack_snapshot(codec, data))


def frame_reader(codec: Codec, frame: StoredFrame, before: Body) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        changed = frame._replace(body=data)
        body = open_frames(codec, [changed])[0]
        return (
            unpack_frame(changed, body, None),
            unpack_frame(changed, body, before),
            delta_of(frame.seq, body, before),
        )

    return read


def row_reader(codec: Codec, row: StoredRow) -> Callable[[bytes], object]:
    return lambda data: unpack_row(codec, row._replace(body=data))


def played(codec: Codec) -> MemoryCheckpointer:
    """Return a store with threads that have all there is: tasks at once, packets, questions."""
    inner = StateGraph(State).add_node("ask", lambda s: {"log": [interrupt({"ok": (1, 2)})]})
    child = inner.add_edge(START, "ask").compile(checkpointer=True)
    graph: StateGraph[State] = StateGraph(State).add_node("inner", child)
    graph.add_node("first", lambda s: {"log": [1, (2, {3})], "thing": EXACT[40:60]})
    graph.add_node("part", lambda packet: {"log": [packet]}).add_node("end", lambda s: {"log": []})
    graph.add_edge(START, "first").add_edge("first", "inner").add_edge(["inner", "part"], "end")
    graph.add_conditional_edges("first", lambda s: [Send("part", (n,)) for n in (1, 2)], ["part"])
    store = MemoryCheckpointer()
    app = graph.compile(checkpointer=store)
    app.codec = codec
    for thread in ("asked", "ended"):
        config: Any = {"configurable": {"thread_id": thread}, "metadata": {"user": "ana"}}
        app.invoke({"log": ["input"]}, config)
        if thread == "ended":
            app.invoke(Command(resume="yes"), config)
    return store


# -- how ----------------------------------------------------------------------------------------


def mutated(data: bytes, other: bytes, dice: random.Random) -> bytes:
    """Return the bytes with one to four changes; `other` is where foreign parts come from."""
    changed = bytearray(data)
    draw = dice.random
    for _ in range(1 + int(4 * draw() * draw())):
        at, how = int(draw() * len(changed)), int(draw() * 8)
        if how == 0:
            changed[at : at + 1] = bytes((int(draw() * 256),))
        elif how == 1 and changed:
            changed[at] ^= 1 << int(draw() * 8)
        elif how == 2:
            del changed[at : at + 1 + int(8 * draw())]
        elif how == 3:
            changed[at:at] = dice.randbytes(1 + int(4 * draw()))
        elif how == 4:
            changed[at:at] = changed[int(draw() * len(changed)) :][: 1 + int(30 * draw())]
        elif how == 5:
            changed[at:at] = BOMBS[int(draw() * len(BOMBS))]
        elif how == 6:
            changed[at : at + 1 + int(9 * draw())] = other[int(draw() * len(other)) :][:60]
        elif draw() < 0.1:
            del changed[at:]
        elif changed:
            changed[at] = 0xC0 | int(draw() * 32)  # a marker of MessagePack's
    return bytes(changed)


def parsed(data: bytes) -> Any:
    """Return what MessagePack says, with extensions as `(code, content, whether that is raw)`."""

    def extension(code: int, payload: bytes) -> Any:
        with suppress(ValueError):
            content = parsed(payload)
            if rebuilt(content) == payload:
                return code, content, False
        return code, payload, True

    return unpackb(data, ext_hook=extension)


def rebuilt(tree: Any) -> bytes:
    """Return the bytes of what `parsed` returned."""

    def extension(node: Any) -> Ext:
        code, content, is_raw = node
        return Ext(code, content if is_raw else rebuilt(content))

    return packb(tree, extension)


def nodes(tree: Any) -> Iterator[Any]:
    """Yield all that is in a tree, itself included."""
    yield tree
    if type(tree) is dict:
        tree = [*tree.values()]
    elif type(tree) is tuple:
        tree = [] if tree[2] else [tree[1]]
    for part in tree if type(tree) is list else ():
        yield from nodes(part)


def grafted(tree: Any, at: Iterator[bool], new: Any) -> Any:
    """Return the tree with something else in the place where `at` says so."""
    if next(at):
        return new
    if type(tree) is list:
        return [grafted(part, at, new) for part in tree]
    if type(tree) is dict:
        return {key: grafted(part, at, new) for key, part in tree.items()}
    if type(tree) is tuple and not tree[2]:
        return tree[0], grafted(tree[1], at, new), False
    return tree


def rearranged(tree: Any, foreign: list[Any], dice: random.Random) -> bytes:
    """Return well-formed bytes that say something else in one place."""
    new = foreign[int(dice.random() * len(foreign))]
    size, how = sum(1 for _ in nodes(tree)), int(dice.random() * 4)
    if how == 0:
        new = (int(dice.random() * 128), new, False)
    elif how == 1:
        new = [new] * int(dice.random() * 4)
    place = int(dice.random() * size)
    return rebuilt(grafted(tree, (number == place for number in count()), new))


def watched() -> set[str]:
    """Return a set to which every audit event is added from now on."""
    seen: set[str] = set()
    zones = tuple(zoneinfo.TZPATH)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(zones):
            seen.add("open of a time zone")
        elif event == "compile" and bytes(arguments[0] or b"").startswith(b"def foo("):
            # pydantic has `inspect` read the signature of a field's default factory, from the class
            seen.add("look at a default factory")
        elif event not in HARMLESS:
            seen.add(f"{event} {arguments!r:.200}")

    sys.addaudithook(watch)
    return seen


def allow_memory(room: int) -> None:
    """Let the process take so much more address space than it has, and no more."""
    with open("/proc/self/statm") as told:
        pages = int(told.read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room,) * 2)


def give_up(*_: object) -> None:
    raise Endless


def run(how_often: int, seed: int) -> dict[str, Any]:
    """Change and read so often; return what happened."""
    known = samples([Codec(CLASSES), Codec(CLASSES, pure=True)])
    for sample in known:
        sample.read(sample.data)
    foreign = [node for sample in known for node in nodes(sample.tree)] + [*ODDITIES] * 20
    dice, outcomes = random.Random(seed), Counter[str]()
    wrong: list[dict[str, str]] = []
    if sys.platform == "linux":
        allow_memory(ROOM)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    signal.signal(signal.SIGALRM, give_up)
    seen = watched()
    pools = [[sample for sample in known if sample.what == what] for what in SHARES]
    for number in range(how_often):
        if not number % 100:
            signal.alarm(PATIENCE)
        pool = pools[int(dice.random() * len(pools))]
        sample = pool[int(dice.random() * len(pool))]
        if dice.random() < 0.3 and sample.tree is not None:
            data = rearranged(sample.tree, foreign, dice)
        else:
            data = mutated(sample.data, known[int(dice.random() * len(known))].data, dice)
        try:
            sample.read(data)
            outcome = "read"
        except REFUSALS as error:
            outcome = type(error).__name__
            if isinstance(error.__cause__, MemoryError):
                wrong.append({"number": str(number), "data": data.hex(), "error": "MemoryError"})
        except BaseException as error:
            outcome = "wrong"
            told = f"{type(error).__name__}: {error}"[:200]
            wrong.append({"number": str(number), "data": data.hex(), "error": told})
        outcomes[f"{sample.what} {outcome}"] += 1
        if len(wrong) > 4 or len(seen) > 99:
            break
    signal.alarm(0)
    return {
        "seed": seed,
        "count": sum(outcomes.values()),
        "seconds": round(time.monotonic() - began, 1),
        "outcomes": dict(outcomes),
        "wrong": wrong,
        "events": sorted(seen),
        "growth": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before,
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # those of patterns that nobody wrote
    how_often, *seeds = map(int, sys.argv[1:])
    print(json.dumps(run(how_often, *(seeds or [random.randrange(1, 10**9)])), indent=1))
