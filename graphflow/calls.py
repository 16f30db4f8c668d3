"""Calls: the arguments of one `invoke` or `stream`, sorted and checked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphflow.engine.turn import Options
from graphflow.events import LIVE, Event
from graphflow.graph.plan import Plan
from graphflow.runtime import RunControl
from graphflow.state.schema import Schema
from graphflow.types import INTERRUPT, Config, Durability, Interrupt, OnBusy

MODES = ("values", "updates", "custom", "messages", "tools", "tasks", "checkpoints", "debug")
NO_MODES: frozenset[str] = frozenset()
_NOT_METADATA = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map", "branch")


class Call(NamedTuple):
    """What one call of `stream` or `invoke` asks for."""

    config: Config
    context: Any
    modes: tuple[str, ...]
    """What the caller wants to see."""
    is_single: bool
    """Whether one mode was asked for by its name, not in a list."""
    printed: tuple[str, ...]
    output_keys: tuple[str, ...] | str | None
    interrupt_before: frozenset[str]
    interrupt_after: frozenset[str]
    durability: Durability
    control: RunControl | None
    subgraphs: bool
    version: str
    step_timeout: float | None = None
    """Seconds that a superstep may take."""
    scope: tuple[str, ...] = ()
    """The graphs around the one that is called."""
    on_busy: OnBusy = "raise"
    """What to do when somebody else is running on the branch."""

    def options(
        self,
        records: bool,
        began: float,
        identity: str = "",
        forwarded: frozenset[str] = frozenset(),
    ) -> Options:
        """Return what the machine needs to know.

        Args:
            records: Whether there is a store to commit to.
            began: When the run begins, in seconds since the epoch.
            identity: What makes the ids of its tasks its own.
            forwarded: Modes that listeners of the run around this one want to hear.
        """
        modes = frozenset((*self.modes, *self.printed)) if self.modes or self.printed else NO_MODES
        return Options(
            identity=identity,
            ns=self.scope,
            modes=(modes | forwarded) - LIVE,
            records=records,
            recursion_limit=self.config.get("recursion_limit", 10007),
            interrupt_before=self.interrupt_before,
            interrupt_after=self.interrupt_after,
            output_keys=self.output_keys,
            began=began,
            saves_at_exit=self.durability == "exit",
            step_timeout=self.step_timeout,
            draining=None if self.control is None else self.control.drain_reason,
            metadata=run_metadata(self.config) if records else {},
            told=_users_metadata(self.config),
        )

    def chunk(self, event: Event) -> Any:
        """Return an event in the form that the call asked for (contract §8.2, §10)."""
        if self.version == "v2":
            return self._part(event)
        if self.is_single:
            return (event.ns, event.data) if self.subgraphs else event.data
        if self.subgraphs:
            return (event.ns, event.mode, event.data)
        return (event.mode, event.data)

    def _part(self, event: Event) -> dict[str, Any]:
        part: dict[str, Any] = {"type": event.mode, "ns": event.ns, "data": event.data}
        if event.mode == "values":
            data, part["interrupts"] = _interrupts_of(event.data)
            part["data"] = shaped(event.schema, data)
        elif event.schema is not None:
            part["data"] = _with_shaped_values(event.schema, event.data)
        return part

    def shows(self, event: Event) -> bool:
        """Whether the caller sees an event; prints it if that was asked for."""
        if event.mode in self.printed:
            print(f"[{event.mode}] {event.data!r}")
        return event.mode in self.modes and (self.subgraphs or event.ns == self.scope)


def shaped(schema: Schema | None, values: Any) -> Any:
    """Return values as a schema, if that is a pydantic model or a dataclass."""
    if schema is None or schema.kind in ("dict", "root") or not isinstance(values, dict):
        return values
    return schema.view({key: values[key] for key in values if key in schema.channels})


def _with_shaped_values(schema: Schema, data: dict[str, Any]) -> dict[str, Any]:
    """Return what is told of a checkpoint, by itself or wrapped for `debug`."""
    if "payload" in data:
        return {**data, "payload": _with_shaped_values(schema, data["payload"])}
    return {**data, "values": shaped(schema, data["values"])}


def _interrupts_of(data: Any) -> tuple[Any, tuple[Interrupt, ...]]:
    if not isinstance(data, dict) or INTERRUPT not in data:
        return data, ()
    return {key: value for key, value in data.items() if key != INTERRUPT}, data[INTERRUPT]


_EXAMPLE = '{"configurable": {"thread_id": "1"}}'


def merge_configs(*configs: Mapping[str, Any] | None) -> Config:
    """Return configs merged, later ones winning; configurable, metadata and tags are united."""
    merged: Config = {}
    for config in configs:
        if config is not None and not isinstance(config, Mapping):
            raise TypeError(f"config must be a dict such as {_EXAMPLE}, got {config!r}")
        for key, value in (config or {}).items():
            if key in ("configurable", "metadata") and value is not None:
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "tags":
                known = merged.get(key, [])
                merged[key] = [*known, *(tag for tag in value or () if tag not in known)]
            elif value is not None:
                merged[key] = value
    return merged


def run_metadata(config: Config) -> dict[str, Any]:
    """Return what a run's config adds to the metadata of its checkpoints."""
    plain = {
        key: value
        for key, value in config.get("configurable", {}).items()
        if key not in _NOT_METADATA
        and not key.startswith("__")
        and isinstance(value, (str, int, float, bool))
    }
    return {**plain, **_own_metadata(config)}


