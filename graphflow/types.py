"""The records that users build, return and receive.

Nothing here knows an engine, a store or a loop. Names and fields follow contract §30.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

Goto = TypeVar("Goto", bound=Hashable)
Durability = Literal["sync", "async", "exit"]
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
INTERRUPT = "__interrupt__"


class Send:
    """Run `node` in the next superstep with `arg` as its whole input.

    Args:
        node: Name of the node.
        arg: What the node gets; not coerced against the graph's state.
        timeout: For timeouts of nodes, which do not exist yet; must be None.
    """

    __slots__ = ("arg", "node", "timeout")

    def __init__(self, node: str, arg: Any, *, timeout: Any = None) -> None:
        self.node = node
        self.arg = arg
        self.timeout = timeout

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
        return f"Send(node={self.node!r}, arg={self.arg!r})"


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
    """Exception classes, or a predicate; None: whatever is likely to pass by itself."""


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
