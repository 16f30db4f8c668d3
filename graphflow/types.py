"""The records that users build, return and receive.

Nothing here knows an engine, a store or a loop. Names and fields follow contract §30.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

Goto = TypeVar("Goto", bound=Hashable)
Returned = TypeVar("Returned")
Saved = TypeVar("Saved")
Durability = Literal["sync", "async", "exit"]
OnBusy = Literal["raise", "wait", "fork"] | float
"""What a call does when somebody else is running on its branch: raise `ThreadBusy`, wait, for so
many seconds at most, or run on a new branch."""
StreamMode = Literal[
    "values", "updates", "custom", "messages", "tools", "tasks", "checkpoints", "debug"
]
StreamWriter = Callable[[Any], None]
Config = dict[str, Any]
"""`{"configurable": {"thread_id": …}, "recursion_limit": …, "metadata": …, "tags": …}`."""

RunnableConfig = Config
"""The name that LangGraph users know."""

START = "__start__"
END = "__end__"
INPUT = "__input__"
COPY = "__copy__"
ROOT = "__root__"
PREVIOUS = "__previous__"
INTERRUPT = "__interrupt__"


class Send:
    """Run `node` in the next superstep with `arg` as its whole input.

    Args:
        node: Name of the node.
        arg: What the node gets; not coerced against the graph's state.
        timeout: Overrides the node's: seconds, a `timedelta` or a `TimeoutPolicy`.
    """

    __slots__ = ("arg", "node", "timeout")

    def __init__(self, node: str, arg: Any, *, timeout: Any = None) -> None:
        self.node = node
        self.arg = arg
        self.timeout = None if timeout is None else timeout_policy(timeout)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Send)
            and self.node == other.node
            and self.arg == other.arg
            and self.timeout == other.timeout
        )

    def __hash__(self) -> int:
        return hash((self.node, self.arg, self.timeout))

    def __repr__(self) -> str:
        timeout = "" if self.timeout is None else f", timeout={self.timeout!r}"
        return f"Send(node={self.node!r}, arg={self.arg!r}{timeout})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Generic[Goto]):
    """An update and where to go next in one value; as an input, also an answer.

    As a node's return value `update` is applied as if it had been returned and `goto` is taken in
    addition to the node's edges. As the input of a run `resume` answers an interrupt.
    """

    PARENT: ClassVar[Literal["__parent__"]] = "__parent__"

    graph: str | None = None
    """None for this graph, `Command.PARENT` for the one that called it."""
    update: Any = None
    """A dict, a list of `(key, value)` pairs, or an instance of an annotated class."""
    resume: Any = None
    """The answer to the one open question, or `{interrupt id: answer}`."""
    goto: Any = ()
    """A node name, a `Send`, or a sequence of both."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A question that a run is waiting on."""

    value: Any
    """What `interrupt()` was given: shown to the person who answers."""
    id: str = ""
    """32 hex digits: stable for the task and the number of the question in it."""
    response_schema: dict[str, Any] | None = None
    """JSON schema of the answer, if one was declared."""
    node: str = field(default="", compare=False)
    """The node that asks."""
    ns: tuple[str, ...] = field(default=(), compare=False)
    """The graphs around the node, `()` in the root graph."""
    task: str = field(default="", compare=False, repr=False)
    """Id of the task that asks."""


