"""Every error graphflow raises on purpose, and the signals that stop a run.

Three families, told apart by what the caller should do next:

- plain exceptions: the program, its input or its store must be changed (`InvalidUpdateError`, …);
- `CheckpointConflict`: somebody else was first; load the thread again and decide anew;
- `GraphSignal`: control flow, derived from `BaseException` so that a node's `except Exception`
  cannot swallow a pause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphflow.types import Command, Interrupt


class InvalidUpdateError(Exception):
    """A node, an input or an update wrote something that the graph's state cannot take."""


class GraphRecursionError(RecursionError):
    """The run used up its `recursion_limit` with work left; its state is saved."""


class EmptyInputError(Exception):
    """A fresh thread was started with `None`, so there is nothing to run."""


class GraphWarning(UserWarning):
    """The declaration is legal, but something in it can hardly be meant. See `lint()`."""


class NodeCancelledError(Exception):
    """A node raised `asyncio.CancelledError` by itself, although nobody cancelled the run."""


class NodeTimeoutError(Exception):
    """A node took longer than its timeout allows; what it wrote is dropped.

    Not a `TimeoutError`, so that the default retry policy tries again.

    Args:
        node: Its name.
        elapsed: Seconds since the attempt began.
        kind: `"run"` for the whole attempt, `"idle"` for the time without progress.
        run_timeout: Seconds that the attempt may take; None: any.
        idle_timeout: Seconds that it may take without progress; None: any.
    """

    def __init__(
        self,
        node: str,
        elapsed: float,
        kind: str,
        run_timeout: float | None = None,
        idle_timeout: float | None = None,
    ) -> None:
        self.node = node
        self.elapsed = elapsed
        self.kind = kind
        self.run_timeout = run_timeout
        self.idle_timeout = idle_timeout
        super().__init__(
            f"Node '{node}' exceeded its {kind} timeout of {self.timeout:.3f}s "
            f"(elapsed: {elapsed:.3f}s)."
        )

    @property
    def timeout(self) -> float:
        """The seconds that were exceeded."""
        return (self.run_timeout if self.kind == "run" else self.idle_timeout) or 0.0


class DriftError(RuntimeError):
    """A node made another call of a task than the one that is recorded in its place."""


class SwallowedInterruptError(RuntimeError):
    """A node caught the signal of its own `interrupt()`, so its pause was lost."""


class CheckpointError(Exception):
    """The store holds something that cannot be read, or refuses to hold what it was given."""


class CorruptCheckpointError(CheckpointError):
    """Stored bytes do not match their checksum or their format; the address is in the text."""


class ForeignDatabaseError(CheckpointError):
    """The file is a database of another program, or no database at all; it was not touched."""


class StoreTooNewError(CheckpointError):
    """The store was written by a newer graphflow than this one; it was not touched."""


class StoreFullError(CheckpointError):
    """The disk under the store is full; what was committed before is intact."""


class StoreUnavailableError(CheckpointError):
    """The server under the store does not answer; what was committed before is there."""


class StoreUnsafeError(CheckpointError):
    """The server under the store is set up to lose what it acknowledges; it was not used."""


class UnknownCheckpointError(CheckpointError, ValueError):
    """The `checkpoint_id`, branch or position asked for is not in the thread."""


class CheckpointConflict(CheckpointError):
    """Somebody else wrote to the thread first; nothing of this attempt was stored."""


class HeadMoved(CheckpointConflict):
    """The branch has grown since it was read: another run or edit committed first."""


class ThreadBusy(CheckpointConflict):
    """Somebody else is running on the branch; no node was run.

    Args:
        thread: Its id.
        branch: Its name.
        owner: Who has it: `machine/process/start/fence`.
        retry_after: Seconds until the lease ends, if its owner does not renew it.
    """

    def __init__(self, thread: str, branch: str, owner: str, retry_after: float) -> None:
        self.thread = thread
        self.branch = branch
        self.owner = owner
        self.retry_after = retry_after
        process = owner.split("/")[1] if owner.count("/") > 1 else owner
        super().__init__(
            f"Branch {branch!r} of thread {thread!r} is being run or edited by process {process}; "
            "nothing was done. Let that run end (a stream that was left open: close it), or call "
            'with on_busy="wait", or with on_busy="fork" to run on a branch of its own.'
        )


class Fenced(CheckpointConflict):
    """The run slept past its lease and somebody else took over; nothing more of it is stored.

    Args:
        thread: The thread's id.
        branch: The branch's name.
    """

    def __init__(self, thread: str, branch: str) -> None:
        self.thread = thread
        self.branch = branch
        super().__init__(
            f"This run has lost branch {branch!r} of thread {thread!r}: it was not heard of for "
            "longer than its lease, and somebody else goes on. Nothing more of it was stored."
        )


class AlreadyAnswered(CheckpointConflict):
    """The question has its answer already; no node runs again for a second one."""


class UnknownInterruptError(CheckpointError, ValueError):
    """An answer names a question that the thread is not asking."""


class GraphSignal(BaseException):
    """Control flow of the engine, on its way from a node to the scheduler."""


class GraphInterrupt(GraphSignal):
    """Raised by `interrupt()`: the task stops here until its question has an answer."""

    def __init__(self, interrupts: Sequence[Interrupt] = ()) -> None:
        super().__init__(tuple(interrupts))
        self.interrupts = tuple(interrupts)


class GraphDrained(GraphSignal):
    """A run stopped because it was asked to (`RunControl.request_drain`), with work left.

    Its state is saved; go on with `invoke(None, config)`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"Graph drained: {reason}")
        self.reason = reason


class ParentCommand(GraphSignal):
    """A `Command(graph=Command.PARENT)` on its way out of a graph to the one that called it."""

    def __init__(self, command: Command[Any]) -> None:
        super().__init__(command)
        self.command = command


def unfit_question(error: BaseException) -> str:
    """Return the id of the question whose answer did not fit; "": the error is another."""
    question: str = getattr(error, "__graphflow_unfit__", "")
    return question


def is_invalid_resume(error: BaseException) -> bool:
    """Whether `error` says that an answer did not fit its question's `response_schema`."""
    return bool(unfit_question(error))
