"""The checkpointer protocol: what a store must be able to do.

Every operation is a generator: it yields what it wants from the store (a statement, or whatever
words the store has) and receives the rows. A backend adds how to run one, `run` and `arun`; what
an operation does is written once for both, and can be tested by feeding rows by hand.

A store knows bytes, numbers and names. It stores, loads and refuses; policy stays above it.

Model: a thread has branches; a branch is a line of frames with rising `seq`, continuing its parent
from `parent_seq`; rows belong to the open superstep at a branch's head. `scope` separates the
lines of subgraphs from that of the root graph (`""`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from graphflow.errors import CheckpointError

if TYPE_CHECKING:
    from graphflow.checkpoint.heads import Heads

T = TypeVar("T")
Operation = Generator[Any, Any, T]
"""Yields statements, is sent their rows, returns its result."""

MAIN = "main"


class Branch(NamedTuple):
    """One line of frames of a thread."""

    id: int
    """The store's own number."""
    ordinal: int
    """Its number in the thread; 0 is the first, usually `main`."""
    name: str
    parent: int | None
    """`id` of the branch that it continues."""
    parent_seq: int
    """The last frame that it has from its parent; -1 without parent."""
    head: int
    """Its newest frame, at least `parent_seq`; -1: none."""


class StoredFrame(NamedTuple):
    """A frame as bytes."""

    seq: int
    created: float
    """Seconds since the epoch."""
    body: bytes


class StoredRow(NamedTuple):
    """A row as bytes; see `records.Row`."""

    place: int
    kind: int
    number: int
    body: bytes


class Lease(NamedTuple):
    """The right to run on a branch for a while; see `leases`."""

    thread: str
    branch: str
    """The branch's name, which need not be made yet."""
    fence: int
    """Drawn anew for every claim: 63 bits. What holds another one may not write."""
    owner: str
    """Who holds it; holds the fence, so no two are the same."""

    @property
    def place(self) -> bytes:
        """What all leases of one branch have in common: 16 bytes."""
        named = f"{len(self.thread)}:{self.thread}{self.branch}"
        return blake2b(named.encode(errors="surrogatepass"), digest_size=16).digest()


class Tag(NamedTuple):
    """One of the values by which a thread is found, as digests; see `tags`."""

    key: bytes
    value: bytes
    """Stands for the key, too."""


class Holder(NamedTuple):
    """Who has a lease that was claimed in vain."""

    owner: str
    seconds_left: float


