"""Where graphflow differs from LangGraph on purpose or to the user's good: both results stated.

The first half is contract §32; the second half is what the peer does by accident, or not at all.
"""

import asyncio
import operator
from typing import Annotated, Any

import pydantic
import pytest
from typing_extensions import TypedDict

from .programs import THREAD, chain, parallel, raised, sides


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


def test_differs_async_node_in_a_blocking_run():
    async def node(_: State) -> Any:
        await asyncio.sleep(0)
        return {"x": 1}

    def program(lib, call):
        app = chain(lib, State, ("n", node)).compile()
        return raised(lib, lambda: call.invoke(app, {"log": []}), "No synchronous function")

    ours, theirs = sides(program)
    assert ours == ("returned", {"x": 1, "log": []})
    assert theirs == ("TypeError", {"No synchronous function": True})


def test_differs_question_under_except_exception():
    def program(lib, call):
        def node(_: State) -> Any:
            try:
                return {"x": lib.interrupt("?")}
            except Exception:
                return {"x": "swallowed"}

        app = chain(lib, State, ("n", node)).compile(lib.InMemorySaver())
        return "__interrupt__" in call.invoke(app, {"log": []}, THREAD)

    assert sides(program) == (True, False)


def test_differs_second_answer():
    def program(lib, call):
        ran = []
        app = chain(lib, State, ("n", lambda _: ran.append(1) or {"log": [lib.interrupt("?")]}))
        app = app.compile(lib.InMemorySaver())
        (question,) = call.invoke(app, {"log": []}, THREAD)["__interrupt__"]
        answer = lib.Command(resume={question.id: "yes"})
        call.invoke(app, answer, THREAD)
        again = raised(lib, lambda: call.invoke(app, answer, THREAD))
        return again, len(ran), call.state(app).values

    ours, theirs = sides(program)
    assert ours == (("AlreadyAnswered", {}), 2, {"log": ["yes"]})
    assert theirs == (("returned", {"log": ["yes"]}), 2, {"log": ["yes"]})


def test_differs_answer_to_a_thread_that_has_ended():
    def program(lib, call):
        app = chain(lib, State, ("n", lambda _: None)).compile(lib.InMemorySaver())
        call.invoke(app, {"x": 1, "log": []}, THREAD)
        return raised(lib, lambda: call.invoke(app, lib.Command(resume=1), THREAD))[0]

    assert sides(program) == ("AlreadyAnswered", "returned")


def test_differs_bad_value_of_a_model():
    class Order(pydantic.BaseModel):
        size: int

    def program(lib, call):
        nodes = [("a", lambda _: {"size": "many"}), ("b", lambda _: None)]
        app = chain(lib, Order, *nodes).compile(lib.InMemorySaver())
        refused = raised(lib, lambda: call.invoke(app, {"size": 1}, THREAD))[0]
        read = raised(lib, lambda: call.state(app).values)
        mended = raised(lib, lambda: call.update(app, THREAD, {"size": 2}, "a"))[0]
        return refused, read, mended

    ours, theirs = sides(program)
    assert ours == ("ValidationError", ("returned", {"size": 1}), "returned")
    assert theirs == ("ValidationError", ("ValidationError", {}), "ValidationError")


def test_differs_bad_value_of_the_last_node_of_a_model():
    class Order(pydantic.BaseModel):
        size: int

    def program(lib, call):
        app = chain(lib, Order, ("a", lambda _: {"size": "many"})).compile(lib.InMemorySaver())
        shown = raised(lib, lambda: call.invoke(app, {"size": 1}, THREAD))[0]
        return shown, call.state(app).values

    ours, theirs = sides(program)
    assert ours == ("ValidationError", {"size": 1})
    assert theirs == ("returned", {"size": "many"})


def test_differs_tuples_come_back_from_a_checkpoint():
    def program(lib, call):
        nodes = [("a", lambda _: {"x": (1, {2})}), ("b", lambda s: {"log": [repr(s["x"])]})]
        app = chain(lib, State, *nodes).compile(lib.InMemorySaver(), interrupt_before=["b"])
        call.invoke(app, {"log": []}, THREAD)
        return call.invoke(app, None, THREAD)["log"]

    assert sides(program) == (["(1, {2})"], ["[1, {2}]"])


