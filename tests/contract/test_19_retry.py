"""Contract §19: retries of failed nodes."""

import asyncio
import operator
import random
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
import tenacity
from typing_extensions import TypedDict

from graphflow import (
    START,
    Command,
    GraphDrained,
    ParentCommand,
    RetryPolicy,
    RunControl,
    StateGraph,
    entrypoint,
    interrupt,
    task,
)
from graphflow.testing.simulation import Simulation

pytestmark = pytest.mark.simulated


class State(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def at_once(**options: Any) -> RetryPolicy:
    """Return a policy that does not wait."""
    return RetryPolicy(initial_interval=0.0, jitter=False, **options)


class Flaky:
    """A node that raises these errors, one an attempt, and then succeeds."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.attempts = 0

    def __call__(self, _: State) -> State:
        self.attempts += 1
        if self.errors:
            raise self.errors.pop(0)
        return {"log": [self.attempts]}


def single(node: Any, policy: Any) -> Any:
    graph = StateGraph(State).add_node("n", node, retry_policy=policy)
    return graph.add_edge(START, "n")


# -- 1: the policy ---------------------------------------------------------------------------


def test_19_b1_fields_and_defaults_of_a_policy():
    policy = RetryPolicy()
    assert (policy.initial_interval, policy.backoff_factor, policy.max_interval) == (0.5, 2.0, 128)
    assert (policy.max_attempts, policy.jitter) == (3, True)


def test_19_b1_of_several_policies_the_first_that_matches_is_used(call):
    policies = [
        at_once(retry_on=KeyError, max_attempts=9),
        at_once(retry_on=ConnectionError, max_attempts=2),
        at_once(retry_on=Exception, max_attempts=9),
    ]
    node = Flaky(*[ConnectionError("boom")] * 5)
    with pytest.raises(ConnectionError):
        call.invoke(single(node, policies).compile(), {})
    assert node.attempts == 2


def test_19_b1_attempts_are_counted_over_all_policies(call):
    policies = [
        at_once(retry_on=KeyError, max_attempts=2),
        at_once(retry_on=ConnectionError, max_attempts=5),
    ]
    node = Flaky(ConnectionError("first"), KeyError("second"))
    with pytest.raises(KeyError, match="second"):
        call.invoke(single(node, policies).compile(), {})
    assert node.attempts == 2


# -- 2: what is retried ----------------------------------------------------------------------


class Mine(Exception):
    """An error of a program's own."""


class Mishap(Exception):
    """Another one."""


FORMS = {
    "class": Mine,
    "list": [KeyError, Mine],
    "tuple": (KeyError, Mine),
    "predicate": lambda error: isinstance(error, Mine),
}


@pytest.mark.parametrize("form", FORMS)
def test_19_b2_retry_on_takes_classes_or_a_predicate(call, form):
    app = single(Flaky(Mine()), at_once(retry_on=FORMS[form])).compile()
    assert call.invoke(app, {}) == {"log": [2]}
    with pytest.raises(Mishap):
        call.invoke(single(Flaky(Mishap()), at_once(retry_on=FORMS[form])).compile(), {})


class Answered(Exception):
    """The error of an HTTP client."""

    def __init__(self, status: int) -> None:
        self.response = SimpleNamespace(status_code=status)


@pytest.mark.parametrize(
    "error", [Mine(), ConnectionError(), ConnectionResetError(), Answered(500), Answered(503)],
    ids=repr,
)  # fmt: skip
def test_19_b2_default_retries_what_may_pass_by_itself(call, error):
    assert call.invoke(single(Flaky(error), at_once()).compile(), {}) == {"log": [2]}


REFUSED = [
    ValueError, TypeError, ArithmeticError, ZeroDivisionError, ImportError, LookupError, KeyError,
    NameError, SyntaxError, RuntimeError, NotImplementedError, ReferenceError, OSError,
    FileNotFoundError, StopIteration, StopAsyncIteration,
]  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_19_b2_default_does_not_retry_errors_of_the_program(call, kind):
    node = Flaky(kind("boom"))
    with pytest.raises((kind, RuntimeError)):  # Python makes one of a StopIteration in a coroutine
        call.invoke(single(node, at_once()).compile(), {})
    assert node.attempts == 1


def test_19_b2_default_does_not_retry_what_the_client_did_wrong(call):
    with pytest.raises(Answered):
        call.invoke(single(Flaky(Answered(404)), at_once()).compile(), {})


# -- 3: how often, and how long between ------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 4])
def test_19_b3_max_attempts_includes_the_first(call, most):
    node = Flaky(*[Mine()] * 9)
    with pytest.raises(Mine):
        call.invoke(single(node, at_once(max_attempts=most)).compile(), {})
    assert node.attempts == most


def patient(**options: Any) -> RetryPolicy:
    """Return a policy whose waits are 20, 60 and 100 s: the third would be 180 without limit."""
    return RetryPolicy(
        initial_interval=20.0, backoff_factor=3.0, max_interval=100.0, max_attempts=4, **options
    )


class Enough(Exception):
    """Somebody waits more often than there are attempts."""


@pytest.fixture
def waits(call, monkeypatch):
    """The seconds of every wait, in a world in which they take no time."""
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) > 3:
            raise Enough

    async def asleep(seconds: float) -> None:
        sleep(seconds)

    on_loop = type(call).__name__ == "OnLoop"
    monkeypatch.setattr(asyncio if on_loop else time, "sleep", asleep if on_loop else sleep)
    return waited


