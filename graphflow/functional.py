"""The functional API: a workflow as plain code, whose steps are recorded (contract §23).

    @task
    def write(topic): ...

    @entrypoint(checkpointer=checkpointer)
    def workflow(topic):
        draft = write(topic).result()
        return interrupt(draft)

An entrypoint is a graph of one node, with everything that a graph can do. When it runs again, after
a question was answered or a crash, tasks that ended before return what they returned then. Nodes of
any graph may call tasks, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, get_type_hints, overload

from graphflow.compiled import CompiledStateGraph
from graphflow.drivers.caching import namespace_of
from graphflow.graph.callables import callee_of, check_timeout, name_of
from graphflow.graph.declaration import Declaration, NodeSpec
from graphflow.graph.plan import make_plan
from graphflow.graph.tasks import TaskSpec, task_spec
from graphflow.graph.validation import check_name
from graphflow.runtime import current
from graphflow.state.channels import Channel
from graphflow.state.schema import Schema
from graphflow.types import (
    END,
    PREVIOUS,
    ROOT,
    START,
    Final,
    RetryPolicy,
    policies,
    timeout_policy,
)

if TYPE_CHECKING:
    from graphflow.cache import CachePolicy


class TaskFunction:
    """A function that a running node calls by the engine. Made by `@task`."""

    def __init__(self, function: Callable[..., Any], spec: TaskSpec) -> None:
        update_wrapper(self, function)  # first: it brings the attributes of a callable object
        self.func = function
        self.spec = spec
        self.name = self.__name__ = spec.name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Begin the call and return its future: in async code await it, else ask its `result()`.

        Calls that are not waited for run side by side, and end before the node does.

        Raises:
            RuntimeError: Called outside of a running graph, or an `async def` from blocking code.
            DriftError: The node called another task in this place when it ran before.
        """
        around = current()
        caller = around.run.caller
        if caller is None:
            raise RuntimeError(f"The run that calls task `{self.name}` has ended.")
        return caller.call(self.spec, around, (args, kwargs))

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else partial(self, instance)

    def __repr__(self) -> str:
        return f"<task {self.name!r}>"

    def clear_cache(self, cache: Any) -> None:
        """Forget its cached results."""
        cache.clear([namespace_of(self.spec)])

    async def aclear_cache(self, cache: Any) -> None:
        """As `clear_cache`, on the running event loop."""
        await cache.aclear([namespace_of(self.spec)])


@overload
def task(function: Callable[..., Any], /) -> TaskFunction: ...
@overload
def task(
    *,
    name: str | None = None,
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: Any = None,
) -> Callable[[Callable[..., Any]], TaskFunction]: ...
def task(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
    cache_policy: CachePolicy | None = None,
    timeout: Any = None,
) -> Any:
    """Make a function a task: a step that nodes and entrypoints call, and that is recorded.

    Args:
        function: The function, where the decorator is used without arguments.
        name: How streams call it; default: the function's name.
        retry_policy: When it is called again after an error.
        cache_policy: When a result may serve again; key: the arguments.
        timeout: Seconds, a `timedelta` or a `TimeoutPolicy`; for `async def` only.

    Raises:
        TypeError: It cannot be called.
        ValueError: A function that is not asynchronous has a timeout.
    """
    retry, limit = policies(retry_policy), timeout_policy(timeout)

    def decorate(target: Any) -> TaskFunction:
        if isinstance(target, TaskFunction):  # the same function on other terms
            target = target.func
        _register_hints(target)
        return TaskFunction(target, task_spec(target, name, retry, cache_policy, limit))

    return decorate if function is None else decorate(function)


class entrypoint:  # noqa: N801  # a decorator, known by this name
    """Makes a function a graph: `@entrypoint(checkpointer=...)`.

    The function takes the input as its first parameter and, by name, `config`, `writer`, `store`,
    `previous` (what the last run of the thread saved) and `runtime`.

    Args:
        checkpointer: Where runs are kept.
        store: Given to it as `store` and `runtime.store`.
        cache: Where results of tasks with a `cache_policy` are kept.
        context_schema: Type of the `context=` that runs are given.
        cache_policy: When a result of the whole may serve again.
        retry_policy: When it runs again after an error.
        timeout: Seconds, a `timedelta` or a `TimeoutPolicy`; for `async def` only.

    Raises:
        TypeError: It is used without parentheses.
    """

    final = Final
    """`return entrypoint.final(value=…, save=…)`: return one thing and save another."""

    def __init__(
        self,
        checkpointer: Any = None,
        store: Any = None,
        cache: Any = None,
        context_schema: Any = None,
        cache_policy: CachePolicy | None = None,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        timeout: Any = None,
    ) -> None:
        if inspect.isroutine(checkpointer):
            name = checkpointer.__name__
            raise TypeError(f"Write `@entrypoint()`, with parentheses, above `{name}`.")
        self.checkpointer = checkpointer
        self.store = store
        self.cache = cache
        self.context_schema = context_schema
        self.cache_policy = cache_policy
        self.retry = policies(retry_policy)
        self.timeout = timeout_policy(timeout)

    def __call__(self, function: Callable[..., Any]) -> CompiledStateGraph:
        """Return the graph.

        Raises:
            NotImplementedError: The function is a generator.
            ValueError: It takes no input, or has a timeout and is not asynchronous.
        """
        declaration = self._declaration(function)
        _register_hints(function)
        return CompiledStateGraph(
            declaration,
            make_plan(declaration),
            checkpointer=self.checkpointer,
            store=self.store,
            cache=self.cache,
            context_schema=self.context_schema,
        )

    def _declaration(self, function: Callable[..., Any]) -> Declaration:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise NotImplementedError("Generators are not supported in the Functional API.")
        name = name_of(function)
        callee = callee_of(function, where=f"Entrypoint `{name}`")
        if not callee.arity:
            raise ValueError("Entrypoint function must have at least one parameter: the input.")
        if self.timeout is not None:
            check_timeout(callee, f"entrypoint `{name}`")
        check_name(name)
        channels = {ROOT: Channel(), PREVIOUS: Channel(kept_for_one_step=True)}
        schema = Schema(Any, "root", channels, {})
        node = NodeSpec(
            name,
            callee,
            schema,
            retry=self.retry,
            cache=self.cache_policy,
            timeout=self.timeout,
        )
        edges = ((START, name), (name, END))
        return Declaration(name, schema, schema, schema, {name: node}, edges, (), (), entry=name)


def _register_hints(function: Callable[..., Any]) -> None:
    """Let the store keep what the signature says comes in and goes out."""
    from graphflow.checkpoint.reachable import register_reachable

    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError):  # names that are not there at run time; callable objects
        return
    for hint in hints.values():
        register_reachable(hint)
