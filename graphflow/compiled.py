"""The compiled graph: what users run.

Joins the plan, the machine, a driver and a checkpointer. Every call exists blocking and for
asyncio; the pairs differ in nothing but how they wait.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, TypeVar

from graphflow.calls import (
    Call,
    checked_choice,
    checked_limits,
    checked_patience,
    context_of,
    merge_configs,
    node_set,
    stream_modes,
    warn_without_store,
)
from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.drivers.caching import namespace_of
from graphflow.drivers.threads import on_portal
from graphflow.graph.declaration import Declaration
from graphflow.graph.lint import Finding, lint
from graphflow.graph.plan import Plan
from graphflow.nesting import Nested, nest
from graphflow.running import Run
from graphflow.runtime import RunControl, current_or_none
from graphflow.thread import Thread
from graphflow.thread_access import ThreadAccess
from graphflow.types import (
    Config,
    Durability,
    OnBusy,
)

T = TypeVar("T")


class CompiledStateGraph(ThreadAccess):
    """A graph that runs. Made by `StateGraph.compile`; safe to share between threads and loops."""

    def __init__(
        self,
        declaration: Declaration,
        plan: Plan,
        *,
        checkpointer: Any = None,
        store: Any = None,
        cache: Any = None,
        context_schema: Any = None,
        debug: bool = False,
    ) -> None:
        if not (checkpointer is None or isinstance(checkpointer, (bool, Checkpointer))):
            raise TypeError(
                f"Invalid checkpointer provided: {checkpointer!r}. Give a Checkpointer such as "
                "MemoryCheckpointer() or SqliteCheckpointer(path), True, False or None."
            )
        self.declaration = declaration
        self.plan = plan
        self.checkpointer = checkpointer
        self.store = store
        self.cache = cache
        self.context_schema = context_schema
        self.debug = debug
        self.name = declaration.name
        self.step_timeout: float | None = None
        """Seconds that a superstep may take; None: any. What runs then is cancelled."""
        self.config: Config = {}
        self.codec = Codec()
        self._output_keys = None if plan.is_root else tuple(plan.output.channels)
        self._before = node_set(plan, declaration.interrupt_before)
        self._after = node_set(plan, declaration.interrupt_after)
        if isinstance(checkpointer, Checkpointer):
            self.register_types()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {len(self.declaration.nodes)} nodes>"

    def register_types(self) -> None:
        """Let the classes that the state's annotations name be stored, and read."""
        from graphflow.checkpoint.reachable import register_reachable

        declaration = self.declaration
        schemas = [declaration.state, declaration.input, declaration.output]
        schemas += [spec.schema for spec in declaration.nodes.values() if spec.schema]
        for declared in {id(schema): schema.declared for schema in schemas}.values():
            register_reachable(declared)

    def with_config(self, config: Config | None = None, **more: Any) -> CompiledStateGraph:
        """Return a copy whose config is merged under that of each call."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.config = merge_configs(self.config, config, more)
        return copy

    # -- running -------------------------------------------------------------------------------

    def invoke(
        self,
        input: Any,
        config: Config | None = None,
        *,
        stream_mode: str | Sequence[str] = "values",
        version: str = "v1",
        **options: Any,
    ) -> Any:
        """Run to the end, or to where a person is needed, and return the state.

        Args:
            input: The input; None to go on; a `Command` to answer, update or go somewhere.
            config: `{"configurable": {"thread_id": …}, "recursion_limit": …, …}`.
            stream_mode: Anything but `"values"` returns the list of chunks instead.
            version: `"v2"` returns a `GraphOutput`.
            options: As for `stream`.

        Returns:
            The output keys of the state; after an `interrupt()` also `"__interrupt__"`: a list of
            `Interrupt`.

        Raises:
            GraphRecursionError: The run did not end within `recursion_limit` supersteps.
            InvalidUpdateError: The input or a node wrote what the state cannot take.
            ThreadBusy: Somebody else is running on the branch; no node was run.
            CheckpointConflict: Somebody else ran or edited the thread meanwhile.
        """
        if stream_mode != "values":
            options = {"output_keys": self._output_keys, **options}
            return list(
                self.stream(input, config, stream_mode=stream_mode, version=version, **options)
            )
        run = self._run(input, config, modes=(), version=version, **self._for_invoke(options))
        for event in run.events():
            run.call.shows(event)
        return run.result(version)

    async def ainvoke(
        self,
        input: Any,
        config: Config | None = None,
        *,
        stream_mode: str | Sequence[str] = "values",
        version: str = "v1",
        **options: Any,
    ) -> Any:
        """As `invoke`, on the running event loop."""
        if stream_mode != "values":
            options = {"output_keys": self._output_keys, **options}
            stream = self.astream(
                input, config, stream_mode=stream_mode, version=version, **options
            )
            return [chunk async for chunk in stream]
        run = self._run(input, config, modes=(), version=version, **self._for_invoke(options))
        async for event in run.aevents():
            run.call.shows(event)
        return run.result(version)

    def stream(
        self,
        input: Any,
        config: Config | None = None,
        *,
        stream_mode: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Iterator[Any]:
        """Run lazily and yield chunks as they come. Leaving the loop early stops the run.

        Args:
            input: As for `invoke`.
            config: As for `invoke`.
            stream_mode: `values`, `updates` (default), `custom`, `messages`, `tasks`,
                `checkpoints` or `debug`, or a list of them; with a list each chunk is
                `(mode, payload)`.
            options: `context`, `output_keys`, `interrupt_before`, `interrupt_after`, `durability`
                (`"sync"`, `"async"`, `"exit"`), `control` (a `RunControl`), `on_busy`
                (`"raise"`, `"wait"`, seconds to wait, or `"fork"`), `subgraphs`, `print_mode`,
                `debug`, `version`.
        """
        modes, is_single = stream_modes(stream_mode, "updates")
        run = self._run(input, config, modes=modes, is_single=is_single, **options)
        for event in run.events():
            if run.call.shows(event):
                yield run.call.chunk(event)

    async def astream(
        self,
        input: Any,
        config: Config | None = None,
        *,
        stream_mode: str | Sequence[str] | None = None,
        **options: Any,
    ) -> AsyncIterator[Any]:
        """As `stream`, on the running event loop."""
        modes, is_single = stream_modes(stream_mode, "updates")
        run = self._run(input, config, modes=modes, is_single=is_single, **options)
        events = run.aevents()
        try:
            async for event in events:
                if run.call.shows(event):
                    yield run.call.chunk(event)
        finally:
            await events.aclose()  # type: ignore[attr-defined]  # it is an async generator

    def batch(
        self,
        inputs: Sequence[Any],
        config: Config | Sequence[Config] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Any,
    ) -> list[Any]:
        """Run several inputs side by side and return their results in order.

        Args:
            inputs: One for each run.
            config: For all of them, or one for each.
            return_exceptions: Whether a run that fails has its exception in the result; else the
                first one is raised and the others are cancelled.
            options: As for `invoke`.
        """
        runs = self.abatch(inputs, config, return_exceptions=return_exceptions, **options)
        results: list[Any] = on_portal(runs)
        return results

    async def abatch(
        self,
        inputs: Sequence[Any],
        config: Config | Sequence[Config] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Any,
    ) -> list[Any]:
        """As `batch`, on the running event loop."""
        import asyncio  # here: a program without a loop does not need it

        configs = list(config) if isinstance(config, Sequence) else [config] * len(inputs)
        if len(configs) != len(inputs):
            raise ValueError(f"{len(inputs)} inputs were given, but {len(configs)} configs.")
        calls = zip(inputs, configs, strict=True)
        runs = [asyncio.ensure_future(self.ainvoke(*call, **options)) for call in calls]
        try:
            return list(await asyncio.gather(*runs, return_exceptions=return_exceptions))
        finally:
            for run in runs:
                run.cancel()
            await asyncio.gather(*runs, return_exceptions=True)

    def thread(
        self, thread_id: str, *, branch: str | None = None, config: Config | None = None
    ) -> Thread:
        """Return a handle on one thread: `run`, `answer`, `edit`, `fork`, …

        Args:
            thread_id: Its id; it need not exist yet.
            branch: Name of a branch; None: the one that grew last.
            config: Merged into the config of every call.
        """
        self._saver()
        return Thread(self, thread_id, branch, config)

    def clear_cache(self, nodes: Sequence[str] | None = None) -> None:
        """Forget cached results, of some nodes or of all."""
        if self.cache is not None:
            self.cache.clear(self._cached(nodes))

    async def aclear_cache(self, nodes: Sequence[str] | None = None) -> None:
        """As `clear_cache`, on the running event loop."""
        if self.cache is not None:
            await self.cache.aclear(self._cached(nodes))

    def _cached(self, nodes: Sequence[str] | None) -> list[tuple[str, ...]]:
        known = self.plan.nodes
        names = [name for name in known if known[name].cache is not None]
        return [namespace_of(known[name]) for name in names if nodes is None or name in nodes]

    def lint(self) -> list[Finding]:
        """Return what is legal in the declaration but can hardly be meant."""
        return lint(self.declaration)

    # -- how a call goes -----------------------------------------------------------------------

    def _run(self, given: Any, config: Config | None, **options: Any) -> Run:
        nested = nest(self.checkpointer, config, current_or_none())
        if nested is None and self.checkpointer is True:
            raise RuntimeError("checkpointer=True cannot be used for root graphs.")
        call = self._call(config, nested=nested, **options)
        store = self._store()
        return Run(self.plan, store, self.codec, self.store, self.cache, given, call, nested)

    def _call(
        self,
        config: Config | None,
        *,
        nested: Nested | None = None,
        modes: tuple[str, ...],
        is_single: bool = True,
        context: Any = None,
        print_mode: str | Sequence[str] = (),
        output_keys: str | Sequence[str] | None = None,
        interrupt_before: Sequence[str] | str | None = None,
        interrupt_after: Sequence[str] | str | None = None,
        durability: Durability | None = None,
        control: RunControl | None = None,
        on_busy: OnBusy = "raise",
        subgraphs: bool = False,
        debug: bool | None = None,
        version: str = "v1",
        **unknown: Any,
    ) -> Call:
        checked_choice("durability", durability, (None, "sync", "async", "exit"))
        checked_choice("version", version, ("v1", "v2"))
        if unknown:
            raise TypeError(f"Unknown option {next(iter(unknown))!r} of invoke() or stream().")
        around = {} if nested is None else nested.task.run.config
        merged = around
        if config or self.config or nested is None:
            merged = checked_limits(merge_configs(around, self.config, config))
        self._check_keys(output_keys)
        warn_without_store(durability, nested is not None or self._store() is not None)
        printed = (print_mode,) if isinstance(print_mode, str) else tuple(print_mode)
        if debug or (debug is None and self.debug):
            printed = ("values", "updates")
        before = self._before if interrupt_before is None else node_set(self.plan, interrupt_before)
        after = self._after if interrupt_after is None else node_set(self.plan, interrupt_after)
        return Call(
            merged,
            context_of(self.context_schema, context),
            modes,
            is_single,
            printed,
            output_keys
            if output_keys is None or isinstance(output_keys, str)
            else tuple(output_keys),
            before,
            after,
            durability or "async",
            control if nested is None or control is not None else nested.task.run.control,
            subgraphs,
            version,
            self.step_timeout,
            () if nested is None else nested.scope,
            checked_patience(on_busy),
        )

    def _check_keys(self, output_keys: str | Sequence[str] | None) -> None:
        if output_keys is self._output_keys or output_keys is None:
            return
        names = (output_keys,) if isinstance(output_keys, str) else output_keys
        if unknown := [name for name in names if name not in self.plan.channels]:
            known = ", ".join(self.plan.channels)
            raise ValueError(f"output_keys: {unknown[0]!r} is no key of the state. Keys: {known}.")

    def _for_invoke(self, options: dict[str, Any]) -> dict[str, Any]:
        options.pop("subgraphs", None)
        return {"output_keys": self._output_keys, **options}
