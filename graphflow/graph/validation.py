"""Errors of a declaration (contract §29): all of them at once, each naming node and edge."""

from __future__ import annotations

from collections.abc import Iterator

from graphflow.graph.callables import check_timeout
from graphflow.graph.declaration import Declaration
from graphflow.types import END, START

RESERVED_CHARACTERS = "|:"


def check_name(name: object) -> None:
    """Refuse a node name that the engine needs for itself.

    Raises:
        ValueError: The name is reserved, empty, has a reserved character, or is no text.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"Node name must be a non-empty string, got {name!r}.")
    if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
        raise ValueError(f"Node name {name!r} has a lone surrogate, which is no character.")
    is_generated = name.startswith("__error_handler__") or name in (START, END)
    if is_generated or (name.startswith("__") and name.endswith("__")):
        raise ValueError(f"Node `{name}` is reserved.")
    for character in RESERVED_CHARACTERS:
        if character in name:
            raise ValueError(
                f"'{character}' is a reserved character and is not allowed in node names."
            )


def validate(declaration: Declaration) -> None:
    """Refuse a graph that cannot run.

    Raises:
        ValueError: Lists every fault, one a line.
    """
    problems = list(dict.fromkeys(_problems(declaration)))
    if problems:
        raise ValueError("\n".join(problems))


def _problems(declaration: Declaration) -> Iterator[str]:
    yield from _edge_problems(declaration)
    yield from _route_problems(declaration)
    yield from _managed_problems(declaration)
    yield from _timeout_problems(declaration)
    for name in (*declaration.interrupt_before, *declaration.interrupt_after):
        if name not in declaration.nodes and name != "*":
            yield f"Interrupt node `{name}` not found: add_node it, or take it off the list."


def _edge_problems(declaration: Declaration) -> Iterator[str]:
    nodes = declaration.nodes
    for source, target in declaration.edges:
        if source not in nodes and source != START:
            yield f"Found edge starting at unknown node '{source}' (edge {source} -> {target})"
        if target not in nodes and target != END:
            yield f"Found edge ending at unknown node `{target}` (edge {source} -> {target})"
    entered = any(source == START for source, _ in declaration.edges)
    if not entered and not any(route.source == START for route in declaration.routes):
        yield "Graph must have an entrypoint: add at least one edge from START to another node"


def _route_problems(declaration: Declaration) -> Iterator[str]:
    for route in declaration.routes:
        where = f"At '{route.source}' node, '{route.name}' branch"
        if route.source not in declaration.nodes and route.source != START:
            yield f"Found edge starting at unknown node '{route.source}' (branch '{route.name}')"
        for end in (route.ends or {}).values():
            if end not in declaration.nodes and end != END:
                yield f"{where} found unknown target '{end}'"
    for spec in declaration.nodes.values():
        for name in spec.destinations:
            if name not in declaration.nodes and name != END:
                yield f"At '{spec.name}' node, Command found unknown destination '{name}'"


def _managed_problems(declaration: Declaration) -> Iterator[str]:
    for role, schema in (("input", declaration.input), ("output", declaration.output)):
        if schema is not declaration.state and schema.managed:
            names = ", ".join(sorted(schema.managed))
            where = f"the {role} schema {schema.name}"
            yield f"Managed channels ({names}) are not permitted in {where}."


def _timeout_problems(declaration: Declaration) -> Iterator[str]:
    for spec in declaration.nodes.values():
        if spec.timeout is not None:
            try:
                check_timeout(spec.callee, f"node `{spec.name}`")
            except ValueError as error:
                yield str(error)
