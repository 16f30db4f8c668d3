"""Store, cache, runtime, context and config in nodes; drain (contract §22, §24, §25)."""

import operator
import time
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
from typing_extensions import TypedDict

from .observations import by_task
from .programs import ASYNC, SYNC, THREAD, chain, parallel, parity, parity_in, raised


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


def cached(lib: Any, node: Any, **policy: Any) -> Any:
    """Return a compiled graph of one cached node."""
    graph = lib.StateGraph(State).add_node("n", node, cache_policy=lib.CachePolicy(**policy))
    return graph.add_edge(lib.START, "n").compile(cache=lib.InMemoryCache())


@parity
def test_store_in_nodes(lib, call):
    def remember(state: State, runtime: lib.Runtime) -> Any:
        runtime.store.put(("people", "ann"), "likes", {"what": state["x"]})

    def recall(state: State, *, store: lib.BaseStore) -> Any:
        item = store.get(("people", "ann"), "likes")
        missing = lib.get_store().get(("people", "bob"), "likes")
        return {"log": [item.value, item.key, item.namespace, missing]}

    store = lib.InMemoryStore()
    app = chain(lib, State, ("remember", remember), ("recall", recall)).compile(store=store)
    result = call.invoke(app, {"x": "tea", "log": []})
    return result, [(item.key, item.value) for item in store.search(("people",))]


@parity_in(ASYNC)
def test_store_in_async_nodes(lib, call):
    async def node(state: State, *, store: lib.BaseStore) -> Any:
        await store.aput(("n",), "k", {"v": 1})
        found = [item.value for item in await store.asearch(("n",))]
        return {"log": [(await store.aget(("n",), "k")).value, found]}

    app = chain(lib, State, ("n", node)).compile(store=lib.InMemoryStore())
    return call.invoke(app, {"log": []})


@parity_in(ASYNC)
def test_operations_of_a_store(lib, call):
    store = lib.InMemoryStore()
    for number in range(5):
        store.put(("a", str(number % 2)), f"k{number}", {"n": number, "even": number % 2 == 0})
    store.put(("b",), "k", {"n": 9})
    store.put(("a", "0"), "k0", {"n": 10, "even": True})
    store.delete(("a", "1"), "k1")

    def keys(items: Any) -> Any:
        return sorted(item.key for item in items)

    return {
        "all": keys(store.search(("a",))),
        "limited": len(store.search(("a",), limit=2)),
        "offset": len(store.search(("a",), limit=10, offset=3)),
        "filtered": keys(store.search(("a",), filter={"even": True})),
        "compared": keys(store.search(("a",), filter={"n": {"$gt": 3}})),
        "replaced": store.get(("a", "0"), "k0").value,
        "deleted": store.get(("a", "1"), "k1"),
        "namespaces": sorted(store.list_namespaces()),
        "prefix": sorted(store.list_namespaces(prefix=("a",))),
        "depth": sorted(store.list_namespaces(max_depth=1)),
    }


@parity
def test_store_is_shared_between_threads(lib, call):
    def node(state: State, runtime: lib.Runtime) -> Any:
        seen = len(runtime.store.search(("n",)))
        runtime.store.put(("n",), str(seen), {"seen": seen})
        return {"x": seen}

    app = chain(lib, State, ("n", node)).compile(lib.InMemorySaver(), store=lib.InMemoryStore())
    configs = [{"configurable": {"thread_id": name}} for name in "uvw"]
    return [call.invoke(app, {"log": []}, config)["x"] for config in configs]


@parity
def test_cached_node_is_skipped(lib, call):
    ran = []
    app = cached(lib, lambda s: ran.append(1) or {"log": [s["x"]]})
    given = [{"x": 1}, {"x": 1}, {"x": 2}]
    results = [call.invoke(app, one) for one in given]
    return results, len(ran), call.stream(app, {"x": 1})


@parity
def test_events_of_a_cached_node(lib, call):
    app = cached(lib, lambda s: {"log": [s["x"]]})
    call.invoke(app, {"x": 1})
    return call.stream(app, {"x": 1}, stream_mode=["tasks", "updates", "values"])


@parity
def test_key_of_a_cache_may_be_chosen(lib, call):
    ran = []
    node = lambda s: ran.append(s["x"]) or {"log": [s["x"]]}  # noqa: E731
    app = cached(lib, node, key_func=lambda s: str(s["x"] % 2))
    return [call.invoke(app, {"x": x}) for x in (1, 3, 2)], ran


