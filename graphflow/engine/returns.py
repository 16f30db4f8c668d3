"""Returns: what a node's return value, a path's answer or a run's input says to the machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graphflow.checkpoint.records import Writes
from graphflow.engine.turn import Target
from graphflow.errors import InvalidUpdateError, ParentCommand
from graphflow.graph.callables import check_timeout
from graphflow.graph.plan import Plan, Route
from graphflow.state.schema import fields_written, is_annotated_class
from graphflow.types import END, PREVIOUS, ROOT, START, Command, Final, Send

Reading = tuple[Writes, Sequence[Target]]


def read_return(plan: Plan, value: Any) -> Reading:
    """Return the writes and targets that a node's return value stands for.

    Raises:
        InvalidUpdateError: It is no update of this graph's state.
        ParentCommand: It is a command for the graph around this one.
    """
    if type(value) is dict and not plan.is_root:
        writes = tuple(value.items())
        return (_prepared(plan, writes) if plan.prepared else writes), ()
    if plan.entry is not None:
        return _read_entry(value), ()
    if value is None:
        return (), ()
    if isinstance(value, Command):
        return _read_command(plan, value)
    if isinstance(value, (list, tuple)):
        if any(isinstance(part, Command) for part in value):
            return _read_parts(plan, value)
        if not plan.is_root:
            raise InvalidUpdateError(f"Expected dict, got {value!r}")
    return prepared(plan, as_writes(plan, value)), ()


def _read_entry(value: Any) -> Writes:
    """Return what an entrypoint returned, and, where it says otherwise, what it saved."""
    if isinstance(value, Final):
        return ((ROOT, value.value), (PREVIOUS, value.save))
    return ((ROOT, value),)


def _read_parts(plan: Plan, parts: Iterable[Any]) -> Reading:
    writes: list[tuple[str, Any]] = []
    targets: list[Target] = []
    for part in parts:
        more_writes, more_targets = read_return(plan, part)
        writes += more_writes
        targets += more_targets
    return tuple(writes), targets


def _read_command(plan: Plan, command: Command[Any]) -> Reading:
    if command.graph == Command.PARENT:
        raise ParentCommand(command)
    if command.graph is not None:
        raise InvalidUpdateError(f"Command names the graph {command.graph!r}; use Command.PARENT.")
    writes = () if command.update is None else as_writes(plan, command.update)
    return prepared(plan, writes), read_targets(plan, command.goto)


def as_writes(plan: Plan, update: Any) -> Writes:
    """Return an update as `(key, value)` pairs.

    Raises:
        InvalidUpdateError: It has no keys, although the state has.
    """
    if plan.is_root:
        return ((ROOT, update),)
    if isinstance(update, dict):
        return tuple(update.items())
    if isinstance(update, (list, tuple)) and all(_is_pair(part) for part in update):
        return tuple((key, value) for key, value in update)
    if is_annotated_class(type(update)):
        return tuple(fields_written(update).items())
    raise InvalidUpdateError(f"Expected dict, got {update!r}")


def _is_pair(part: Any) -> bool:
    return isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], str)


def prepared(plan: Plan, writes: Writes) -> Writes:
    """Return writes in the form in which everybody sees them (messages have ids)."""
    return _prepared(plan, writes) if plan.prepared else writes


def _prepared(plan: Plan, writes: Writes) -> Writes:
    channels = plan.prepared
    return tuple(
        (key, channels[key].prepare(value) if key in channels else value) for key, value in writes
    )


def read_targets(plan: Plan, goto: Any) -> Sequence[Target]:
    """Return the destinations of a Command.

    Raises:
        InvalidUpdateError: A destination is no node of the graph.
    """
    targets = [goto] if isinstance(goto, (str, Send)) else list(goto or ())
    for target in targets:
        _check_target(plan, target)
    return targets


def _check_target(plan: Plan, target: Any) -> None:
    name = target.node if isinstance(target, Send) else target
    if name == END:
        if isinstance(target, Send):
            raise InvalidUpdateError("Cannot send a packet to the END node")
        return
    if name == START or name not in plan.nodes:
        known = ", ".join(known for known in plan.nodes if known != START)
        raise InvalidUpdateError(
            f"Unknown node {name!r} as a destination. Known nodes: {known or 'none'}."
        )
    if isinstance(target, Send) and target.timeout is not None:
        check_timeout(plan.nodes[name].callee, f"Send to `{name}`")


def read_path(plan: Plan, route: Route, answer: Any) -> Sequence[Target]:
    """Return where a conditional edge leads.

    Raises:
        ValueError: The path function named no destination.
        InvalidUpdateError: It named a node that does not exist.
    """
    if type(answer) is str:
        name = answer if route.ends is None else route.ends.get(answer, START)
        if name == END or (name in plan.nodes and name != START):
            return (name,)
    targets = []
    for part in answer if isinstance(answer, (list, tuple)) else (answer,):
        target = part if isinstance(part, Send) else _end(route, part)
        if target is None or target == START:
            raise ValueError(
                f"Branch did not return a valid destination: '{route.name}' returned {part!r}."
            )
        _check_target(plan, target)
        targets.append(target)
    return targets


def _end(route: Route, part: Any) -> Any:
    if route.ends is None:
        return part
    if part not in route.ends:
        known = ", ".join(map(repr, route.ends))
        raise ValueError(
            f"Branch '{route.name}' returned {part!r}, which its path map does not name: {known}."
        )
    return route.ends[part]


def start_writes(plan: Plan, values: Any) -> Writes:
    """Return what an update as `START` writes: any key of the state."""
    return prepared(plan, () if values is None else as_writes(plan, values))


def read_input(plan: Plan, value: Any) -> Writes:
    """Return a run's input as writes to the keys of the input schema.

    Raises:
        InvalidUpdateError: The state has keys and the input has none.
        pydantic.ValidationError: The input does not fit the pydantic model.
    """
    schema = plan.input
    schema.validate_input(value)
    keys = schema.channels
    writes = tuple((key, part) for key, part in as_writes(plan, value) if key in keys)
    return prepared(plan, writes)
