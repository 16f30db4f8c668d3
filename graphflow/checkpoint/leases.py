"""Leases: who may run on a branch.

A run claims its branch before it loads it, and gives it back when it ends. Whoever else wants it is
refused before any node runs; whoever slept past his lease, while somebody took over, is refused by
the store at his next commit (`Fenced`). The store decides both, in the transaction that counts.

A lease lasts `Checkpointer.lease_seconds` and is renewed from a thread of this module's, so it is
only the patience with an owner of whom nothing can be known: one on another machine. Of one on this
machine it is known whether it still lives, and what a dead process held is free at once.

    machine/process/start/fence        an owner
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.protocol import MAIN, Lease, Operation
from graphflow.errors import CheckpointError, Fenced, ThreadBusy
from graphflow.types import OnBusy

LEAVING_SECONDS: Final = 0.1
"""How long a run that may just be ending on this loop is waited for."""
BEATS: Final = 3
"""How often a lease is renewed in the time that it lasts."""
IDLE_SECONDS: Final = 1.0
"""How often the thread that renews looks whether there is anything to do."""


class Claim:
    """One run's right to its branch, and the memory of having it.

    What it knows of processes is in `place`, `is_over`, `hold` and `let_go`: the simulation has
    processes of its own.

    Args:
        store: Where the branch is.
    """

    def __init__(self, store: Checkpointer) -> None:
        self.store = store
        self.lease: Lease | None = None
        self.is_taken = False
        """Whether the store has granted it; until then there is nothing to renew."""
        self.is_lost = False
        """Whether somebody else has taken over."""
        self.due = 0.0
        """When it is renewed next, on the monotonic clock."""

    def take(self, thread: str, branch: str) -> Operation[None]:
        """Claim a branch.

        Raises:
            ThreadBusy: Somebody else is running on it.
        """
        lease = _drawn(thread, branch, self.place())
        self.lease = lease
        self.hold(lease)
        holder = yield from self.store.claim(lease, self.store.lease_seconds)
        if holder is not None and self.is_over(holder.owner):
            holder = yield from self.store.claim(lease, self.store.lease_seconds, over=holder.owner)
        if holder is not None:
            self.forget()
            raise ThreadBusy(thread, branch, holder.owner, holder.seconds_left)
        self.is_taken = True

    def release(self) -> Operation[None] | None:
        """Return what gives the branch back; None: it is not held."""
        lease = self.lease
        if lease is None:
            return None
        self.forget()
        return self.store.release(lease)

    def forget(self) -> None:
        """Hold the lease no longer; in the store it stands for nobody from now on."""
        if self.lease is not None:
            self.let_go(self.lease)
            self.lease, self.is_taken = None, False

    def check(self) -> None:
        """Refuse to go on when somebody else has taken over.

        Raises:
            Fenced: So it is.
        """
        if self.is_lost and self.lease is not None:
            raise Fenced(self.lease.thread, self.lease.branch)

    def renew(self) -> None:
        """Make the lease last; from the thread that renews."""
        lease, seconds = self.lease, self.store.lease_seconds
        self.due = monotonic() + seconds / BEATS
        if lease is not None and self.is_taken:
            with suppress(CheckpointError):  # the next beat tries again, and the lease may yet end
                self.is_lost = not self.store.run(self.store.renew(lease, seconds))

    # -- what it knows of processes --------------------------------------------------------------

    def place(self) -> str:
        """Return the part of an owner's name that stands for this process."""
        return own_place()

    def is_over(self, owner: str) -> bool:
        """Whether an owner is known to be gone."""
        return is_over(owner)

    def hold(self, lease: Lease) -> None:
        """Note that this process has a lease, which is to be renewed."""
        _hold(self, lease)

    def let_go(self, lease: Lease) -> None:
        """Note that this process has a lease no more."""
        _held.pop(lease.fence, None)


