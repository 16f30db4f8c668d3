"""Graphs in graphs (contract §17)."""

import asyncio
import operator
from typing import Annotated, Any

from typing_extensions import TypedDict

from .observations import by_task
from .parts import State, named
from .programs import ASYNC, SYNC, THREAD, chain, parallel, parity, parity_in, raised


@parity
def test_child_adds_its_whole_list_to_the_parents(lib, call):
    child = chain(lib, State, ("n", named("n"))).compile()
    app = chain(lib, State, ("child", child)).compile()
    return call.invoke(app, {"log": ["i"]}), call.stream(app, {"log": ["i"]})


@parity
def test_child_shares_keys_by_name_and_keeps_others_to_itself(lib, call):
    class Inner(TypedDict, total=False):
        x: int
        own: str

    seen = []
    nodes = [
        ("p", lambda s: seen.append(dict(s)) or {"own": "mine", "x": s["x"] + 1}),
        ("q", lambda s: seen.append(dict(s)) or {"x": s["x"] + 1}),
    ]
    child = chain(lib, Inner, *nodes).compile()
    app = chain(lib, State, ("child", child)).compile()
    return call.invoke(app, {"x": 1, "log": ["in"]}), seen


@parity
def test_output_schema_of_the_child_is_what_the_parent_gets(lib, call):
    class Out(TypedDict, total=False):
        x: int

    graph = lib.StateGraph(State, output_schema=Out)
    graph.add_node("n", lambda _: {"x": 5, "log": ["lost"]}).add_edge(lib.START, "n")
    app = chain(lib, State, ("child", graph.compile())).compile()
    return call.invoke(app, {"log": ["in"]}), call.stream(app, {"log": ["in"]})


@parity
def test_child_of_a_child(lib, call):
    inner = chain(lib, State, ("n", named("inner"))).compile()
    middle = chain(lib, State, ("inner", inner), ("m", named("middle"))).compile()
    app = chain(lib, State, ("middle", middle)).compile(lib.InMemorySaver())
    result = call.invoke(app, {"log": []}, THREAD)
    return result, call.stream(app, {"log": []}, THREAD, subgraphs=True)


@parity
def test_child_called_with_another_schema(lib, call):
    class Inner(TypedDict, total=False):
        words: Annotated[list[str], operator.add]

    child = chain(lib, Inner, ("n", lambda _: {"words": ["w"]})).compile()

    def calls(state: State) -> Any:
        return {"log": child.invoke({"words": ["in"]})["words"]}

    return call.invoke(chain(lib, State, ("calls", calls)).compile(), {"log": []})


@parity
def test_child_without_memory_forgets_between_runs(lib, call):
    class Inner(TypedDict, total=False):
        log: Annotated[list[Any], operator.add]
        seen: Annotated[list[Any], operator.add]

    child = chain(lib, Inner, ("n", lambda s: {"seen": [1], "log": [len(s["seen"])]})).compile()
    app = chain(lib, State, ("child", child)).compile(lib.InMemorySaver())
    return [call.invoke(app, {"log": []}, THREAD) for _ in range(3)]


@parity
def test_child_with_memory_of_its_own_remembers(lib, call):
    class Inner(TypedDict, total=False):
        x: int
        seen: Annotated[list[Any], operator.add]

    child = chain(lib, Inner, ("n", lambda s: {"seen": [1], "x": len(s["seen"])})).compile(
        checkpointer=True
    )
    app = chain(lib, State, ("child", child)).compile(lib.InMemorySaver())
    other = {"configurable": {"thread_id": "u"}}
    first = [call.invoke(app, {"log": []}, THREAD) for _ in range(3)]
    return first, call.invoke(app, {"log": []}, other)


@parity
def test_child_with_memory_shows_its_state_under_its_name(lib, call):
    child = chain(lib, State, ("n", named("n")), ("m", named("m")))
    child = child.compile(checkpointer=True, interrupt_before=["m"])
    app = chain(lib, State, ("child", child)).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    state = call.state(app, subgraphs=True)
    direct = {"configurable": {"thread_id": "t", "checkpoint_ns": "child"}}
    return state, call.state(app, direct), [s.values for s in call.history(app, direct)]


@parity
def test_checkpointer_true_at_the_root_is_refused(lib, call):
    app = chain(lib, State, ("n", named("n"))).compile(checkpointer=True)
    says = "checkpointer=True cannot be used for root graphs."
    return raised(lib, lambda: call.invoke(app, {"log": []}, THREAD), says)


@parity
def test_child_without_persistence_cannot_be_asked(lib, call):
    ran = []
    child = chain(lib, State, ("p", lambda _: ran.append("p")), ("q", named("q")))
    child = child.compile(checkpointer=False)
    nodes = [("child", child), ("ask", lambda _: {"log": [lib.interrupt("?")]})]
    app = chain(lib, State, *nodes).compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    return first, call.invoke(app, lib.Command(resume=1), THREAD), ran


