"""Contract §22: results of nodes that serve again."""

import asyncio
import operator
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, CachePolicy, Command, InMemoryCache, Send, StateGraph, interrupt
from graphflow_checkpointers.sqlite_cache import SqliteCache

pytestmark = pytest.mark.simulated


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


class Clock:
    """A clock that stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """What a cache takes the time from."""
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def cache(request: pytest.FixtureRequest, tmp_path, clock) -> Iterator[Any]:
    """An empty cache."""
    if request.param == "memory":
        yield InMemoryCache(clock=clock)
        return
    store = SqliteCache(tmp_path / "cache.db", clock=clock)
    yield store
    store.close()


class Counting:
    """A node that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, state: State) -> State:
        self.calls += 1
        return {"log": [state["x"]]}


def single(node: Any, policy: CachePolicy | None = None) -> Any:
    graph = StateGraph(State).add_node("n", node, cache_policy=policy or CachePolicy())
    return graph.add_edge(START, "n")


# -- 1: what counts as the same --------------------------------------------------------------


def test_22_b1_default_policy_hashes_the_input_and_keeps_for_ever():
    policy = CachePolicy()
    assert policy.ttl is None
    assert policy.key_func({"x": 1}) != policy.key_func({"x": 2})


def test_22_b1_equal_inputs_run_the_node_once(call, cache):
    node = Counting()
    app = single(node).compile(cache=cache)
    results = [call.invoke(app, {"x": x, "log": []}) for x in (1, 1, 2)]
    assert results == [{"x": x, "log": [x]} for x in (1, 1, 2)]
    assert node.calls == 2


def test_22_b1_order_of_a_dict_does_not_matter(call, cache):
    node = Counting()
    app = single(node).compile(cache=cache)
    for x in ({"a": 1, "b": 2}, {"b": 2, "a": 1}):
        call.invoke(app, {"x": x})
    assert node.calls == 1


def test_22_b1_whole_input_is_the_key(call, cache):
    node = Counting()
    app = single(node).compile(cache=cache)
    for log in ([], ["more"]):
        call.invoke(app, {"x": 1, "log": log})
    assert node.calls == 2


def test_22_b1_key_func_says_what_counts(call, cache):
    node = Counting()
    policy = CachePolicy(key_func=lambda state: str(state["x"]))
    app = single(node, policy).compile(cache=cache)
    for log in ([], ["more"]):
        call.invoke(app, {"x": 1, "log": log})
    assert node.calls == 1


def test_22_b1_nodes_have_results_of_their_own(call, cache):
    graph = StateGraph(State)
    for name in "ab":
        graph.add_node(name, lambda _, name=name: {"log": [name]}, cache_policy=CachePolicy())
        graph.add_edge(START, name)
    app = graph.compile(cache=cache)
    for _ in range(2):
        assert call.invoke(app, {"x": 1}) == {"x": 1, "log": ["a", "b"]}


def test_22_b1_sends_are_known_by_their_argument(call, cache):
    ran: list[int] = []

    def n(arg: int) -> State:
        ran.append(arg)
        return {"log": [arg]}

    graph = StateGraph(State).add_node("n", n, cache_policy=CachePolicy())
    graph.add_conditional_edges(START, lambda s: [Send("n", i) for i in s["x"]], ["n"])
    app = graph.compile(cache=cache)
    call.invoke(app, {"x": [1, 2]})
    assert call.invoke(app, {"x": [2, 3]})["log"] == [2, 3]
    assert sorted(ran) == [1, 2, 3]


def test_22_b1_node_defaults_serve_nodes_without_a_policy(call, cache):
    node = Counting()
    graph = StateGraph(State).add_node("n", node).add_edge(START, "n")
    app = graph.set_node_defaults(cache_policy=CachePolicy()).compile(cache=cache)
    for _ in range(2):
        call.invoke(app, {"x": 1})
    assert node.calls == 1


@pytest.mark.parametrize("lacking", ["cache", "policy"])
def test_22_b1_both_a_policy_and_a_cache_are_needed(call, cache, lacking):
    node = Counting()
    policy = None if lacking == "policy" else CachePolicy()
    graph = StateGraph(State).add_node("n", node, cache_policy=policy).add_edge(START, "n")
    app = graph.compile(cache=None if lacking == "cache" else cache)
    for _ in range(2):
        call.invoke(app, {"x": 1})
    assert node.calls == 2


# -- 2: what a hit does ----------------------------------------------------------------------


