"""Calls of tasks: many, deep, interrupted, cancelled, forgotten, and over again after a crash."""

import asyncio
import concurrent.futures
import contextlib
import gc
import operator
import threading
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Annotated, Any, ClassVar

import pydantic
import pytest
from typing_extensions import TypedDict

from graphflow import (
    START,
    AIMessage,
    CachePolicy,
    Command,
    Fenced,
    GraphDrained,
    InMemoryCache,
    MemoryCheckpointer,
    MessagesState,
    NodeError,
    RetryPolicy,
    RunControl,
    Runtime,
    StateGraph,
    SwallowedInterruptError,
    entrypoint,
    interrupt,
    task,
)
from graphflow.checkpoint.codec_errors import NotStorable
from graphflow.checkpoint.protocol import Operation
from graphflow.checkpoint.records import RowKind
from graphflow.runtime import current
from graphflow.testing.material import take_over
from graphflow.testing.simulation import Crash, Simulation
from graphflow_integrations.tools import ToolNode

THREAD = {"configurable": {"thread_id": "t"}}
Way = Callable[..., Any]
SEEN: ContextVar[str] = ContextVar("SEEN", default="outside")


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def single(node: Any, checkpointer: Any = None, **options: Any) -> Any:
    graph = StateGraph(State).add_node("n", node, **options)
    return graph.add_edge(START, "n").compile(checkpointer)


def blocking(app: Any, given: Any, config: Any = None, **options: Any) -> Any:
    return app.invoke(given, config, **options)


def on_loop(app: Any, given: Any, config: Any = None, **options: Any) -> Any:
    return asyncio.run(app.ainvoke(given, config, **options))


WAYS = pytest.mark.parametrize("way", [blocking, on_loop])


