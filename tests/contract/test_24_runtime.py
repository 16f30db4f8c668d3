"""Contract §24: runtime, context, config and store, as nodes get them."""

import asyncio
import dataclasses
import operator
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
import pytest
from typing_extensions import TypedDict

from graphflow import (
    START,
    InMemoryStore,
    RunControl,
    Runtime,
    StateGraph,
    get_config,
    get_runtime,
    get_store,
    get_stream_writer,
    task,
)


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


def single(node: Any, context_schema: Any = None, **options: Any) -> Any:
    graph = StateGraph(State, context_schema).add_node("n", node).add_edge(START, "n")
    return graph.compile(**options)


def wrapped(app: Any, depth: int, **options: Any) -> Any:
    """Return `app` as the node `n` of so many graphs, the outermost compiled with `options`."""
    for _ in range(depth - 1):
        app = single(app)
    return single(app, **options)


def noting(seen: list[Any], what: Any) -> Any:
    """Return a node that notes what it makes of its runtime."""

    def n(_: State, runtime: Runtime[Any]) -> None:
        seen.append(what(runtime))

    return n


async def inside_a_task(function: Any) -> Any:
    """Call a function in an asyncio task of its own."""

    async def ask() -> Any:
        return function()

    return await asyncio.create_task(ask())


# -- 1: runtime ------------------------------------------------------------------------------


def test_24_b1_runtime_holds_what_belongs_to_the_run(call):
    seen: list[Any] = []
    store, control = InMemoryStore(), RunControl()
    app = single(noting(seen, lambda r: (r.context, r.store, r.previous, r.control)), store=store)
    call.invoke(app, {}, context={"user": "ann"}, control=control)
    ((context, found, previous, steering),) = seen
    assert (context, previous) == ({"user": "ann"}, None)
    assert found is store
    assert steering is control


def test_24_b1_stream_writer_of_the_runtime_writes_custom_chunks(call):
    app = single(noting([], lambda runtime: runtime.stream_writer("hello")))
    assert call.stream(app, {}, stream_mode="custom") == ["hello"]


def test_24_b1_runtime_tells_of_a_drain(call):
    seen: list[Any] = []

    def n(_: State, runtime: Runtime[Any]) -> None:
        seen.append((runtime.drain_requested, runtime.drain_reason))
        runtime.control.request_drain("deploy")
        seen.append((runtime.drain_requested, runtime.drain_reason))

    call.invoke(single(n), {}, control=RunControl())
    assert seen == [(False, None), (True, "deploy")]


def test_24_b1_get_runtime_gives_the_same(call):
    seen: list[Any] = []

    def n(_: State, runtime: Runtime[Any]) -> None:
        found = get_runtime(dict)
        seen.append((found.context is runtime.context, found.store is runtime.store))
        seen.append(found.execution_info == runtime.execution_info)

    call.invoke(single(n, store=InMemoryStore()), {}, context={"user": "ann"})
    assert seen == [(True, True), True]


@pytest.mark.parametrize("where", ["node", "task", "graph inside"])
def test_24_b1_runtime_of_every_place_is_that_of_the_run(call, where):
    seen: list[Any] = []
    note = noting(seen, lambda r: (r.context, r.store is store, r.control is control))
    store, control = InMemoryStore(), RunControl()
    noted = task(name="note")(note)

    async def calls(state: State) -> None:
        await noted(state)

    app = single({"node": note, "task": calls, "graph inside": single(note)}[where], store=store)
    call.invoke(app, {}, context="c", control=control)
    assert seen == [("c", True, True)]


def test_24_b1_drain_that_is_asked_for_from_outside_is_seen(call):
    seen: list[Any] = []
    control = RunControl()

    def n(_: State, runtime: Runtime[Any]) -> None:
        control.request_drain("stop")
        seen.append((runtime.drain_requested, runtime.drain_reason))

    call.invoke(single(n), {}, control=control)
    assert seen == [(True, "stop")]


def test_24_b1_runtime_without_control_is_not_drained():
    blank: Runtime[Any] = Runtime()
    assert (blank.drain_requested, blank.drain_reason) == (False, None)


def test_24_b1_heartbeat_without_a_timeout_does_nothing(call):
    assert call.invoke(single(noting([], lambda runtime: runtime.heartbeat())), {}) == {"log": []}


def test_24_b1_there_is_no_server_that_runs_the_graph(call):
    seen: list[Any] = []
    call.invoke(single(noting(seen, lambda runtime: runtime.server_info)), {})
    assert seen == [None]


def test_24_b1_merge_takes_the_fields_that_the_other_sets():
    store, control = InMemoryStore(), RunControl()
    mine: Runtime[str] = Runtime(context="mine", store=store, previous=1)
    merged = mine.merge(Runtime(context="theirs", control=control))
    assert (merged.context, merged.previous) == ("theirs", 1)
    assert merged.store is store
    assert merged.control is control
    assert mine.context == "mine"