def test_22_b2_updates_mark_a_result_from_the_cache(call, cache):
    app = single(Counting()).compile(cache=cache)
    assert call.stream(app, {"x": 1}) == [{"n": {"log": [1]}}]
    hit = {"n": {"log": [1]}, "__metadata__": {"cached": True}}
    assert call.stream(app, {"x": 1}) == [hit]


@pytest.mark.simulated(False)  # it looks at a mode that the simulation does not stream
def test_22_b2_tasks_tell_of_a_start_and_of_no_result(call, cache):
    app = single(Counting()).compile(cache=cache)
    kinds = [
        ["result" if "result" in chunk else "start" for chunk in chunks]
        for chunks in (call.stream(app, {"x": 1}, stream_mode="tasks") for _ in range(2))
    ]
    assert kinds == [["start", "result"], ["start"]]


def test_22_b2_edges_and_gotos_of_a_hit_are_followed(call, cache):
    graph = single(lambda _: Command(update={"log": ["n"]}, goto=["a", Send("b", "B")]))
    graph.add_node("a", lambda _: {"log": ["a"]}).add_node("b", lambda arg: {"log": [arg]})
    graph.add_node("c", lambda _: {"log": ["c"]}).add_edge("n", "c")
    app = graph.compile(cache=cache)
    for _ in range(2):
        assert call.invoke(app, {"x": 1, "log": []})["log"] == ["n", "a", "c", "B"]


def test_22_b2_command_of_a_child_to_its_parent_is_taken_of_a_cached_node_too(call, cache):
    leaving = Command(graph=Command.PARENT, update={"log": ["up"]}, goto="target")
    child = single(lambda _: leaving).compile()
    graph = single(child).add_node("target", lambda _: {"log": ["target"]})
    app = graph.compile(cache=cache)
    assert call.invoke(app, {"x": 1, "log": []})["log"] == ["up", "target"]


def test_22_b2_writes_of_a_hit_are_saved(call, cache, saver, thread):
    app = single(Counting()).compile(saver, cache=cache)
    call.invoke(app, {"x": 1}, {"configurable": {"thread_id": "first"}})
    call.invoke(app, {"x": 1}, thread)
    assert call.state(app, thread).values == {"x": 1, "log": [1]}
    assert call.history(app, thread)[1].tasks[0].result == {"log": [1]}


# -- 3: how long, for whom -------------------------------------------------------------------


def test_22_b3_results_are_shared_by_threads(call, cache, saver):
    node = Counting()
    app = single(node).compile(saver, cache=cache)
    for name in "uv":
        call.invoke(app, {"x": 1}, {"configurable": {"thread_id": name}})
    assert node.calls == 1


def test_22_b3_result_serves_as_long_as_its_ttl(call, cache, clock):
    node, calls = Counting(), []
    app = single(node, CachePolicy(ttl=60)).compile(cache=cache)
    for seconds in (0.0, 59.0, 61.0):
        clock.now = 1000.0 + seconds
        call.invoke(app, {"x": 1})
        calls.append(node.calls)
    assert calls == [1, 1, 2]


def two(cache: Any, *nodes: Any) -> Any:
    graph = StateGraph(State)
    for name, node in zip("ab", nodes, strict=True):
        graph.add_node(name, node, cache_policy=CachePolicy()).add_edge(START, name)
    return graph.compile(cache=cache)


@pytest.mark.parametrize("way", ["clear_cache", "aclear_cache"])
@pytest.mark.parametrize(("nodes", "calls"), [(None, (2, 2)), (["a"], (2, 1)), ([], (1, 1))])
def test_22_b3_results_are_forgotten_of_some_nodes_or_of_all(call, cache, way, nodes, calls):
    first, second = Counting(), Counting()
    app = two(cache, first, second)
    call.invoke(app, {"x": 1})
    if way == "clear_cache":
        app.clear_cache(nodes)
    else:
        asyncio.run(app.aclear_cache(nodes))
    call.invoke(app, {"x": 1})
    assert (first.calls, second.calls) == calls


def test_22_b3_failed_tasks_are_not_cached(call, cache):
    errors = [ValueError("boom")]

    def n(state: State) -> State:
        if errors:
            raise errors.pop()
        return {"log": ["n"]}

    app = single(n).compile(cache=cache)
    with pytest.raises(ValueError, match="boom"):
        call.invoke(app, {"x": 1})
    assert call.invoke(app, {"x": 1})["log"] == ["n"]


def test_22_b3_questions_are_not_cached(call, cache, saver):
    app = single(lambda _: {"log": [interrupt("?")]}).compile(saver, cache=cache)
    for name in "uv":
        config = {"configurable": {"thread_id": name}}
        assert "__interrupt__" in call.invoke(app, {"x": 1}, config)
