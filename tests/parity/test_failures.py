"""Errors, retries, error handlers, cancellation (contract §7, §19, §21, §26)."""

import asyncio
import operator
import random
import time
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from .observations import by_task
from .programs import ASYNC, SYNC, THREAD, chain, parallel, parity, parity_in, raised


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


class Flaky:
    """A node that fails a few times."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or ConnectionError("again")
        self.tries = 0

    def __call__(self, state: State) -> Any:
        self.tries += 1
        if self.tries <= self.failures:
            raise self.error
        return {"log": [self.tries]}


def fast(lib: Any, **options: Any) -> Any:
    """Return a retry policy that does not wait."""
    return lib.RetryPolicy(**{"initial_interval": 0.001, "jitter": False, **options})


@parity
def test_exception_is_raised_as_it_is(lib, call):
    class Mine(Exception):
        pass

    error = Mine("boom")
    app = chain(lib, State, ("n", Flaky(9, error))).compile()
    try:
        call.invoke(app, {"log": []})
    except Mine as caught:
        notes = [note.partition(" and id ")[0] for note in caught.__notes__]
        return caught is error, notes


@parity
def test_state_of_a_failed_thread(lib, call):
    nodes = [("ok", lambda _: {"log": ["ok"]}), ("z", Flaky(1, ValueError("boom")))]
    app = chain(lib, State, *nodes).compile(lib.InMemorySaver())
    refused = raised(lib, lambda: call.invoke(app, {"log": []}, THREAD))
    failed = call.state(app)
    return refused, failed, call.invoke(app, None, THREAD)


@pytest.mark.xfail(strict=True, reason="a mended task shows no error in the history")
@parity
def test_error_of_a_mended_task_stays_in_the_history(lib, call):
    app = chain(lib, State, ("n", Flaky(1, ValueError("boom")))).compile(lib.InMemorySaver())
    raised(lib, lambda: call.invoke(app, {"log": []}, THREAD))
    call.invoke(app, None, THREAD)
    return [(s.next, [(t.error, t.result) for t in s.tasks]) for s in call.history(app)]


@parity_in(SYNC)
def test_finished_siblings_of_a_failed_task_are_kept(lib, call):
    ran = []

    def slow(_: State) -> Any:
        time.sleep(0.05)
        return Flaky.__call__(flaky, _)

    flaky = Flaky(1, ValueError("boom"))
    nodes = [("a", lambda _: ran.append("a") or {"log": ["a"]}), ("b", slow)]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    refused = raised(lib, lambda: call.invoke(app, {"log": []}, THREAD))
    failed = call.state(app)
    shown = failed.values, failed.next, by_task(failed.tasks)
    return refused, shown, call.invoke(app, None, THREAD), ran


@parity
def test_new_input_after_a_failure_starts_again(lib, call):
    app = chain(lib, State, ("a", lambda _: {"log": ["a"]}), ("n", Flaky(1, ValueError("b"))))
    app = app.compile(lib.InMemorySaver())
    raised(lib, lambda: call.invoke(app, {"log": ["one"]}, THREAD))
    return call.invoke(app, {"log": ["two"]}, THREAD)


@parity
def test_attempts_of_a_retry_policy(lib, call):
    shown = []
    for failures in (1, 2, 3):
        node = Flaky(failures)
        graph = lib.StateGraph(State).add_node("n", node, retry_policy=fast(lib))
        app = graph.add_edge(lib.START, "n").compile()
        shown.append((raised(lib, lambda app=app: call.invoke(app, {"log": []})), node.tries))
    return shown


@parity
def test_what_is_retried_by_default(lib, call):
    errors = [
        ValueError,
        TypeError,
        KeyError,
        ArithmeticError,
        ImportError,
        NameError,
        RuntimeError,
        OSError,
        TimeoutError,
        ConnectionError,
        ConnectionResetError,
        FileNotFoundError,
        StopAsyncIteration,
        ReferenceError,
        Exception,
        AssertionError,
        LookupError,
        SyntaxError,
        AttributeError,
        EOFError,
        MemoryError,
        BufferError,
    ]
    shown = {}
    for error in errors:
        node = Flaky(1, error("x"))
        graph = lib.StateGraph(State).add_node("n", node, retry_policy=fast(lib))
        app = graph.add_edge(lib.START, "n").compile()
        shown[error.__name__] = raised(lib, lambda app=app: call.invoke(app, {"log": []}))[0]
    return shown


@parity
def test_forms_of_retry_on(lib, call):
    forms = [
        ValueError,
        (KeyError, ValueError),
        [ValueError],
        lambda error: "b" in str(error),
        KeyError,
        lambda _: False,
        Exception,
    ]
    shown = []
    for retry_on in forms:
        node = Flaky(1, ValueError("boom"))
        policy = fast(lib, retry_on=retry_on)
        graph = lib.StateGraph(State).add_node("n", node, retry_policy=policy)
        app = graph.add_edge(lib.START, "n").compile()
        shown.append((raised(lib, lambda app=app: call.invoke(app, {"log": []}))[0], node.tries))
    return shown


@parity
def test_first_of_several_policies_that_fits_is_used(lib, call):
    errors: list[Exception] = [ValueError("v"), KeyError("k"), ValueError("v")]
    tries = []

    def node(_: State) -> Any:
        tries.append(1)
        if len(tries) <= len(errors):
            raise errors[len(tries) - 1]
        return {"log": ["done"]}

    policies = [
        fast(lib, retry_on=KeyError, max_attempts=2),
        fast(lib, retry_on=ValueError, max_attempts=5),
    ]
    graph = lib.StateGraph(State).add_node("n", node, retry_policy=policies)
    app = graph.add_edge(lib.START, "n").compile()
    return raised(lib, lambda: call.invoke(app, {"log": []})), len(tries)


@pytest.mark.xfail(strict=True, reason="a patched time.sleep is called until time has passed (§19)")
@parity_in(SYNC)
def test_waits_between_attempts(lib, call):
    waits: list[float] = []
    policy = lib.RetryPolicy(
        initial_interval=0.01, backoff_factor=3, max_interval=0.05, max_attempts=4, jitter=False
    )
    shaken = lib.RetryPolicy(initial_interval=0.01, max_attempts=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", waits.append)
        patch.setattr(random, "uniform", lambda low, high: 0.01)
        for one in (policy, shaken):
            graph = lib.StateGraph(State).add_node("n", Flaky(9), retry_policy=one)
            app = graph.add_edge(lib.START, "n").compile()
            raised(lib, lambda app=app: call.invoke(app, {"log": []}))
    return [round(wait, 3) for wait in waits]


@parity
def test_writes_of_failed_attempts_are_dropped(lib, call):
    tries = []

    def node(state: State, writer) -> Any:
        writer(len(tries))
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("again")
        return {"log": ["done"]}

    graph = lib.StateGraph(State).add_node("n", node, retry_policy=fast(lib))
    app = graph.add_edge(lib.START, "n").compile()
    return call.stream(app, {"log": []}, stream_mode=["custom", "updates"])


@pytest.mark.xfail(strict=True, reason="each failed attempt has a result event of its own (§9)")
@parity
def test_retried_task_has_one_result_event(lib, call):
    graph = lib.StateGraph(State).add_node("n", Flaky(2), retry_policy=fast(lib))
    app = graph.add_edge(lib.START, "n").compile()
    return call.stream(app, {"log": []}, stream_mode="tasks")


@parity
def test_node_knows_its_attempt(lib, call):
    def node(state: State, runtime: lib.Runtime) -> Any:
        seen.append(runtime.execution_info.node_attempt)
        if len(seen) < 3:
            raise ConnectionError("again")

    seen: list[int] = []
    graph = lib.StateGraph(State).add_node("n", node, retry_policy=fast(lib))
    call.invoke(graph.add_edge(lib.START, "n").compile(), {"log": []})
    return seen


@parity
def test_node_knows_when_it_was_first_tried(lib, call):
    def node(state: State, runtime: lib.Runtime) -> Any:
        seen.append(runtime.execution_info.node_first_attempt_time)
        if len(seen) < 3:
            raise ConnectionError("again")

    seen: list[float] = []
    graph = lib.StateGraph(State).add_node("n", node, retry_policy=fast(lib))
    call.invoke(graph.add_edge(lib.START, "n").compile(), {"log": []})
    return len(seen), len(set(seen)), type(seen[0]).__name__


@parity
def test_questions_and_commands_to_the_parent_are_not_retried(lib, call):
    ran = []

    def hands_over(_: State) -> Any:
        ran.append("over")
        return lib.Command(graph=lib.Command.PARENT, update={"log": ["up"]})

    def asks(_: State) -> Any:
        ran.append("asks")
        return {"log": [lib.interrupt("?")]}

    policy = fast(lib, retry_on=lambda _: True)
    child = lib.StateGraph(State).add_node("over", hands_over, retry_policy=policy)
    child = child.add_edge(lib.START, "over").compile()
    graph = lib.StateGraph(State).add_node("child", child, retry_policy=policy)
    graph.add_node("asks", asks, retry_policy=policy).add_edge(lib.START, "child")
    app = graph.add_edge("child", "asks").compile(lib.InMemorySaver())
    return call.invoke(app, {"log": []}, THREAD), ran


@parity
def test_handler_takes_over_from_a_failed_node(lib, call):
    def handler(state: State, error: lib.NodeError) -> Any:
        return {"log": [(error.node, repr(error.error), state["x"])]}

    graph = lib.StateGraph(State)
    graph.add_node("n", Flaky(9, ValueError("boom")), error_handler=handler)
    graph.add_node("never", lambda _: {"log": ["never"]}).add_edge(lib.START, "n")
    app = graph.add_edge("n", "never").compile()
    given = {"x": 1, "log": []}
    return call.invoke(app, given), call.stream(app, given, stream_mode=["updates", "values"])


@pytest.mark.xfail(strict=True, reason="a handler has a start event of its own")
@parity
def test_task_events_of_a_handler(lib, call):
    graph = lib.StateGraph(State)
    handler = lambda state: {"log": ["handled"]}  # noqa: E731
    graph.add_node("n", Flaky(9, ValueError("boom")), error_handler=handler)
    app = graph.add_edge(lib.START, "n").compile()
    return call.stream(app, {"log": []}, stream_mode=["tasks", "updates"])


@parity
def test_handler_may_go_somewhere(lib, call):
    def handler(state: State) -> Any:
        return lib.Command(update={"log": ["handled"]}, goto="rescue")

    graph = lib.StateGraph(State)
    graph.add_node("n", Flaky(9, ValueError("boom")), error_handler=handler)
    graph.add_node("rescue", lambda _: {"log": ["rescue"]}).add_edge(lib.START, "n")
    return call.invoke(graph.compile(), {"log": []})


@parity
def test_handler_runs_after_the_retries(lib, call):
    node = Flaky(9)
    graph = lib.StateGraph(State)
    graph.add_node("n", node, retry_policy=fast(lib), error_handler=lambda _: {"log": ["h"]})
    return call.invoke(graph.add_edge(lib.START, "n").compile(), {"log": []}), node.tries


@parity
def test_failing_handler_fails_the_run(lib, call):
    def handler(_: State) -> Any:
        raise KeyError("handler")

    graph = lib.StateGraph(State)
    graph.add_node("n", Flaky(9, ValueError("node")), error_handler=handler)
    app = graph.add_edge(lib.START, "n").compile()
    return raised(lib, lambda: call.invoke(app, {"log": []}), "handler")


@parity
def test_siblings_of_a_handled_failure_finish(lib, call):
    graph = lib.StateGraph(State)
    graph.add_node("n", Flaky(9, ValueError("boom")), error_handler=lambda _: {"log": ["h"]})
    graph.add_node("z", lambda _: {"log": ["z"]}).add_edge(lib.START, "n")
    graph.add_node("after", lambda _: {"log": ["after"]}).add_edge("z", "after")
    return call.invoke(graph.add_edge(lib.START, "z").compile(), {"log": []})


@pytest.mark.xfail(strict=True, reason="a handler writes first, not in the place of its node")
@parity
def test_handler_writes_in_the_place_of_its_node(lib, call):
    graph = lib.StateGraph(State)
    graph.add_node("n", Flaky(9, ValueError("boom")), error_handler=lambda _: {"log": ["h"]})
    for name in "az":
        graph.add_node(name, lambda _, name=name: {"log": [name]}).add_edge(lib.START, name)
    return call.invoke(graph.add_edge(lib.START, "n").compile(), {"log": []})


@parity
def test_failures_of_several_nodes_have_their_handlers(lib, call):
    def handler(state: State, error: lib.NodeError) -> Any:
        return {"log": [error.node]}

    graph = lib.StateGraph(State)
    for name in "pq":
        graph.add_node(name, Flaky(9, ValueError(name)), error_handler=handler)
        graph.add_edge(lib.START, name)
    return call.invoke(graph.compile(lib.InMemorySaver()), {"log": []}, THREAD)


@parity
def test_handler_of_a_child_graph(lib, call):
    child = chain(lib, State, ("n", Flaky(9, ValueError("inner")))).compile()

    def handler(state: State, error: lib.NodeError) -> Any:
        return {"log": [error.node, str(error.error)]}

    graph = lib.StateGraph(State).add_node("child", child, error_handler=handler)
    return call.invoke(graph.add_edge(lib.START, "child").compile(), {"log": []})


@parity
def test_handler_is_run_again_and_not_the_node(lib, call):
    node, tries = Flaky(1, ValueError("boom")), []

    def handler(state: State, error: lib.NodeError) -> Any:
        tries.append(str(error.error))
        if len(tries) < 2:
            raise KeyError("handler")
        return {"log": ["handled"]}

    graph = lib.StateGraph(State).add_node("n", node, error_handler=handler)
    app = graph.add_edge(lib.START, "n").compile(lib.InMemorySaver())
    first = raised(lib, lambda: call.invoke(app, {"log": []}, THREAD))[0]
    return first, call.invoke(app, None, THREAD), node.tries, len(tries)


@parity
def test_questions_are_no_errors_for_a_handler(lib, call):
    graph = lib.StateGraph(State)
    node = lambda _: {"log": [lib.interrupt("?")]}  # noqa: E731
    graph.add_node("n", node, error_handler=lambda _: {"log": ["handled"]})
    app = graph.add_edge(lib.START, "n").compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    return first, call.invoke(app, lib.Command(resume=1), THREAD)


@parity
def test_name_of_a_handler_is_reserved(lib, call):
    def build() -> Any:
        graph = lib.StateGraph(State)
        graph.add_node("n", Flaky(0), error_handler=lambda _: None)
        graph.add_node("__error_handler__n", lambda _: None).add_edge(lib.START, "n")
        return type(graph.compile()).__name__

    return raised(lib, build)[0]


@parity_in(ASYNC)
def test_failure_cancels_async_siblings_and_is_raised_itself(lib, call):
    seen = []

    async def waits(_: State) -> Any:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def fails(_: State) -> Any:
        await asyncio.sleep(0.01)
        raise ValueError("boom")

    app = parallel(lib, State, ("waits", waits), ("fails", fails)).compile(lib.InMemorySaver())
    refused = raised(lib, lambda: call.invoke(app, {"log": []}, THREAD), "boom")
    return refused, seen, call.state(app).next


@parity_in(ASYNC)
def test_cancelling_the_caller_cancels_nodes_on_all_levels(lib, call):
    seen = []

    async def waits(_: State) -> Any:
        seen.append("started")
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    child = chain(lib, State, ("waits", waits)).compile()
    app = chain(lib, State, ("child", child), ("z", lambda _: seen.append("z")))
    app = app.compile(lib.InMemorySaver())

    async def main() -> Any:
        run = asyncio.create_task(app.ainvoke({"log": []}, THREAD))
        while not seen:
            await asyncio.sleep(0.005)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
    return seen, call.state(app).next


@parity_in(ASYNC)
def test_leaving_an_async_stream_cancels_the_nodes(lib, call):
    seen = []

    async def quick(_: State) -> Any:
        return {"log": ["quick"]}

    async def waits(_: State) -> Any:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    app = parallel(lib, State, ("quick", quick), ("waits", waits)).compile()

    async def main() -> Any:
        stream = app.astream({"log": []})
        first = await anext(stream)
        await stream.aclose()
        return first

    return asyncio.run(main()), seen


@parity_in(ASYNC)
def test_node_that_cancels_itself_fails_the_run(lib, call):
    async def node(_: State) -> Any:
        raise asyncio.CancelledError

    app = chain(lib, State, ("n", node)).compile()
    return raised(lib, lambda: call.invoke(app, {"log": []}))[0]


@parity_in(ASYNC)
def test_thread_can_go_on_after_a_cancellation(lib, call):
    tries = []

    async def slow_once(_: State) -> Any:
        tries.append(1)
        if len(tries) == 1:
            await asyncio.sleep(10)
        return {"log": ["done"]}

    app = chain(lib, State, ("a", lambda _: {"log": ["a"]}), ("slow", slow_once))
    app = app.compile(lib.InMemorySaver())

    async def main() -> None:
        run = asyncio.create_task(app.ainvoke({"log": []}, THREAD))
        while not tries:
            await asyncio.sleep(0.005)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)

    asyncio.run(main())
    return call.state(app).next, call.invoke(app, None, THREAD), len(tries)
