"""Contract §23: entrypoints and tasks; 5 and 6 are in test_23_recorded_calls.py."""

import asyncio
import functools
import threading
from typing import Any

import pydantic
import pytest
from typing_extensions import TypedDict

from graphflow import (
    START,
    BaseStore,
    CachePolicy,
    Command,
    InMemoryCache,
    InMemoryStore,
    RetryPolicy,
    Runtime,
    StateGraph,
    entrypoint,
    get_config,
    get_stream_writer,
    interrupt,
    task,
)


class State(TypedDict, total=False):
    x: Any


@task
def double(x: int) -> int:
    return 2 * x


@task
async def adouble(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


@task
def ask(what: Any) -> Any:
    return [what, interrupt(what)]


@task
def fail(text: str) -> None:
    raise ValueError(text)


def single(node: Any, **options: Any) -> Any:
    return StateGraph(State).add_node("n", node).add_edge(START, "n").compile(**options)


def questions(result: Any) -> dict[Any, str]:
    """Return the ids of the questions that a run stopped at, by what they ask."""
    return {question.value: question.id for question in result["__interrupt__"]}


# -- 1: entrypoints ------------------------------------------------------------------------------


def test_23_1_entrypoint_is_a_graph_with_the_whole_api(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(x: int) -> int:
        return x + 1

    assert call.invoke(main, 1, thread) == 2
    assert call.stream(main, 1, thread) == [{"main": 2}]
    assert call.batch(main, [1, 2], [thread, {"configurable": {"thread_id": "u"}}]) == [2, 3]
    assert call.state(main, thread).values == 2
    assert main.name == "main"
    assert "main" in main.get_graph().draw_mermaid()


def test_23_1_async_entrypoint_runs_in_both_kinds_of_calls(call):
    @entrypoint()
    async def main(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    assert call.invoke(main, 1) == 2


def test_23_1_what_belongs_to_the_run_is_injected_by_name(call, saver, thread):
    seen: list[Any] = []

    @entrypoint(checkpointer=saver, store=InMemoryStore(), context_schema=dict)
    def main(
        x: int, *, config: Any, writer: Any, store: BaseStore, previous: Any, runtime: Runtime[Any]
    ) -> int:
        writer("chunk")
        seen.append((config["configurable"]["thread_id"], type(store).__name__, previous))
        seen.append((runtime.context, runtime.store is store, runtime.previous))
        return x

    assert call.stream(main, 1, thread, stream_mode="custom", context={"u": 1}) == ["chunk"]
    assert seen == [("t", "InMemoryStore", None), ({"u": 1}, True, None)]


def test_23_1_generators_are_refused():
    def several(x: int) -> Any:
        yield x

    async def aseveral(x: int) -> Any:
        yield x

    for function in (several, aseveral):
        with pytest.raises(NotImplementedError, match="Generators"):
            entrypoint()(function)


def test_23_1_function_without_a_parameter_is_refused():
    with pytest.raises(ValueError, match="at least one parameter"):
        entrypoint()(lambda: None)


def test_23_1_decorator_without_parentheses_is_refused_and_told():
    with pytest.raises(TypeError, match=r"`@entrypoint\(\)`.*`main`"):

        @entrypoint
        def main(x: int) -> int:
            return x


def test_23_1_what_is_no_checkpointer_is_refused():
    with pytest.raises(TypeError, match="Invalid checkpointer"):
        entrypoint(checkpointer="memory")(lambda x: x)


def test_23_1_failed_entrypoint_is_retried_by_its_policy(call):
    attempts: list[int] = []

    @entrypoint(retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    def main(x: int) -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError
        return x

    assert (call.invoke(main, 7), len(attempts)) == (7, 3)


def test_23_1_result_of_an_entrypoint_is_cached_by_its_policy(call):
    ran: list[int] = []

    @entrypoint(cache=InMemoryCache(), cache_policy=CachePolicy())
    def main(x: int) -> int:
        ran.append(x)
        return 2 * x

    assert [call.invoke(main, x) for x in (1, 1, 2)] == [2, 2, 4]
    assert ran == [1, 2]


# -- 2: tasks --------------------------------------------------------------------------------------


def test_23_2_call_gives_a_future(call):
    @entrypoint()
    def main(x: int) -> Any:
        future = double(x)
        return [future.result(), future.done(), future.exception()]

    assert call.invoke(main, 1) == [2, True, None]


def test_23_2_future_is_awaited_in_async_code(call):
    @entrypoint()
    async def main(x: int) -> Any:
        return [await adouble(x), await asyncio.wait_for(adouble(x), 5)]

    assert call.invoke(main, 1) == [2, 2]


def test_23_2_call_outside_of_a_run_is_refused():
    with pytest.raises(RuntimeError, match="outside of a runnable context"):
        double(1)


def test_23_2_async_task_in_blocking_code_is_refused(call):
    @entrypoint()
    def main(x: int) -> Any:
        return adouble(x)

    with pytest.raises(RuntimeError, match="adouble"):
        call.invoke(main, 1)


def test_23_2_blocking_task_is_awaited_in_async_code(call):
    @entrypoint()
    async def main(x: int) -> Any:
        return await asyncio.gather(double(x), adouble(x))

    assert call.invoke(main, 1) == [2, 2]


def test_23_2_blocking_tasks_that_async_code_calls_do_not_stop_its_loop(call):
    gate = threading.Event()

    @task
    def blocked() -> bool:
        return gate.wait(5)

    @entrypoint()
    async def main(_: Any) -> Any:
        future = blocked()
        await asyncio.sleep(0.01)
        gate.set()
        return await future

    assert call.invoke(main, 1) is True


class Tool:
    """Something with methods."""

    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.name = self.func = self.spec = "an attribute of its own"

    def method(self, x: int) -> int:
        return self.factor * x

    @task
    def decorated(self, x: int) -> int:
        return self.factor * x

    def __call__(self, x: int) -> int:
        return self.factor * x


KINDS = {
    "bound method": lambda: task(Tool(3).method),
    "method of a class": lambda: Tool(3).decorated,
    "partial": lambda: task(name="part")(functools.partial(lambda factor, x: factor * x, 3)),
    "callable object": lambda: task(Tool(3)),
    "function of C": lambda: task(name="c")(functools.partial(max, 3)),
    "lambda": lambda: task(lambda x: 3 * x),
    "task under another name": lambda: task(name="again")(Tool(3).method),
}


@pytest.mark.parametrize("kind", KINDS)
def test_23_2_whatever_can_be_called_can_be_a_task(call, kind):
    called = KINDS[kind]()

    @entrypoint()
    def main(x: int) -> Any:
        return called(x).result()

    assert call.invoke(main, 1) == 3


def test_23_2_name_is_that_of_updates_and_events(call):
    renamed = task(name="renamed")(double)

    @entrypoint()
    def main(x: int) -> Any:
        return renamed(x).result()

    assert call.stream(main, 1) == [{"renamed": 2}, {"main": 2}]
    told = call.stream(main, 1, stream_mode="tasks")
    assert [event["name"] for event in told] == ["main", "renamed", "renamed", "main"]
    assert (renamed.__name__, double.name) == ("renamed", "double")


def test_23_2_arguments_are_passed_by_place_and_by_name(call):
    @task
    def every(a: int, /, b: int, *rest: int, c: int, **named: int) -> Any:
        return [a, b, rest, c, named]

    @entrypoint()
    def main(_: Any) -> Any:
        return every(1, 2, 3, 4, c=5, d=6).result()

    assert call.invoke(main, 0) == [1, 2, (3, 4), 5, {"d": 6}]


def test_23_2_failed_task_is_retried_by_its_policy(call):
    attempts: list[int] = []

    @task(retry_policy=[RetryPolicy(initial_interval=0, jitter=False)])
    def flaky(runtime: Runtime[Any]) -> Any:
        assert runtime.execution_info is not None
        attempts.append(runtime.execution_info.node_attempt)
        if len(attempts) < 3:
            raise ConnectionError
        return attempts

    @entrypoint()
    async def main(_: Any) -> Any:
        return await flaky()

    assert call.invoke(main, 0) == [1, 2, 3]


def test_23_2_result_of_a_task_is_cached_by_its_policy(call):
    ran: list[int] = []

    @task(cache_policy=CachePolicy())
    def slow(x: int) -> int:
        ran.append(x)
        return x

    cache = InMemoryCache()

    @entrypoint(cache=cache)
    def main(x: int) -> Any:
        return slow(x).result()

    assert [call.invoke(main, x) for x in (1, 1, 2)] == [1, 1, 2]
    slow.clear_cache(cache)
    assert call.invoke(main, 1) == 1
    asyncio.run(slow.aclear_cache(cache))
    assert call.invoke(main, 1) == 1
    assert ran == [1, 2, 1, 1]


@pytest.mark.simulated
def test_23_2_nodes_of_graphs_call_tasks(call):
    app = single(lambda state: {"x": double(state["x"]).result()})
    assert call.invoke(app, {"x": 1}) == {"x": 2}


def test_23_2_paths_of_graphs_call_tasks(call):
    where = task(name="where")(lambda x: "end" if x else "n")

    async def path(state: State) -> Any:
        return await where(state["x"])

    graph = StateGraph(State).add_node("n", lambda state: {"x": 1})
    graph.add_node("end", lambda _: {"x": "end"}).add_edge(START, "n")
    graph.add_conditional_edges("n", path, ["end", "n"])
    assert call.invoke(graph.compile(), {"x": 0}) == {"x": "end"}


# -- 3: side by side ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 5, 50])
def test_23_3_tasks_that_nobody_waits_for_yet_run_side_by_side(call, count):
    meeting = threading.Barrier(count, timeout=10)

    @task
    def meet() -> bool:
        return meeting.wait() >= 0

    @entrypoint()
    def main(_: Any) -> Any:
        return all(future.result() for future in [meet() for _ in range(count)])

    assert call.invoke(main, 0) is True


def test_23_3_async_tasks_run_side_by_side(call):
    @entrypoint()
    async def main(_: Any) -> Any:
        meeting = asyncio.Event()

        @task
        async def first() -> bool:
            return await asyncio.wait_for(meeting.wait(), 5)

        @task
        async def second() -> None:
            meeting.set()

        return await asyncio.gather(first(), second())

    assert call.invoke(main, 0) == [True, None]


def test_23_3_updates_come_in_order_of_completion_then_the_entrypoint(call):
    gates = [threading.Event() for _ in range(3)]
    gates[2].set()

    @task
    def wait(number: int) -> int:
        assert gates[number].wait(5)
        return number

    @entrypoint()
    def main(_: Any) -> Any:
        futures = [wait(number) for number in range(3)]
        futures[2].result()
        gates[0].set()
        futures[0].result()
        gates[1].set()
        return [future.result() for future in futures]

    told = call.stream(main, 0)
    assert told == [{"wait": 2}, {"wait": 0}, {"wait": 1}, {"main": [0, 1, 2]}]


def test_23_3_update_of_a_task_is_told_while_the_entrypoint_goes_on():
    told = threading.Event()

    @entrypoint()
    def main(x: int) -> Any:
        double(x).result()
        return told.wait(5)

    chunks = []
    for chunk in main.stream(1):
        chunks.append(chunk)
        told.set()
    assert chunks == [{"double": 2}, {"main": True}]


@pytest.mark.xfail(strict=True, reason="§8.6: a lone node of a graph is performed before it tells")
def test_23_3_update_of_a_task_is_told_while_its_node_goes_on():
    told = threading.Event()

    def n(state: State) -> Any:
        double(state["x"]).result()
        return {"x": told.wait(1)}

    chunks = []
    for chunk in single(n).stream({"x": 1}):
        chunks.append(chunk)
        told.set()
    assert chunks == [{"double": 2}, {"n": {"x": True}}]


def test_23_3_values_are_only_the_last(call):
    @entrypoint()
    def main(x: int) -> Any:
        return double(x).result() + 1

    assert call.stream(main, 1, stream_mode="values") == [3]


# -- 4: errors, and calls that nobody waits for --------------------------------------------------


@pytest.mark.simulated
def test_23_4_exception_of_a_task_is_raised_where_it_is_waited_for(call):
    def n(_: State) -> Any:
        try:
            return fail("boom").result()
        except ValueError as error:
            return {"x": f"caught {error}"}

    assert call.invoke(single(n), {}) == {"x": "caught boom"}


def test_23_4_exception_of_a_task_is_raised_where_it_is_awaited(call):
    @entrypoint()
    async def main(_: Any) -> Any:
        try:
            await fail("boom")
        except ValueError as error:
            return f"caught {error}"

    assert call.invoke(main, 0) == "caught boom"


def test_23_4_exception_that_is_not_caught_fails_the_run(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        return fail("boom").result()

    with pytest.raises(ValueError, match="boom"):
        call.invoke(main, 0, thread)
    assert call.state(main, thread).tasks[0].error == "ValueError('boom')"


def test_23_4_exception_is_told_in_the_events_of_the_task(call):
    @entrypoint()
    def main(_: Any) -> Any:
        return str(fail("boom").exception())

    told = call.stream(main, 0, stream_mode="tasks")
    assert [repr(event["error"]) for event in told if event["name"] == "fail" and "error" in event]
    assert call.stream(main, 0) == [{"main": "boom"}]


@pytest.mark.simulated
def test_23_4_forgotten_task_ends_before_the_run_does(call):
    ended: list[int] = []

    @task
    def slow(x: int) -> None:
        threading.Event().wait(0.01)
        ended.append(x)

    def n(_: State) -> Any:
        slow(1)
        slow(2)

    call.invoke(single(n), {})
    assert sorted(ended) == [1, 2]


@pytest.mark.simulated
def test_23_4_forgotten_async_task_ends_before_the_run_does(call):
    ended: list[int] = []

    @task
    async def slow(x: int) -> None:
        await asyncio.sleep(0.01)
        ended.append(x)

    async def n(_: State) -> Any:
        slow(1)
        slow(2)

    call.invoke(single(n), {})
    assert sorted(ended) == [1, 2]


def test_23_4_update_of_a_forgotten_task_is_told(call):
    @entrypoint()
    def main(x: int) -> None:
        double(x)

    told = call.stream(main, 1)
    assert sorted(told, key=str) == [{"double": 2}, {"main": None}]


@pytest.mark.simulated
@pytest.mark.parametrize("kind", ["blocking", "async"])
def test_23_4_exception_of_a_forgotten_task_is_dropped(call, kind):
    @task
    async def afail() -> None:
        raise ValueError("nobody sees it")

    def forgets(_: State) -> Any:
        fail("nobody sees it")
        return {"x": 1}

    async def aforgets(_: State) -> Any:
        afail()
        return {"x": 1}

    assert call.invoke(single(forgets if kind == "blocking" else aforgets), {}) == {"x": 1}


# -- 7: what the next run is told ------------------------------------------------------------------


def test_23_7_previous_is_what_the_last_run_returned(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(x: int, *, previous: Any) -> Any:
        return [x, previous]

    assert call.invoke(main, 1, thread) == [1, None]
    assert call.invoke(main, 2, thread) == [2, [1, None]]
    assert call.invoke(main, 3, {"configurable": {"thread_id": "other"}}) == [3, None]


def test_23_7_previous_is_none_without_a_checkpointer(call):
    @entrypoint()
    def main(x: int, *, previous: Any) -> Any:
        return [x, previous]

    assert [call.invoke(main, x) for x in (1, 2)] == [[1, None], [2, None]]


def test_23_7_final_returns_one_thing_and_saves_another(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(x: int, *, previous: Any) -> entrypoint.final[Any, int]:
        return entrypoint.final(value=previous, save=2 * x)

    assert [call.invoke(main, x, thread) for x in (1, 2, 3)] == [None, 2, 4]
    assert call.state(main, thread).values == 4


@pytest.mark.parametrize("saved", [None, False, 0])
def test_23_7_whatever_is_saved_is_the_next_previous(call, saver, thread, saved):
    @entrypoint(checkpointer=saver)
    def main(_: Any, *, previous: Any = "none yet") -> Any:
        return entrypoint.final(value=[previous], save=saved)

    call.invoke(main, 0, thread)
    assert call.invoke(main, 0, thread) == [saved]


def test_23_7_run_that_paused_has_not_saved_anything(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(x: int, *, previous: Any) -> Any:
        return [x, previous, interrupt("?")]

    call.invoke(main, 1, thread)
    call.invoke(main, Command(resume="a"), thread)
    call.invoke(main, 2, thread)
    assert call.invoke(main, Command(resume="b"), thread) == [2, [1, None, "a"], "b"]


def test_23_7_update_sets_the_value_and_previous(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(x: int, *, previous: Any) -> Any:
        return [x, previous]

    call.invoke(main, 1, thread)
    call.update(main, thread, "edited")
    assert call.state(main, thread).values == "edited"
    assert call.invoke(main, 2, thread) == [2, "edited"]


# -- 8: what calls what ----------------------------------------------------------------------------


def test_23_8_entrypoints_call_graphs_tasks_and_entrypoints(call, saver, thread):
    graph = single(lambda state: {"x": double(state["x"]).result()})

    @entrypoint()
    def inner(x: int) -> Any:
        return double(x).result()

    @entrypoint(checkpointer=saver)
    def main(x: int) -> Any:
        return [graph.invoke({"x": x})["x"], double(x).result(), inner.invoke(x)]

    assert call.invoke(main, 1, thread) == [2, 2, 2]


def test_23_8_graph_nodes_call_tasks_and_entrypoints(call, saver, thread):
    @entrypoint()
    async def inner(x: int) -> Any:
        return await adouble(x)

    async def n(state: State) -> Any:
        return {"x": [await double(state["x"]), await inner.ainvoke(state["x"])]}

    assert call.invoke(single(n, checkpointer=saver), {"x": 1}, thread) == {"x": [2, 2]}


def test_23_8_entrypoint_is_a_node(call):
    @entrypoint()
    def inner(state: Any) -> Any:
        return {"x": double(state["x"]).result()}

    assert call.invoke(single(inner), {"x": 1}) == {"x": 2}


def test_23_8_tasks_call_graphs_that_ask(call, saver, thread):
    graph = single(lambda state: {"x": [state["x"], interrupt(f"about {state['x']}")]})

    @task
    def run(x: int) -> Any:
        return graph.invoke({"x": x})["x"]

    @entrypoint(checkpointer=saver)
    def main(count: int) -> Any:
        return [future.result() for future in [run(x) for x in range(count)]]

    asked = questions(call.invoke(main, 2, thread))
    assert sorted(asked) == ["about 0", "about 1"]
    call.invoke(main, Command(resume={asked["about 1"]: "one"}), thread)
    result = call.invoke(main, Command(resume={asked["about 0"]: "zero"}), thread)
    assert result == [[0, "zero"], [1, "one"]]


def test_23_8_entrypoints_that_an_entrypoint_calls_ask_one_after_the_other(call, saver, thread):
    ran: list[int] = []
    note = task(ran.append)

    @entrypoint()
    def inner(x: int) -> Any:
        note(x).result()
        return interrupt(x)

    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        return [inner.invoke(1), inner.invoke(2)]

    assert list(questions(call.invoke(main, 0, thread))) == [1]
    assert list(questions(call.invoke(main, Command(resume="a"), thread))) == [2]
    assert call.invoke(main, Command(resume="b"), thread) == ["a", "b"]
    assert ran == [1, 2]


def test_23_8_graph_that_keeps_its_state_keeps_it_when_a_task_calls_it(call, saver, thread):
    counter = single(lambda state: {"x": state.get("x", 0) + 1}, checkpointer=True)

    @task
    def count() -> Any:
        return counter.invoke({})["x"]

    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        return count().result()

    assert [call.invoke(main, 0, thread) for _ in range(3)] == [1, 2, 3]


class Order(pydantic.BaseModel):
    """An input."""

    size: int


def test_23_8_pydantic_input_is_passed_as_given_and_survives_a_checkpoint(call, saver, thread):
    seen: list[Any] = []

    @entrypoint(checkpointer=saver)
    def main(order: Order) -> Any:
        seen.append(order)
        return [order.size, interrupt("?")]

    given = Order(size=3)
    call.invoke(main, given, thread)
    assert seen[0] is given
    assert call.invoke(main, Command(resume="yes"), thread) == [3, "yes"]
    assert seen[1] == given


# -- 9: events, and what is injected ---------------------------------------------------------------


def test_23_9_tasks_events_of_a_task(call):
    @entrypoint()
    def main(x: int) -> Any:
        return double(x=x).result()

    begun, ended = call.stream(main, 1, stream_mode="tasks")[1:3]
    assert begun == {
        "id": ended["id"],
        "name": "double",
        "input": ((), {"x": 1}),
        "triggers": ("__pregel_push",),
    }
    assert (ended["result"], ended["error"], ended["interrupts"]) == ({"__return__": 2}, None, [])


def test_23_9_debug_events_of_a_task(call):
    @entrypoint()
    def main(x: int) -> Any:
        return double(x).result()

    told = call.stream(main, 1, stream_mode="debug")
    kinds = [(event["type"], event["payload"]["name"]) for event in told]
    assert kinds == [
        ("task", "main"),
        ("task", "double"),
        ("task_result", "double"),
        ("task_result", "main"),
    ]


def test_23_9_custom_chunks_of_a_task(call):
    @task
    def speak(writer: Any) -> None:
        writer("by parameter")
        get_stream_writer()("by function")

    @entrypoint()
    def main(_: Any) -> Any:
        return speak().result()

    told = call.stream(main, 0, stream_mode="custom")
    assert told == ["by parameter", "by function"]


def test_23_9_tasks_are_given_what_belongs_to_the_run(call):
    @task
    def look(x: int, config: Any, *, store: Any, runtime: Runtime[Any]) -> Any:
        place = get_config()["metadata"]["langgraph_node"]
        return [x, config["tags"], store is runtime.store, runtime.context, place]

    @entrypoint(store=InMemoryStore())
    def main(x: int) -> Any:
        return look(x).result()

    told = call.invoke(main, 1, {"tags": ["t"]}, context="c")
    assert told == [1, ["t"], True, "c", "look"]


@pytest.mark.parametrize("name", ["store", "writer", "config", "previous", "runtime"])
@pytest.mark.parametrize("how", ["by name", "by place"])
def test_23_9_caller_may_give_what_would_be_injected(call, name, how):
    scope: dict[str, Any] = {}
    exec(f"def take({name}): return {name}", scope)
    taking = task(scope["take"])

    @entrypoint()
    def main(x: str) -> Any:
        return (taking(x) if how == "by place" else taking(**{name: x})).result()

    assert call.invoke(main, "mine") == "mine"


def test_23_9_arguments_behind_a_star_do_not_hide_what_is_injected(call):
    @task
    def several(*numbers: int, config: Any) -> Any:
        return [numbers, "configurable" in config]

    @entrypoint()
    def main(_: Any) -> Any:
        return several(1, 2, 3).result()

    assert call.invoke(main, 0) == [(1, 2, 3), True]


def test_23_9_parameter_named_error_is_the_tasks_own(call):
    @task
    def explain(error: str = "nothing") -> str:
        return error

    @entrypoint()
    def main(_: Any) -> Any:
        return [explain().result(), explain("this").result()]

    assert call.invoke(main, 0) == ["nothing", "this"]


def test_23_entrypoint_runs_under_the_simulation():
    from graphflow.testing.simulation import Simulation

    @entrypoint()
    def main(x: int) -> Any:
        return double(x).result()

    assert Simulation(main, 0).invoke(1) == 2