@parity
def test_cache_is_cleared(lib, call):
    ran = []
    app = cached(lib, lambda s: ran.append(1) or {"log": [s["x"]]})
    call.invoke(app, {"x": 1})
    app.clear_cache()
    call.invoke(app, {"x": 1})
    app.clear_cache(["n"])
    call.invoke(app, {"x": 1})
    return len(ran)


@parity
def test_cache_forgets_after_its_time(lib, call):
    ran = []
    app = cached(lib, lambda s: ran.append(1) or {"log": [s["x"]]}, ttl=1)
    call.invoke(app, {"x": 1})
    call.invoke(app, {"x": 1})
    time.sleep(1.1)
    call.invoke(app, {"x": 1})
    return len(ran)


@parity
def test_failures_are_not_cached(lib, call):
    ran = []

    def node(state: State) -> Any:
        ran.append(1)
        if len(ran) == 1:
            raise ValueError("boom")
        return {"log": [len(ran)]}

    app = cached(lib, node)
    return raised(lib, lambda: call.invoke(app, {"x": 1})), call.invoke(app, {"x": 1}), len(ran)


@parity
def test_cache_is_shared_by_threads_and_not_by_nodes(lib, call):
    ran = []
    policy = lib.CachePolicy()
    graph = lib.StateGraph(State)
    for name in "ab":
        node = lambda s, name=name: ran.append(name) or {"log": [name]}  # noqa: E731
        graph.add_node(name, node, cache_policy=policy).add_edge(lib.START, name)
    app = graph.compile(lib.InMemorySaver(), cache=lib.InMemoryCache())
    configs = [{"configurable": {"thread_id": name}} for name in "uv"]
    return [call.invoke(app, {"x": 1, "log": []}, config) for config in configs], sorted(ran)


@parity
def test_cached_node_with_command_and_sends(lib, call):
    ran = []

    def node(state: State) -> Any:
        ran.append(1)
        return lib.Command(update={"log": ["n"]}, goto=[lib.Send("w", 1), "z"])

    graph = lib.StateGraph(State).add_node("n", node, cache_policy=lib.CachePolicy())
    graph.add_node("w", lambda n: {"log": [n]}).add_node("z", lambda _: {"log": ["z"]})
    app = graph.add_edge(lib.START, "n").compile(cache=lib.InMemoryCache())
    return [call.invoke(app, {"log": []}) for _ in range(2)], len(ran)


@dataclass
class Tenant:
    name: str
    tier: str = "free"


class Limits(pydantic.BaseModel):
    size: int = 3


@parity
def test_forms_of_context(lib, call):
    def node(state: State, runtime: lib.Runtime) -> Any:
        return {"log": [repr(runtime.context), runtime.context is lib.get_runtime().context]}

    cases: list[tuple[Any, Any]] = [
        (Tenant, Tenant("a")),
        (Tenant, {"name": "a", "tier": "gold"}),
        (Tenant, None),
        (Limits, {"size": "5"}),
        (Limits, Limits(size=1)),
        (TypedDict("Plain", {"k": int}), {"k": 1}),
        (None, {"free": "form"}),
    ]
    shown = []
    for schema, context in cases:
        graph = lib.StateGraph(State, context_schema=schema).add_node("n", node)
        app = graph.add_edge(lib.START, "n").compile()
        shown.append(call.invoke(app, {"log": []}, context=context))
    return shown


@parity
def test_wrong_contexts_are_refused(lib, call):
    shown = []
    for schema, context in ((Tenant, {"nam": "a"}), (Limits, {"size": "many"})):
        graph = lib.StateGraph(State, context_schema=schema).add_node("n", lambda _: None)
        app = graph.add_edge(lib.START, "n").compile()
        refused = raised(lib, lambda a=app, c=context: call.invoke(a, {"log": []}, context=c))
        shown.append(refused[0])
    return shown