class Gauge:
    """Tells how many are inside at once, at most."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1


# -- many, and deep ------------------------------------------------------------------------------


@task
def leaf(x: int) -> int:
    return x


@task
def branch(x: int) -> int:
    return sum(future.result() for future in [leaf(10 * x + n) for n in range(3)])


@task
def bough(x: int) -> int:
    return sum(future.result() for future in [branch(10 * x + n) for n in range(3)])


@task
async def aleaf(x: int) -> int:
    await asyncio.sleep(0)
    return x


@task
async def abranch(x: int) -> int:
    return sum(await asyncio.gather(*[aleaf(10 * x + n) for n in range(3)]))


@task
async def abough(x: int) -> int:
    return sum(await asyncio.gather(*[abranch(10 * x + n) for n in range(3)]))


@task
async def mixed(x: int) -> int:
    return sum(await asyncio.gather(*[branch(10 * x + n) for n in range(3)]))


TREE = sum(100 * x + 10 * y + z for x in range(9) for y in range(3) for z in range(3))


def trunk(called: Any) -> Any:
    @entrypoint()
    def main(count: int) -> Any:
        return sum(future.result() for future in [called(x) for x in range(count)])

    @entrypoint()
    async def amain(count: int) -> Any:
        return sum(await asyncio.gather(*[called(x) for x in range(count)]))

    return main if called is bough else amain


@WAYS
@pytest.mark.parametrize("limit", [1, 2, None])
@pytest.mark.parametrize("called", [bough, abough, mixed], ids=lambda called: called.name)
def test_calls_three_deep_never_wait_for_each_others_room(soon, way, called, limit):
    config = {} if limit is None else {"max_concurrency": limit}
    assert soon(lambda: way(trunk(called), 9, config)) == TREE


@WAYS
@pytest.mark.parametrize("called", [leaf, aleaf], ids=lambda called: called.name)
def test_hundreds_of_calls_run_side_by_side(soon, way, called):
    assert soon(lambda: way(trunk_of(called), 500)) == sum(range(500))


def trunk_of(called: Any) -> Any:
    @entrypoint()
    async def main(count: int) -> Any:
        return sum(await asyncio.gather(*[called(x) for x in range(count)]))

    return main


@WAYS
@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("order", ["as called", "from the last"])
def test_no_more_blocking_calls_than_max_concurrency_run_at_once(soon, way, limit, order):
    gauge = Gauge()

    @task
    def work(x: int) -> int:
        with gauge:
            threading.Event().wait(0.002)
        return x

    @entrypoint()
    def main(count: int) -> Any:
        futures = [work(x) for x in range(count)]
        ordered = futures if order == "as called" else reversed(futures)
        return sum(future.result() for future in ordered)

    assert soon(lambda: way(main, 20, {"max_concurrency": limit})) == sum(range(20))
    assert gauge.most <= limit


@WAYS
@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_async_calls_than_max_concurrency_run_at_once(soon, way, limit):
    gauge = Gauge()

    @task
    async def work(x: int) -> int:
        with gauge:
            await asyncio.sleep(0.002)
        return x

    assert soon(lambda: way(trunk_of(work), 20, {"max_concurrency": limit})) == sum(range(20))
    assert gauge.most <= limit


@WAYS
def test_calls_of_an_error_handler_are_bounded_as_those_of_a_node(soon, way):
    gauge = Gauge()

    @task
    async def work() -> None:
        with gauge:
            await asyncio.sleep(0.002)

    async def handler(_: State, error: NodeError) -> None:
        await asyncio.gather(*[work() for _ in range(9)])

    async def n(_: State) -> None:
        raise ValueError("for the handler")

    soon(lambda: way(single(n, error_handler=handler), {}, {"max_concurrency": 2}))
    assert gauge.most <= 2


def test_ten_thousand_calls_are_made_and_none_of_them_twice():
    ran: list[int] = []
    note = task(name="note")(ran.append)
    store = MemoryCheckpointer()

    async def n(_: State) -> Any:
        for x in range(10_000):
            await note(x)
        return {"log": [interrupt("?")]}

    app = single(n, store)
    Simulation(app, 0).invoke({}, THREAD)
    assert noted(store) == 10_000
    assert Simulation(app, 0).invoke(Command(resume="yes"), THREAD) == {"log": ["yes"]}
    assert ran == list(range(10_000))


@WAYS
def test_failure_can_be_asked_for_instead_of_raised_however_narrow_it_is(soon, way):
    @task
    def inner() -> None:
        raise ValueError("inner")

    @task
    def outer() -> str:
        return repr(inner().exception())

    @entrypoint()
    def main(_: Any) -> Any:
        return [outer().exception(), outer().result()]

    assert soon(lambda: way(main, 0, {"max_concurrency": 1})) == [None, "ValueError('inner')"]


@WAYS
def test_futures_of_calls_are_those_of_the_standard_library(soon, way):
    @entrypoint()
    def main(_: Any) -> Any:
        futures = [leaf(x) for x in range(3)]
        return sorted(f.result() for f in concurrent.futures.as_completed(futures, timeout=3))

    assert soon(lambda: way(main, 0)) == [0, 1, 2]


@pytest.mark.xfail(strict=True, reason="calls inside calls queue for the threads of those outside")
def test_waiting_for_several_calls_in_a_call_works_however_narrow_it_is(soon):
    @task
    def outer() -> int:
        futures = [leaf(x) for x in range(3)]
        return len(concurrent.futures.wait(futures, timeout=0.5).done)

    @entrypoint()
    def main(_: Any) -> Any:
        return outer().result()

    assert soon(lambda: main.invoke(0, {"max_concurrency": 1})) == 3


def test_blocking_run_inside_of_a_running_loop_makes_blocking_calls(soon):
    @entrypoint()
    def main(x: int) -> Any:
        return leaf(x).result()

    async def notebook() -> Any:
        return main.invoke(1)

    assert soon(lambda: asyncio.run(notebook())) == 1


@WAYS
def test_blocking_node_of_an_async_run_calls_tasks(soon, way):
    app = single(lambda _: {"log": [bough(1).result()]})
    leaves = range(100, 130, 10)
    assert soon(lambda: way(app, {})) == {"log": [sum(3 * x + 3 for x in leaves)]}


@WAYS
def test_loop_of_a_blocking_nodes_own_awaits_calls(soon, way):
    async def inside() -> Any:
        return await asyncio.gather(*[aleaf(x) for x in range(5)])

    app = single(lambda _: {"log": asyncio.run(inside())}, MemoryCheckpointer())
    config = {**THREAD, "max_concurrency": 2}
    assert soon(lambda: way(app, {}, config)) == {"log": [0, 1, 2, 3, 4]}


@WAYS
def test_calls_see_the_context_variables_of_who_makes_them(soon, way):
    @task
    def look() -> str:
        return SEEN.get()

    async def n(_: State) -> Any:
        SEEN.set("in the node")
        return {"log": [await look()]}

    assert soon(lambda: way(single(n), {})) == {"log": ["in the node"]}


@WAYS
def test_stop_iteration_of_a_task_is_an_error_of_the_call(soon, way):
    @task
    def empty() -> Any:
        return next(iter([]))

    async def n(_: State) -> Any:
        await empty()

    with pytest.raises(RuntimeError, match="StopIteration"):
        soon(lambda: way(single(n), {}))


# -- cancelled, and left -------------------------------------------------------------------------


def watched(run: Callable[[], Any]) -> list[Any]:
    """Run a coroutine function on a loop, and return what asyncio complains about."""
    complaints: list[Any] = []

    async def whole() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context["message"])
        )
        async with asyncio.timeout(5):
            await run()
        gc.collect()
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        complaints.extend(repr(one) for one in left)

    asyncio.run(whole())
    return complaints


async def cancelled(app: Any, begun: asyncio.Event, config: Any = None) -> None:
    """Cancel a run once it says that it has begun."""
    run = asyncio.create_task(app.ainvoke({}, config))
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


def test_cancelled_run_cancels_calls_at_every_depth_and_leaves_nothing_behind():
    seen: list[str] = []

    async def go() -> None:
        begun = asyncio.Event()

        @task
        async def inner() -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("inner")
                raise

        @task
        async def outer() -> None:
            await inner()

        async def n(_: State) -> None:
            await outer()

        await cancelled(single(n), begun)

    assert watched(go) == []
    assert seen == ["inner"]


def test_failure_that_nobody_waited_for_is_no_complaint_when_the_run_is_cancelled():
    async def go() -> None:
        begun = asyncio.Event()

        @task
        async def fails() -> None:
            raise ValueError("nobody sees it")

        async def n(_: State) -> None:
            fails()
            await asyncio.sleep(0.01)
            begun.set()
            await asyncio.sleep(60)

        await cancelled(single(n), begun)

    assert watched(go) == []


def test_failed_node_cancels_its_calls_and_complains_of_nothing_else():
    seen: list[str] = []

    @task
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    @task
    async def fails() -> None:
        raise ValueError("nobody sees it")

    async def n(_: State) -> None:
        slow()
        fails()
        await asyncio.sleep(0.01)
        raise KeyError("the node's own")

    async def go() -> None:
        with pytest.raises(KeyError):
            await single(n).ainvoke({})

    assert watched(go) == []
    assert seen == ["cancelled"]


def test_run_that_was_cancelled_goes_on_with_what_its_calls_returned():
    ran: list[str] = []

    async def go() -> None:
        begun = asyncio.Event()

        @task
        async def note(name: str) -> str:
            ran.append(name)
            return name

        async def n(_: State) -> Any:
            result = await note("once")
            if not begun.is_set():
                begun.set()
                await asyncio.sleep(60)
            return {"log": [result]}

        app = single(n, MemoryCheckpointer())
        await cancelled(app, begun, THREAD)
        assert await app.ainvoke(None, THREAD) == {"log": ["once"]}

    assert watched(go) == []
    assert ran == ["once"]


def test_leaving_a_stream_cancels_the_calls_under_way():
    seen: list[str] = []

    @task
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    @entrypoint()
    async def main(x: int) -> None:
        slow()
        await aleaf(x)
        await asyncio.sleep(60)

    async def go() -> None:
        stream = main.astream(1)
        assert await anext(stream) == {"aleaf": 1}
        await stream.aclose()

    assert watched(go) == []
    assert seen == ["cancelled"]


def test_leaving_a_blocking_stream_begins_no_more_calls():
    ran: list[int] = []
    gate, threads = threading.Event(), []

    @task
    def work(x: int) -> None:
        ran.append(x)
        assert x == 0 or gate.wait(5)

    refused: list[str] = []

    @entrypoint()
    def main(count: int) -> None:
        threads.append(threading.current_thread())
        try:
            for x in range(count):
                work(x).result()
        except RuntimeError as error:
            refused.append(str(error))

    stream = main.stream(4)
    next(stream)
    stream.close()
    gate.set()
    threads[0].join(5)
    assert ran in ([0], [0, 1])
    assert len(refused) == 1
    assert "has ended" in refused[0]  # said of the call that was under way, or of the next one


# -- over again ------------------------------------------------------------------------------------


def noted(store: MemoryCheckpointer) -> int:
    """Return how many calls the store knows of in the open superstep."""
    if "t" not in store.run(store.threads()):
        return 0
    (line,) = store.run(store.branches("t"))
    return sum(row.kind == RowKind.CALL for row in store.run(store.rows(line.id, line.head)))


def climbing(ran: list[Any], is_async: bool) -> Any:
    """Return a node that makes three calls, each of which makes two, and asks."""

    @task
    def twig(x: int) -> int:
        ran.append(x)
        return x

    @task
    def limb(x: int) -> int:
        result = sum(future.result() for future in [twig(10 * x + n) for n in range(2)])
        ran.append(x)
        return result

    @task
    async def alimb(x: int) -> int:
        result = sum(await asyncio.gather(*[twig(10 * x + n) for n in range(2)]))
        ran.append(x)
        return result

    def n(_: State) -> Any:
        found = [future.result() for future in [limb(x) for x in range(1, 4)]]
        return {"log": [*found, interrupt("?")]}

    async def an(_: State) -> Any:
        return {"log": [*await asyncio.gather(*[alimb(x) for x in range(1, 4)]), interrupt("?")]}

    return an if is_async else n


CALLS = 9
COMMITS = 1 + CALLS + 1
"""The input, each call, the question."""


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(COMMITS))
def test_after_a_crash_no_call_that_was_noted_is_made_again(number, moment, is_async):
    for seed in range(5):
        ran: list[Any] = []
        store = MemoryCheckpointer()
        app = single(climbing(ran, is_async), store)
        with pytest.raises(Crash):
            Simulation(app, seed, lambda *place: place == (moment, number)).invoke({}, THREAD)
        known = noted(store)
        ran.clear()
        Simulation(app, seed + 1).invoke({} if store.run(store.threads()) == [] else None, THREAD)
        assert len(ran) == CALLS - known, f"seed {seed}"
        answered = Simulation(app, seed + 2).invoke(Command(resume="yes"), THREAD)
        assert answered == {"log": [21, 41, 61, "yes"]}


class DyingStore(MemoryCheckpointer):
    """Dies at its n-th operation, until it is revived."""

    is_instant: ClassVar[bool] = False

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number

    def run(self, operation: Operation[Any]) -> Any:
        self.left -= 1
        if self.left < 0:
            raise Crash("the store is dead")
        return super().run(operation)


# Blocking nodes of an async run go on in their threads when it has died: they would be told of here
# and there, whenever they find that their loop is gone.
@pytest.mark.parametrize(
    ("way", "is_async"), [(blocking, False), (blocking, True), (on_loop, True)]
)
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_store_that_dies_at_any_operation_changes_nothing(soon, way, durability, is_async):
    """On the real drivers, also where commits are under way while calls end."""
    for number in range(40):
        store = DyingStore(number)
        app = single(climbing([], is_async), store)
        given: Any = {}
        died = False
        for _ in range(4):
            try:
                result = soon(lambda: way(app, given, THREAD, durability=durability))  # noqa: B023
            except Crash:
                died, store.left = True, 1000
                given = None if store.run(store.threads()) else {}
                continue
            given = Command(resume="yes")
            if "__interrupt__" not in result:
                break
        assert result == {"log": [21, 41, 61, "yes"]}, f"operation {number}"
        if not died:
            return
    raise AssertionError("the store died in every run")


def test_calls_of_an_error_handler_are_noted_apart_from_those_of_its_node():
    ran: list[str] = []
    note = task(name="note")(ran.append)
    failing = [KeyError("the handler")]

    def n(_: State) -> None:
        note("node").result()
        raise ValueError("the node")

    def handler(_: State, error: NodeError) -> Any:
        note(str(error.error)).result()
        if failing:
            raise failing.pop()
        return {"log": ["handled"]}

    app = single(n, MemoryCheckpointer(), error_handler=handler)
    with pytest.raises(KeyError):
        app.invoke({}, THREAD)
    assert app.invoke(None, THREAD) == {"log": ["handled"]}
    assert ran == ["node", "the node"]


@WAYS
def test_retried_task_reuses_what_the_calls_inside_returned(soon, way):
    ran: list[int] = []
    note = task(name="note")(ran.append)
    attempts: list[int] = []

    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    async def outer() -> int:
        await note(1)
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError
        return len(attempts)

    async def n(_: State) -> Any:
        return {"log": [await outer()]}

    assert soon(lambda: way(single(n), {})) == {"log": [3]}
    assert ran == [1]


@WAYS
def test_call_of_a_cached_task_is_recorded_as_any_other(soon, way):
    ran: list[int] = []

    @task(cache_policy=CachePolicy())
    def slow(x: int) -> int:
        ran.append(x)
        return x

    async def n(_: State) -> Any:
        return {"log": [await slow(1), await slow(1), interrupt("?")]}

    cache = InMemoryCache()
    graph = StateGraph(State).add_node("n", n).add_edge(START, "n")
    app = graph.compile(MemoryCheckpointer(), cache=cache)
    soon(lambda: way(app, {}, THREAD))
    cache.clear()
    assert soon(lambda: way(app, Command(resume="yes"), THREAD)) == {"log": [1, 1, "yes"]}
    assert ran == [1]


@WAYS
def test_cached_node_makes_no_calls(soon, way):
    ran: list[int] = []
    note = task(name="note")(ran.append)

    async def n(_: State) -> Any:
        await note(1)
        return {"log": ["ran"]}

    graph = StateGraph(State).add_node("n", n, cache_policy=CachePolicy()).add_edge(START, "n")
    app = graph.compile(cache=InMemoryCache())
    assert [soon(lambda: way(app, {})) for _ in range(2)] == [{"log": ["ran"]}] * 2
    assert ran == [1]


# -- what cannot be noted --------------------------------------------------------------------------


@WAYS
def test_result_that_cannot_be_stored_is_told_where_it_is_waited_for(soon, way):
    @task
    def give() -> Any:
        return open

    async def n(_: State) -> None:
        await give()

    with pytest.raises(NotStorable) as raised:
        soon(lambda: way(single(n, MemoryCheckpointer()), {}, THREAD))
    assert "While the result of task 'give' was noted." in raised.value.__notes__


@WAYS
def test_result_that_could_not_be_noted_is_not_taken_for_noted(soon, way):
    ran: list[int] = []

    @task
    def give() -> Any:
        ran.append(1)
        return open if len(ran) < 3 else "storable"

    async def n(_: State) -> Any:
        return {"log": [await give()]}

    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=NotStorable)
    app = single(n, MemoryCheckpointer(), retry_policy=policy)
    assert soon(lambda: way(app, {}, THREAD)) == {"log": ["storable"]}


@WAYS
def test_without_a_store_a_task_may_return_anything(soon, way):
    @task
    def give() -> Any:
        return open

    async def n(_: State) -> Any:
        return {"log": [await give() is open]}

    assert soon(lambda: way(single(n), {})) == {"log": [True]}


@WAYS
def test_call_that_ends_when_somebody_else_took_the_thread_is_refused(soon, way):
    @task
    def give() -> int:
        take_over(app.checkpointer, THREAD["configurable"]["thread_id"])
        Context().run(app.update_state, THREAD, {"log": ["rival"]}, "n")
        return 1

    async def n(_: State) -> Any:
        return {"log": [await give()]}

    app = single(n, MemoryCheckpointer())
    with pytest.raises(Fenced):
        soon(lambda: way(app, {}, THREAD))
    assert app.get_state(THREAD).values == {"log": ["rival"]}


@WAYS
def test_node_that_lost_its_thread_to_somebody_else_is_not_tried_again(soon, way):
    attempts: list[int] = []

    @task
    def give() -> None:
        attempts.append(1)
        take_over(app.checkpointer, THREAD["configurable"]["thread_id"])
        Context().run(app.update_state, THREAD, {"log": ["rival"]}, "n")

    async def n(_: State) -> None:
        await give()

    policy = RetryPolicy(initial_interval=0, jitter=False)
    app = single(n, MemoryCheckpointer(), retry_policy=policy)
    with pytest.raises(Fenced):
        soon(lambda: way(app, {}, THREAD))
    assert attempts == [1]


# -- what stops a call -----------------------------------------------------------------------------


class Answer(pydantic.BaseModel):
    """An answer that has to fit."""

    number: int


@WAYS
def test_answer_that_does_not_fit_is_no_failure_of_the_task_to_be_retried(soon, way):
    attempts: list[int] = []

    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=Exception))
    def asks() -> int:
        attempts.append(1)
        return interrupt("number?", response_schema=Answer).number

    async def n(_: State) -> Any:
        return {"log": [await asks()]}

    app = single(n, MemoryCheckpointer())
    soon(lambda: way(app, {}, THREAD))
    with pytest.raises(pydantic.ValidationError):
        soon(lambda: way(app, Command(resume={"number": "many"}), THREAD))
    assert len(attempts) == 2
    assert soon(lambda: way(app, Command(resume={"number": 3}), THREAD)) == {"log": [3]}


@WAYS
@pytest.mark.parametrize("is_awaited", [True, False])
def test_graph_that_a_task_calls_goes_on_after_a_drain(soon, way, is_awaited):
    def drains(_: State, runtime: Runtime[Any]) -> None:
        assert runtime.control is not None
        runtime.control.request_drain("deploy")

    inner = StateGraph(State).add_sequence([("a", drains), ("b", lambda _: {"log": ["b"]})])
    child, ended = inner.add_edge(START, "a").compile(), []

    @task
    async def calls() -> None:
        ended.append((await child.ainvoke({}))["log"])

    async def n(_: State) -> None:
        future = calls()
        if is_awaited:
            await future

    app = single(n, MemoryCheckpointer())
    with pytest.raises(GraphDrained):
        soon(lambda: way(app, {}, THREAD, control=RunControl()))
    assert ended == []
    soon(lambda: way(app, None, THREAD))
    assert ended == [["b"]]


@WAYS
def test_graph_that_a_task_calls_commands_the_graph_around_the_node(soon, way):
    def up(_: State) -> Command:
        return Command(graph=Command.PARENT, update={"log": ["up"]})

    child = single(up)

    @task
    async def calls() -> None:
        await child.ainvoke({})

    async def n(_: State) -> None:
        await calls()

    assert soon(lambda: way(single(n), {})) == {"log": ["up"]}


@WAYS
def test_signal_that_a_task_swallows_is_an_error_that_says_so(soon, way):
    @task
    def asks() -> Any:
        try:
            return interrupt("?")
        except BaseException:
            return "swallowed"

    async def n(_: State) -> Any:
        return {"log": [await asks()]}

    with pytest.raises(SwallowedInterruptError, match="Task 'asks'"):
        soon(lambda: way(single(n, MemoryCheckpointer()), {}, THREAD))


@WAYS
def test_caller_may_give_up_on_a_call(soon, way):
    @task
    async def slow() -> None:
        await asyncio.sleep(60)

    async def n(_: State) -> Any:
        log = []
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(slow(), 0.01)
            log.append("in time")
        future = slow()
        future.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await future
            log.append("not cancelled")
        return {"log": log}

    assert soon(lambda: way(single(n, MemoryCheckpointer()), {}, THREAD)) == {"log": []}


# -- parts of a node -------------------------------------------------------------------------------


def test_tools_that_run_side_by_side_make_calls_of_their_own():
    ran: list[int] = []

    @task
    def look(x: int) -> int:
        ran.append(x)
        return 2 * x

    def quick(x: int) -> str:
        """Look."""
        return str(look(x).result())

    def careful(x: int) -> str:
        """Look, and ask."""
        return f"{look(x).result()} {interrupt(x)}"

    names = ["quick", "careful", "quick", "careful"]
    calls = [{"name": name, "args": {"x": x}, "id": str(x)} for x, name in enumerate(names)]
    graph = StateGraph(MessagesState).add_node("tools", ToolNode([quick, careful]))
    app = graph.add_edge(START, "tools").compile(MemoryCheckpointer())
    result = app.invoke({"messages": [AIMessage("", tool_calls=calls)]}, THREAD)
    for _ in range(2):
        asked = result.get("__interrupt__", [])
        answers = {question.id: f"answer {question.value}" for question in asked}
        result = app.invoke(Command(resume=answers) if answers else None, THREAD)
    messages = result["messages"][1:]
    assert [message.content for message in messages] == ["0", "2 answer 1", "4", "6 answer 3"]
    assert sorted(ran) == [0, 1, 2, 3]


def test_what_comes_after_the_run_begins_no_task_on_its_loop() -> None:
    """A loop that is about to close would never end it."""
    drivers: list[Any] = []
    begun: list[str] = []

    def n(_: State) -> None:
        drivers.append(current().run.caller)

    def begin(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        begun.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def run() -> None:
        await single(n, MemoryCheckpointer()).ainvoke({}, THREAD)
        asyncio.get_running_loop().set_task_factory(begin)
        with pytest.raises(RuntimeError, match="ended before its call"):
            await asyncio.to_thread(drivers[0].anchor)

    asyncio.run(run())
    assert not [name for name in begun if name.startswith("LoopDriver")]