@parity
def test_child_with_a_saver_of_its_own_uses_the_parents_as_a_node(lib, call):
    own = lib.InMemorySaver()
    child = chain(lib, State, ("n", named("n"))).compile(own)
    app = chain(lib, State, ("child", child)).compile(lib.InMemorySaver())
    result = call.invoke(app, {"log": []}, THREAD)
    return result, len(list(own.list(THREAD)))


@parity
def test_child_called_with_a_thread_of_its_own(lib, call):
    child = chain(lib, State, ("n", named("n"))).compile(lib.InMemorySaver())
    own = {"configurable": {"thread_id": "own"}}

    def calls(_: State) -> Any:
        return {"x": len(child.invoke({"log": []}, own)["log"])}

    app = chain(lib, State, ("calls", calls)).compile(lib.InMemorySaver())
    results = [call.invoke(app, {"log": []}, THREAD)["x"] for _ in range(2)]
    return results, call.state(child, own).values, call.state(child, own).config


@parity
def test_two_calls_of_a_child_in_one_node(lib, call):
    child = chain(lib, State, ("n", lambda s: {"log": [lib.interrupt(s["x"])]})).compile()

    def calls(_: State) -> Any:
        return {"log": [child.invoke({"x": name, "log": []})["log"] for name in "pq"]}

    app = chain(lib, State, ("calls", calls)).compile(lib.InMemorySaver())
    results = [call.invoke(app, {"log": []}, THREAD)]
    return results + [call.invoke(app, lib.Command(resume=n), THREAD) for n in (1, 2)]


@parity
def test_namespaces_of_several_calls(lib, call):
    child = chain(lib, State, ("n", named("n"))).compile()

    def calls(_: State) -> Any:
        for _number in range(3):
            child.invoke({"log": []})

    app = chain(lib, State, ("calls", calls)).compile(lib.InMemorySaver())
    return call.stream(app, {"log": []}, THREAD, subgraphs=True)


@parity_in(ASYNC)
def test_child_called_with_ainvoke(lib, call):
    async def ask(_: State) -> Any:
        return {"log": [lib.interrupt("?")]}

    child = chain(lib, State, ("ask", ask)).compile()

    async def calls(_: State) -> Any:
        return {"log": (await child.ainvoke({"log": []}))["log"]}

    app = chain(lib, State, ("calls", calls)).compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    return first, call.invoke(app, lib.Command(resume=1), THREAD)


@parity_in(ASYNC)
def test_children_gathered_in_one_node(lib, call):
    async def work(state: State) -> Any:
        await asyncio.sleep(0)
        return {"log": [state["x"]]}

    child = chain(lib, State, ("work", work)).compile()

    async def calls(_: State) -> Any:
        results = await asyncio.gather(*(child.ainvoke({"x": n, "log": []}) for n in range(3)))
        return {"log": [result["log"] for result in results]}

    return call.invoke(chain(lib, State, ("calls", calls)).compile(), {"log": []})


@parity
def test_context_config_and_store_reach_children(lib, call):
    def node(state: State, runtime: lib.Runtime, config: lib.RunnableConfig) -> Any:
        value = runtime.store.get(("n",), "k").value
        configurable = config["configurable"]
        place = configurable["checkpoint_ns"].partition(":")[0]
        seen = [runtime.context, value, configurable["user"], place, config["tags"]]
        return {"log": [*seen, config["metadata"]["team"]]}

    store = lib.InMemoryStore()
    store.put(("n",), "k", {"v": 1})
    child = chain(lib, State, ("n", node)).compile()
    app = chain(lib, State, ("child", child)).compile(lib.InMemorySaver(), store=store)
    config = {
        "configurable": {"thread_id": "t", "user": "ann"},
        "tags": ["night"],
        "metadata": {"team": "blue"},
    }
    return call.invoke(app, {"log": []}, config, context={"c": 1})


@parity
def test_child_call_with_a_context_of_its_own(lib, call):
    child = chain(lib, State, ("n", lambda _: {"log": [lib.get_runtime().context]})).compile()

    def calls(_: State) -> Any:
        mine = child.invoke({"log": []}, context={"c": "own"})["log"]
        return {"log": mine + child.invoke({"log": []})["log"]}

    app = chain(lib, State, ("calls", calls)).compile()
    return call.invoke(app, {"log": []}, context={"c": "outer"})


@parity
def test_tags_reach_nodes_three_graphs_deep_once(lib, call):
    def node(state: State, config: lib.RunnableConfig) -> Any:
        return {"log": [config["tags"]]}

    inner = chain(lib, State, ("n", node)).compile()
    middle = chain(lib, State, ("inner", inner)).compile()
    app = chain(lib, State, ("middle", middle)).compile().with_config(tags=["night"])
    return call.invoke(app, {"log": []}, {"tags": ["call"]})


@parity
def test_recursion_limit_reaches_children(lib, call):
    child = chain(lib, State, *((name, named(name)) for name in "abcd")).compile()
    app = chain(lib, State, ("child", child)).compile()
    shown = []
    for limit in (3, 5, 6):
        config = {"recursion_limit": limit}
        shown.append(raised(lib, lambda c=config: call.invoke(app, {"log": []}, c)))
    return shown


