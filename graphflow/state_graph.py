"""StateGraph: what users write graphs with.

    graph = StateGraph(State)
    graph.add_node("draft", draft)
    graph.add_edge(START, "draft")
    app = graph.compile()

The builder collects; `compile` checks everything at once and returns a graph that runs. Compiling
the same builder again, or changing it later, does not touch what was compiled before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from graphflow.compiled import CompiledStateGraph
from graphflow.graph.callables import Callee, callee_of, first_hint, literal_ends, name_of
from graphflow.graph.declaration import Declaration, NodeSpec, RouteSpec
from graphflow.graph.lint import Finding, lint, warn
from graphflow.graph.picture import Picture, diagram_of
from graphflow.graph.plan import make_plan
from graphflow.graph.validation import check_name, validate
from graphflow.state.schema import Schema, is_annotated_class, schema_of
from graphflow.types import (
    END,
    START,
    Command,
    RetryPolicy,
    TimeoutPolicy,
    policies,
    timeout_policy,
)
from graphflow.upgrading import Upgrade

if TYPE_CHECKING:
    from graphflow.cache import CachePolicy

StateT = TypeVar("StateT")
Node = Any
"""A function of the state, sync or async; a callable object; a compiled graph; a Runnable."""


class StateGraph(Generic[StateT]):
    """Builder of a graph over a typed state.

    Args:
        state_schema: TypedDict, dataclass, pydantic model, or a bare type for a state without keys.
        context_schema: Type of the `context=` that runs are given; nodes see it as
            `runtime.context`.
        input_schema: Keys that the input may have; default: those of the state.
        output_schema: Keys that `invoke` returns; default: those of the state.

    Raises:
        ValueError: A reducer of the state does not take two positional parameters.
        TypeError: The schema declares no keys.
    """

    @overload
    def __init__(
        self: StateGraph[StateT],
        state_schema: type[StateT],
        context_schema: type | None = None,
        *,
        input_schema: type | None = None,
        output_schema: type | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: StateGraph[Any],
        state_schema: Any,
        context_schema: type | None = None,
        *,
        input_schema: type | None = None,
        output_schema: type | None = None,
    ) -> None: ...
    def __init__(
        self,
        state_schema: Any,
        context_schema: type | None = None,
        *,
        input_schema: type | None = None,
        output_schema: type | None = None,
    ) -> None:
        self.state_schema = state_schema
        self.context_schema = context_schema
        self._schemas: dict[int, Schema] = {}
        self._state = self._schema(state_schema)
        self._input = self._schema(input_schema) if input_schema else self._state
        self._output = self._schema(output_schema) if output_schema else self._state
        self._nodes: dict[str, NodeSpec] = {}
        self._edges: dict[tuple[str, str], None] = {}
        self._joins: dict[tuple[tuple[str, ...], str], None] = {}
        self._routes: dict[tuple[str, str], RouteSpec] = {}
        self._default_retry: tuple[RetryPolicy, ...] = ()
        self._default_handler: Callee | None = None
        self._default_cache: CachePolicy | None = None
        self._default_timeout: TimeoutPolicy | None = None

    def _schema(self, declared: Any) -> Schema:
        known = self._schemas.get(id(declared))
        if known is None:
            known = self._schemas[id(declared)] = schema_of(declared)
        return known

    # -- nodes ---------------------------------------------------------------------------------

    def add_node(
        self,
        node: str | Node,
        action: Node | None = None,
        *,
        defer: bool = False,
        metadata: Mapping[str, Any] | None = None,
        input_schema: type | None = None,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        error_handler: Callable[..., Any] | None = None,
        cache_policy: CachePolicy | None = None,
        timeout: Any = None,
        destinations: Mapping[str, str] | Sequence[str] | None = None,
        effects: bool = False,
    ) -> StateGraph[StateT]:
        """Add a node and return the builder.

        Args:
            node: Its name, or the node itself, named after its function.
            action: The node, where `node` is a name.
            defer: Hold it back until nothing else would run.
            metadata: Shown in drawings and streams.
            input_schema: Keys that it reads; default: the type hint of its first parameter, else
                the state.
            retry_policy: When it runs again after an error; the first that matches decides.
            error_handler: Runs in its place, in the same superstep, when it has finally failed;
                gets the same input, and a `NodeError` as `error` if it asks for one. What it
                returns is applied instead; the node's own edges are not followed.
            cache_policy: When a result may serve again, with `compile(cache=...)`.
            timeout: How long an attempt may take: seconds, a `timedelta` or a `TimeoutPolicy`; for
                asynchronous nodes only.
            destinations: Where its Commands may go; for checks and drawings only.
            effects: Whether it acts on the world outside: pays, sends. With durability `async` it
                then begins only when all before it is stored.

        Raises:
            ValueError: The name is taken or reserved.
            TypeError: The node cannot be called.
        """
        name, target = (node, action) if isinstance(node, str) else (name_of(node), node)
        name = str(getattr(name, "value", name))
        check_name(name)
        if name in self._nodes:
            raise ValueError(f"Node `{name}` already present.")
        if target is None:
            raise TypeError(f"Node `{name}` has no action: add_node(name, function).")
        callee = callee_of(target, where=f"Node `{name}`")
        self._nodes[name] = NodeSpec(
            name,
            callee,
            self._node_schema(target, input_schema),
            defer,
            policies(retry_policy),
            tuple(destinations) if destinations else literal_ends(target, Command),
            _handler(error_handler, name),
            cache_policy,
            None if timeout is None else timeout_policy(timeout),
            metadata,
            target if isinstance(target, CompiledStateGraph) else None,
            effects,
        )
        return self

    def _node_schema(self, target: Any, declared: type | None) -> Schema | None:
        if isinstance(target, CompiledStateGraph):
            return None  # it picks its own keys; they must not become keys of this graph
        hint = declared or first_hint(target, self.state_schema)
        return self._schema(hint) if is_annotated_class(hint) else None

    def set_node_defaults(
        self,
        *,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        error_handler: Callable[..., Any] | None = None,
        cache_policy: CachePolicy | None = None,
        timeout: Any = None,
    ) -> StateGraph[StateT]:
        """Set what applies at `compile` to every node that does not say otherwise.

        Retry policy and timeout apply to error handlers, too; nothing applies inside subgraphs.
        """
        if retry_policy is not None:
            self._default_retry = policies(retry_policy)
        if error_handler is not None:
            self._default_handler = _handler(error_handler, "set_node_defaults")
        self._default_cache = cache_policy or self._default_cache
        self._default_timeout = timeout_policy(timeout) or self._default_timeout
        return self

    def _finished_nodes(self) -> dict[str, NodeSpec]:
        retry, handler = self._default_retry, self._default_handler
        cache, timeout = self._default_cache, self._default_timeout
        if not retry and handler is None and cache is None and timeout is None:
            return dict(self._nodes)
        return {
            name: replace(
                spec,
                retry=spec.retry or retry,
                handler=spec.handler or handler,
                cache=spec.cache or cache,
                timeout=spec.timeout or timeout,
            )
            for name, spec in self._nodes.items()
        }

    # -- edges ---------------------------------------------------------------------------------

    def add_edge(self, start_key: str | Sequence[str], end_key: str) -> StateGraph[StateT]:
        """Run `end_key` in the superstep after `start_key`; of a list, once all have finished.

        Raises:
            ValueError: END is a source, START a target, or a join names an unknown node.
        """
        sources = (start_key,) if isinstance(start_key, str) else tuple(start_key)
        if END in sources:
            raise ValueError("END cannot be a start node")
        if end_key == START:
            raise ValueError("START cannot be an end node")
        if isinstance(start_key, str):
            self._edges[(start_key, end_key)] = None
            return self
        for name in (*sources, end_key):
            if name not in self._nodes and name != END:
                raise ValueError(f"Need to add_node `{name}` first")
        if not sources:
            raise ValueError(f"The join into `{end_key}` has no sources")
        self._joins[(sources, end_key)] = None
        return self

    def add_conditional_edges(
        self,
        source: str,
        path: Callable[..., Any],
        path_map: Mapping[Any, str] | Sequence[str] | None = None,
    ) -> StateGraph[StateT]:
        """Ask `path` where to go whenever `source` has finished.

        Args:
            source: A node, or START.
            path: Gets the state with the node's own writes; returns node names, END, `Send`s, or a
                list of these. May be async.
            path_map: What the results stand for, or the list of names it may return.

        Raises:
            ValueError: The node has a conditional edge of that name already.
        """
        callee = callee_of(path, where=f"Conditional edge of `{source}`")
        name = name_of(path)
        if (source, name) in self._routes:
            raise ValueError(f"Branch with name `{name}` already exists for node `{source}`")
        hint = first_hint(path, self.state_schema)
        schema = self._schema(hint) if is_annotated_class(hint) else None
        self._routes[(source, name)] = RouteSpec(
            source, name, callee, _ends(path, path_map), schema
        )
        return self

    def set_entry_point(self, key: str) -> StateGraph[StateT]:
        """Start with `key`: `add_edge(START, key)`."""
        return self.add_edge(START, key)

    def set_finish_point(self, key: str) -> StateGraph[StateT]:
        """End after `key`: `add_edge(key, END)`."""
        return self.add_edge(key, END)

    def set_conditional_entry_point(
        self,
        path: Callable[..., Any],
        path_map: Mapping[Any, str] | Sequence[str] | None = None,
    ) -> StateGraph[StateT]:
        """Ask `path` where to start: `add_conditional_edges(START, path)`."""
        return self.add_conditional_edges(START, path, path_map)

    def add_sequence(self, nodes: Sequence[Node | tuple[str, Node]]) -> StateGraph[StateT]:
        """Add nodes and chain them. The first still needs an edge from START.

        Raises:
            ValueError: There are none, or a name comes twice.
        """
        if not nodes:
            raise ValueError("Sequence requires at least one node.")
        names = []
        for entry in nodes:
            name, node = entry if isinstance(entry, tuple) else (name_of(entry), entry)
            self.add_node(name, node)
            names.append(name)
        for source, target in pairwise(names):
            self.add_edge(source, target)
        return self

    # -- finishing -----------------------------------------------------------------------------

    def declaration(
        self,
        name: str = "LangGraph",
        interrupt_before: Sequence[str] = (),
        interrupt_after: Sequence[str] = (),
    ) -> Declaration:
        """Return all that was said so far, as a record that later calls do not change."""
        return Declaration(
            name,
            self._state,
            self._input,
            self._output,
            self._finished_nodes(),
            tuple(self._edges),
            tuple(self._joins),
            tuple(self._routes.values()),
            tuple(interrupt_before),
            tuple(interrupt_after),
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._nodes)} nodes, not compiled>"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        return Picture(diagram_of(self.declaration()))._repr_mimebundle_(**options)

    def lint(self) -> list[Finding]:
        """Return what is legal but can hardly be meant, each with node, edge and advice."""
        return lint(self.declaration())

    def validate(self) -> StateGraph[StateT]:
        """Refuse a graph that cannot run. Raises `ValueError` with all faults."""
        validate(self.declaration())
        return self

    def compile(
        self,
        checkpointer: Any = None,
        *,
        cache: Any = None,
        store: Any = None,
        interrupt_before: Sequence[str] | str | None = None,
        interrupt_after: Sequence[str] | str | None = None,
        debug: bool = False,
        name: str | None = None,
        upgrade: Upgrade | None = None,
        transformers: None = None,
    ) -> CompiledStateGraph:
        """Check the graph and make it ready to run.

        Args:
            checkpointer: Where supersteps are committed; None: nowhere (or, as a node, where the
                graph around it does).
            cache: Where results of nodes with a `cache_policy` are kept.
            store: Given to nodes as `store` and `runtime.store`.
            interrupt_before: Nodes before which runs stop for a person; `"*"`: all.
            interrupt_after: Nodes after which runs stop.
            debug: Print what happens.
            name: How drawings and subgraph events call it.
            upgrade: What became of nodes and values that earlier versions of the program stored.
            transformers: For programs that pass LangGraph's default; nothing but None.

        Raises:
            ValueError: Lists every fault of the declaration, one a line.
            TypeError: `checkpointer` is none.

        Warns:
            GraphWarning: What `lint()` finds.
        """
        if transformers:
            raise TypeError("compile(transformers=...) is not supported: stream with stream_mode=.")
        before, after = _names(interrupt_before), _names(interrupt_after)
        declaration = self.declaration(name or "LangGraph", before, after)
        validate(declaration)
        warn(declaration)
        return CompiledStateGraph(
            declaration,
            make_plan(declaration, upgrade),
            checkpointer=checkpointer,
            store=store,
            cache=cache,
            context_schema=self.context_schema,
            debug=debug,
        )


def _names(given: Sequence[str] | str | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def _handler(target: Callable[..., Any] | None, node: str) -> Callee | None:
    return None if target is None else callee_of(target, where=f"Error handler of `{node}`")


def _ends(
    path: Callable[..., Any], path_map: Mapping[Any, str] | Sequence[str] | None
) -> Mapping[Any, str] | None:
    if isinstance(path_map, Mapping):
        return dict(path_map)
    names = path_map if path_map is not None else literal_ends(path)
    return {name: name for name in names} or None
