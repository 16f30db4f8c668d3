"""What can be asked of a graph's threads, and changed in them by hand.

The part of a compiled graph that needs its plan and its checkpointer, but runs no node.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from graphflow.calls import merge_configs, run_metadata
from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.leases import Claim, Patience, nap
from graphflow.checkpoint.protocol import Operation
from graphflow.checkpoint.tags import tags_of
from graphflow.drivers.call import acarry, carry
from graphflow.drivers.threads import on_portal
from graphflow.errors import CheckpointError, ThreadBusy
from graphflow.graph.declaration import Declaration
from graphflow.graph.picture import Picture, diagram_of
from graphflow.graph.plan import Plan
from graphflow.ids import checkpoint_id
from graphflow.places import place_of
from graphflow.reading import Reader, name_of_scope
from graphflow.types import Config, StateSnapshot, StateUpdate
from graphflow.updating import (
    Editing,
    begin_branch,
    check_supersteps,
    edit,
    edited_config,
    open_edit,
    work_out,
)

if TYPE_CHECKING:
    from graphflow.compiled import CompiledStateGraph


class ThreadAccess:
    """States, histories, edits, branches and pictures of a graph's threads."""

    declaration: Declaration
    plan: Plan
    codec: Codec
    config: Config
    checkpointer: Any

    # -- looking -------------------------------------------------------------------------------

    def get_state(self, config: Config, *, subgraphs: bool = False) -> StateSnapshot:
        """Return a thread's state: live at its head, or as it was with a `checkpoint_id`.

        Args:
            config: Names the thread; with `checkpoint_ns` the graph inside this one.
            subgraphs: Whether tasks that are graphs show their own snapshot as `state`.

        Raises:
            ValueError: The graph has no checkpointer, or the config names no thread.
            UnknownCheckpointError: The thread has no such checkpoint.
        """
        return self._saver().run(self._reader().state(self._merged(config), subgraphs=subgraphs))

    async def aget_state(self, config: Config, *, subgraphs: bool = False) -> StateSnapshot:
        """As `get_state`, on the running event loop."""
        reading = self._reader().state(self._merged(config), subgraphs=subgraphs)
        return await self._saver().arun(reading)

    def get_state_history(
        self,
        config: Config,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> Iterator[StateSnapshot]:
        """Yield a thread's checkpoints, newest first, over all its branches.

        Args:
            config: Names the thread; with a `checkpoint_id` only that checkpoint.
            filter: Only checkpoints whose metadata has these values.
            before: Only checkpoints older than the one this addresses.
            limit: At most so many.
        """
        reading = self._reader().chosen(self._merged(config), filter, before, limit)
        return self._saver().run(reading)

    async def aget_state_history(
        self,
        config: Config,
        *,
        filter: Mapping[str, Any] | None = None,
        before: Config | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateSnapshot]:
        """As `get_state_history`, on the running event loop."""
        reading = self._reader().chosen(self._merged(config), filter, before, limit)
        for shot in await self._saver().arun(reading):
            yield shot

    def update_state(
        self,
        config: Config,
        values: Any,
        as_node: str | None = None,
        task_id: str | None = None,
    ) -> Config:
        """Change a thread by hand, as if `as_node` had returned `values`.

        Returns:
            The config of the checkpoint that this made.

        Raises:
            InvalidUpdateError: The node does not exist, is ambiguous, or the values do not fit.
            HeadMoved: Somebody else ran or edited the thread meanwhile.
        """
        return self.bulk_update_state(config, [[StateUpdate(values, as_node, task_id)]])

    async def aupdate_state(
        self,
        config: Config,
        values: Any,
        as_node: str | None = None,
        task_id: str | None = None,
    ) -> Config:
        """As `update_state`, on the running event loop."""
        return await self.abulk_update_state(config, [[StateUpdate(values, as_node, task_id)]])

    def bulk_update_state(
        self, config: Config, supersteps: Sequence[Sequence[StateUpdate]]
    ) -> Config:
        """Apply several supersteps of updates, a checkpoint each; return the last one's config."""
        return carry(self._bulk(config, supersteps, Patience()), self._done)

    async def abulk_update_state(
        self, config: Config, supersteps: Sequence[Sequence[StateUpdate]]
    ) -> Config:
        """As `bulk_update_state`, on the running event loop."""
        patience = Patience(on_loop=True)
        return await acarry(self._bulk(config, supersteps, patience), self._adone)

    def _bulk(
        self, config: Config, supersteps: Sequence[Sequence[StateUpdate]], patience: Patience
    ) -> Generator[Any, Any, Config]:
        """Ask for operations on the store, and for coroutines of asynchronous path functions."""
        check_supersteps(supersteps)
        store, merged = self._saver(), self._merged(config)
        tags_of(store.tags, run_metadata(merged))
        for updates in supersteps:
            place = place_of(merged)
            plan = self._reader().declared(place.scope)
            if plan is None:
                raise ValueError(f"Subgraph {name_of_scope(place.scope)} not found")
            claim = Claim(store)
            try:
                editing: Editing = yield from _when_free(
                    patience,
                    partial(open_edit, plan, store, self.codec, place, updates, claim),
                )
                turn = yield from work_out(editing, merged)
                if turn.commit is not None:
                    yield editing.recorder.record(turn.commit)
            finally:
                yield from _given_back(claim)
            merged = merge_configs(merged, edited_config(editing, turn))
        return {"configurable": merged["configurable"]}

    def _done(self, wanted: Any) -> Any:
        is_operation = isinstance(wanted, Generator)
        return self._saver().run(wanted) if is_operation else on_portal(wanted)

    async def _adone(self, wanted: Any) -> Any:
        is_operation = isinstance(wanted, Generator)
        return await (self._saver().arun(wanted) if is_operation else wanted)

    def edit_state(self, config: Config, values: Mapping[str, Any]) -> Config:
        """Replace values of a thread; what is to run next stays, open questions are asked again.

        Raises:
            InvalidUpdateError: A key is none of the state's, or the thread does not exist.
            HeadMoved: Somebody else ran or edited the thread meanwhile.
        """
        return carry(self._editing(self._merged(config), values, Patience()), self._done)

    async def aedit_state(self, config: Config, values: Mapping[str, Any]) -> Config:
        """As `edit_state`, on the running event loop."""
        editing = self._editing(self._merged(config), values, Patience(on_loop=True))
        return await acarry(editing, self._adone)

    def _editing(
        self, config: Config, values: Mapping[str, Any], patience: Patience
    ) -> Generator[Any, Any, Config]:
        store = self._saver()
        tags_of(store.tags, run_metadata(config))
        place, claim = place_of(config), Claim(store)
        try:
            editing = partial(edit, self.plan, store, self.codec, place, config, values, claim)
            edited: Config = yield from _when_free(patience, editing)
        finally:
            yield from _given_back(claim)
        return edited

    def branches(self, thread_id: str) -> dict[str, str]:
        """Return a thread's branches: name to the checkpoint id of the head."""
        found = self._saver().run(self._saver().branches(str(thread_id)))
        return {branch.name: checkpoint_id(branch.head, branch.ordinal) for branch in found}

    def fork(self, config: Config, at: int | str | None = None, name: str | None = None) -> str:
        """Begin a branch at a checkpoint and return its name; see `Thread.fork`."""
        store, config = self._saver(), self._merged(config)
        if isinstance(at, str):
            config = merge_configs(config, {"configurable": {"checkpoint_id": at}})
        step = at if isinstance(at, int) else None
        return store.run(begin_branch(store, self.codec, place_of(config), step, name))

    def get_subgraphs(
        self, namespace: str | None = None, recurse: bool = False
    ) -> Iterator[tuple[str, CompiledStateGraph]]:
        """Yield the nodes that are graphs: name and graph.

        Args:
            namespace: Only the one of this name; names of graphs inside each other are joined
                by `|`.
            recurse: Whether graphs inside those are told, too.
        """
        for name, node in self.plan.nodes.items():
            if node.subgraph is None:
                continue
            if namespace in (None, name):
                yield name, node.subgraph
            if namespace is None and not recurse:
                continue
            if namespace is None or namespace.startswith(f"{name}|"):
                inner = None if namespace is None else namespace.removeprefix(f"{name}|")
                for place, graph in node.subgraph.get_subgraphs(inner, recurse=recurse):
                    yield f"{name}|{place}", graph

    async def aget_subgraphs(
        self, namespace: str | None = None, recurse: bool = False
    ) -> AsyncIterator[tuple[str, CompiledStateGraph]]:
        """As `get_subgraphs`."""
        for found in self.get_subgraphs(namespace, recurse=recurse):
            yield found

    # -- pictures ------------------------------------------------------------------------------

    def get_graph(self, config: Config | None = None, *, xray: bool = True) -> Picture:
        """Return the graph's picture; with a config that names a thread, its run drawn over it.

        Args:
            config: Names the thread and, with a `checkpoint_id`, how far its run is shown.
            xray: Whether subgraphs are shown from inside.
        """
        diagram = diagram_of(self.declaration)
        if not xray:
            nodes = tuple(replace(node, inner=None) for node in diagram.nodes)
            diagram = replace(diagram, nodes=nodes)
        if config is None:
            return Picture(diagram)
        place = place_of(self._merged(config))
        return Picture(diagram, self._saver().run(self._reader().overlay(diagram, place)))

    def draw_svg(self, config: Config | None = None) -> str:
        """Return the picture as a self-contained SVG document; see `get_graph`."""
        return self.get_graph(config).draw_svg()

    def draw_mermaid(self, config: Config | None = None) -> str:
        """Return the picture as Mermaid source; see `get_graph`."""
        return self.get_graph(config).draw_mermaid()

    def to_dot(self, config: Config | None = None) -> str:
        """Return the picture as Graphviz source; see `get_graph`."""
        return self.get_graph(config).to_dot()

    def draw_text(self, config: Config | None = None) -> str:
        """Return the picture as plain text; see `get_graph`."""
        return self.get_graph(config).draw_text()

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        return self.get_graph()._repr_mimebundle_(**options)

    # -- what it stands on ---------------------------------------------------------------------

    def _store(self) -> Checkpointer | None:
        return self.checkpointer if isinstance(self.checkpointer, Checkpointer) else None

    def _saver(self) -> Checkpointer:
        store = self._store()
        if store is None:
            raise ValueError("No checkpointer set: compile(checkpointer=...) to keep states.")
        return store

    def _reader(self) -> Reader:
        return Reader(self.plan, self._saver(), self.codec)

    def _merged(self, config: Config) -> Config:
        return merge_configs(self.config, config)


def _when_free(
    patience: Patience, operation: Callable[[], Operation[Any]]
) -> Generator[Any, Any, Any]:
    """Ask for an operation, again and again while it finds the branch busy."""
    while True:
        try:
            return (yield operation())
        except ThreadBusy as busy:
            yield nap(patience.pause(busy) or 0.0)


def _given_back(claim: Claim) -> Generator[Any, Any, None]:
    """Ask for the operation that gives a claim back, if it was taken."""
    release = claim.release()
    if release is not None:
        with suppress(CheckpointError):  # it ends by itself
            yield release
