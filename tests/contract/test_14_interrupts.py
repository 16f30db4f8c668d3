"""Contract §14: interrupts and resume."""

import operator
import re
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
import pytest
from typing_extensions import TypedDict

from graphflow import (
    START,
    Command,
    Interrupt,
    RetryPolicy,
    Send,
    StateGraph,
    interrupt,
    is_invalid_resume,
    task,
)

pytestmark = pytest.mark.simulated


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


def says(name: str) -> Any:
    return lambda _: {"log": [name]}


def asks(*questions: Any) -> Any:
    """Return a node that asks one question after another and logs the answers."""
    return lambda _: {"log": [interrupt(question) for question in questions]}


def beside(**nodes: Any) -> Any:
    graph = StateGraph(State)
    for name, node in nodes.items():
        graph.add_node(name, node).add_edge(START, name)
    return graph


def chain(*names: str) -> Any:
    nodes = [(name, says(name)) for name in names]
    return StateGraph(State).add_sequence(nodes).add_edge(START, names[0])


def questions_of(result: Any) -> dict[Any, str]:
    """Return the ids of a result's questions by their values."""
    return {question.value: question.id for question in result["__interrupt__"]}


def test_14_1_1_interrupt_stops_the_node_and_then_returns_the_answer(call, saver, thread):
    app = beside(n=asks("what?")).compile(saver)
    assert questions_of(call.invoke(app, {"log": []}, thread)).keys() == {"what?"}
    assert call.invoke(app, Command(resume="that"), thread) == {"log": ["that"]}


def test_14_1_2_interrupts_are_compared_by_value_id_and_schema():
    assert Interrupt("v", "i") == Interrupt("v", "i")
    assert Interrupt("v", "i") != Interrupt("v", "j")
    assert Interrupt("v", "i", {"type": "string"}) != Interrupt("v", "i")


def test_14_1_2_ids_are_32_hex_digits_and_differ_by_task_and_question(call, saver, thread):
    app = beside(n=asks("first", "second"), m=asks("other")).compile(saver)
    asked = questions_of(call.invoke(app, {"log": []}, thread))
    then = questions_of(call.invoke(app, Command(resume={asked["first"]: 1}), thread))
    ids = {*asked.values(), *then.values()}
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", identity) for identity in ids)


def test_14_1_2_id_is_equal_across_re_runs_of_the_task(call, saver, thread):
    app = beside(n=asks("what?")).compile(saver)
    first = questions_of(call.invoke(app, {"log": []}, thread))
    assert questions_of(call.invoke(app, None, thread)) == first
    assert call.state(app, thread).interrupts[0].id == first["what?"]


def test_14_1_2_id_differs_after_a_fork(call, saver, thread):
    app = beside(n=asks("what?")).compile(saver)
    first = questions_of(call.invoke(app, {"log": []}, thread))
    head = call.state(app, thread).config
    call.invoke(app, Command(resume="that"), thread)
    again = questions_of(call.invoke(app, None, head))
    assert again.keys() == first.keys()
    assert again != first


def test_14_1_3_without_checkpointer_nothing_can_be_resumed(call):
    app = beside(n=asks("what?")).compile()
    assert questions_of(call.invoke(app, {"log": []})).keys() == {"what?"}
    with pytest.raises(RuntimeError, match=r"Cannot use Command\(resume=\.\.\.\) without"):
        call.invoke(app, Command(resume="that"))


def test_14_1_4_each_task_surfaces_its_first_question_only(call, saver, thread):
    app = beside(n=asks("n1", "n2"), m=asks("m1", "m2")).compile(saver)
    assert questions_of(call.invoke(app, {"log": []}, thread)).keys() == {"n1", "m1"}


def test_14_2_1_node_runs_again_from_its_first_line(call, saver, thread):
    ran = []

    def n(_: State) -> State:
        ran.append("top")
        answers = [interrupt("first"), interrupt("second")]
        return {"log": answers}

    app = beside(n=n).compile(saver)
    call.invoke(app, {"log": []}, thread)
    asked = call.invoke(app, Command(resume=1), thread)
    assert questions_of(asked).keys() == {"second"}
    assert call.invoke(app, Command(resume=2), thread) == {"log": [1, 2]}
    assert ran == ["top"] * 3


