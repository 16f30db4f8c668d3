"""The words between the machine and its drivers.

The machine takes what happened and answers with a `Turn`: what the driver does next, *in field
order*. It makes `commit` durable, then tells the listeners the `events`, then runs the `tasks`.
While `status` is RUNNING it hands back outcomes as they come (`complete`), and calls `tick` at
`wake_at` if that comes first. Any other status ends the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from graphflow.checkpoint.records import NOTHING, Commit, Frame, Pending, Row, Writes
from graphflow.events import Event
from graphflow.graph.plan import Node
from graphflow.ids import task_id
from graphflow.types import Interrupt, NodeError, Send

Target = str | Send
"""A node's name, `END`, or a `Send`."""


class Status(Enum):
    """Where a run stands."""

    RUNNING = "running"
    WAITING = "waiting"
    """For a person: a question is open, or a breakpoint was reached."""
    DONE = "done"
    FAILED = "failed"


NOTHING_ASKED: Mapping[int, Any] = {}
"""Shared by all tasks that never asked: questions and answers are replaced, not added to."""
NOTHING_RECALLED: dict[tuple[int, ...], Any] = {}
"""Shared by all tasks that never called one; `superstep.recall` replaces it."""


class Task:
    """One execution of one node, with what the machine knows of it.

    What changes when it runs again: `answers`, `asked`, `replies` and `attempt`.
    """

    __slots__ = ("_id", "answers", "arg", "asked", "attempt", "failure", "head", "identity",
                 "index", "is_send", "node", "place", "recalled", "replies", "since", "step",
                 "steps_left", "timeout", "values")  # fmt: skip

    def __init__(
        self,
        index: int,
        node: Node,
        values: dict[str, Any],
        is_send: bool,
        arg: Any,
        place: int,
        step: int,
        steps_left: int,
        head: int,
        identity: str,
    ) -> None:
        self.index = index
        self.node = node
        self.values = values
        """The state at the start of the superstep; not to be changed."""
        self.is_send = is_send
        self.arg = arg
        self.place = place
        """Its number among the Sends of the superstep."""
        self.step = step
        self.steps_left = steps_left
        self.head = head
        """The seq of the checkpoint whose superstep it is part of."""
        self.identity = identity
        """What makes the ids of its run's tasks their own."""
        self.asked: Mapping[int, Interrupt] = NOTHING_ASKED
        """Every question it met so far, its own and those of graphs inside it, by number."""
        self.replies: Mapping[int, Any] = NOTHING_ASKED
        """Answers by the number of their question."""
        self.answers: tuple[Any, ...] = ()
        """Answers to its own questions, in order."""
        self.recalled: dict[tuple[int, ...], tuple[str, Any]] = NOTHING_RECALLED
        """Calls of tasks that ended: place of the call to name and what it returned."""
        self.timeout = node.timeout
        """How long an attempt may take; a `Send` may say otherwise than its node."""
        self.attempt = 1
        self.since = 0.0
        """When it was first handed out, in seconds since the epoch."""
        self.failure: NodeError | None = None
        """Of an error handler: what it handles."""
        self._id = ""

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name

    @property
    def id(self) -> str:
        """32 hex digits, the same in every replay of the same checkpoint."""
        if not self._id:
            name, is_send = self.node.name, self.is_send
            self._id = task_id(self.identity, self.head, self.step, name, is_send, self.place)
        return self._id

    @property
    def is_entry(self) -> bool:
        """Whether it runs the function of an entrypoint."""
        return self.node.is_entry

    @property
    def path(self) -> tuple[Any, ...]:
        """`("__pregel_push", place, False)` for a Send, `("__pregel_pull", name)` else."""
        if self.is_send and not self.node.is_entry:
            return ("__pregel_push", self.place, False)
        return ("__pregel_pull", self.node.name)

    @property
    def triggers(self) -> tuple[str, ...]:
        """What can start the task (contract §9)."""
        return self.node.triggers if not self.is_send or self.node.is_entry else _SENT


_SENT = ("__pregel_push",)


class Outcome(NamedTuple):
    """How an attempt ended: with writes and targets, with questions, or with an error."""

    task: Task
    writes: Writes = ()
    targets: Sequence[Target] = ()
    interrupts: tuple[Interrupt, ...] | None = None
    """Its open questions; `()`: it stopped inside without any; None: it did not stop."""
    error: BaseException | None = None
    jitter: float = 0.0
    """A random number of [0, 1), for the wait before a retry: the machine has no dice."""
    is_restored: bool = False
    """Whether the result comes from a cache or an earlier run."""
    is_drained: bool = False
    """Whether it stopped because the run is to stop, not at a question or a breakpoint."""

    @property
    def is_success(self) -> bool:
        """Whether the task is finished."""
        return self.error is None and self.interrupts is None


class Turn(NamedTuple):
    """What the driver does next, in field order."""

    commit: Commit | None
    events: Sequence[Event]
    tasks: Sequence[Task]
    status: Status
    wake_at: float | None = None


class Start(NamedTuple):
    """Where a run starts from: a checkpoint of a thread, or nothing."""

    values: dict[str, Any]
    seq: int = -1
    """The head of the branch; -1: no frame yet."""
    next_seq: int = 0
    """The number of the next frame: above those of all branches of the thread."""
    step: int = -2
    """The head's step; -2: no frame yet."""
    pending: tuple[Pending, ...] = ()
    joins: Mapping[str, tuple[str, ...]] = NOTHING
    deferred: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    """Rows of the open superstep."""
    metadata: Mapping[str, Any] | None = None
    frame: Frame | None = None
    """The head itself."""
    ordinals: tuple[int, int] = (0, 0)
    """Numbers of the branch that the head lies on, and of that of the checkpoint before it."""


class Options(NamedTuple):
    """How one run goes."""

    identity: str = ""
    """What makes task ids differ between threads, branches and runs."""
    modes: frozenset[str] = frozenset()
    """Stream modes that somebody listens to."""
    records: bool = False
    """Whether there is a store to commit to."""
    recursion_limit: int = 10007
    interrupt_before: frozenset[str] = frozenset()
    interrupt_after: frozenset[str] = frozenset()
    output_keys: tuple[str, ...] | str | None = None
    """Keys of `values` and `updates` events; None: all; a text: the value of this one."""
    metadata: Mapping[str, Any] = NOTHING
    """What checkpoints say of the run."""
    told: Mapping[str, Any] = NOTHING
    """What `tasks` events say of the run."""
    draining: str | None = None
    """Why the run shall stop before it has begun; None: it need not."""
    began: float = 0.0
    """When the run begins, in seconds since the epoch."""
    saves_at_exit: bool = False
    """Whether nothing is stored before the run ends."""
    step_timeout: float | None = None
    """Seconds that a superstep may take; None: any."""
    ns: tuple[str, ...] = ()
    place: tuple[str, str, int] = ("", "", 0)
    """Thread, scope and number of the branch, for the configs of checkpoints."""