@dataclass(frozen=True, slots=True)
class Overwrite:
    """Replace a key's value and skip its reducer. Also as `{"__overwrite__": value}`."""

    value: Any


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed node runs again.

    The wait before retry *n* (1-based) is `min(max_interval, initial_interval * backoff_factor **
    (n - 1))` seconds, plus up to one random second with `jitter`.
    """

    initial_interval: float = 0.5
    backoff_factor: float = 2.0
    max_interval: float = 128.0
    max_attempts: int = 3
    """Including the first."""
    jitter: bool = True
    retry_on: type[BaseException] | Sequence[type[BaseException]] | Callable[[Any], bool] | None = (
        None
    )
    """Exception classes, a predicate, or a `tenacity.retry_…` strategy; None: whatever is likely to
    pass by itself."""
    wait: Callable[[Any], float] | None = None
    """A `tenacity.wait_…` strategy for the seconds between attempts, in place of the intervals."""
    stop: Callable[[Any], bool] | None = None
    """A `tenacity.stop_…` strategy for when to give up, in place of `max_attempts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutPolicy:
    """How long an attempt of a node may take; both limits are seconds or a `timedelta`."""

    run_timeout: Any = None
    """For the whole attempt."""
    idle_timeout: Any = None
    """Without progress: a chunk, a write, a call that ends, `runtime.heartbeat()`."""
    refresh_on: Literal["auto", "heartbeat"] = "auto"
    """With `"heartbeat"` nothing but a heartbeat counts as progress."""

    def __post_init__(self) -> None:
        for name in ("run_timeout", "idle_timeout"):
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))
        if self.refresh_on not in ("auto", "heartbeat"):
            raise ValueError(f"refresh_on must be 'auto' or 'heartbeat', got {self.refresh_on!r}")


def _seconds(name: str, given: Any) -> float | None:
    if given is None:
        return None
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise ValueError(f"{name} must be more than 0 seconds, got {given!r}")
    return float(seconds)


def timeout_policy(given: Any) -> TimeoutPolicy | None:
    """Return what `timeout=` stands for: a number of seconds or `timedelta` is a `run_timeout`.

    Raises:
        ValueError: It is no time, or not more than 0.
    """
    if given is None or isinstance(given, TimeoutPolicy):
        return given
    return TimeoutPolicy(run_timeout=given)


def policies(given: RetryPolicy | Sequence[RetryPolicy] | None) -> tuple[RetryPolicy, ...]:
    """Return what `retry_policy=` stands for: one policy, several, or none."""
    if given is None:
        return ()
    return (given,) if isinstance(given, RetryPolicy) else tuple(given)


class StateUpdate(NamedTuple):
    """One entry of `bulk_update_state`: `values` as if `as_node` had returned them."""

    values: Any
    as_node: str | None = None
    task_id: str | None = None


class PregelTask(NamedTuple):
    """One task of a checkpoint's next superstep, as far as it is known."""

    id: str
    name: str
    path: tuple[Any, ...]
    error: str | None = None
    interrupts: tuple[Interrupt, ...] = ()
    state: Any = None
    result: Any = None


class StateSnapshot(NamedTuple):
    """A checkpoint with the state it leads to."""

    values: Any
    """The state: a dict of the keys that have a value, or the root value."""
    next: tuple[str, ...]
    """Names of the nodes still to run."""
    config: Config
    """Addresses exactly this checkpoint."""
    metadata: dict[str, Any] | None
    """`source`, `step`, `parents`, and what the run's config added."""
    created_at: str | None
    """ISO 8601, UTC. For people only: nothing is ordered by it."""
    parent_config: Config | None
    tasks: tuple[PregelTask, ...]
    interrupts: tuple[Interrupt, ...]


@dataclass(frozen=True, slots=True)
class GraphOutput:
    """What `invoke(..., version="v2")` returns."""

    value: Any
    interrupts: tuple[Interrupt, ...] = ()

    def __getitem__(self, key: str) -> Any:
        return self._as_v1()[key]

    def __contains__(self, key: object) -> bool:
        return key in self._as_v1()

    def _as_v1(self) -> dict[str, Any]:
        import warnings

        text = "Reading a GraphOutput like a dict is deprecated: use .value and .interrupts."
        warnings.warn(text, DeprecationWarning, stacklevel=3)
        asked = {INTERRUPT: list(self.interrupts)} if self.interrupts else {}
        return {**(self.value if isinstance(self.value, dict) else {}), **asked}


@dataclass(frozen=True, slots=True)
class Final(Generic[Returned, Saved]):
    """What an entrypoint returns, and what it saves for the next run; see `entrypoint.final`."""

    value: Returned
    """Returned to the caller."""
    save: Saved
    """What the next run of the thread gets as `previous`."""


@dataclass(frozen=True, slots=True)
class NodeError:
    """What an error handler is told."""

    node: str
    error: BaseException


def interrupt_map(resume: Any) -> Mapping[str, Any] | None:
    """Return `resume` when it is `{interrupt id: answer}`, None when it is a plain answer."""
    if isinstance(resume, dict) and resume and all(map(_is_interrupt_id, resume)):
        return resume
    return None


def _is_interrupt_id(text: object) -> bool:
    return isinstance(text, str) and len(text) == 32 and not set(text) - set("0123456789abcdef")