def test_24_b1_merge_with_a_runtime_that_sets_nothing_changes_nothing(call):
    seen: list[Any] = []
    call.invoke(single(noting(seen, lambda r: r.merge(Runtime()) == r)), {}, context="c")
    assert seen == [True]


def test_24_b1_override_replaces_fields_in_a_copy():
    mine: Runtime[Any] = Runtime(context="mine", previous=1)
    other = mine.override(context=None, previous=2)
    assert (other.context, other.previous, mine.context) == (None, 2, "mine")


def test_24_b1_patch_execution_info_replaces_its_fields_in_a_copy(call):
    def patched(runtime: Runtime[Any]) -> Any:
        mine, other = runtime.execution_info, runtime.patch_execution_info(run_id="r")
        assert mine is not None
        assert other.execution_info is not None
        return other.execution_info.run_id, other.execution_info == mine.patch(run_id="r"), mine

    seen: list[Any] = []
    call.invoke(single(noting(seen, patched)), {})
    ((run_id, is_patched, mine),) = seen
    assert (run_id, is_patched) == ("r", True)
    assert mine.run_id != "r"


def test_24_b1_patch_execution_info_of_no_node_is_refused():
    with pytest.raises(RuntimeError, match="belongs to no running node"):
        Runtime().patch_execution_info(node_attempt=2)


def test_24_b1_runtime_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Runtime().context = "other"  # type: ignore[misc]


# -- 2: context ------------------------------------------------------------------------------


@dataclass
class Record:
    user: str
    level: int = 1


class Model(pydantic.BaseModel):
    user: str
    level: int = 1


class Keys(TypedDict):
    user: str


CONTEXTS = {
    "dataclass": (Record, {"user": "ann"}, Record("ann", 1)),
    "pydantic": (Model, {"user": "ann", "level": "2"}, Model(user="ann", level=2)),
    "keys": (Keys, {"user": "ann"}, {"user": "ann"}),
    "instance": (Record, Record("bob", 5), Record("bob", 5)),
    "model instance": (Model, Model(user="bob"), Model(user="bob")),
    "nothing": (Record, None, None),
    "no schema": (None, {"any": "thing"}, {"any": "thing"}),
}


@pytest.mark.parametrize("form", CONTEXTS)
def test_24_b2_context_is_made_into_what_the_schema_says(call, form):
    schema, given, expected = CONTEXTS[form]
    seen: list[Any] = []
    call.invoke(single(noting(seen, lambda runtime: runtime.context), schema), {}, context=given)
    assert seen == [expected]


def test_24_b2_stream_takes_a_context_too(call):
    seen: list[Any] = []
    app = single(noting(seen, lambda runtime: runtime.context), Record)
    call.stream(app, {}, context={"user": "ann"})
    assert seen == [Record("ann")]


@pytest.mark.parametrize(
    ("schema", "error"), [(Record, TypeError), (Model, pydantic.ValidationError)]
)
def test_24_b2_context_that_does_not_fit_is_refused_before_any_node_runs(call, schema, error):
    seen: list[Any] = []
    app = single(noting(seen, lambda runtime: runtime.context), schema)
    with pytest.raises(error):
        call.invoke(app, {}, context={"nobody": 1})
    assert seen == []


@pytest.mark.parametrize("depth", [1, 3])
def test_24_b2_context_reaches_subgraphs(call, depth):
    seen: list[Any] = []
    app = single(noting(seen, lambda runtime: runtime.context))
    call.invoke(wrapped(app, depth), {}, context={"user": "ann"})
    assert seen == [{"user": "ann"}]


def test_24_b2_context_that_the_call_of_a_child_gives_wins(call):
    seen: list[Any] = []
    child = single(noting(seen, lambda runtime: runtime.context))

    async def calls(_: State) -> None:
        await child.ainvoke({}, context="its own")
        await child.ainvoke({})

    call.invoke(single(calls), {}, context="the run's")
    assert seen == ["its own", "the run's"]


# -- 3: execution info -----------------------------------------------------------------------


def info_of(call: Any, app_of: Any, **options: Any) -> Any:
    """Return what one node is told of its execution."""
    seen: list[Any] = []
    call.invoke(app_of(noting(seen, lambda runtime: runtime.execution_info)), {}, **options)
    return seen[0]


def test_24_b3_execution_info_says_where_a_task_stands(call, saver, thread):
    info = info_of(call, lambda node: single(node, checkpointer=saver), config=thread)
    (task,) = call.history(single(lambda _: None, checkpointer=saver), thread)[1].tasks
    assert (info.thread_id, info.task_id, info.node_attempt) == ("t", task.id, 1)
    assert info.checkpoint_ns == f"n:{task.id}"


