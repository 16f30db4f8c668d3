"""Contract §23, 5 and 6: what entrypoints and tasks do not do twice, and what they ask."""

import asyncio
import itertools
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest
from typing_extensions import TypedDict

from graphflow import (
    START,
    Command,
    DriftError,
    RetryPolicy,
    StateGraph,
    entrypoint,
    interrupt,
    task,
)


class State(TypedDict, total=False):
    x: Any


@task
def double(x: int) -> int:
    return 2 * x


@task
def ask(what: Any) -> Any:
    return [what, interrupt(what)]


def questions(result: Any) -> dict[Any, str]:
    """Return the ids of the questions that a run stopped at, by what they ask."""
    return {question.value: question.id for question in result["__interrupt__"]}


# -- 5: what is not done twice ---------------------------------------------------------------------


@pytest.mark.parametrize("result", [None, False, 0, "", [], "text"], ids=repr)
def test_23_5_task_that_ended_returns_the_same_without_running(call, saver, thread, result):
    ran: list[int] = []

    @task
    def give() -> Any:
        ran.append(1)
        return result

    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        return [give().result(), interrupt("?")]

    call.invoke(main, 0, thread)
    assert call.invoke(main, Command(resume="yes"), thread) == [result, "yes"]
    assert ran == [1]


def test_23_5_task_that_ended_is_not_told_again(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(x: int) -> Any:
        return [double(x).result(), interrupt("?"), double(2).result()]

    call.invoke(main, 1, thread)
    told = call.stream(main, Command(resume="yes"), thread)
    assert told == [{"double": 4}, {"main": [2, "yes", 4]}]


def test_23_5_unfinished_tasks_run_again(call, saver, thread):
    ran: list[str] = []

    @task
    def step(name: str) -> str:
        ran.append(name)
        if ran.count("b") == 1 and name == "b":
            raise ValueError("boom")
        return name.upper()

    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        return [step(name).result() for name in "abc"]

    with pytest.raises(ValueError, match="boom"):
        call.invoke(main, 0, thread)
    assert call.invoke(main, None, thread) == ["A", "B", "C"]
    assert ran == ["a", "b", "b", "c"]


def test_23_5_calls_are_told_apart_by_the_call_around_them_and_their_number(call, saver, thread):
    ran: list[Any] = []

    @task
    def leaf(x: Any) -> Any:
        ran.append(x)
        return x

    @task
    def branch(name: str) -> Any:
        return [leaf(f"{name}{number}").result() for number in range(2)] + [interrupt(name)]

    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        return [future.result() for future in [branch("a"), branch("b")]]

    asked = questions(call.invoke(main, 0, thread))
    answers = {identity: name.upper() for name, identity in asked.items()}
    assert call.invoke(main, Command(resume=answers), thread) == [
        ["a0", "a1", "A"],
        ["b0", "b1", "B"],
    ]
    assert sorted(ran) == ["a0", "a1", "b0", "b1"]


def test_23_5_new_input_forgets_what_ended(call, saver, thread):
    ran: list[int] = []
    note = task(ran.append)

    @entrypoint(checkpointer=saver)
    def main(x: int) -> Any:
        note(x).result()
        return interrupt("?")

    call.invoke(main, 1, thread)
    call.invoke(main, 2, thread)
    assert ran == [1, 2]


def test_23_5_replay_of_a_checkpoint_runs_tasks_again(call, saver, thread):
    ran: list[int] = []
    note = task(ran.append)

    @entrypoint(checkpointer=saver)
    def main(x: int) -> Any:
        note(x).result()
        return interrupt("?")

    call.invoke(main, 1, thread)
    call.invoke(main, Command(resume=1), thread)
    call.invoke(main, None, call.history(main, thread)[-1].config)
    assert ran == [1, 1]


def test_23_5_another_task_in_the_place_of_a_recorded_one_is_an_error(call, saver, thread):
    first = [True]

    @entrypoint(checkpointer=saver)
    def main(x: int) -> Any:
        result = double(x).result() if first else ask("other").result()
        return [result, interrupt("?")]

    call.invoke(main, 1, thread)
    first.clear()
    with pytest.raises(DriftError, match="Call 1 in 'main' is 'ask', but the record says 'double'"):
        call.invoke(main, Command(resume="yes"), thread)
    first.append(True)  # the change is taken back
    assert call.invoke(main, None, thread) == [2, "yes"]


@dataclass
class Document:
    """What a task may return."""

    text: str


class Model(pydantic.BaseModel):
    """The same, of pydantic."""

    text: str


@pytest.mark.parametrize("kind", [Document, Model])
def test_23_5_result_of_a_class_that_the_task_names_is_kept(call, saver, thread, kind):
    def write(text: str) -> Any:
        return kind(text=text)

    write.__annotations__["return"] = kind
    writing = task(write)

    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        return [writing("bees").result().text, interrupt("?")]

    call.invoke(main, 0, thread)
    assert call.invoke(main, Command(resume="yes"), thread) == ["bees", "yes"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_23_5_holds_with_every_durability(call, saver, thread, durability):
    ran: list[int] = []

    @task
    def step(x: int) -> int:
        ran.append(x)
        return x

    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        return [step(1).result(), interrupt("a"), step(2).result(), interrupt("b")]

    call.invoke(main, 0, thread, durability=durability)
    call.invoke(main, Command(resume="A"), thread, durability=durability)
    result = call.invoke(main, Command(resume="B"), thread, durability=durability)
    assert (result, ran) == ([1, "A", 2, "B"], [1, 2])


def test_23_5_retried_node_reuses_what_its_tasks_returned(call):
    ran: list[int] = []
    attempts: list[int] = []
    note = task(ran.append)

    def n(_: State) -> Any:
        for number in range(3):
            note(number).result()
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError
        return {"x": len(attempts)}

    policy = RetryPolicy(initial_interval=0, jitter=False)
    graph = StateGraph(State).add_node("n", n, retry_policy=policy).add_edge(START, "n")
    assert call.invoke(graph.compile(), {}) == {"x": 3}
    assert ran == [0, 1, 2]


# -- 6: questions --------------------------------------------------------------------------------


def test_23_6_entrypoint_asks(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(x: int) -> Any:
        return [x, interrupt("first"), interrupt("second")]

    assert list(questions(call.invoke(main, 1, thread))) == ["first"]
    assert list(questions(call.invoke(main, Command(resume="a"), thread))) == ["second"]
    assert call.invoke(main, Command(resume="b"), thread) == [1, "a", "b"]


def test_23_6_question_in_a_task_is_surfaced_once(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        return ask("name").result()

    told = call.stream(main, 0, thread)
    assert [list(chunk) for chunk in told] == [["__interrupt__"]]
    assert [question.value for question in call.state(main, thread).interrupts] == ["name"]
    assert call.invoke(main, Command(resume="ann"), thread) == ["name", "ann"]


def test_23_6_task_asks_several_times(call, saver, thread):
    @task
    def interview() -> Any:
        return [interrupt("a"), interrupt("b")]

    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        return interview().result()

    call.invoke(main, 0, thread)
    assert list(questions(call.invoke(main, Command(resume="A"), thread))) == ["b"]
    assert call.invoke(main, Command(resume="B"), thread) == ["A", "B"]


@pytest.mark.parametrize("how", ["results", "gather"])
def test_23_6_questions_of_parallel_tasks_come_together(call, saver, thread, how):
    @entrypoint(checkpointer=saver)
    def main(names: list[str]) -> Any:
        return [future.result() for future in [ask(name) for name in names]]

    @entrypoint(checkpointer=saver)
    async def amain(names: list[str]) -> Any:
        return await asyncio.gather(*map(ask, names))

    app = main if how == "results" else amain
    asked = questions(call.invoke(app, ["a", "b", "c"], thread))
    assert sorted(asked) == ["a", "b", "c"]
    answers = {identity: name.upper() for name, identity in asked.items()}
    result = call.invoke(app, Command(resume=answers), thread)
    assert result == [["a", "A"], ["b", "B"], ["c", "C"]]


@pytest.mark.parametrize("order", [*itertools.permutations("abc")], ids="".join)
def test_23_6_questions_of_parallel_tasks_are_answered_in_any_order(call, saver, thread, order):
    answered: list[Any] = []

    @task
    def asks(what: str) -> Any:
        answer = interrupt(what)
        answered.append(what)
        return answer

    @entrypoint(checkpointer=saver)
    def main(names: str) -> Any:
        return [future.result() for future in [asks(name) for name in names]]

    asked = questions(call.invoke(main, "abc", thread))
    for number, name in enumerate(order):
        result = call.invoke(main, Command(resume={asked[name]: name.upper()}), thread)
        if number < 2:
            assert questions(result) == {left: asked[left] for left in order[number + 1 :]}
    assert result == ["A", "B", "C"]
    assert sorted(answered) == ["a", "b", "c"]


def test_23_6_questions_of_the_entrypoint_and_of_a_task_come_together(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        future = ask("task")
        return [interrupt("entrypoint"), future.result()]

    asked = questions(call.invoke(main, 0, thread))
    answers = {identity: name.upper() for name, identity in asked.items()}
    result = call.invoke(main, Command(resume=answers), thread)
    assert result == ["ENTRYPOINT", ["task", "TASK"]]


def test_23_6_question_of_a_forgotten_task_is_asked_too(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        ask("forgotten")
        return "done"

    assert list(questions(call.invoke(main, 0, thread))) == ["forgotten"]
    assert call.invoke(main, Command(resume="yes"), thread) == "done"


def test_23_6_plain_answer_to_several_questions_is_refused(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        return [future.result() for future in [ask("a"), ask("b")]]

    call.invoke(main, 0, thread)
    with pytest.raises(RuntimeError, match="multiple pending interrupts"):
        call.invoke(main, Command(resume="which?"), thread)


def test_23_6_question_is_no_error_that_the_caller_could_catch(call, saver, thread):
    @entrypoint(checkpointer=saver)
    def main(_: Any) -> Any:
        try:
            return ask("sure?").result()
        except Exception:
            return "swallowed"

    assert list(questions(call.invoke(main, 0, thread))) == ["sure?"]
