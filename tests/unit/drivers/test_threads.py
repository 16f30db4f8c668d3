"""The thread driver: how a blocking run hands out tasks, and how it ends."""

import operator
import threading
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, MemoryCheckpointer, RetryPolicy, Send, StateGraph
from graphflow.drivers.workers import Workers


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


SEEN: ContextVar[str] = ContextVar("SEEN", default="outside")


def single(node: Any) -> Any:
    return StateGraph(State).add_node("n", node).add_edge(START, "n").compile()


def fanned(work: Any, count: int) -> Any:
    """Return a graph that runs `work` once for each of `count` numbers."""
    graph = StateGraph(State).add_node("work", work)
    sends = [Send("work", {"x": number}) for number in range(count)]
    return graph.add_conditional_edges(START, lambda _: sends, ["work"]).compile()


def test_stop_iteration_of_a_node_is_an_error_of_the_run(soon):
    def n(_: State) -> State:
        return {"x": next(iter([]))}

    with pytest.raises(RuntimeError, match="StopIteration"):
        soon(lambda: single(n).invoke({}))


def test_leaving_a_stream_withdraws_what_has_not_begun():
    ran, workers = [], set()
    begun, gate = threading.Event(), threading.Event()

    def work(state: State) -> None:
        ran.append(state["x"])
        workers.add(threading.current_thread())
        if state["x"] == 1:
            begun.set()
            assert gate.wait(5)

    stream = fanned(work, 20).stream({}, {"max_concurrency": 1})
    assert next(stream) == {"work": None}
    assert begun.wait(5)
    stream.close()
    gate.set()
    for worker in workers:
        worker.join(5)
    assert ran == [0, 1]


def test_failed_task_withdraws_what_has_not_begun(soon):
    ran = []

    def work(state: State) -> None:
        ran.append(state["x"])
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        soon(lambda: fanned(work, 40).invoke({}, {"max_concurrency": 1}))
    assert len(ran) < 40


def test_withdrawing_never_waits_for_a_job_that_a_worker_took(soon):
    """Between a look at the queue and the taking, a worker may have been faster."""

    class Fickle:
        """A queue that always looks full, as it does to somebody who looks too early."""

        def __init__(self) -> None:
            self.queue: SimpleQueue[Any] = SimpleQueue()

        def empty(self) -> bool:
            return False

        def __getattr__(self, name: str) -> Any:
            return getattr(self.queue, name)

    workers = Workers(1)
    workers.jobs = Fickle()  # type: ignore[assignment]  # it is used like one
    assert soon(workers.withdraw) == 0
    with pytest.raises(Empty):
        workers.jobs.get_nowait()


def test_withdrawn_jobs_are_counted():
    workers = Workers(1)
    begun, gate = threading.Event(), threading.Event()

    def busy() -> None:
        begun.set()
        assert gate.wait(5)

    workers.submit(busy)
    assert begun.wait(5)
    for _ in range(3):
        workers.submit(lambda: None)
    assert workers.withdraw() == 3
    gate.set()
    workers.close()


def test_context_variables_set_by_nodes_stay_in_the_run():
    def n(_: State) -> None:
        SEEN.set("inside")

    single(n).invoke({})
    list(single(n).stream({}, stream_mode=["custom", "values"]))
    assert SEEN.get() == "outside"


def test_nodes_see_the_context_variables_of_the_caller():
    token = SEEN.set("caller")
    try:
        assert single(lambda _: {"log": [SEEN.get()]}).invoke({}) == {"log": ["caller"]}
    finally:
        SEEN.reset(token)


@pytest.mark.parametrize("most", [0, -1, "2"])
def test_max_concurrency_that_lets_nothing_run_is_refused(soon, most):
    app = fanned(lambda _: None, 2)
    with pytest.raises(ValueError, match="max_concurrency must be at least 1"):
        soon(lambda: app.invoke({}, {"max_concurrency": most}))


def test_predicate_that_fails_does_not_hide_the_nodes_error():
    def bad(_: State) -> None:
        raise ConnectionError("real error")

    def cannot_tell(error: Any) -> bool:
        return bool(error.response.status_code)

    graph = StateGraph(State).add_node("bad", bad, retry_policy=RetryPolicy(retry_on=cannot_tell))
    graph.add_node("good", lambda _: {"log": ["good"]})
    app = graph.add_edge(START, "bad").add_edge(START, "good").compile(MemoryCheckpointer())
    config = {"configurable": {"thread_id": "t"}}
    with pytest.raises(ConnectionError, match="real error") as raised:
        app.invoke({}, config)
    assert any("The retry policy could not tell" in note for note in raised.value.__notes__)
    tasks = {task.name: task for task in app.get_state(config).tasks}
    assert tasks["bad"].error == "ConnectionError('real error')"
    assert tasks["good"].result == {"log": ["good"]}
