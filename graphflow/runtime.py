"""What a node may ask of the run it is part of.

A driver sets one `TaskContext` before it calls a node; everything here reads it. It is a typed
record in a context variable, so it follows the node into the threads and asyncio tasks that
graphflow starts, and nested runs inherit it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from graphflow.errors import GraphInterrupt
from graphflow.events import LIVE, Event
from graphflow.ids import checkpoint_id, digest
from graphflow.types import Config, Durability, Interrupt, StreamWriter

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Lease

Ctx = TypeVar("Ctx")


class RunControl:
    """A handle to ask runs to stop after the superstep they are in; from any thread."""

    __slots__ = ("drain_reason",)

    def __init__(self) -> None:
        self.drain_reason: str | None = None
        """Why runs shall stop; None: they need not."""

    @property
    def drain_requested(self) -> bool:
        """Whether runs shall stop."""
        return self.drain_reason is not None

    def request_drain(self, reason: str = "shutdown") -> None:
        """Let runs with this control finish and save their superstep.

        Those that have work left then raise `GraphDrained`.
        """
        self.drain_reason = reason


class RunContext:
    """What all tasks of one run share."""

    __slots__ = ("_streamed", "answers", "around", "cache", "caller", "checkpoints", "config",
                 "context", "control", "durability", "forwarded", "lease", "ordinal", "parents",
                 "run_id", "scope", "sink", "store", "thread", "travel", "wanted")  # fmt: skip

    def __init__(
        self,
        config: Config,
        *,
        context: Any = None,
        control: RunControl | None = None,
        store: Any = None,
        cache: Any = None,
        scope: tuple[str, ...] = (),
        wanted: frozenset[str] = frozenset(),
        forwarded: frozenset[str] = frozenset(),
        sink: Callable[[Event], None] | None = None,
        checkpoints: Any = None,
        thread: str = "",
        ordinal: int = 0,
        durability: Durability = "async",
        parents: Mapping[str, str] | None = None,
        answers: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.context = context
        self.control = control
        self.store = store
        self.cache = cache
        self.scope = scope
        """The graphs around its nodes: `()` in the root graph."""
        self.forwarded = forwarded
        """Modes in which listeners want to hear of graphs inside this one."""
        self.checkpoints = checkpoints
        """The checkpointer, for graphs inside this one."""
        self.thread = thread
        self.ordinal = ordinal
        """Number of the branch that the run is on."""
        self.durability: Durability = durability
        self.parents = parents or {}
        """Checkpoints of the graphs around this one, by scope."""
        self.answers = answers or {}
        """Answers to questions of graphs inside this one, by the question's id."""
        self.wanted = (wanted | forwarded) & LIVE
        self._streamed: set[str | None] = set()
        self.sink = sink
        self.travel: Any = None
        """Where a graph inside goes on instead of beginning anew; see `travel`."""
        self.lease: Lease | None = None
        """What must be held for anything of the run, and of graphs inside it, to be stored."""
        self.caller: Any = None
        """What performs calls of tasks: the run's driver."""
        self.around: TaskContext | None = None
        """The task that this run is part of."""
        self.run_id: str | None = None
        """Made when somebody asks for it; the same in graphs inside."""

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens to what nodes say while they run."""
        return bool(self.wanted or self.forwarded)

    @property
    def streamed(self) -> set[str | None]:
        """Ids of messages that listeners of mode `messages` have seen.

        Whoever hears this run from around it has seen those of all the graphs inside.
        """
        if self.around is not None and "messages" in self.around.run.forwarded:
            return self.around.run.streamed
        return self._streamed

    def emit(self, mode: str, data: Any) -> None:
        """Hand a live chunk to the listeners of `mode`, if there are any."""
        if mode in self.wanted and self.sink is not None:
            self.sink(Event(mode, data, self.scope))


class TaskView(Protocol):
    """What the context needs to know of the engine's task."""

    answers: tuple[Any, ...]
    attempt: int
    since: float
    head: int
    failure: Any
    values: dict[str, Any]
    timeout: Any

    @property
    def name(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def path(self) -> tuple[Any, ...]: ...
    @property
    def step(self) -> int: ...
    @property
    def triggers(self) -> tuple[str, ...]: ...
    @property
    def is_entry(self) -> bool: ...


class TaskContext:
    """One execution of one node: its run, its task, and how far its questions have come."""

    __slots__ = ("asked", "called", "calls", "progress", "pushed", "run", "signal", "task")

    def __init__(self, run: RunContext, task: TaskView) -> None:
        self.run = run
        self.task = task
        self.asked = 0
        self.calls = 0
        """How many graphs it has called."""
        self.called: Any = None
        """Its calls of tasks, if it makes any; see `drivers.calling`."""
        self.progress: Callable[[bool], None] | None = None
        """Told when the task goes on, if it has an idle timeout."""
        self.pushed: list[tuple[str, Any]] = []
        """What the node wrote before it returned; part of this attempt's writes."""
        self.signal: GraphInterrupt | None = None

    @property
    def ns(self) -> tuple[str, ...]:
        """The namespace of graphs that this task calls."""
        return (*self.run.scope, f"{self.task.name}:{self.task.id}")

    @property
    def root(self) -> TaskContext:
        """The node's own context: that of a call or of a part of the node is another."""
        return self

    @property
    def place(self) -> tuple[int, ...]:
        """Where the calls that it makes stand among those of the node."""
        return () if self.task.failure is None else (-1,)  # an error handler has its own

    @property
    def asks_in(self) -> tuple[str, ...]:
        """The namespace of its questions."""
        return self.run.scope

    def touch(self, *, is_heartbeat: bool = False) -> None:
        """Note that the task goes on, and with it those around it."""
        if self.progress is not None:
            self.progress(is_heartbeat)
        if self.run.around is not None:
            self.run.around.touch(is_heartbeat=is_heartbeat)

    def ask(self, value: Any, response_schema: Any) -> Any:
        """Return the answer to the task's next question, or stop the task with the question.

        In a call of a task, and in a graph that keeps nothing, a question is known by its id alone:
        it is asked anew in each run of the task around it.
        """
        number = self.asked
        self.asked += 1
        identity = digest("|".join(self.ns), str(number))
        if number < len(self.task.answers):
            return checked_answer(self.task.answers[number], response_schema, identity)
        question = Interrupt(
            value,
            identity,
            json_schema(response_schema),
            self.task.name,
            self.asks_in,
            self.task.id,
        )
        if identity in self.run.answers:
            return checked_answer(self.run.answers[identity], response_schema, identity)
        raise self.stop((question,))

    def stop(self, interrupts: tuple[Interrupt, ...]) -> GraphInterrupt:
        """Note that the task stops here, and return the signal to raise."""
        self.signal = GraphInterrupt(interrupts)
        return self.signal

    def config(self) -> Config:
        """Return the run's config with this task's place in it."""
        given, task = self.run.config, self.task
        ns = "|".join(self.ns)
        place = {
            "langgraph_step": task.step,
            "langgraph_node": task.name,
            "langgraph_triggers": task.triggers,
            "langgraph_path": task.path,
            "langgraph_checkpoint_ns": ns,
        }
        configurable = {**given.get("configurable", {}), "checkpoint_ns": ns, **self._checkpoint()}
        metadata = {**given.get("metadata", {}), **place}
        return {**given, "configurable": configurable, "metadata": metadata}

    def _checkpoint(self) -> dict[str, Any]:
        """Return which checkpoint the task's superstep began from, and those of graphs around."""
        run = self.run
        if run.checkpoints is None:
            return {}
        own = checkpoint_id(self.task.head, run.ordinal)
        return {
            "checkpoint_id": own,
            "checkpoint_map": {**run.parents, "|".join(run.scope): own},
        }

    def write_custom(self, chunk: Any) -> None:
        """Stream `chunk` to the listeners of mode `custom`."""
        self.touch()
        self.run.emit("custom", chunk)


_current: ContextVar[TaskContext | None] = ContextVar("graphflow_task", default=None)
enter_task = _current.set
leave_task = _current.reset
current_or_none = _current.get


def current(caller: str = "get_config") -> TaskContext:
    """Return the context of the running task.

    Raises:
        RuntimeError: Nothing runs here; `caller` is what was called.
    """
    context = _current.get()
    if context is None:
        raise RuntimeError(
            f"Called {caller} outside of a runnable context: it works in a node of a running graph."
        )
    return context


def interrupt(value: Any, *, response_schema: Any = None) -> Any:
    """Ask a person: stop the node here until somebody answers, then return the answer.

    The node runs again from its first line when the answer has come; questions that were answered
    before return at once, matched by their order in the node.

    Args:
        value: The question, anything storable; shown to the person.
        response_schema: A pydantic model, TypedDict or dataclass that the answer must fit (the
            validated object is returned), or a JSON schema dict (not validated).

    Raises:
        GraphInterrupt: There is no answer yet. A signal (`BaseException`): let it pass.
        pydantic.ValidationError: The answer does not fit; the question stays open.
    """
    return current("interrupt").ask(value, response_schema)


def json_schema(response_schema: Any) -> dict[str, Any] | None:
    """Return the JSON schema of an answer's type; a dict is one already."""
    if response_schema is None or isinstance(response_schema, dict):
        return response_schema
    from pydantic import TypeAdapter

    from graphflow.checkpoint.reachable import register_reachable

    register_reachable(response_schema)  # an answer may be kept as what it was validated to
    return TypeAdapter(_adaptable(response_schema)).json_schema()


def checked_answer(answer: Any, response_schema: Any, question: str) -> Any:
    """Return `answer` as the declared type.

    Args:
        answer: What the person said.
        response_schema: As `interrupt` was given it.
        question: The id of what was asked.

    Raises:
        pydantic.ValidationError: It does not fit; marked with the question for `unfit_question`.
    """
    if response_schema is None or isinstance(response_schema, dict):
        return answer
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(_adaptable(response_schema)).validate_python(answer)
    except ValidationError as error:
        error.__graphflow_unfit__ = question  # type: ignore[attr-defined]  # read by unfit_question
        raise


def _adaptable(response_schema: Any) -> Any:
    """Return a TypedDict of `typing` as one that pydantic takes: before Python 3.12 it needs
    that of `typing_extensions`.
    """
    import typing_extensions

    if not typing_extensions.is_typeddict(response_schema):
        return response_schema
    hints = typing_extensions.get_type_hints(response_schema, include_extras=True)
    total = response_schema.__total__
    return typing_extensions.TypedDict(response_schema.__name__, hints, total=total)  # type: ignore[operator]  # its functional form


def get_config() -> Config:
    """Return the config of the running task. Raises `RuntimeError` outside of one."""
    return current().config()


def get_stream_writer() -> StreamWriter:
    """Return a function that streams its argument in mode `custom`."""
    return current("get_stream_writer").write_custom


def get_store() -> Any:
    """Return the store the graph was compiled with, or None."""
    return current("get_store").run.store


def emit_message(
    chunk: Any, metadata: Mapping[str, Any] | None = None, *, is_whole: bool = False
) -> None:
    """Stream a message in mode `messages`, if anybody listens; a sign that the task goes on.

    Args:
        chunk: A piece that a model wrote, or a message.
        metadata: Added to what is told of where it comes from.
        is_whole: Whether a node says it, no model.
    """
    context = _current.get()
    if context is None:
        return
    context.touch()
    if "messages" in context.run.wanted:
        told = message_metadata(context, is_whole)
        told.update(metadata or {})
        if tags := [*context.run.config.get("tags", ()), *(metadata or {}).get("tags", ())]:
            told["tags"] = tags
        if chunk.id is not None:
            context.run.streamed.add(chunk.id)
        context.run.emit("messages", (chunk, told))


_SHOWN = ("thread_id", "checkpoint_id", "checkpoint_ns", "task_id", "run_id", "assistant_id",
          "graph_id")  # fmt: skip


def message_metadata(context: TaskContext, is_whole: bool) -> dict[str, Any]:
    """Return what a streamed message says about where it comes from (contract §27).

    Pieces of a model name the namespace of the task, whole messages that of the graph.
    """
    config = context.config()
    given = context.run.config if is_whole else config
    configurable = given.get("configurable", {})
    shown = {key: configurable[key] for key in _SHOWN if key in configurable}
    return {"ls_integration": "graphflow", **config["metadata"], **shown}