@pytest.mark.parametrize("answer", [0, False, "", [], {}], ids=repr)
def test_14_2_1_falsy_answers_are_answers(call, saver, thread, answer):
    app = beside(n=asks("what?")).compile(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, Command(resume=answer), thread) == {"log": [answer]}


def test_14_2_2_answers_by_id_leave_the_others_open(call, saver, thread):
    app = beside(n=asks("n"), m=asks("m"), o=says("o")).compile(saver)
    asked = questions_of(call.invoke(app, {"log": []}, thread))
    left = call.invoke(app, Command(resume={asked["n"]: "yes"}), thread)
    assert questions_of(left) == {"m": asked["m"]}
    assert call.invoke(app, Command(resume={asked["m"]: "no"}), thread) == {
        "log": ["no", "yes", "o"]
    }


def test_14_2_2_several_answers_at_once(call, saver, thread):
    app = beside(n=asks("n"), m=asks("m")).compile(saver)
    asked = questions_of(call.invoke(app, {"log": []}, thread))
    answers = {identity: f"to {value}" for value, identity in asked.items()}
    assert call.invoke(app, Command(resume=answers), thread) == {"log": ["to m", "to n"]}


def test_14_2_2_dict_with_other_keys_is_a_plain_answer(call, saver, thread):
    app = beside(n=asks("what?")).compile(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, Command(resume={"a": 1}), thread) == {"log": [{"a": 1}]}


def test_14_2_2_dict_that_mixes_ids_and_other_keys_is_a_plain_answer(call, saver, thread):
    app = beside(n=asks("what?")).compile(saver)
    asked = questions_of(call.invoke(app, {"log": []}, thread))
    answer = {asked["what?"]: 1, "other": 2}
    assert call.invoke(app, Command(resume=answer), thread) == {"log": [answer]}


MULTIPLE = "When there are multiple pending interrupts, you must specify the interrupt id"


def test_14_2_3_plain_answer_to_several_questions_is_refused(call, saver, thread):
    app = beside(n=asks("n"), m=asks("m")).compile(saver)
    call.invoke(app, {"log": []}, thread)
    with pytest.raises(RuntimeError, match=MULTIPLE):
        call.invoke(app, Command(resume="which?"), thread)
    assert len(call.state(app, thread).interrupts) == 2


def test_14_2_3_a_second_question_of_one_task_counts(call, saver, thread):
    app = beside(n=asks("n1", "n2"), m=asks("m")).compile(saver)
    asked = questions_of(call.invoke(app, {"log": []}, thread))
    call.invoke(app, Command(resume={asked["n1"]: 1}), thread)
    with pytest.raises(RuntimeError, match=MULTIPLE):
        call.invoke(app, Command(resume="which?"), thread)


def test_14_2_3_plain_answer_goes_to_the_only_open_question(call, saver, thread):
    app = beside(n=asks("n"), m=asks("m")).compile(saver)
    asked = questions_of(call.invoke(app, {"log": []}, thread))
    call.invoke(app, Command(resume={asked["n"]: 1}), thread)
    assert call.invoke(app, Command(resume=2), thread) == {"log": [2, 1]}


def test_14_2_3_plain_answer_with_nothing_open_just_goes_on(call, saver, thread):
    app = chain("a", "b").compile(saver, interrupt_before=["b"])
    call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, Command(resume="unasked"), thread) == {"log": ["a", "b"]}


def test_14_2_4_update_beside_an_answer_is_applied_first_and_once(call, saver, thread):
    seen = []

    def n(state: State) -> State:
        seen.append((state["x"], state["log"]))
        return {"log": [interrupt("first"), interrupt("second")]}

    app = beside(n=n).compile(saver)
    call.invoke(app, {"x": 0, "log": []}, thread)
    call.invoke(app, Command(resume=1, update={"x": 5, "log": ["u"]}), thread)
    result = call.invoke(app, Command(resume=2), thread)
    assert result == {"x": 5, "log": ["u", 1, 2]}
    assert seen == [(0, []), (5, ["u"]), (5, ["u"])]
    assert call.state(app, thread).values == result


