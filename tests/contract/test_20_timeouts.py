"""Contract §20: limits on the time of nodes and tasks.

Time passes on the simulation's clock: what sleeps here for hours takes no time.
"""

import asyncio
import operator
from datetime import timedelta
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import (
    START,
    AIMessage,
    Command,
    MessagesState,
    NodeError,
    NodeTimeoutError,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
    TimeoutPolicy,
    entrypoint,
    get_runtime,
    interrupt,
    push_message,
    task,
)
from graphflow.runtime import emit_message
from graphflow.state.message_chunk import MessageChunk
from graphflow.testing.simulation import Simulation

HOUR = 3600.0


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


def single(node: Any, timeout: Any, **options: Any) -> Any:
    graph = StateGraph(State).add_node("n", node, timeout=timeout, **options)
    return graph.add_edge(START, "n").compile()


def waiting(*hours: float, then: Any = None) -> Any:
    """Return a node that waits so long, and says that it goes on after each wait but the last."""

    async def n(_: State, runtime: Runtime[Any]) -> Any:
        for number, pause in enumerate(hours):
            await asyncio.sleep(pause * HOUR)
            if then is not None and number + 1 < len(hours):
                then(runtime)
        return {"log": ["done"]}

    return n


def simulated(app: Any, given: Any = None) -> Any:
    return Simulation(app, 0).invoke({} if given is None else given)


def late(app: Any, given: Any = None) -> NodeTimeoutError:
    """Return the error of a run that takes too long."""
    with pytest.raises(NodeTimeoutError) as raised:
        simulated(app, given)
    return raised.value


LIMITS = {
    "seconds": HOUR,
    "timedelta": timedelta(hours=1),
    "policy": TimeoutPolicy(run_timeout=HOUR),
    "policy of a timedelta": TimeoutPolicy(run_timeout=timedelta(hours=1)),
}


# -- 1: where, and what ------------------------------------------------------------------------


@pytest.mark.parametrize("form", LIMITS)
def test_20_b1_seconds_timedelta_and_policy_limit_the_whole_attempt(form):
    assert simulated(single(waiting(0.9), LIMITS[form])) == {"log": ["done"]}
    error = late(single(waiting(1.1), LIMITS[form]))
    assert (error.kind, error.run_timeout, error.idle_timeout) == ("run", HOUR, None)


def test_20_b1_task_takes_a_timeout():
    @task(timeout=HOUR)
    async def slow() -> None:
        await asyncio.sleep(2 * HOUR)

    async def n(_: State) -> Any:
        await slow()

    assert late(single(n, None)).node == "slow"


def test_20_b1_entrypoint_takes_a_timeout():
    @entrypoint(timeout=HOUR)
    async def main(hours: float) -> None:
        await asyncio.sleep(hours * HOUR)

    assert late(main, 2.0).node == "main"


def test_20_b1_set_node_defaults_takes_a_timeout():
    graph = StateGraph(State).set_node_defaults(timeout=HOUR).add_node("n", waiting(2))
    assert late(graph.add_edge(START, "n").compile()).node == "n"


def test_20_b1_send_overrides_the_timeout_of_the_node():
    graph = StateGraph(State).add_node("n", waiting(2), timeout=9 * HOUR)
    sends = [Send("n", {}, timeout=HOUR), Send("n", {})]
    app = graph.add_conditional_edges(START, lambda _: sends, ["n"]).compile()
    assert late(app).run_timeout == HOUR


@pytest.mark.parametrize("wrong", [0, -1, 0.0, timedelta(0), timedelta(seconds=-1), "1", True])
@pytest.mark.parametrize("name", ["run_timeout", "idle_timeout"])
def test_20_b1_limits_that_are_not_more_than_nothing_are_refused(name, wrong):
    with pytest.raises(ValueError, match=name):
        TimeoutPolicy(**{name: wrong})


