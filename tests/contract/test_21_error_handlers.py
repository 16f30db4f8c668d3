"""Contract §21: error handlers."""

import asyncio
import operator
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from graphflow import START, Command, NodeError, RetryPolicy, Send, StateGraph, interrupt

pytestmark = pytest.mark.simulated

HANDLER = "__error_handler__n"


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


def fails(_: State) -> State:
    raise ValueError("boom")


def mends(_: State) -> State:
    return {"log": ["mended"]}


def handled(node: Any = fails, handler: Any = mends, **options: Any) -> Any:
    """Return the graph `n` → `next`, in which `n` has an error handler."""
    graph = StateGraph(State).add_node("n", node, error_handler=handler, **options)
    graph.add_node("next", lambda _: {"log": ["next"]})
    return graph.add_edge(START, "n").add_edge("n", "next")


def test_21_b2_result_of_the_handler_takes_the_nodes_place(call, saver, thread):
    assert call.invoke(handled().compile(saver), {"log": ["i"]}, thread) == {"log": ["i", "mended"]}
    assert call.state(handled().compile(saver), thread).next == ()


def test_21_b2_handler_of_a_node_that_succeeds_does_not_run(call):
    app = handled(lambda _: {"log": ["n"]}).compile()
    assert call.invoke(app, {"log": []}) == {"log": ["n", "next"]}


def test_21_b2_edges_of_the_failed_node_are_not_followed(call):
    graph = handled()
    graph.add_conditional_edges("n", lambda _: "next")
    graph.add_node("join", lambda _: {"log": ["join"]}).add_edge(["n", "next"], "join")
    assert call.invoke(graph.compile(), {"log": []}) == {"log": ["mended"]}


def test_21_b2_command_of_the_handler_says_where_to_go_on(call):
    app = handled(handler=lambda _: Command(update={"log": ["mended"]}, goto="next")).compile()
    assert call.invoke(app, {"log": []}) == {"log": ["mended", "next"]}


def test_21_b2_handler_gets_the_nodes_input_and_what_it_asks_for(call):
    class Narrow(TypedDict):
        x: int

    seen: list[Any] = []

    def n(state: Narrow) -> State:
        raise ValueError(state["x"])

    def handler(state: Any, error: NodeError, config: Any, runtime: Any) -> None:
        seen.append((state, error.node, repr(error.error), config["tags"], runtime.context))

    call.invoke(handled(n, handler).compile(), {"x": 7}, {"tags": ["t"]}, context="c")
    assert seen == [({"x": 7}, "n", "ValueError(7)", ["t"], "c")]


def test_21_b2_error_is_the_exception_itself(call):
    raised, seen = ValueError("boom"), []

    def n(_: State) -> State:
        raise raised

    call.invoke(handled(n, lambda _, error: seen.append(error.error)).compile(), {})
    assert seen == [raised]
    assert seen[0] is raised


def test_21_b2_handler_may_be_async(call):
    async def handler(_: State, error: NodeError) -> State:
        await asyncio.sleep(0)
        return {"log": [error.node]}

    assert call.invoke(handled(handler=handler).compile(), {"log": []}) == {"log": ["n"]}


def test_21_b2_handler_runs_after_the_last_retry(call):
    tries: list[int] = []

    def n(_: State) -> State:
        tries.append(1)
        raise ConnectionError("boom")

    policy = RetryPolicy(max_attempts=3, initial_interval=0.0, jitter=False)
    app = handled(n, retry_policy=policy).compile()
    assert call.invoke(app, {"log": []}) == {"log": ["mended"]}
    assert len(tries) == 3


@pytest.mark.simulated(False)  # it looks at modes that the simulation does not stream
def test_21_b2_handler_runs_in_the_same_superstep(call, saver, thread):
    app = handled().compile(saver)
    call.invoke(app, {"log": []}, thread)
    assert [shot.metadata["step"] for shot in call.history(app, thread)] == [1, 0, -1]
    chunks = call.stream(app, {"log": []}, stream_mode="debug", config=thread)
    steps = {chunk["step"] for chunk in chunks if chunk["payload"].get("name") == HANDLER}
    assert steps == {4}


def test_21_b3_updates_name_the_handler(call):
    chunks = call.stream(handled().compile(), {"log": []})
    assert chunks == [{HANDLER: {"log": ["mended"]}}]


@pytest.mark.simulated(False)  # it looks at modes that the simulation does not stream
def test_21_b3_error_of_the_node_is_told_before_the_handler(call):
    chunks = call.stream(handled().compile(), {"log": []}, stream_mode=["updates", "tasks"])
    told = [(mode, data.get("name"), repr(data.get("error"))) for mode, data in chunks]
    assert told == [
        ("tasks", "n", "None"),
        ("tasks", "n", "ValueError('boom')"),
        ("updates", None, "None"),
        ("tasks", HANDLER, "None"),
    ]


def test_21_b3_siblings_run_to_their_end():
    async def main() -> Any:
        mended = asyncio.Event()

        async def sibling(_: State) -> State:
            await asyncio.wait_for(mended.wait(), 5)
            return {"log": ["sibling"]}

        def handler(_: State) -> State:
            loop.call_soon_threadsafe(mended.set)
            return {"log": ["mended"]}

        loop = asyncio.get_running_loop()
        graph = handled(handler=handler).add_node("sibling", sibling).add_edge(START, "sibling")
        return await graph.compile().ainvoke({"log": []})

    assert asyncio.run(main()) == {"log": ["mended", "sibling"]}