def test_14_2_4_goto_beside_an_answer(call, saver, thread):
    graph = beside(n=asks("?")).add_node("z", says("z"))
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    result = call.invoke(app, Command(resume=1, goto="z"), thread)
    assert result == {"log": [1, "z"]}
    assert call.state(app, thread).values == result


def test_14_2_4_update_of_a_key_that_a_finished_sibling_wrote(call, saver, thread):
    app = beside(n=asks("first", "second"), m=lambda _: {"x": 1}).compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.invoke(app, Command(resume=1, update={"x": 5}), thread)
    assert call.state(app, thread).values == {"x": 1, "log": []}
    assert call.invoke(app, Command(resume=2), thread) == {"x": 1, "log": [1, 2]}


def test_14_2_4_each_of_several_resumes_may_update(call, saver, thread):
    app = beside(n=asks("first", "second")).compile(saver)
    call.invoke(app, {"x": 0, "log": []}, thread)
    call.invoke(app, Command(resume=1, update={"x": 5, "log": ["u"]}), thread)
    assert call.state(app, thread).values == {"x": 5, "log": ["u"]}
    result = call.invoke(app, Command(resume=2, update={"x": 6, "log": ["v"]}), thread)
    assert result == {"x": 6, "log": ["u", "v", 1, 2]}
    assert call.state(app, thread).values == result


def test_14_2_5_going_on_without_an_answer_asks_again(call, saver, thread):
    app = beside(n=asks("what?"), m=says("m")).compile(saver)
    first = questions_of(call.invoke(app, {"log": []}, thread))
    assert questions_of(call.invoke(app, None, thread)) == first
    assert call.invoke(app, Command(resume=1), thread) == {"log": ["m", 1]}


def test_14_2_6_head_checkpoint_id_is_as_good_as_none(call, saver, thread):
    app = beside(n=asks("what?")).compile(saver)
    call.invoke(app, {"log": []}, thread)
    count = len(call.history(app, thread))
    head = call.state(app, thread).config
    assert call.invoke(app, Command(resume=1), head) == {"log": [1]}
    assert len(call.history(app, thread)) == count + 1


@pytest.mark.parametrize("returned", [None, {}, {"log": ["m"]}], ids=repr)
def test_14_2_7_finished_task_never_runs_again(call, saver, thread, returned):
    ran = []

    def m(_: State) -> Any:
        ran.append("m")
        return returned

    app = beside(n=asks("first", "second"), m=m).compile(saver)
    call.invoke(app, {"log": []}, thread)
    call.invoke(app, Command(resume=1), thread)
    call.invoke(app, Command(resume=2), thread)
    assert ran == ["m"]


def test_14_2_7_finished_send_never_runs_again(call, saver, thread):
    ran = []

    def n(arg: int) -> State:
        ran.append(arg)
        return {"log": [interrupt("?") if arg == 1 else arg]}

    graph = StateGraph(State).add_node("n", n)
    graph.add_conditional_edges(START, lambda _: [Send("n", i) for i in range(3)], ["n"])
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, Command(resume="one"), thread) == {"log": [0, "one", 2]}
    assert sorted(ran) == [0, 1, 1, 2]