PLACES = {
    "add_node": lambda limit: single(waiting(1), limit),
    "task": lambda limit: task(timeout=limit)(waiting(1)),
    "entrypoint": lambda limit: entrypoint(timeout=limit)(waiting(1)),
    "Send": lambda limit: Send("n", {}, timeout=limit),
    "set_node_defaults": lambda limit: StateGraph(State).set_node_defaults(timeout=limit),
}


@pytest.mark.parametrize("place", PLACES)
def test_20_b1_every_place_refuses_a_limit_of_nothing(place):
    with pytest.raises(ValueError, match="more than 0 seconds"):
        PLACES[place](0)


def test_20_b1_refresh_on_is_one_of_two():
    with pytest.raises(ValueError, match="refresh_on"):
        TimeoutPolicy(idle_timeout=1, refresh_on="never")  # type: ignore[arg-type]


# -- 2: only what can be cancelled -------------------------------------------------------------


def blocking(_: Any) -> None:
    """Do nothing, without a loop."""


BLOCKING = {
    "add_node": lambda: single(blocking, 1),
    "set_node_defaults": lambda: (
        StateGraph(State)
        .add_node("n", blocking)
        .add_edge(START, "n")
        .set_node_defaults(timeout=1)
        .compile()
    ),
    "task": lambda: task(timeout=1)(blocking),
    "entrypoint": lambda: entrypoint(timeout=1)(blocking),
}


@pytest.mark.parametrize("place", BLOCKING)
def test_20_b2_blocking_functions_are_refused(place):
    with pytest.raises(ValueError, match="only supported for async"):
        BLOCKING[place]()


def test_20_b2_node_with_a_limit_runs_in_a_blocking_call_as_well(call):
    assert call.invoke(single(waiting(0), 5), {}) == {"log": ["done"]}


# -- 3: what happens when time is up -----------------------------------------------------------


def test_20_b3_late_attempt_is_cancelled():
    seen: list[str] = []

    async def n(_: State) -> None:
        try:
            await asyncio.sleep(2 * HOUR)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    late(single(n, HOUR))
    assert seen == ["cancelled"]


@pytest.mark.parametrize("ending", ["returns", "raises"])
def test_20_b3_late_attempt_is_late_whatever_becomes_of_it(ending):
    async def n(_: State) -> Any:
        try:
            await asyncio.sleep(2 * HOUR)
        except asyncio.CancelledError:
            if ending == "raises":
                raise KeyError("while cleaning up") from None
        return {"log": ["late"]}

    error = late(single(n, HOUR))
    assert isinstance(error.__cause__, KeyError if ending == "raises" else type(None))


def test_20_b3_limit_is_that_of_each_attempt():
    attempts: list[int] = []

    async def n(_: State) -> Any:
        attempts.append(1)
        await asyncio.sleep(0.7 * HOUR)
        if len(attempts) < 3:
            raise ConnectionError
        return {"log": attempts}

    policy = RetryPolicy(initial_interval=0, jitter=False)
    assert simulated(single(n, HOUR, retry_policy=policy)) == {"log": [1, 1, 1]}


def test_20_b3_writes_of_a_late_attempt_are_dropped_and_it_is_retried_by_default():
    attempts: list[int] = []

    async def n(_: MessagesState) -> None:
        attempts.append(1)
        push_message(AIMessage(f"attempt {len(attempts)}", id=str(len(attempts))))
        await asyncio.sleep((2 - len(attempts)) * 2 * HOUR)

    graph = StateGraph(MessagesState)
    policy = RetryPolicy(initial_interval=0, jitter=False)
    graph.add_node("n", n, timeout=HOUR, retry_policy=policy).add_edge(START, "n")
    messages = simulated(graph.compile())["messages"]
    assert [message.content for message in messages] == ["attempt 2"]


def test_20_b3_error_tells_the_node_the_time_and_the_limit():
    error = late(single(waiting(9), TimeoutPolicy(run_timeout=2 * HOUR, idle_timeout=HOUR)))
    assert (error.node, error.kind, error.elapsed, error.timeout) == ("n", "idle", HOUR, HOUR)
    assert (error.run_timeout, error.idle_timeout) == (2 * HOUR, HOUR)
    assert not isinstance(error, TimeoutError)