class Patience:
    """How long a call waits for a branch on which somebody is running.

    On an event loop a run of this process is waited for a moment in any case: a stream that was
    left is closed by the loop a little later, and so is a call that was cancelled.

    Args:
        on_busy: What the caller wants.
        on_loop: Whether an event loop goes on while the call waits.
    """

    def __init__(self, on_busy: OnBusy = "raise", *, on_loop: bool = False) -> None:
        self.on_busy = on_busy
        self.on_loop = on_loop
        self.began: float | None = None

    def pause(self, busy: ThreadBusy) -> float | None:
        """Return how many seconds to wait before asking again; None: go aside instead.

        Raises:
            ThreadBusy: The call does not wait, or not any longer.
        """
        now = monotonic()
        self.began = now if self.began is None else self.began
        waited = now - self.began
        is_leaving = self.on_loop and busy.owner.startswith(f"{own_place()}/")
        if is_leaving and waited < LEAVING_SECONDS:
            return waited / 4
        if self.on_busy == "fork":
            return None
        if self.on_busy == "raise" or (self.on_busy != "wait" and waited >= float(self.on_busy)):
            raise busy
        return min(0.25, max(0.005, waited / 4))


async def nap(seconds: float) -> None:
    """Let an event loop go on for a while."""
    import asyncio  # here: a program without a loop does not need it

    await asyncio.sleep(seconds)


def erase(store: Checkpointer, thread: str) -> Operation[None]:
    """Remove a thread, and have whoever runs in it refused from now on."""
    names = {MAIN, *(branch.name for branch in (yield from store.branches(thread)))}
    leases = [_drawn(thread, name, own_place()) for name in sorted(names)]
    for lease in leases:
        while (holder := (yield from store.claim(lease, store.lease_seconds))) is not None:
            yield from store.claim(lease, store.lease_seconds, over=holder.owner)
    yield from store.remove_thread(thread)
    for lease in leases:
        yield from store.release(lease)


def _drawn(thread: str, branch: str, place: str) -> Lease:
    fence = int.from_bytes(os.urandom(8), "big") >> 1 or 1
    return Lease(thread, branch, fence, f"{place}/{fence:x}")


# -- who owns --------------------------------------------------------------------------------------


def own_place() -> str:
    """Return the part of an owner's name that stands for this process."""
    return _place_of(os.getpid())


@lru_cache(maxsize=1)
def _place_of(process: int) -> str:
    return f"{_machine()}/{process}/{_start_of(process) or ''}"


def is_over(owner: str) -> bool:
    """Whether an owner is known to be gone: its run has ended, or its process."""
    place, _, fence = owner.rpartition("/")
    if place == own_place():
        return int(fence, 16) not in _held
    machine, _, process = place.partition("/")
    number, _, start = process.partition("/")
    if machine != _machine() or not number.isdigit() or os.name != "posix":
        return False
    if start:
        return _start_of(int(number)) != start
    return not _lives(int(number))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return what numbers of processes are comparable on: this boot of this machine's container."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        numbers = os.readlink("/proc/self/ns/pid").rpartition("[")[2].rstrip("]")
        return f"{boot}.{numbers}"
    return socket.gethostname().replace("/", ".")


def _start_of(process: int) -> str | None:
    """Return when a process began, in ticks since the boot; None: it does not live, or who knows.

    Zombies of the operating system's count as gone.
    """
    try:
        told = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = told.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


# -- renewing --------------------------------------------------------------------------------------

_held: WeakValueDictionary[int, Claim] = WeakValueDictionary()
"""By fence, every lease of this process; one that is not here is over."""
_lock = threading.Lock()
_sooner = threading.Event()
_beating: list[threading.Thread] = []
_next_look = [0.0]


def _hold(claim: Claim, lease: Lease) -> None:
    claim.due = monotonic() + claim.store.lease_seconds / BEATS
    _held[lease.fence] = claim
    if not _beating:
        with _lock:
            if not _beating:
                _next_look[0] = monotonic() + IDLE_SECONDS
                thread = threading.Thread(target=_beat, name="graphflow-leases", daemon=True)
                _beating.append(thread)
                thread.start()
    if claim.due < _next_look[0]:
        _sooner.set()


def _beat() -> None:
    """Renew every lease in time, as long as the process lives."""
    while True:
        now = monotonic()
        claims = list(_held.values())
        for claim in claims:
            if claim.due <= now:
                claim.renew()
        first = min((claim.due for claim in claims), default=now + IDLE_SECONDS)
        del claims
        _next_look[0] = min(first, now + IDLE_SECONDS)
        _sooner.wait(max(0.0, _next_look[0] - monotonic()))
        _sooner.clear()


def _after_fork() -> None:
    """The child of a fork holds nothing, and has no thread that renews."""
    _held.clear()
    _beating.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
