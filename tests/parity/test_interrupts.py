"""Questions to people, answers, and static breakpoints (contract §14)."""

import operator
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
from typing_extensions import TypedDict

from .observations import by_task, plain
from .programs import ASYNC, THREAD, chain, parallel, parity, parity_in, raised


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


def asked(result: Any) -> Any:
    """Return the values of the questions in a result, sorted."""
    return sorted(str(question.value) for question in result.get("__interrupt__", ()))


def ids(result: Any) -> dict[str, str]:
    """Return the ids of the questions in a result by their values."""
    return {question.value: question.id for question in result["__interrupt__"]}


@parity
def test_question_and_answer(lib, call):
    ran = []

    def review(state: State) -> Any:
        ran.append("review")
        return {"log": [lib.interrupt({"draft": state["x"]})]}

    nodes = [("write", lambda _: {"x": "draft"}), ("review", review), ("end", lambda _: None)]
    app = chain(lib, State, *nodes).compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    paused = call.state(app)
    last = call.invoke(app, lib.Command(resume="fine"), THREAD)
    return first, paused, last, call.state(app), ran


@parity
def test_several_questions_in_one_node(lib, call):
    ran = []

    def interview(_: State) -> Any:
        ran.append(1)
        return {"log": [lib.interrupt("name"), lib.interrupt("age"), lib.interrupt("city")]}

    app = chain(lib, State, ("n", interview)).compile(lib.InMemorySaver())
    results = [call.invoke(app, {"log": []}, THREAD)]
    answers = [lib.Command(resume=answer) for answer in ("ann", 30, "oslo")]
    results += [call.invoke(app, answer, THREAD) for answer in answers]
    return results, len(ran), [s.tasks for s in call.history(app)]


@parity
def test_falsy_answers_are_answers(lib, call):
    app = chain(lib, State, ("n", lambda _: {"log": [lib.interrupt("?")]}))
    app = app.compile(lib.InMemorySaver())
    shown = []
    for number, answer in enumerate((False, 0, "", [])):
        config = {"configurable": {"thread_id": str(number)}}
        call.invoke(app, {"log": []}, config)
        shown.append(call.invoke(app, lib.Command(resume=answer), config))
    return shown


@parity
def test_parallel_questions_are_answered_by_id(lib, call):
    ran = []

    def node(name: str) -> Any:
        def ask(_: State) -> Any:
            ran.append(name)
            return {"log": [[name, lib.interrupt(name)]]}

        return ask

    nodes = [*((name, node(name)) for name in "pq"), ("r", lambda _: ran.append("r"))]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    known = ids(first)
    second = call.invoke(app, lib.Command(resume={known["p"]: 1}), THREAD)
    paused = call.state(app)
    third = call.invoke(app, lib.Command(resume={known["q"]: 2}), THREAD)
    return asked(first), second, paused, third, sorted(ran)


@parity
def test_all_parallel_questions_answered_at_once(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [lib.interrupt(name)]}) for name in "pqr"]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    known = ids(call.invoke(app, {"log": []}, THREAD))
    return call.invoke(app, lib.Command(resume={known[n]: n.upper() for n in "pqr"}), THREAD)


@parity
def test_plain_answer_to_several_questions_is_refused(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [lib.interrupt(name)]}) for name in "pq"]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    says = "When there are multiple pending interrupts, you must specify the interrupt id"
    refused = raised(lib, lambda: call.invoke(app, lib.Command(resume="a"), THREAD), says)
    return refused, call.state(app).next


@parity
def test_plain_answer_with_one_of_two_left(lib, call):
    nodes = [(name, lambda _, name=name: {"log": [lib.interrupt(name)]}) for name in "pq"]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    known = ids(call.invoke(app, {"log": []}, THREAD))
    call.invoke(app, lib.Command(resume={known["p"]: 1}), THREAD)
    return call.invoke(app, lib.Command(resume=2), THREAD)


@parity
def test_questions_of_sends(lib, call):
    graph = lib.StateGraph(State).add_node("w", lambda n: {"log": [[n, lib.interrupt(n)]]})
    graph.add_conditional_edges(lib.START, lambda _: [lib.Send("w", n) for n in range(3)], ["w"])
    app = graph.compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    known = ids(first)
    second = call.invoke(app, lib.Command(resume={known[2]: "two"}), THREAD)
    third = call.invoke(app, lib.Command(resume={known[0]: "zero", known[1]: "one"}), THREAD)
    return asked(first), asked(second), third, call.state(app)


@parity
def test_dict_answer_with_other_keys_is_a_plain_value(lib, call):
    app = chain(lib, State, ("n", lambda _: {"log": [lib.interrupt("?")]}))
    app = app.compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    return call.invoke(app, lib.Command(resume={"approved": True, "note": "ok"}), THREAD)