def test_20_b3_timeout_error_of_the_nodes_own_is_left_alone(call):
    async def n(_: State) -> None:
        raise TimeoutError("my own")

    with pytest.raises(TimeoutError, match="my own"):
        call.invoke(single(n, HOUR), {})


def test_20_b3_late_node_is_late_on_every_driver(call):
    app = single(waiting(9), 0.01)
    with pytest.raises(NodeTimeoutError) as raised:
        call.invoke(app, {})
    assert raised.value.kind == "run"


def test_20_b3_error_handler_takes_a_late_node():
    def handler(_: State, error: NodeError) -> Any:
        return {"log": [type(error.error).__name__]}

    app = single(waiting(2), HOUR, error_handler=handler)
    assert simulated(app) == {"log": ["NodeTimeoutError"]}


def test_20_b3_graph_as_a_node_is_limited_as_a_whole():
    child = StateGraph(State).add_sequence([("a", waiting(0.7)), ("b", waiting(0.7))])
    assert late(single(child.add_edge(START, "a").compile(), HOUR)).node == "n"


def test_20_b3_question_of_a_node_with_a_limit_is_a_question(call, saver, thread):
    async def n(_: State) -> Any:
        return {"log": [interrupt("sure?")]}

    graph = StateGraph(State).add_node("n", n, timeout=HOUR).add_edge(START, "n")
    app = graph.compile(saver)
    assert "__interrupt__" in call.invoke(app, {}, thread)
    assert call.invoke(app, Command(resume="yes"), thread) == {"log": ["yes"]}


# -- 4: signs of life --------------------------------------------------------------------------


@task
async def pause() -> None:
    """Take most of an hour."""
    await asyncio.sleep(0.7 * HOUR)


SIGNS = {
    "a custom chunk": lambda runtime: runtime.stream_writer("here"),
    "a heartbeat": lambda runtime: runtime.heartbeat(),
    "a pushed message": lambda runtime: push_message(AIMessage("here", id="1"), state_key=None),
    "a piece of a message": lambda runtime: emit_message(MessageChunk(content="here", id="1")),
}


@pytest.mark.parametrize("sign", SIGNS)
def test_20_b4_idle_time_begins_anew_with_every_sign_of_life(sign):
    limit = TimeoutPolicy(idle_timeout=HOUR)
    node = waiting(0.7, 0.7, 0.7, then=SIGNS[sign])
    assert simulated(single(node, limit)) == {"log": ["done"]}
    assert late(single(waiting(0.7, 1.1, then=SIGNS[sign]), limit)).kind == "idle"


def test_20_b4_without_any_sign_a_node_is_idle():
    assert late(single(waiting(0.7, 0.7), TimeoutPolicy(idle_timeout=HOUR))).kind == "idle"


@pytest.mark.parametrize("sign", sorted(SIGNS.keys() - {"a heartbeat"}))
def test_20_b4_with_refresh_on_heartbeat_nothing_else_counts(sign):
    limit = TimeoutPolicy(idle_timeout=HOUR, refresh_on="heartbeat")
    assert late(single(waiting(0.7, 0.7, then=SIGNS[sign]), limit)).kind == "idle"
    alive = waiting(0.7, 0.7, then=SIGNS["a heartbeat"])
    assert simulated(single(alive, limit)) == {"log": ["done"]}


def test_20_b4_signs_of_life_do_not_put_off_the_end_of_the_whole():
    limit = TimeoutPolicy(run_timeout=2 * HOUR, idle_timeout=HOUR)
    node = waiting(0.7, 0.7, 0.7, 0.7, then=SIGNS["a heartbeat"])
    assert late(single(node, limit)).kind == "run"


def test_20_b4_child_task_that_ends_is_a_sign_of_life():
    async def n(_: State) -> None:
        for _number in range(3):
            await pause()

    assert simulated(single(n, TimeoutPolicy(idle_timeout=HOUR))) == {"log": []}