class Verbs(ABC):
    """What a store must be able to do; `Checkpointer` is what users call on top of it."""

    lease_seconds: float = 30.0
    """How long a run whose process cannot be asked is waited for before somebody takes over."""

    tags: tuple[str, ...] = ()
    """Keys of a run's metadata by which threads can be found: declared where a store is made."""

    is_instant: ClassVar[bool] = False
    """Whether a commit costs so little that nothing is gained by doing it in the background."""

    @abstractmethod
    def run(self, operation: Operation[T]) -> T:
        """Carry out an operation and return its result."""

    @cached_property
    def heads(self) -> Heads:
        """States that were read through this object and are kept for the next reader."""
        from graphflow.checkpoint.heads import Heads

        return Heads()

    @abstractmethod
    async def arun(self, operation: Operation[T]) -> T:
        """Carry out an operation without blocking the event loop."""

    def begin(self, *, write: bool = False) -> Operation[None]:
        """Make what follows, up to `end`, one transaction; an error takes all of it back."""
        return
        yield

    def end(self) -> Operation[None]:
        """Make the transaction durable."""
        return
        yield

    @abstractmethod
    def branches(self, thread: str, scope: str = "") -> Operation[list[Branch]]:
        """Return the branches of a thread by ordinal; `[]` for an unknown thread."""

    @abstractmethod
    def create_branch(
        self, thread: str, scope: str, name: str, parent: int | None, parent_seq: int
    ) -> Operation[Branch]:
        """Add a branch, and the thread if there is none.

        Raises:
            HeadMoved: The thread has a branch of that name.
        """

    @abstractmethod
    def append(
        self,
        branch: int,
        head: int,
        frames: Sequence[StoredFrame],
        *,
        drop_rows: bool,
        lease: Lease | None = None,
    ) -> Operation[None]:
        """Add frames behind `head`, atomically, and with `drop_rows` remove the rows at `head`.

        Raises:
            HeadMoved: The branch's newest frame is not `head`, or the branch is gone.
            Fenced: `lease` was given, and is not held any more.
        """

    @abstractmethod
    def put_rows(
        self,
        branch: int,
        head: int,
        rows: Sequence[StoredRow],
        withdrawn: Sequence[StoredRow],
        *,
        lease: Lease | None = None,
    ) -> Operation[None]:
        """Add rows to the open superstep at `head` and remove the withdrawn ones, atomically.

        The first row of a place, kind and number stays; a second answer is refused.

        Raises:
            HeadMoved: The branch's newest frame is not `head`.
            Fenced: `lease` was given, and is not held any more.
            AlreadyAnswered: One of the rows answers a question that has an answer.
        """

    @abstractmethod
    def claim(self, lease: Lease, seconds: float, over: str = "") -> Operation[Holder | None]:
        """Take a lease that nobody has, whose time is over, or that `over` has.

        Returns:
            None: it is taken, or was by the same claim before. Else who has it.
        """

    @abstractmethod
    def renew(self, lease: Lease, seconds: float) -> Operation[bool]:
        """Make a lease last `seconds` from now; return whether it was still held."""

    @abstractmethod
    def release(self, lease: Lease) -> Operation[None]:
        """Give a lease back; one that is not held any more is no error."""

    @abstractmethod
    def frames(self, branch: int, after: int, upto: int) -> Operation[list[StoredFrame]]:
        """Return the frames with `after < seq <= upto`, oldest first."""

    @abstractmethod
    def rows(self, branch: int, head: int) -> Operation[list[StoredRow]]:
        """Return the rows of the superstep that is open at `head`, in the order they came."""

    @abstractmethod
    def snapshot(self, branch: int, upto: int) -> Operation[tuple[int, bytes] | None]:
        """Return the newest snapshot at or before `upto`, with its seq."""

    @abstractmethod
    def put_snapshot(self, branch: int, seq: int, body: bytes) -> Operation[None]:
        """Keep the state at `seq`, so that reading need not start at the beginning."""

    @abstractmethod
    def threads(self) -> Operation[list[str]]:
        """Return the ids of all threads, in the order of their creation."""

    @abstractmethod
    def scopes(self, thread: str) -> Operation[list[str]]:
        """Return the scopes in which a thread has branches, sorted: each before those inside it."""

    @abstractmethod
    def remove_thread(self, thread: str) -> Operation[None]:
        """Remove a thread with all its branches; unknown threads are no error."""

    @abstractmethod
    def cut(self, branch: int, base: StoredFrame) -> Operation[None]:
        """Let a branch begin with `base`, atomically: what it stands for goes.

        That are all frames up to the one of its number, which it replaces, the snapshots of their
        states, and the branch's tie to the one that it continued.

        Raises:
            HeadMoved: The branch has no frame of that number, or is gone.
        """

    @abstractmethod
    def remove_scope(self, thread: str, scope: str) -> Operation[None]:
        """Remove the branches of one graph of a thread; unknown ones are no error."""

    def put_tags(self, thread: str, tags: Sequence[Tag]) -> Operation[None]:
        """Give a thread tags, each in place of the one with its key; no thread, no tags.

        Raises:
            CheckpointError: The store keeps no tags.
        """
        raise self._no_tags()
        yield

    def tagged(
        self, tags: Sequence[Tag], after: int, limit: int
    ) -> Operation[list[tuple[int, str]]]:
        """Return threads that have all of these tags; without tags any threads.

        Args:
            tags: The first one leads the search.
            after: Only threads with a higher number than this.
            limit: At most so many.

        Returns:
            Number and id of each. A thread's number never changes; those made later have higher
            ones, and so the threads come.

        Raises:
            CheckpointError: The store keeps no tags.
        """
        raise self._no_tags()
        yield

    def _no_tags(self) -> CheckpointError:
        return CheckpointError(
            f"{type(self).__name__} keeps no tags. Open it without tags=, and use threads()."
        )

    def scrub(self) -> Operation[None]:
        """Leave no bytes of what was removed before, as far as the store can do that.

        Raises:
            CheckpointError: It cannot now; the text says what to do.
        """
        return
        yield

    def close(self) -> None:  # noqa: B027  # most stores have nothing to give back
        """Give back what the store holds open; using it afterwards is an error."""