def _users_metadata(config: Config) -> dict[str, Any]:
    """Return what `tasks` events say of a run's config: the user's metadata and tags."""
    told, tags = _own_metadata(config), config.get("tags")
    return {**told, "tags": list(tags)} if tags else told


def _own_metadata(config: Config) -> dict[str, Any]:
    told = config.get("metadata", {})
    return {key: told[key] for key in told if not key.startswith("langgraph_")}


def node_set(plan: Plan, given: Sequence[str] | str | None) -> frozenset[str]:
    """Return the nodes of a breakpoint list; `"*"` stands for all.

    Raises:
        ValueError: A name is no node.
    """
    if not given:
        return frozenset()
    names = [given] if isinstance(given, str) else list(given)
    nodes = [name for name in plan.nodes if name != "__start__"]
    if "*" in names:
        return frozenset(nodes)
    if unknown := [name for name in names if name not in nodes]:
        raise ValueError(f"Interrupt node `{unknown[0]}` not found. Known: {', '.join(nodes)}.")
    return frozenset(names)


def stream_modes(given: str | Sequence[str] | None, default: str) -> tuple[tuple[str, ...], bool]:
    """Return the modes and whether one was given by its name.

    Raises:
        ValueError: A mode is not known.
    """
    if given is None:
        return (default,), True
    modes = (given,) if isinstance(given, str) else tuple(given)
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise ValueError(f"Unknown stream mode {unknown[0]!r}. Known: {', '.join(MODES)}.")
    return modes, isinstance(given, str)


def checked_limits(config: Config) -> Config:
    """Refuse a recursion limit or concurrency that is no positive number.

    Raises:
        ValueError: It is below 1, or no number.
    """
    for key in ("recursion_limit", "max_concurrency"):
        limit = config.get(key)
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise ValueError(f"{key} must be at least 1, got {limit!r}")
    return config


def checked_patience(given: OnBusy) -> OnBusy:
    """Refuse an `on_busy` that says nothing. Raises `ValueError`."""
    if given in ("raise", "wait", "fork"):
        return given
    if isinstance(given, bool) or not isinstance(given, (int, float)) or given < 0:
        raise ValueError(
            f'on_busy must be "raise", "wait", "fork" or the seconds to wait, got {given!r}'
        )
    return given


def checked_choice(what: str, given: Any, known: tuple[Any, ...]) -> None:
    """Refuse an argument that is none of those known. Raises `ValueError`."""
    if given not in known:
        raise ValueError(f"{what} must be one of {known}, got {given!r}")


def context_of(schema: Any, given: Any) -> Any:
    """Return `context=` as the graph's context schema.

    Raises:
        TypeError: A dict does not have the keys of a dataclass.
        pydantic.ValidationError: It does not fit a pydantic model.
    """
    if not isinstance(given, dict) or not isinstance(schema, type):
        return given
    is_record = hasattr(schema, "__dataclass_fields__") or hasattr(schema, "model_fields")
    return schema(**given) if is_record else given


def warn_without_store(durability: Durability | None, records: bool) -> None:
    """Say that durability means nothing where nothing is stored."""
    if durability is not None and not records:
        warnings.warn("`durability` has no effect when no checkpointer is given.", stacklevel=4)
