"""What can be called as a node, a path function or a reducer, and how.

Reads a callable once, when it is declared. The plain function, by far the most common case, is
read from its code object alone; `inspect` is left to the others.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from graphflow.injection import INJECTABLE

_CO_COROUTINE = 0x80


@dataclass(frozen=True, slots=True)
class Callee:
    """A callable as the drivers call it."""

    origin: Any
    """What the user gave."""
    call: Callable[..., Any] | None
    """The blocking form."""
    acall: Callable[..., Any] | None
    """The form that returns a coroutine."""
    inject: tuple[str, ...]
    """Names of the run's things that it wants as keyword arguments."""
    arity: int
    """Positional parameters; 0 means that it does not take the state."""


def callee_of(target: Any, *, where: str) -> Callee:
    """Read a callable.

    Raises:
        TypeError: `target` cannot be called.
    """
    if type(target) is FunctionType and not hasattr(target, "__wrapped__"):
        return _function(target, target, skip=0)
    if type(target) is MethodType and type(target.__func__) is FunctionType:
        return _function(target, target.__func__, skip=1)
    if hasattr(target, "invoke") or hasattr(target, "ainvoke"):
        return Callee(
            target, getattr(target, "invoke", None), getattr(target, "ainvoke", None), (), 1
        )
    if not callable(target):
        raise TypeError(
            f"{where}: {target!r} cannot be called. Give a function, a coroutine function, an "
            "object with __call__ or invoke, or a compiled graph."
        )
    return _other(target)


def check_timeout(callee: Callee, where: str) -> None:
    """Refuse a timeout of what cannot be cancelled.

    Raises:
        ValueError: The callable is no coroutine function.
    """
    if callee.acall is None:
        name = getattr(callee.origin, "__qualname__", repr(callee.origin))
        raise ValueError(
            f"Node timeouts are only supported for async nodes: {where} has a timeout, but {name} "
            "is synchronous and cannot be cancelled. Make it `async def`."
        )


def _function(target: Any, function: FunctionType, skip: int) -> Callee:
    code = function.__code__
    count = code.co_argcount
    keywords = code.co_varnames[count : count + code.co_kwonlyargcount]
    names = code.co_varnames[skip:count]
    inject = tuple(name for name in (*names[1:], *keywords) if name in INJECTABLE)
    if code.co_flags & _CO_COROUTINE:
        return Callee(target, None, target, inject, len(names))
    return Callee(target, target, None, inject, len(names) or bool(code.co_flags & 0x04))


def _other(target: Any) -> Callee:
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except ValueError:
        return Callee(target, target, None, (), 1)
    positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    named = [*positional[1:], *(p for p in parameters if p.kind is p.KEYWORD_ONLY)]
    inject = tuple(p.name for p in named if p.name in INJECTABLE and _is_free(target, p))
    is_async = inspect.iscoroutinefunction(_innermost(target))
    call, acall = (None, target) if is_async else (target, None)
    return Callee(target, call, acall, inject, len(positional))


def _is_free(target: Any, parameter: inspect.Parameter) -> bool:
    return not (isinstance(target, functools.partial) and parameter.name in target.keywords)


def _innermost(target: Any) -> Any:
    while isinstance(target, functools.partial):
        target = target.func
    return target if inspect.isroutine(target) else type(target).__call__


def name_of(target: Any) -> str:
    """Return the name a callable goes by, or "" where it has none."""
    name = getattr(target, "__name__", None) or getattr(target, "name", None)
    if not name and isinstance(target, functools.partial):
        name = name_of(target.func)
    return name if isinstance(name, str) else type(target).__name__


def _annotated(target: Any) -> Any:
    if type(target) is FunctionType and not hasattr(target, "__wrapped__"):
        return target
    target = _innermost(target) if isinstance(target, functools.partial) else target
    target = inspect.unwrap(target) if hasattr(target, "__wrapped__") else target
    return target if hasattr(target, "__annotations__") else getattr(target, "__call__", target)  # noqa: B004  # the hints are on the method


def first_hint(target: Any, known: Any) -> Any:
    """Return the type hint of the first parameter, or None.

    Args:
        target: The callable.
        known: The state schema; recognised without resolving hints.
    """
    annotated = _annotated(target)
    hints = getattr(annotated, "__annotations__", None)
    if not hints:
        return None
    name = _first_parameter(annotated)
    hint = hints.get(name)
    if hint is None or hint is known:
        return None
    if isinstance(hint, str):
        hint = _resolved(annotated, name)
    return None if hint is known else hint


def _first_parameter(function: Any) -> str:
    """Return the name of the first parameter that a caller gives; "" where there is none."""
    is_bound = isinstance(function, MethodType)
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    names: tuple[str, ...] = () if code is None else code.co_varnames[: code.co_argcount]
    return names[is_bound] if len(names) > is_bound else ""


def literal_ends(target: Any, wrapper: Any = None) -> tuple[str, ...]:
    """Return the names in a `Literal[...]` return annotation, `()` where there is none.

    Args:
        target: The callable.
        wrapper: The generic class around the literal, such as `Command`.
    """
    annotated = _annotated(target)
    hint = getattr(annotated, "__annotations__", {}).get("return")
    if hint is None or isinstance(hint, type) or getattr(hint, "__origin__", None) is dict:
        return ()  # a class or a dict[...], as most are, names no ends
    if isinstance(hint, str):
        hint = _resolved(annotated, "return") if "Literal" in hint or "Command" in hint else None
    if wrapper is None:
        return _literals(hint)
    members = (hint, *get_args(hint))
    wrapped = next((member for member in members if get_origin(member) is wrapper), None)
    return _literals(get_args(wrapped)[0]) if wrapped is not None else ()


def _literals(hint: Any) -> tuple[str, ...]:
    if get_origin(hint) is Literal:
        return tuple(str(value) for value in get_args(hint))
    found = (name for member in get_args(hint) for name in _literals(member))
    return tuple(dict.fromkeys(found))


def _resolved(function: Any, name: str) -> Any:
    try:
        return get_type_hints(function, include_extras=True).get(name)
    except NameError:
        return None