def test_21_b4_exception_of_the_handler_fails_the_run(call, saver, thread):
    def handler(_: State) -> State:
        raise KeyError("worse")

    app = handled(handler=handler).compile(saver)
    with pytest.raises(KeyError, match="worse"):
        call.invoke(app, {"log": []}, thread)
    assert call.state(app, thread).next == ("n",)


def test_21_b4_default_handler_does_not_handle_handlers(call):
    def handler(_: State) -> State:
        raise KeyError("worse")

    graph = handled(handler=handler).set_node_defaults(error_handler=mends)
    with pytest.raises(KeyError, match="worse"):
        call.invoke(graph.compile(), {"log": []})


def test_21_b1_default_handler_serves_nodes_without_their_own(call):
    graph = handled().set_node_defaults(error_handler=lambda _, error: {"log": [error.node]})
    graph.add_node("m", fails).add_edge(START, "m")
    assert call.invoke(graph.compile(), {"log": []}) == {"log": ["m", "mended"]}


def test_21_b4_question_is_no_error(call, saver, thread):
    app = handled(lambda _: {"log": [interrupt("?")]}).compile(saver)
    assert "__interrupt__" in call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, Command(resume="A"), thread) == {"log": ["A", "next"]}


def test_21_b4_command_to_the_parent_is_no_error(call):
    child = handled(lambda _: Command(graph=Command.PARENT, update={"log": ["up"]})).compile()
    app = StateGraph(State).add_node("child", child).add_edge(START, "child").compile()
    assert call.invoke(app, {"log": []}) == {"log": ["up"]}


def test_21_b5_handler_of_the_parents_node_handles_a_subgraph(call, saver, thread):
    child = StateGraph(State).add_node("inner", fails).add_edge(START, "inner").compile()
    seen: list[Any] = []
    app = handled(child, lambda _, error: seen.append((error.node, str(error.error)))).compile(
        saver
    )
    call.invoke(app, {"log": []}, thread)
    assert seen == [("n", "boom")]


def test_21_b6_several_failures_of_one_superstep_each_get_their_handler(call, saver, thread):
    graph = handled(handler=lambda _, error: {"log": [f"{error.node} mended"]})
    graph.add_node("m", fails, error_handler=lambda _, error: {"log": [f"{error.node} mended"]})
    app = graph.add_edge(START, "m").compile(saver)
    assert call.invoke(app, {"log": []}, thread) == {"log": ["m mended", "n mended"]}


def test_21_b2_each_failed_send_gets_the_handler_with_its_own_input(call):
    graph = StateGraph(State)
    graph.add_node("n", fails, error_handler=lambda given: {"log": [given["x"]]})
    sends = [Send("n", {"x": number}) for number in range(3)]
    graph.add_conditional_edges(START, lambda _: sends, ["n"])
    assert call.invoke(graph.compile(), {"log": []}) == {"log": [0, 1, 2]}


def test_21_b6_handler_that_failed_runs_again_instead_of_the_node(call, saver, thread):
    ran: list[str] = []

    def n(_: State) -> State:
        ran.append("n")
        raise ValueError("boom")

    def handler(_: State, error: NodeError) -> State:
        ran.append(f"handler of {error.node}: {'boom' in str(error.error)}")
        if len(ran) == 2:
            raise KeyError("worse")
        return {"log": ["mended"]}

    app = handled(n, handler).compile(saver)
    with pytest.raises(KeyError, match="worse"):
        call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, None, thread) == {"log": ["mended"]}
    assert ran == ["n", "handler of n: True", "handler of n: True"]


def test_21_b4_handler_may_ask_a_person(call, saver, thread):
    ran: list[str] = []

    def n(_: State) -> State:
        ran.append("n")
        raise ValueError("boom")

    app = handled(n, lambda _: {"log": [interrupt("what now?")]}).compile(saver)
    asked = call.invoke(app, {"log": []}, thread)["__interrupt__"]
    assert [question.value for question in asked] == ["what now?"]
    assert call.invoke(app, Command(resume="go on"), thread) == {"log": ["go on"]}
    assert ran == ["n"]


def test_21_b1_node_with_the_generated_name_is_refused():
    with pytest.raises(ValueError, match="reserved"):
        handled().add_node(HANDLER, mends)


def test_21_b2_an_error_handler_may_ask_after_its_node_has_asked(call, saver, thread):
    def n(_: Any) -> Any:
        raise ValueError(interrupt("of the node"))

    def handler(_: Any) -> Any:
        return {"log": [interrupt("of the handler")]}

    graph = StateGraph(State).add_node("n", n, error_handler=handler).add_edge(START, "n")
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    asked = call.invoke(app, Command(resume="A"), thread)["__interrupt__"]
    assert [question.value for question in asked] == ["of the handler"]
    assert call.state(app, thread).interrupts == tuple(asked)
    assert call.invoke(app, Command(resume="B"), thread) == {"log": ["B"]}