@parity
def test_answer_with_update(lib, call):
    def twice(state: State) -> Any:
        return {"log": [state["x"], lib.interrupt("one"), lib.interrupt("two")]}

    app = chain(lib, State, ("n", twice)).compile(lib.InMemorySaver())
    call.invoke(app, {"x": "old", "log": ["in"]}, THREAD)
    command = lib.Command(resume=1, update={"log": ["edit"]})
    second = call.invoke(app, command, THREAD)
    return second, call.invoke(app, lib.Command(resume=2), THREAD)


@parity
def test_answer_with_goto(lib, call):
    graph = chain(lib, State, ("n", lambda _: {"log": [lib.interrupt("?")]}))
    graph.add_node("other", lambda _: {"log": ["other"]})
    app = graph.compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    return call.invoke(app, lib.Command(resume=1, goto="other"), THREAD)


@parity
def test_none_asks_again_with_the_same_id(lib, call):
    app = chain(lib, State, ("n", lambda _: {"log": [lib.interrupt("?")]}))
    app = app.compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    return first, call.invoke(app, None, THREAD), len(call.history(app))


@parity
def test_ids_differ_between_runs_and_questions(lib, call):
    def node(_: State) -> Any:
        return {"log": [lib.interrupt("?"), lib.interrupt("?")]}

    app = chain(lib, State, ("n", node)).compile(lib.InMemorySaver())
    found = [call.invoke(app, {"log": []}, THREAD), call.invoke(app, {"log": []}, THREAD)]
    found.append(call.invoke(app, lib.Command(resume=1), THREAD))
    numbers = [result["__interrupt__"][0].id for result in found]
    return numbers, [len(number) for number in numbers]


@parity
def test_answer_at_the_newest_checkpoint_id(lib, call):
    app = chain(lib, State, ("n", lambda _: {"log": [lib.interrupt("?")]}))
    app = app.compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    newest = call.state(app).config
    return call.invoke(app, lib.Command(resume=1), newest), call.state(app), len(call.history(app))


@parity
def test_without_a_checkpointer_questions_show_and_cannot_be_answered(lib, call):
    app = chain(lib, State, ("n", lambda _: {"log": [lib.interrupt("?")]})).compile()
    says = "Cannot use Command(resume=...) without checkpointer"
    first = call.invoke(app, {"log": []})
    return first, raised(lib, lambda: call.invoke(app, lib.Command(resume=1)), says)


@parity
def test_new_input_discards_the_open_question(lib, call):
    nodes = [("q", lambda s: {"log": [lib.interrupt("?")]}), ("b", lambda _: {"log": ["b"]})]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    call.invoke(app, {"log": ["one"]}, THREAD)
    second = call.invoke(app, {"log": ["two"]}, THREAD)
    return second, call.invoke(app, lib.Command(resume="a"), THREAD)


@parity
def test_finished_siblings_do_not_run_again(lib, call):
    ran = []
    nodes = [
        ("none", lambda _: ran.append("none")),
        ("some", lambda _: ran.append("some") or {"log": ["some"]}),
        ("q", lambda _: ran.append("q") or {"log": [lib.interrupt("?")]}),
    ]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    paused = call.state(app)
    result = call.invoke(app, lib.Command(resume=1), THREAD)
    return paused.values, paused.next, by_task(paused.tasks), result, sorted(ran)


@parity
def test_record_of_an_answered_question(lib, call):
    nodes = [("q", lambda _: {"log": [lib.interrupt("?")]}), ("z", lambda _: {"log": ["z"]})]
    app = chain(lib, State, *nodes).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    call.invoke(app, lib.Command(resume=1), THREAD)
    return call.history(app)


@parity_in(ASYNC)
def test_questions_of_async_nodes(lib, call):
    async def ask(_: State) -> Any:
        return {"log": [lib.interrupt("?")]}

    app = chain(lib, State, ("n", ask)).compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    return first, call.invoke(app, lib.Command(resume=1), THREAD)


@parity
def test_question_in_a_child(lib, call):
    ran = []
    nodes = [
        ("one", lambda _: ran.append("one") or {"log": ["one"]}),
        ("ask", lambda _: ran.append("ask") or {"log": [lib.interrupt("?")]}),
    ]
    child = chain(lib, State, *nodes).compile()
    outer = [("a", lambda _: {"log": ["a"]}), ("child", child), ("z", lambda _: {"log": ["z"]})]
    app = chain(lib, State, *outer).compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    paused = call.state(app, subgraphs=True)
    return first, paused, call.invoke(app, lib.Command(resume=1), THREAD), ran


@parity
def test_question_in_a_child_that_a_node_calls(lib, call):
    ran = []
    nodes = [
        ("one", lambda _: ran.append("one")),
        ("ask", lambda _: ran.append("ask") or {"log": [lib.interrupt("?")]}),
    ]
    child = chain(lib, State, *nodes).compile()

    def calls(state: State) -> Any:
        ran.append("calls")
        return {"log": ["before", *child.invoke({"log": []})["log"]]}

    app = chain(lib, State, ("calls", calls)).compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    return first, call.invoke(app, lib.Command(resume=1), THREAD), ran