def test_differs_unknown_goto():
    def program(lib, call):
        app = chain(lib, State, ("n", lambda _: lib.Command(goto="typo"))).compile()
        return raised(lib, lambda: call.invoke(app, {"log": []}), "typo")

    ours, theirs = sides(program)
    assert ours == ("InvalidUpdateError", {"typo": True})
    assert theirs == ("returned", {"log": []})


def test_differs_two_runs_on_one_thread():
    def program(lib, call):
        saver = lib.InMemorySaver()
        rival = chain(lib, State, ("r", lambda _: {"log": ["rival"]})).compile(saver)

        async def overtaken(_: State) -> Any:
            started.set()
            await go_on.wait()
            return {"log": ["slow"]}

        async def main() -> Any:
            slow = chain(lib, State, ("s", overtaken)).compile(saver)
            run = asyncio.create_task(slow.ainvoke({"log": []}, THREAD))
            await started.wait()
            second = rival.ainvoke({"log": []}, THREAD)
            results = await asyncio.gather(second, return_exceptions=True)
            go_on.set()
            results += await asyncio.gather(run, return_exceptions=True)
            told = [type(result).__name__ for result in results]
            return told, (await rival.aget_state(THREAD)).values

        started, go_on = asyncio.Event(), asyncio.Event()
        return asyncio.run(main())

    ours, theirs = sides(program)
    assert ours == (["ThreadBusy", "dict"], {"log": ["slow"]})
    assert theirs[0] == ["dict", "dict"]


def test_differs_input_schema_that_is_a_model_is_checked():
    class Ask(pydantic.BaseModel):
        x: int

    def program(lib, call):
        graph = lib.StateGraph(State, input_schema=Ask).add_node("n", lambda _: None)
        app = graph.add_edge(lib.START, "n").compile()
        return raised(lib, lambda: call.invoke(app, {"x": "many"}))[0]

    assert sides(program) == ("ValidationError", "returned")


def test_differs_first_command_of_a_thread_updates_once():
    def program(lib, call):
        app = chain(lib, State, ("n", lambda _: None)).compile(lib.InMemorySaver())
        return call.invoke(app, lib.Command(update={"log": ["in"]}), THREAD)

    assert sides(program) == ({"log": ["in"]}, {"log": ["in", "in"]})


def test_differs_result_of_a_run_that_writes_nothing():
    def program(lib, call):
        return call.invoke(chain(lib, State, ("n", lambda _: None)).compile(), {})

    assert sides(program) == ({"log": []}, None)


def test_differs_empty_dict_as_an_answer():
    def program(lib, call):
        app = chain(lib, State, ("n", lambda _: {"log": [lib.interrupt("?")]}))
        app = app.compile(lib.InMemorySaver())
        call.invoke(app, {"log": []}, THREAD)
        return call.invoke(app, lib.Command(resume={}), THREAD)["log"]

    assert sides(program) == ([{}], [])


def test_differs_empty_breakpoints_of_a_call_win():
    def program(lib, call):
        app = chain(lib, State, ("n", lambda _: {"x": 1})).compile(
            lib.InMemorySaver(), interrupt_before=["n"]
        )
        return call.invoke(app, {"log": []}, THREAD, interrupt_before=[])

    assert sides(program) == ({"x": 1, "log": []}, {"log": []})


def test_differs_sends_count_as_the_last_writers():
    def program(lib, call):
        graph = lib.StateGraph(State).add_node("a", lambda _: None)
        graph.add_node("w", lambda n: {"log": [n]}).add_node("z", lambda _: None)
        graph.add_conditional_edges("a", lambda _: [lib.Send("w", 1), lib.Send("w", 2)], ["w"])
        graph.add_edge(lib.START, "a").add_edge("w", "z")
        app = graph.compile(lib.InMemorySaver(), interrupt_before=["z"])
        call.invoke(app, {"log": []}, THREAD)
        call.update(app, THREAD, {"log": ["edit"]})
        return call.state(app).next

    assert sides(program) == (("z",), ("w", "w"))