def test_24_b3_execution_info_names_the_checkpoint_of_its_superstep(call, saver, thread):
    info = info_of(call, lambda node: single(node, checkpointer=saver), config=thread)
    shot = call.history(single(lambda _: None, checkpointer=saver), thread)[1]
    assert info.checkpoint_id == shot.config["configurable"]["checkpoint_id"]


def test_24_b3_run_id_is_inherited_by_subgraphs(call):
    seen: list[Any] = []
    note = noting(seen, lambda runtime: runtime.execution_info.run_id)
    app = StateGraph(State).add_sequence([("outer", note), ("inner", single(note))])
    call.invoke(app.add_edge(START, "outer").compile(), {}, {"run_id": "r1"})
    assert seen == ["r1", "r1"]


def test_24_b3_time_of_the_first_attempt_is_told(call):
    assert info_of(call, single).node_first_attempt_time > 0


def test_24_b3_execution_info_is_frozen_and_patched_copies_are_made(call):
    info = info_of(call, single)
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.node_attempt = 2
    assert info.patch(node_attempt=2).node_attempt == 2
    assert info.node_attempt == 1


def test_24_b3_thread_is_inherited_by_subgraphs_and_ids_are_the_childs_own(call, saver, thread):
    outer: list[Any] = []
    inner: list[Any] = []
    child = single(noting(inner, lambda runtime: runtime.execution_info))
    graph = StateGraph(State).add_node("child", child)
    graph.add_node("own", noting(outer, lambda runtime: runtime.execution_info))
    app = graph.add_edge(START, "own").add_edge("own", "child").compile(saver)
    call.invoke(app, {}, thread)
    assert (outer[0].thread_id, inner[0].thread_id) == ("t", "t")
    assert inner[0].task_id != outer[0].task_id
    first, second = inner[0].checkpoint_ns.split("|")
    assert first.startswith("child:")
    assert second == f"n:{inner[0].task_id}"


def test_24_b3_run_id_is_made_where_none_is_given_and_differs_from_run_to_run(call):
    seen: list[Any] = []
    note = noting(seen, lambda runtime: runtime.execution_info.run_id)
    graph = StateGraph(State).add_sequence([("outer", note), ("inner", single(note))])
    app = graph.add_edge(START, "outer").compile()
    call.invoke(app, {})
    call.invoke(app, {})
    assert seen[0] == seen[1] != seen[2] == seen[3]
    assert isinstance(seen[0], str)


def test_24_b3_call_of_a_task_is_told_its_own_place(call, saver, thread):
    seen: list[Any] = []
    note = noting(seen, lambda runtime: runtime.execution_info)
    look = task(name="look")(note)

    async def n(state: State, runtime: Runtime[Any]) -> None:
        note(state, runtime)
        await look(state)

    call.invoke(single(n, checkpointer=saver), {}, thread)
    node, called = seen
    assert (called.thread_id, called.run_id) == (node.thread_id, node.run_id)
    assert called.checkpoint_id == node.checkpoint_id
    assert called.task_id != node.task_id
    assert called.checkpoint_ns == f"look:{called.task_id}"


# -- 4: config and the functions that nodes call ---------------------------------------------


def test_24_b4_config_of_a_node_has_the_users_keys_and_its_place(call, saver, thread):
    seen: list[Any] = []
    app = single(lambda _: seen.append(get_config()), checkpointer=saver)
    given = {
        "configurable": {**thread["configurable"], "user": "ann"},
        "metadata": {"who": "me"},
        "tags": ["t"],
    }
    call.invoke(app, {}, given)
    (task,) = call.history(app, thread)[1].tasks
    configurable, metadata = seen[0]["configurable"], seen[0]["metadata"]
    assert (configurable["user"], configurable["thread_id"]) == ("ann", "t")
    assert configurable["checkpoint_ns"] == f"n:{task.id}"
    assert seen[0]["tags"] == ["t"]
    assert (
        metadata.items()
        >= {
            "who": "me",
            "langgraph_step": 1,
            "langgraph_node": "n",
            "langgraph_triggers": ("branch:to:n",),
            "langgraph_path": ("__pregel_pull", "n"),
            "langgraph_checkpoint_ns": f"n:{task.id}",
        }.items()
    )


@pytest.mark.parametrize("key", ["checkpoint_id", "checkpoint_map"])
def test_24_b4_config_of_a_node_names_its_checkpoint(call, saver, thread, key):
    seen: list[Any] = []
    call.invoke(single(lambda _: seen.append(get_config()), checkpointer=saver), {}, thread)
    assert key in seen[0]["configurable"]