@parity
def test_questions_of_a_node_and_of_the_child_it_calls(lib, call):
    child = chain(lib, State, ("ask", lambda _: {"log": [lib.interrupt("child")]})).compile()

    def calls(state: State) -> Any:
        mine = lib.interrupt("mine")
        theirs = child.invoke({"log": []})["log"]
        return {"log": [mine, *theirs, lib.interrupt("last")]}

    app = chain(lib, State, ("calls", calls)).compile(lib.InMemorySaver())
    results = [call.invoke(app, {"log": []}, THREAD)]
    return results + [call.invoke(app, lib.Command(resume=a), THREAD) for a in "123"]


@parity
def test_questions_of_two_children_side_by_side(lib, call):
    def child(name: str) -> Any:
        return chain(lib, State, ("ask", lambda _: {"log": [lib.interrupt(name)]})).compile()

    app = parallel(lib, State, ("p", child("p")), ("q", child("q"))).compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    refused = raised(lib, lambda: call.invoke(app, lib.Command(resume=1), THREAD), "multiple")
    known = ids(first)
    second = call.invoke(app, lib.Command(resume={known["q"]: "Q"}), THREAD)
    return asked(first), refused, second, call.invoke(app, lib.Command(resume="P"), THREAD)


class Verdict(pydantic.BaseModel):
    approved: bool
    note: str = ""


class Marks(TypedDict):
    grade: int


@dataclass
class Choice:
    number: int


@parity
def test_answers_that_fit_their_schema(lib, call):
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    cases = [
        (Verdict, {"approved": True}),
        (Marks, {"grade": "3"}),
        (Choice, {"number": 2}),
        (schema, {"x": "not checked"}),
    ]
    shown = []
    for kind, answer in cases:
        node = ("n", lambda _, kind=kind: {"x": repr(lib.interrupt("?", response_schema=kind))})
        app = chain(lib, State, node).compile(lib.InMemorySaver())
        first = call.invoke(app, {}, THREAD)
        shown.append(plain([first, call.invoke(app, lib.Command(resume=answer), THREAD)]))
    return shown


@parity
def test_answer_is_stored_as_an_instance_of_its_schema(lib, call):
    node = ("n", lambda _: {"x": lib.interrupt("?", response_schema=Verdict)})
    shown = []
    for answer in ({"approved": True}, Verdict(approved=False, note="n")):
        app = chain(lib, State, node).compile(lib.InMemorySaver())
        call.invoke(app, {}, THREAD)
        shown.append(call.invoke(app, lib.Command(resume=answer), THREAD))
    return shown


@parity
def test_answer_that_does_not_fit_leaves_the_question_open(lib, call):
    node = ("n", lambda _: {"x": lib.interrupt("?", response_schema=Verdict).note})
    app = chain(lib, State, node).compile(lib.InMemorySaver())
    call.invoke(app, {}, THREAD)
    try:
        call.invoke(app, lib.Command(resume={"approved": "perhaps"}), THREAD)
        error = None
    except pydantic.ValidationError as caught:
        error = (lib.is_invalid_resume(caught), lib.is_invalid_resume(ValueError()))
    paused = call.state(app)
    command = lib.Command(resume={"approved": True, "note": "later"})
    return error, paused.next, paused.interrupts, call.invoke(app, command, THREAD)


@parity
def test_bad_answer_lets_the_other_answered_task_finish(lib, call):
    nodes = [
        ("bad", lambda _: {"log": [lib.interrupt("bad", response_schema=Verdict).note]}),
        ("good", lambda _: {"log": [lib.interrupt("good")]}),
    ]
    app = parallel(lib, State, *nodes).compile(lib.InMemorySaver())
    known = ids(call.invoke(app, {"log": []}, THREAD))
    command = lib.Command(resume={known["bad"]: "nonsense", known["good"]: "fine"})
    refused = raised(lib, lambda: call.invoke(app, command, THREAD))[0]
    command = lib.Command(resume={known["bad"]: {"approved": True, "note": "n"}})
    return refused, call.invoke(app, command, THREAD)


@parity
def test_question_after_a_retry(lib, call):
    tries = []

    def flaky(_: State) -> Any:
        answer = lib.interrupt("?")
        tries.append(answer)
        if len(tries) < 2:
            raise ConnectionError("again")
        return {"log": [answer]}

    policy = lib.RetryPolicy(initial_interval=0.001, jitter=False)
    graph = lib.StateGraph(State).add_node("n", flaky, retry_policy=policy)
    app = graph.add_edge(lib.START, "n").compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    return call.invoke(app, lib.Command(resume="yes"), THREAD), tries


@parity
def test_edit_of_the_state_while_paused(lib, call):
    nodes = [("a", lambda _: {"x": 1}), ("q", lambda s: {"log": [s["x"], lib.interrupt("?")]})]
    app = chain(lib, State, *nodes).compile(lib.InMemorySaver())
    call.invoke(app, {"log": []}, THREAD)
    call.update(app, THREAD, {"x": 2}, "a")
    paused = call.state(app)
    again = call.invoke(app, None, THREAD)
    return paused, again, call.invoke(app, lib.Command(resume="r"), THREAD)