@parity
def test_get_runtime_and_get_config_in_nodes(lib, call):
    def node(state: State) -> Any:
        config, runtime = lib.get_config(), lib.get_runtime(Tenant)
        place = ("langgraph_step", "langgraph_node", "langgraph_triggers", "langgraph_path")
        return {
            "log": [
                config["configurable"]["user"],
                config["configurable"]["thread_id"],
                [config["metadata"][key] for key in place],
                config["metadata"]["team"],
                config["tags"],
                runtime.context,
            ]
        }

    graph = lib.StateGraph(State, context_schema=Tenant).add_node("n", node)
    app = graph.add_edge(lib.START, "n").compile()
    config = {
        "configurable": {"thread_id": "t", "user": "ann"},
        "metadata": {"team": "blue"},
        "tags": ["night"],
    }
    return call.stream(app, {"log": []}, config, context={"name": "a"})


@parity_in(ASYNC)
def test_outside_of_a_run_there_is_nothing_to_get(lib, call):
    names = ["get_config", "get_runtime", "get_store", "get_stream_writer"]
    return [raised(lib, getattr(lib, name))[0] for name in names]


@parity
def test_execution_info_of_a_node(lib, call):
    def node(state: State, runtime: lib.Runtime) -> Any:
        info = runtime.execution_info
        kept.append(info)
        same = info.checkpoint_ns == f"n:{info.task_id}"
        return {"log": [info.thread_id, same, info.node_attempt]}

    kept: list[Any] = []
    app = chain(lib, State, ("n", node)).compile(lib.InMemorySaver())
    result = call.invoke(app, {"log": []}, THREAD)
    frozen = raised(lib, lambda: setattr(kept[0], "task_id", "x"))[0]
    return result, frozen


@parity
def test_execution_info_names_checkpoint_and_run(lib, call):
    def node(state: State, runtime: lib.Runtime) -> Any:
        info = runtime.execution_info
        return {"log": [info.checkpoint_id, info.run_id]}

    app = chain(lib, State, ("n", node)).compile(lib.InMemorySaver())
    run = {**THREAD, "run_id": "00000000-0000-0000-0000-000000000001"}
    result = call.invoke(app, {"log": []}, run)
    return [value is not None for value in result["log"]]


@parity
def test_config_of_a_node_holds_the_threads_keys(lib, call):
    def node(state: State, config: lib.RunnableConfig) -> Any:
        known = ("user", "thread_id", "checkpoint_ns")
        return {"log": [sorted(key for key in config["configurable"] if key in known)]}

    app = chain(lib, State, ("n", node)).compile(lib.InMemorySaver())
    config = {"configurable": {"thread_id": "t", "user": "ann"}}
    return call.invoke(app, {"log": []}, config)


@parity
def test_config_of_a_node_names_its_checkpoint(lib, call):
    def node(state: State) -> Any:
        keys = lib.get_config()["configurable"]
        return {"log": [key for key in ("checkpoint_id", "checkpoint_map") if key in keys]}

    app = chain(lib, State, ("n", node)).compile(lib.InMemorySaver())
    return call.invoke(app, {"log": []}, THREAD)


@parity
def test_with_config_is_merged_under_the_call(lib, call):
    def node(state: State, config: lib.RunnableConfig) -> Any:
        configurable = config["configurable"]
        shown = [configurable["a"], configurable["b"], sorted(config["tags"])]
        return {"log": [*shown, config["metadata"]["m"], config["metadata"]["k"]]}

    base = {"configurable": {"a": 1, "b": 1}, "tags": ["x"], "metadata": {"m": 1, "k": 1}}
    app = chain(lib, State, ("n", node)).compile().with_config(base)
    config = {"configurable": {"b": 2}, "tags": ["y"], "metadata": {"k": 2}}
    return call.invoke(app, {"log": []}, config)


@parity
def test_with_config_applies_to_the_state_too(lib, call):
    app = chain(lib, State, ("n", lambda _: {"log": ["n"]})).compile(lib.InMemorySaver())
    bound = app.with_config(THREAD)
    call.invoke(bound, {"log": []})
    return call.state(bound, {"configurable": {}}).values, call.state(bound).config


@parity
def test_previous_is_none_in_graphs(lib, call):
    def node(state: State, *, previous=None, runtime: lib.Runtime) -> Any:
        return {"log": [previous, runtime.previous]}

    return call.invoke(chain(lib, State, ("n", node)).compile(), {"log": []})


