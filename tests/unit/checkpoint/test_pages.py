"""Pages of a history are what the whole history has there, and cost what they show."""

from __future__ import annotations

import random
from typing import Any

import pytest

from graphflow import MemoryCheckpointer
from graphflow.checkpoint import pages as under_test
from graphflow.checkpoint import recorder as recording
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.heads import Heads
from graphflow.checkpoint.history import load
from graphflow.checkpoint.pages import Page, read_pages
from graphflow.checkpoint.recorder import Recorder
from graphflow.checkpoint.records import NOTHING, Commit, Frame, Settled, Source
from graphflow.state.deltas import APPEND, CLEAR, PUT, SET, SPLICE, Unfolder

CODEC = Codec()
Shown = list[tuple[tuple[int, int], dict[str, Any], dict[str, Any], int | None]]


class Thread:
    """A thread with branches, written at random."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.store = MemoryCheckpointer()
        self.seq = -1
        self.newest = -1
        self.state: dict[str, Any] = {}
        self.recorder = Recorder(self.store, CODEC, "t", "", None, frozenset())

    def commit(self) -> None:
        """Add one frame, or several whose numbers one of them stands for."""
        parent, self.seq = self.seq, self.newest + self.dice.choice([1, 1, 1, 5])
        told = {"run": self.seq} if parent < 0 or self.dice.random() < 0.05 else None
        settled = (Settled(-1, "a", ()),) if self.dice.random() < 0.5 else ()
        frame = Frame(
            self.seq, Source.LOOP, self.seq, self.delta(), (), NOTHING, (), settled, told, parent
        )  # fmt: skip
        self.newest = self.seq
        self.store.run(self.recorder.record(Commit(parent, (frame,))))
        self.state = self.at(self.seq).values

    def delta(self) -> dict[str, Any]:
        dice, delta = self.dice, dict[str, Any]()
        for key in dice.sample(["log", "n", "map", "rare", "other"], dice.randint(0, 4)):
            value = self.state.get(key)
            if key == "log" and self.newest < 40:
                continue  # a list that comes late
            if key == "n":
                delta[key] = [(SET, dice.random())]
            elif key == "map":
                delta[key] = [(SET, {})] if value is None else [(PUT, {dice.random(): 1})]
            elif key == "rare":
                if dice.random() < 0.1:
                    delta[key] = [(SET, [dice.random()])] if dice.random() < 0.7 else [(CLEAR,)]
            elif key == "other" and value and dice.random() < 0.2:
                delta[key] = [(SPLICE, 0, 1, [])]
            else:
                delta[key] = [(APPEND, [dice.random()] * dice.randint(0, 2))]
        return delta

    def at(self, seq: int) -> Any:
        assert self.recorder.branch is not None
        place = (seq, self.recorder.branch.ordinal)
        return self.store.run(load(self.store, CODEC, "t", at=place))

    def fork(self) -> None:
        """Go on behind any checkpoint."""
        branch = self.dice.choice(self.store.run(self.store.branches("t")))
        page = next(p for p in self.pages() if p.branch.id == branch.id)
        self.fork_at(self.dice.choice([frame.seq for frame in page.frames]), branch.ordinal)

    def fork_at(self, seq: int, ordinal: int = 0) -> None:
        """Go on behind a checkpoint."""
        base = self.store.run(load(self.store, CODEC, "t", at=(seq, ordinal)))
        assert base is not None
        name = f"fork-{len(self.store.run(self.store.branches('t')))}"
        made = self.store.run(self.store.create_branch("t", "", name, base.branch.id, seq))
        self.recorder = Recorder(
            self.store, CODEC, "t", "", base._replace(branch=made), frozenset()
        )
        self.seq, self.state = seq, base.values
        self.commit()

    def pages(self, **wanted: Any) -> list[Page]:
        return self.store.run(read_pages(self.store, CODEC, "t", **wanted))[1]

    def shown(self, **wanted: Any) -> Shown:
        """What is shown of pages, newest first: place, state, metadata, what came after."""
        shown: Shown = []
        for page in self.pages(**wanted):
            unfolder, told, line = Unfolder(page.base), page.told, Shown()
            for frame in page.frames:
                unfolder.apply(frame.delta)
                told = told if frame.metadata is None else frame.metadata
                place = (frame.seq, page.branch.ordinal)
                line.append((place, unfolder.values(), dict(told), None))
            followers = [*(frame.seq for frame in page.frames[1:]), page.after and page.after.seq]
            shown += [(*one[:3], then) for one, then in zip(line, followers, strict=True)]
        return sorted(shown, key=lambda one: one[0], reverse=True)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have metadata repeated often, and short threads kept."""
    for module in (under_test, recording):
        monkeypatch.setattr(module, "METADATA_EVERY", 4)
    monkeypatch.setattr(under_test, "NEAR", 12)
    monkeypatch.setattr(Heads, "short", -1)


@pytest.mark.parametrize("seed", range(20))
def test_a_page_is_a_part_of_the_whole(seed: int) -> None:
    dice = random.Random(seed)
    thread = Thread(dice)
    for _ in range(60):
        thread.fork() if thread.newest > 20 and dice.random() < 0.05 else thread.commit()
    whole = thread.shown()
    for place, values, told, _ in whole:
        found = thread.store.run(load(thread.store, CODEC, "t", at=place))
        assert found is not None
        assert (found.values, found.metadata) == (values, told)
    for _ in range(30):
        count = dice.randint(1, 12)
        assert thread.shown(count=count)[:count] == whole[:count]
        before = dice.choice(whole)[0]
        older = [one for one in whole if one[0] < before]
        assert thread.shown(count=count, before=before)[:count] == older[:count]
        assert thread.shown(before=before) == older
        one = dice.choice(whole)
        assert thread.shown(at=one[0]) == [one]
    if dice.random() < 0.5:
        thread.store.prune("t", last=20)
        whole = thread.shown()
        assert thread.shown(count=7)[:7] == whole[:7]


def test_branches_may_have_frames_of_one_number() -> None:
    """Two that left the same checkpoint and were gone on with at the same time."""
    thread = Thread(random.Random(3))
    for _ in range(3):
        thread.commit()
    fork = thread.seq
    for _ in range(3):
        thread.newest = fork
        thread.fork_at(fork)
    whole = thread.shown()
    assert len({place[0] for place, *_ in whole}) < len(whole)
    for place, *_ in whole:
        older = [one for one in whole if one[0] < place]
        assert thread.shown(before=place) == older


@pytest.mark.parametrize("at", [(999, 0), (3, 7), (0, 1)])
def test_there_is_no_page_of_what_does_not_exist(at: tuple[int, int]) -> None:
    thread = Thread(random.Random(1))
    for _ in range(9):
        thread.commit()
    assert thread.pages(at=at) == []
    assert thread.store.run(read_pages(thread.store, CODEC, "nobody")) == ([], [])


def test_a_page_costs_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = Thread(random.Random(2))
    thread.delta = lambda: {"log": [(APPEND, [1])], "n": [(SET, 1)]}  # type: ignore[method-assign]  # an agent's usual superstep
    for _ in range(400):
        thread.commit()
    for _ in range(2):
        thread.store.run(load(thread.store, CODEC, "t"))
    read = []
    frames = thread.store.frames

    def counted(*place: int) -> Any:
        found = yield from frames(*place)
        read.append(len(found))
        return found

    monkeypatch.setattr(thread.store, "frames", counted)
    assert len(thread.shown(count=10)) == 10
    assert sum(read) < 30
    read.clear()
    assert len(thread.shown(count=10, before=(400, 0), states=False)) == 10
    assert sum(read) < 30