@parity
def test_error_of_a_child_is_raised_and_the_thread_goes_on(lib, call):
    ran = []

    def fails(_: State) -> Any:
        ran.append("fails")
        if len(ran) < 3:
            raise ValueError("boom")
        return {"log": ["mended"]}

    child = chain(lib, State, ("p", lambda _: ran.append("p")), ("fails", fails)).compile()
    app = chain(lib, State, ("child", child)).compile(lib.InMemorySaver())
    refused = raised(lib, lambda: call.invoke(app, {"log": []}, THREAD), "boom")
    failed = call.state(app)
    return refused, failed, call.invoke(app, None, THREAD), ran


@parity
def test_retry_policy_of_the_childs_node(lib, call):
    ran = []

    def flaky(_: State) -> Any:
        ran.append("flaky")
        if ran.count("flaky") < 2:
            raise ConnectionError("again")
        return {"log": ["done"]}

    child = chain(lib, State, ("p", lambda _: ran.append("p")), ("flaky", flaky)).compile()
    policy = lib.RetryPolicy(initial_interval=0.001, jitter=False)
    graph = lib.StateGraph(State).add_node("child", child, retry_policy=policy)
    app = graph.add_edge(lib.START, "child").compile()
    return call.invoke(app, {"log": []}), ran


@parity
def test_child_reached_by_sends(lib, call):
    class Job(TypedDict, total=False):
        number: int
        log: list[Any]

    child = chain(lib, Job, ("n", lambda job: {"log": [job["number"]]})).compile()
    graph = lib.StateGraph(State).add_node("child", child)
    sends = [lib.Send("child", {"number": n}) for n in range(3)]
    graph.add_conditional_edges(lib.START, lambda _: sends, ["child"])
    app = graph.compile(lib.InMemorySaver())
    return by_task(call.stream(app, {"log": ["in"]}, THREAD)), call.state(app).values


@parity
def test_state_of_children_side_by_side(lib, call):
    def child(name: str) -> Any:
        return chain(lib, State, ("ask", lambda _: {"log": [lib.interrupt(name)]})).compile()

    app = parallel(lib, State, ("p", child("p")), ("q", child("q"))).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    return call.state(app, subgraphs=True), call.state(app).tasks


@parity
def test_history_of_a_child(lib, call):
    child = chain(lib, State, ("n", named("n")), ("q", lambda _: {"x": lib.interrupt("?")}))
    app = chain(lib, State, ("child", child.compile())).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    inner = call.state(app, subgraphs=True).tasks[0].state.config
    place = {key: inner["configurable"][key] for key in ("thread_id", "checkpoint_ns")}
    listed = call.history(app, {"configurable": place})
    return [(s.values, s.next, s.metadata) for s in listed]


@parity
def test_config_of_a_childs_checkpoint_has_a_map(lib, call):
    child = chain(lib, State, ("q", lambda _: {"x": lib.interrupt("?")})).compile()
    app = chain(lib, State, ("child", child)).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    config = call.state(app, subgraphs=True).tasks[0].state.config
    return sorted(config["configurable"]), len(config["configurable"].get("checkpoint_map", ()))


@parity
def test_child_with_another_state_is_finished_and_not_run_again(lib, call):
    ran = []
    child = chain(lib, State, ("n", lambda _: ran.append("n"))).compile()
    nodes = [("child", child), ("ask", lambda _: {"log": [lib.interrupt("?")]})]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    return call.invoke(app, lib.Command(resume=1), THREAD), ran


@parity
def test_durability_exit_with_children(lib, call):
    child = chain(lib, State, ("n", named("n")), ("q", lambda _: {"x": lib.interrupt("?")}))
    app = chain(lib, State, ("child", child.compile())).compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD, durability="exit")
    paused = call.state(app, subgraphs=True)
    command = lib.Command(resume=1)
    last = call.invoke(app, command, THREAD, durability="exit")
    return first, paused.tasks, last, len(call.history(app))


@parity
def test_child_twice_in_one_graph(lib, call):
    child = chain(lib, State, ("n", lambda s: {"x": s.get("x", 0) + 1})).compile()
    app = chain(lib, State, ("one", child), ("two", child)).compile(lib.InMemorySaver())
    return call.stream(app, {"log": []}, THREAD, subgraphs=True)


@parity
def test_child_in_a_loop(lib, call):
    child = chain(lib, State, ("n", lambda s: {"x": s.get("x", 0) + 1})).compile()
    graph = chain(lib, State, ("child", child))
    graph.add_conditional_edges("child", lambda s: "child" if s["x"] < 3 else lib.END)
    return call.stream(graph.compile(lib.InMemorySaver()), {"x": 0}, THREAD, subgraphs=True)


@parity_in(SYNC)
def test_graphs_inside_are_listed(lib, call):
    inner = chain(lib, State, ("n", named("n"))).compile(name="innermost")
    middle = chain(lib, State, ("inner", inner)).compile(name="middle")
    app = chain(lib, State, ("middle", middle), ("z", named("z"))).compile()
    return [
        [(name, graph.name) for name, graph in app.get_subgraphs(**options)]
        for options in ({}, {"recurse": True}, {"namespace": "middle"})
    ]