def test_14_2_8_retries_reuse_answers(call, saver, thread):
    attempts = []

    def n(_: State) -> State:
        answer = interrupt("what?")
        attempts.append(answer)
        if len(attempts) < 3:
            raise ConnectionError("again")
        return {"log": [answer]}

    policy = RetryPolicy(initial_interval=0.0, jitter=False)
    graph = StateGraph(State).add_node("n", n, retry_policy=policy).add_edge(START, "n")
    app = graph.compile(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.invoke(app, Command(resume="that"), thread) == {"log": ["that"]}
    assert attempts == ["that"] * 3


@pytest.mark.parametrize("questions", [("a",), ("a", "b")])
def test_14_2_9_calls_of_tasks_that_ended_are_not_made_again(call, saver, thread, questions):
    ran: list[str] = []
    note = task(name="note")(ran.append)

    def n(_: State) -> State:
        log = []
        for question in questions:
            note(f"before {question}").result()
            log.append(interrupt(question))
        note("at last").result()
        return {"log": log}

    app = beside(n=n).compile(saver)
    call.invoke(app, {}, thread)
    for question in questions:
        result = call.invoke(app, Command(resume=question.upper()), thread)
    assert result == {"log": [question.upper() for question in questions]}
    assert ran == [*(f"before {question}" for question in questions), "at last"]


def test_14_2_9_holds_where_the_task_around_the_calls_asks(call, saver, thread):
    ran: list[str] = []
    note = task(name="note")(ran.append)

    @task
    async def asking(question: str) -> Any:
        await note(question)
        return interrupt(question)

    async def n(_: State) -> State:
        return {"log": [await asking("a"), await asking("b")]}

    app = beside(n=n).compile(saver)
    call.invoke(app, {}, thread)
    call.invoke(app, Command(resume="A"), thread)
    assert call.invoke(app, Command(resume="B"), thread) == {"log": ["A", "B"]}
    assert ran == ["a", "b"]


class Approval(pydantic.BaseModel):
    approved: bool
    note: str = ""


@dataclass
class Choice:
    number: int


class Named(TypedDict):
    name: str


FORMS = [
    (Approval, {"approved": "yes"}, Approval(approved=True)),
    (Choice, {"number": "3"}, Choice(3)),
    (Named, {"name": "ann"}, {"name": "ann"}),
    ({"type": "string"}, 7, 7),
]


@pytest.mark.parametrize(("schema", "answer", "value"), FORMS, ids=lambda form: str(form)[:20])
def test_14_3_answer_is_validated_by_its_schema(call, saver, thread, schema, answer, value):
    seen = []
    app = beside(n=lambda _: seen.append(interrupt("?", response_schema=schema))).compile(saver)
    (question,) = call.invoke(app, {"log": []}, thread)["__interrupt__"]
    assert isinstance(question.response_schema, dict)
    assert "type" in question.response_schema
    call.invoke(app, Command(resume=answer), thread)
    assert seen == [value]


def test_14_3_invalid_answer_saves_nothing_and_can_be_given_again(call, saver, thread):
    node = lambda _: {"x": interrupt("?", response_schema=Choice).number}  # noqa: E731
    app = beside(n=node).compile(saver)
    call.invoke(app, {"log": []}, thread)
    count = len(call.history(app, thread))
    with pytest.raises(pydantic.ValidationError) as caught:
        call.invoke(app, Command(resume={"number": "many"}), thread)
    assert is_invalid_resume(caught.value)
    shot = call.state(app, thread)
    assert len(shot.interrupts) == 1
    assert shot.tasks[0].error is None
    assert len(call.history(app, thread)) == count
    assert call.invoke(app, Command(resume={"number": 3}), thread)["x"] == 3


def test_14_3_other_tasks_answered_in_the_same_resume_still_finish(call, saver, thread):
    def n(_: State) -> State:
        return {"log": [interrupt("n", response_schema=Choice).number]}

    app = beside(n=n, m=asks("m")).compile(saver)
    asked = questions_of(call.invoke(app, {"log": []}, thread))
    answers = {asked["n"]: {"number": "many"}, asked["m"]: "fine"}
    with pytest.raises(pydantic.ValidationError):
        call.invoke(app, Command(resume=answers), thread)
    assert call.state(app, thread).values == {"log": ["fine"]}
    assert call.invoke(app, Command(resume={"number": 3}), thread) == {"log": ["fine", 3]}


def test_14_3_other_errors_are_no_invalid_resume():
    with pytest.raises(pydantic.ValidationError) as caught:
        Approval.model_validate({})
    assert not is_invalid_resume(caught.value)
    assert not is_invalid_resume(ValueError())


@pytest.mark.parametrize("where", ["compile", "call"])
def test_14_4_interrupt_before_stops_before_the_superstep(call, saver, thread, where):
    options = {"interrupt_before": ["b"]}
    app = chain("a", "b").compile(saver, **(options if where == "compile" else {}))
    given = options if where == "call" else {}
    assert call.invoke(app, {"log": []}, thread, **given) == {"log": ["a"]}
    shot = call.state(app, thread)
    assert (shot.next, shot.interrupts) == (("b",), ())
    assert call.invoke(app, None, thread, **given) == {"log": ["a", "b"]}


@pytest.mark.parametrize("where", ["compile", "call"])
def test_14_4_interrupt_after_stops_after_the_superstep(call, saver, thread, where):
    options = {"interrupt_after": ["a"]}
    app = chain("a", "b").compile(saver, **(options if where == "compile" else {}))
    given = options if where == "call" else {}
    assert call.invoke(app, {"log": []}, thread, **given) == {"log": ["a"]}
    assert call.state(app, thread).next == ("b",)
    assert call.invoke(app, None, thread, **given) == {"log": ["a", "b"]}


def test_14_4_breakpoint_of_the_call_wins(call, saver, thread):
    app = chain("a", "b", "c").compile(saver, interrupt_before=["b"])
    assert call.invoke(app, {"log": []}, thread, interrupt_before=["c"]) == {"log": ["a", "b"]}


def test_14_4_breakpoint_before_the_first_node(call, saver, thread):
    app = chain("a").compile(saver, interrupt_before=["a"])
    assert call.invoke(app, {"log": ["i"]}, thread) == {"log": ["i"]}
    assert call.invoke(app, None, thread) == {"log": ["i", "a"]}


def test_14_4_breakpoint_before_one_node_holds_its_whole_superstep(call, saver, thread):
    app = beside(a=says("a"), b=says("b")).compile(saver, interrupt_before=["b"])
    assert call.invoke(app, {"log": []}, thread) == {"log": []}
    assert call.state(app, thread).next == ("a", "b")


@pytest.mark.parametrize("when", ["interrupt_before", "interrupt_after"])
def test_14_4_star_means_every_node(call, saver, thread, when):
    app = chain("a", "b").compile(saver, **{when: "*"})
    lengths = [len(call.invoke(app, {"log": []}, thread)["log"])]
    while call.state(app, thread).next:
        lengths.append(len(call.invoke(app, None, thread)["log"]))
    assert lengths == ([0, 1, 2] if when == "interrupt_before" else [1, 2])


def test_14_4_breakpoint_in_a_cycle_triggers_each_time(call, saver, thread):
    app = chain("a").add_edge("a", "a").compile(saver, interrupt_before=["a"])
    call.invoke(app, {"log": []}, thread)
    assert [len(call.invoke(app, None, thread)["log"]) for _ in range(3)] == [1, 2, 3]


def test_14_4_breakpoint_that_a_run_stands_on_is_passed_and_the_next_one_stops(call, saver, thread):
    app = chain("a", "b", "c").compile(saver, interrupt_before=["a", "b"])
    call.invoke(app, {"log": []}, thread)
    seen = []
    for _ in range(3):
        call.invoke(app, None, thread)
        seen.append(call.state(app, thread).next)
    assert seen == [("b",), (), ()]


def test_14_4_unknown_node_is_refused_at_compile(saver):
    with pytest.raises(ValueError, match="nowhere"):
        chain("a").compile(saver, interrupt_before=["nowhere"])


def test_14_4_static_and_dynamic_interrupts_mix(call, saver, thread):
    graph = StateGraph(State).add_sequence([("a", says("a")), ("q", asks("?")), ("b", says("b"))])
    app = graph.add_edge(START, "a").compile(saver, interrupt_before=["q"], interrupt_after=["q"])
    assert "__interrupt__" not in call.invoke(app, {"log": []}, thread)
    assert questions_of(call.invoke(app, None, thread)).keys() == {"?"}
    assert call.invoke(app, Command(resume=1), thread) == {"log": ["a", 1]}
    assert call.invoke(app, None, thread) == {"log": ["a", 1, "b"]}


def test_14_4_breakpoint_and_goto_mix(call, saver, thread):
    graph = StateGraph(State).add_node("a", lambda _: Command(goto="b")).add_node("b", says("b"))
    app = graph.add_edge(START, "a").compile(saver, interrupt_before=["b"])
    assert call.invoke(app, {"log": []}, thread) == {"log": []}
    assert call.invoke(app, None, thread) == {"log": ["b"]}