def test_20_b4_task_lives_while_the_tasks_that_it_calls_end():
    @task(timeout=TimeoutPolicy(idle_timeout=HOUR))
    async def outer() -> None:
        for _number in range(3):
            await pause()

    async def n(_: State) -> None:
        await outer()

    assert simulated(single(n, None)) == {"log": []}


def test_20_b4_heartbeat_of_a_task_keeps_those_around_it_alive():
    limit = TimeoutPolicy(idle_timeout=HOUR, refresh_on="heartbeat")

    @task
    async def inner() -> None:
        await waiting(0.7, 0.7, 0.7, then=SIGNS["a heartbeat"])({}, get_runtime())

    @task(timeout=limit)
    async def outer() -> None:
        await inner()

    async def n(_: State) -> None:
        await outer()

    assert simulated(single(n, limit)) == {"log": []}


def test_20_b4_sign_of_life_of_a_graph_inside_counts_for_the_node_around_it():
    child = single(waiting(0.7, 0.7, then=SIGNS["a custom chunk"]), None)
    app = single(child, TimeoutPolicy(idle_timeout=HOUR))
    assert simulated(app) == {"log": ["done"]}


def test_20_b4_superstep_of_a_graph_inside_counts_for_the_node_around_it():
    child = StateGraph(State).add_sequence([("a", waiting(0.7)), ("b", waiting(0.7))])
    app = single(child.add_edge(START, "a").compile(), TimeoutPolicy(idle_timeout=HOUR))
    assert simulated(app) == {"log": ["done", "done"]}


def test_20_b4_sign_of_life_from_another_thread_counts(call):
    async def n(_: State, runtime: Runtime[Any]) -> Any:
        for _number in range(5):
            await asyncio.sleep(0.02)
            await asyncio.to_thread(runtime.heartbeat)
        return {"log": ["done"]}

    limit = TimeoutPolicy(idle_timeout=60)
    assert call.invoke(single(n, limit), {}) == {"log": ["done"]}


# -- 5: entrypoints and tasks ------------------------------------------------------------------


def test_20_b5_entrypoint_with_a_timeout_runs_the_tasks_it_starts(call):
    @task
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    @entrypoint(timeout=60)
    async def main(x: int) -> Any:
        return await asyncio.gather(double(x), double(x + 1))

    assert call.invoke(main, 1) == [2, 4]


def test_20_b5_tasks_that_ended_before_the_time_was_up_do_not_run_again(call, saver, thread):
    ran: list[str] = []

    @task
    async def quick() -> str:
        ran.append("quick")
        return "quick"

    @entrypoint(checkpointer=saver, timeout=0.5)
    async def main(_: Any) -> Any:
        result = await quick()
        if len(ran) < 2:
            ran.append("late")
            await asyncio.sleep(60)
        return result

    with pytest.raises(NodeTimeoutError):
        call.invoke(main, 1, thread)
    assert call.invoke(main, None, thread) == "quick"
    assert ran == ["quick", "late"]


def test_20_b5_parameters_named_like_limits_are_the_functions_own(call):
    @task
    def connect(host: str, timeout: int = 1, idle_timeout: int = 2) -> Any:
        return [host, timeout, idle_timeout]

    @entrypoint()
    def main(host: str) -> Any:
        return connect(host, timeout=7, idle_timeout=8).result()

    assert call.invoke(main, "bee") == ["bee", 7, 8]


# -- 6: commands to the parent -----------------------------------------------------------------


@pytest.mark.parametrize("limited", ["the node", "the graph around it", "both"])
def test_20_b6_node_with_a_limit_may_command_the_graph_around_it(call, limited):
    async def n(_: State) -> Command:
        return Command(graph=Command.PARENT, update={"log": ["over"]}, goto="z")

    outer, inner = limited != "the node", limited != "the graph around it"
    child = single(n, HOUR if inner else None)
    graph = StateGraph(State).add_node("child", child, timeout=HOUR if outer else None)
    graph.add_node("z", lambda _: {"log": ["z"]}).add_edge(START, "child")
    assert call.invoke(graph.compile(), {}) == {"log": ["over", "z"]}
