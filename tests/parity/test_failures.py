"""Errors, retries, error handlers, cancellation (contract §7, §19, §21, §26)."""

import random
import time
from typing import Any

import pytest

from .observations import by_task
from .parts import Flaky, State, fast
from .programs import SYNC, THREAD, chain, parallel, parity, parity_in, raised


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
    return len(waits), [round(wait, 3) for wait in waits[:4]]


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