def test_differs_injected_parameters_with_any_hint():
    def program(lib, call):
        def node(state: State, writer: Any, store: Any) -> Any:
            return {"log": [store]}

        app = chain(lib, State, ("n", node)).compile()
        return raised(lib, lambda: call.invoke(app, {"log": []}))

    ours, theirs = sides(program)
    assert ours == ("returned", {"log": [None]})
    assert theirs == ("TypeError", {})


def test_differs_empty_names_and_unknown_versions():
    def program(lib, call):
        graph = lib.StateGraph(State)
        app = chain(lib, State, ("n", lambda _: None)).compile()
        return (
            raised(lib, lambda: type(graph.add_node("", lambda _: None)).__name__)[0],
            raised(lib, lambda: call.stream(app, {"log": []}, version="v9"))[0],
        )

    assert sides(program) == (("ValueError", "ValueError"), ("returned", "returned"))


@pytest.mark.filterwarnings("ignore:.*")
def test_differs_durability_sync_without_a_checkpointer():
    def program(lib, call):
        app = chain(lib, State, ("n", lambda _: {"x": 1})).compile()
        return raised(lib, lambda: call.invoke(app, {"log": []}, durability="sync"))[0]

    assert sides(program) == ("returned", "AttributeError")


def test_differs_question_in_a_path_shows_nothing_of_its_node_yet():
    def program(lib, call):
        graph = chain(lib, State, ("a", lambda _: {"log": ["a"]}))
        graph.add_node("b", lambda _: {"log": ["b"]})
        graph.add_conditional_edges("a", lambda _: lib.interrupt("where?"), ["b"])
        app = graph.compile(lib.InMemorySaver())
        first = call.invoke(app, {"log": []}, THREAD)["log"]
        return first, call.invoke(app, lib.Command(resume="b"), THREAD)

    ours, theirs = sides(program)
    assert ours == ([], {"log": ["a", "b"]})
    assert theirs == (["a"], {"log": ["a", "b"]})


def test_differs_update_after_an_update_follows_the_first():
    def program(lib, call):
        nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "abc"]
        app = chain(lib, State, *nodes).compile(lib.InMemorySaver())
        call.invoke(app, {"log": []}, THREAD)
        call.update(app, THREAD, {"log": ["one"]}, "a")
        call.update(app, THREAD, {"log": ["two"]})
        return call.state(app).next

    assert sides(program) == (("b",), ())


def test_differs_deferred_node_waits_for_sends_too():
    def program(lib, call):
        graph = lib.StateGraph(State).add_node("plan", lambda _: None)
        graph.add_node("work", lambda n: {"log": [n]})
        graph.add_node("report", lambda s: {"x": len(s["log"])}, defer=True)
        graph.add_edge(lib.START, "plan").add_edge("plan", "report")
        graph.add_conditional_edges(
            "plan", lambda _: [lib.Send("work", n) for n in (1, 2)], ["work"]
        )
        return call.invoke(graph.compile(), {"log": []})["x"]

    assert sides(program) == (2, 0)


def test_differs_kept_child_that_is_next_when_a_run_goes_on():
    """LangGraph takes the run for the answer of a question in the child, and skips it."""

    class Inner(TypedDict, total=False):
        runs: Annotated[int, operator.add]
        x: int

    def program(lib, call):
        child = chain(lib, Inner, ("n", lambda s: {"runs": 1, "x": s["runs"] + 1}))
        graph = chain(lib, State, ("child", child.compile(checkpointer=True)))
        graph.add_node("after", lambda s: {"log": [s["x"]]}).add_edge("child", "after")
        graph.add_conditional_edges("after", lambda s: "child" if len(s["log"]) < 2 else lib.END)
        app = graph.compile(lib.InMemorySaver(), interrupt_before=["child"])
        call.invoke(app, {"log": []}, THREAD)
        return [call.invoke(app, None, THREAD)["log"] for _ in range(2)]

    assert sides(program) == ([[1], [1, 2]], [[1], [1, 1]])


def test_differs_questions_know_their_node():
    def program(lib, call):
        app = parallel(lib, State, ("n", lambda _: lib.interrupt("?"))).compile(lib.InMemorySaver())
        (question,) = call.invoke(app, {"log": []}, THREAD)["__interrupt__"]
        return getattr(question, "node", None)

    assert sides(program) == ("n", None)