FUNCTIONS = {
    "get_config": lambda: get_config()["configurable"]["user"],
    "get_store": lambda: get_store().get(("all",), "user").value["name"],
    "get_runtime": lambda: get_runtime().context,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("where", ["sync node", "async node", "asyncio task of a node"])
def test_24_b4_functions_work_wherever_nodes_run(call, name, where):
    function = FUNCTIONS[name]

    async def anode(_: State) -> State:
        return {"x": function()}

    async def tasking(_: State) -> State:
        return {"x": await inside_a_task(function)}

    nodes = {"sync node": lambda _: {"x": function()}, "async node": anode}
    store = InMemoryStore()
    store.put(("all",), "user", {"name": "ann"})
    app = single(nodes.get(where, tasking), store=store)
    result = call.invoke(app, {}, {"configurable": {"user": "ann"}}, context="ann")
    assert result["x"] == "ann"


@pytest.mark.parametrize("function", [get_config, get_store, get_stream_writer, get_runtime])
def test_24_b4_functions_are_refused_outside_of_nodes(function):
    with pytest.raises(RuntimeError, match="outside of a runnable context"):
        function()


def test_24_b4_parallel_nodes_have_configs_of_their_own(call):
    graph = StateGraph(State)
    for name in "abc":
        node = lambda _: {"log": [get_config()["metadata"]["langgraph_node"]]}  # noqa: E731
        graph.add_node(name, node).add_edge(START, name)
    assert call.invoke(graph.compile(), {}) == {"log": ["a", "b", "c"]}


# -- 5: tags ---------------------------------------------------------------------------------


def test_24_b5_tags_reach_nodes_three_graphs_deep_exactly_once(call):
    seen: list[Any] = []
    app = single(lambda _: seen.append(get_config()["tags"]))
    call.invoke(wrapped(app, 2).with_config(tags=["deep"]), {}, {"tags": ["call"]})
    assert seen == [["deep", "call"]]


def test_24_b5_tags_come_once_where_the_config_is_passed_on_by_hand(call):
    seen: list[Any] = []
    app = single(lambda _: seen.append(get_config()["tags"]))

    def passing(child: Any) -> Any:
        async def node(_: State, config: Any) -> None:
            await child.ainvoke({}, config)

        return single(node)

    call.invoke(passing(passing(app)).with_config(tags=["outer"]), {}, {"tags": ["call"]})
    assert seen == [["outer", "call"]]


def test_24_b5_each_graph_may_add_a_tag(call):
    seen: list[Any] = []
    app = single(lambda _: seen.append(sorted(get_config()["tags"]))).with_config(tags=["inner"])
    call.invoke(wrapped(app, 1).with_config(tags=["outer"]), {})
    assert seen == [["inner", "outer"]]


# -- 6: store --------------------------------------------------------------------------------


def test_24_b6_store_puts_gets_and_searches():
    store = InMemoryStore()
    store.put(("users", "ann"), "pet", {"kind": "cat"})
    assert store.get(("users", "ann"), "pet").value == {"kind": "cat"}
    assert [item.key for item in store.search(("users",))] == ["pet"]


def test_24_b6_store_does_the_same_on_an_event_loop():
    async def main() -> Any:
        store = InMemoryStore()
        await store.aput(("users", "ann"), "pet", {"kind": "cat"})
        found = await store.aget(("users", "ann"), "pet")
        return found.value, [item.key for item in await store.asearch(("users",))]

    assert asyncio.run(main()) == ({"kind": "cat"}, ["pet"])


STORES = {
    "parameter": lambda store, runtime: store,
    "runtime": lambda store, runtime: runtime.store,
    "function": lambda store, runtime: get_store(),
}


@pytest.mark.parametrize("way", STORES)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_24_b6_store_reaches_nodes_and_children(call, way, depth):
    def n(_: State, store: Any, runtime: Any) -> State:
        found = STORES[way](store, runtime)
        found.put(("notes",), "n", {"text": "kept"})
        return {"x": found is outer}

    outer = InMemoryStore()
    app = wrapped(single(n), depth, store=outer) if depth else single(n, store=outer)
    assert call.invoke(app, {})["x"] is True
    assert outer.get(("notes",), "n").value == {"text": "kept"}


def test_24_b6_async_nodes_use_the_store_without_blocking(call):
    async def n(_: State, store: Any) -> State:
        await store.aput(("notes",), "n", {"text": "kept"})
        return {"x": (await store.aget(("notes",), "n")).value["text"]}

    assert call.invoke(single(n, store=InMemoryStore()), {})["x"] == "kept"


def test_24_b6_store_is_shared_by_threads(call, saver):
    def n(_: State, store: Any) -> State:
        known = len(store.search(("visits",)))
        store.put(("visits",), str(known), {})
        return {"x": known}

    app = single(n, checkpointer=saver, store=InMemoryStore())
    found = [call.invoke(app, {}, {"configurable": {"thread_id": name}})["x"] for name in "uv"]
    assert found == [0, 1]