@parity
def test_drain_before_the_next_superstep(lib, call):
    control = lib.RunControl()

    def first(_: State) -> Any:
        control.request_drain("maintenance")
        return {"log": ["first"]}

    nodes = [("first", first), ("second", lambda _: {"log": ["second"]})]
    app = chain(lib, State, *nodes).compile(lib.InMemorySaver())
    says = "Graph drained: maintenance"
    refused = raised(lib, lambda: call.invoke(app, {"log": []}, THREAD, control=control), says)
    paused = call.state(app)
    return refused, paused.next, paused.values, call.invoke(app, None, THREAD)


@parity
def test_drain_with_nothing_left_ends_normally(lib, call):
    def node(state: State, runtime: lib.Runtime) -> Any:
        runtime.control.request_drain()
        return {"log": [runtime.control.drain_requested, runtime.control.drain_reason]}

    app = chain(lib, State, ("n", node)).compile(lib.InMemorySaver())
    return call.invoke(app, {"log": []}, THREAD, control=lib.RunControl())


@parity
def test_runtime_knows_of_a_drain(lib, call):
    def node(state: State, runtime: lib.Runtime) -> Any:
        runtime.control.request_drain("why")
        return {"log": [runtime.drain_requested, runtime.drain_reason]}

    app = chain(lib, State, ("n", node)).compile(lib.InMemorySaver())
    return call.invoke(app, {"log": []}, THREAD, control=lib.RunControl())


@parity_in(SYNC)
def test_runtimes_are_merged_and_overridden(lib, call):
    store = lib.InMemoryStore()
    runtime = lib.Runtime(context={"c": 1}).merge(lib.Runtime(store=store))
    changed = runtime.override(context={"c": 2})
    runtime.heartbeat()
    return runtime.context, runtime.store is store, changed.context, changed.store is store


@parity
def test_drain_before_the_start(lib, call):
    control = lib.RunControl()
    control.request_drain()
    app = chain(lib, State, ("n", lambda _: {"log": ["n"]})).compile(lib.InMemorySaver())
    refused = raised(lib, lambda: call.invoke(app, {"log": []}, THREAD, control=control))
    paused = call.state(app)
    return refused, paused.next, call.invoke(app, None, THREAD)


@parity
def test_breakpoint_wins_over_a_drain(lib, call):
    control = lib.RunControl()
    nodes = [
        ("a", lambda _: control.request_drain()),
        ("b", lambda _: {"log": ["b"]}),
    ]
    app = chain(lib, State, *nodes).compile(lib.InMemorySaver(), interrupt_before=["b"])
    result = call.invoke(app, {"log": []}, THREAD, control=control)
    return result, call.state(app).next


@parity
def test_drain_in_a_child(lib, call):
    control = lib.RunControl()
    ran = []
    nodes = [
        ("p", lambda _: ran.append("p") or control.request_drain()),
        ("q", lambda _: ran.append("q") or {"log": ["q"]}),
    ]
    child = chain(lib, State, *nodes).compile()
    app = chain(lib, State, ("child", child), ("z", lambda _: {"log": ["z"]}))
    app = app.compile(lib.InMemorySaver())
    refused = raised(lib, lambda: call.invoke(app, {"log": []}, THREAD, control=control))
    paused = call.state(app, subgraphs=True)
    places = paused.next, paused.tasks[0].state.next
    return refused, places, call.invoke(app, None, THREAD), ran


@parity_in(ASYNC)
def test_control_remembers_its_reason(lib, call):
    control = lib.RunControl()
    before = control.drain_requested, control.drain_reason
    control.request_drain("why")
    return before, control.drain_requested, control.drain_reason


@parity
def test_updates_of_cached_and_new_tasks_side_by_side(lib, call):
    graph = lib.StateGraph(State)
    graph.add_node("c", lambda s: {"log": ["c"]}, cache_policy=lib.CachePolicy())
    graph.add_node("n", lambda s: {"log": ["n"]}).add_edge(lib.START, "c").add_edge(lib.START, "n")
    app = graph.compile(cache=lib.InMemoryCache())
    call.invoke(app, {"x": 1})
    return by_task(call.stream(app, {"x": 1})), call.invoke(app, {"x": 1})


@parity
def test_parallel_tasks_have_runtimes_of_their_own(lib, call):
    def node(state: State, runtime: lib.Runtime) -> Any:
        return {"log": [runtime.execution_info.checkpoint_ns.partition(":")[0]]}

    return call.invoke(parallel(lib, State, ("a", node), ("b", node)).compile(), {"log": []})