def seconds(*expected: float) -> list[Any]:
    """Return what waits are compared with: what a run does in between may be taken off them."""
    return [pytest.approx(wait, abs=5.0) for wait in expected]


@pytest.mark.simulated(False)  # its time is its own
def test_19_b3_first_wait_is_asked_of_sleep(call, waits):
    with suppress(Enough):
        call.invoke(single(Flaky(Mine()), patient(jitter=False)).compile(), {})
    assert waits[:1] == seconds(20)


@pytest.mark.simulated(False)  # its time is its own
def test_19_b3_jitter_is_asked_of_random_uniform(call, waits, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: low + 30 * high)
    with suppress(Enough):
        call.invoke(single(Flaky(Mine()), patient(jitter=True)).compile(), {})
    assert waits[:1] == seconds(50)


@pytest.mark.simulated(False)  # its time is its own
def test_19_b3_waits_grow_by_a_factor_up_to_a_limit(call, waits):
    app = single(Flaky(*[Mine()] * 3), patient(jitter=False)).compile()
    assert call.invoke(app, {}) == {"log": [4]}
    assert waits == seconds(20, 60, 100)


# -- 2 and 3 by tenacity: strategies that users have ------------------------------------------


class Clocked:
    """A node that always fails, and notes when it was called on the clock of a simulation."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error or Mine()
        self.times: list[float] = []

    async def __call__(self, _: State) -> None:
        self.times.append(asyncio.get_running_loop().time())
        raise self.error


def of_node(policy: Any, error: Exception | None = None) -> list[float]:
    """Return when the attempts of a node are made, in seconds."""
    node = Clocked(error)
    with pytest.raises(type(node.error)):
        Simulation(single(node, policy).compile(), 0).invoke({})
    return node.times


def of_task(policy: Any, error: Exception | None = None) -> list[float]:
    """Return the same for a task."""
    node = Clocked(error)
    called = task(name="called", retry_policy=policy)(node)

    async def n(state: State) -> None:
        await called(state)

    with pytest.raises(type(node.error)):
        Simulation(single(n, None).compile(), 0).invoke({})
    return node.times


PLACES = pytest.mark.parametrize("attempts", [of_node, of_task])
TIMED = pytest.mark.parametrize("attempts", [of_node, of_task])


@PLACES
def test_19_b3_intervals_grow_by_a_factor_up_to_a_limit(attempts):
    assert attempts(patient(jitter=False)) == [0, 20, 80, 180]


@PLACES
def test_19_b3_wait_strategy_takes_the_place_of_the_intervals(attempts):
    wait = tenacity.wait_fixed(3) + tenacity.wait_incrementing(start=0, increment=10)
    assert attempts(RetryPolicy(wait=wait, max_attempts=4)) == [0, 3, 16, 39]


@PLACES
def test_19_b3_wait_strategy_may_look_at_the_error(attempts):
    wait = tenacity.wait_exception(lambda error: float(error.args[0]))
    assert attempts(RetryPolicy(wait=wait), Mine("7")) == [0, 7, 14]


@PLACES
def test_19_b3_stop_strategy_takes_the_place_of_max_attempts(attempts):
    policy = RetryPolicy(wait=tenacity.wait_none(), stop=tenacity.stop_after_attempt(5))
    assert len(attempts(policy)) == 5


@TIMED
def test_19_b3_stop_strategy_may_look_at_the_time(attempts):
    stop = tenacity.stop_after_delay(35) | tenacity.stop_after_attempt(20)
    policy = RetryPolicy(wait=tenacity.wait_fixed(10), stop=stop)
    assert attempts(policy) == [0, 10, 20, 30, 40]


@TIMED
def test_19_b3_stop_strategy_may_look_at_the_coming_wait(attempts):
    stop = tenacity.stop_before_delay(35) | tenacity.stop_after_attempt(20)
    policy = RetryPolicy(wait=tenacity.wait_fixed(10), stop=stop)
    assert attempts(policy) == [0, 10, 20, 30]


def test_19_b3_time_of_a_stop_strategy_begins_with_the_first_attempt():
    began: list[int] = []

    async def slow(_: State) -> None:
        began.append(1)
        await asyncio.sleep(20)
        raise Mine

    stop = tenacity.stop_after_delay(15) | tenacity.stop_after_attempt(20)
    policy = RetryPolicy(wait=tenacity.wait_none(), stop=stop)
    with pytest.raises(Mine):
        Simulation(single(slow, policy).compile(), 0).invoke({})
    assert len(began) == 1


@PLACES
def test_19_b3_error_that_says_retry_after_is_waited_for_at_least_so_long(attempts):
    error = Mine()
    error.retry_after = 30.0  # type: ignore[attr-defined]  # as clients of services do
    assert attempts(RetryPolicy(wait=tenacity.wait_fixed(10)), error) == [0, 30, 60]
    assert attempts(RetryPolicy(wait=tenacity.wait_fixed(90)), error) == [0, 90, 180]


STRATEGIES = {
    "type": tenacity.retry_if_exception_type(Mine),
    "predicate": tenacity.retry_if_exception(lambda error: isinstance(error, Mine)),
    "message": tenacity.retry_if_exception_message(match="again"),
    "either": tenacity.retry_if_exception_type(KeyError) | tenacity.retry_if_exception_type(Mine),
    "not": tenacity.retry_if_not_exception_type(Mishap),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_19_b2_retry_on_takes_a_strategy(call, strategy):
    policy = at_once(retry_on=STRATEGIES[strategy])
    assert call.invoke(single(Flaky(Mine("again")), policy).compile(), {}) == {"log": [2]}
    with pytest.raises(Mishap):
        call.invoke(single(Flaky(Mishap("never")), policy).compile(), {})


def broken(_: Any) -> Any:
    raise ZeroDivisionError("in the strategy")


@pytest.mark.parametrize("part", ["retry_on", "wait", "stop"])
def test_19_b3_strategy_that_fails_leaves_the_error_of_the_node(call, part):
    policy = at_once(**{part: broken})
    with pytest.raises(Mine) as raised:
        call.invoke(single(Flaky(Mine()), policy).compile(), {})
    assert any("in the strategy" in note for note in raised.value.__notes__)


# -- 4: what a retry leaves ------------------------------------------------------------------


def test_19_b4_writes_of_a_failed_attempt_are_dropped(call, saver, thread):
    errors: list[Exception] = [Mine(), Mine()]

    def path(_: State) -> list[str]:
        if errors:
            raise errors.pop()
        return []

    graph = single(lambda _: {"log": ["n"]}, at_once())
    app = graph.add_conditional_edges("n", path, ["n"]).compile(saver)
    assert call.invoke(app, {"log": ["i"]}, thread) == {"log": ["i", "n"]}
    assert call.state(app, thread).values == {"log": ["i", "n"]}


def test_19_b4_after_the_last_attempt_its_exception_is_raised(call, saver, thread):
    last = Mine("last")
    app = single(Flaky(Mine("first"), last, Mine("never")), at_once(max_attempts=2)).compile(saver)
    with pytest.raises(Mine) as raised:
        call.invoke(app, {}, thread)
    assert raised.value is last
    assert call.state(app, thread).tasks[0].error == "Mine('last')"


def eager() -> RetryPolicy:
    return at_once(retry_on=lambda error: True, max_attempts=5)


def test_19_b4_interrupts_are_never_retried(call, saver, thread):
    ran: list[int] = []

    def n(_: State) -> State:
        ran.append(1)
        return {"log": [interrupt("?")]}

    app = single(n, eager()).compile(saver)
    assert "__interrupt__" in call.invoke(app, {}, thread)
    assert len(ran) == 1


@pytest.mark.simulated(False)  # drains need a driver that looks out for them
def test_19_b4_drains_are_never_retried(call, saver, thread):
    ran: list[int] = []

    def first(_: State, runtime: Any) -> None:
        ran.append(1)
        runtime.control.request_drain()

    nodes = [("first", first), ("second", ran.append)]
    child = StateGraph(State).add_sequence(nodes).add_edge(START, "first").compile()
    app = single(child, eager()).compile(saver)
    with pytest.raises(GraphDrained):
        call.invoke(app, {}, thread, control=RunControl())
    assert ran == [1]


def test_19_b4_commands_to_the_parent_are_never_retried(call):
    ran: list[int] = []

    def n(_: State) -> Command:
        ran.append(1)
        return Command(graph=Command.PARENT, update={"log": ["up"]})

    with pytest.raises(ParentCommand):
        call.invoke(single(n, eager()).compile(), {})
    assert ran == [1]


# -- 5: what a node is told ------------------------------------------------------------------


def told(field: str, seen: list[Any]) -> Any:
    """Return a node that notes what it is told of its execution, and fails twice."""

    def n(_: State, runtime: Any) -> None:
        seen.append(getattr(runtime.execution_info, field))
        if len(seen) < 3:
            raise Mine

    return n


def test_19_b5_number_of_the_attempt_is_told(call):
    seen: list[Any] = []
    call.invoke(single(told("node_attempt", seen), at_once()).compile(), {})
    assert seen == [1, 2, 3]


def test_19_b5_time_of_the_first_attempt_stays(call):
    seen: list[Any] = []
    policy = RetryPolicy(initial_interval=0.01, jitter=False)
    call.invoke(single(told("node_first_attempt_time", seen), policy).compile(), {})
    assert len(seen) == 3
    assert len(set(seen)) == 1


# -- 6: where ---------------------------------------------------------------------------------


def test_19_b6_add_node_takes_a_policy(call):
    assert call.invoke(single(Flaky(Mine()), at_once()).compile(), {}) == {"log": [2]}


def test_19_b6_set_node_defaults_takes_a_policy(call):
    graph = single(Flaky(Mine()), None).set_node_defaults(retry_policy=at_once())
    assert call.invoke(graph.compile(), {}) == {"log": [2]}


def test_19_b6_task_takes_a_policy(call):
    called = task(name="called", retry_policy=at_once())(Flaky(Mine()))

    async def n(state: State) -> Any:
        return await called(state)

    assert call.invoke(single(n, None).compile(), {}) == {"log": [2]}


@pytest.mark.simulated(False)  # it gives values that are no dict
def test_19_b6_entrypoint_takes_a_policy(call):
    attempts: list[int] = []

    @entrypoint(retry_policy=[at_once()])
    def main(x: int) -> int:
        attempts.append(x)
        if len(attempts) < 2:
            raise Mine
        return len(attempts)

    assert call.invoke(main, 1) == 2


def test_19_b6_without_a_policy_nothing_is_retried(call):
    node = Flaky(Mine())
    with pytest.raises(Mine):
        call.invoke(single(node, None).compile(), {})
    assert node.attempts == 1


def test_19_b6_siblings_do_not_run_again(call, saver, thread):
    ran: list[str] = []
    graph = single(Flaky(Mine(), Mine()), at_once())
    graph.add_node("m", lambda _: ran.append("m")).add_edge(START, "m")
    assert call.invoke(graph.compile(saver), {}, thread) == {"log": [3]}
    assert ran == ["m"]
