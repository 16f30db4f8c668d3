"""The thread handle: one conversation with a graph."""

import asyncio
import operator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ValidationError
from typing_extensions import TypedDict

from graphflow import START, Command, MemoryCheckpointer, StateGraph, Thread, interrupt
from graphflow.errors import (
    AlreadyAnswered,
    HeadMoved,
    InvalidUpdateError,
    UnknownCheckpointError,
    UnknownInterruptError,
)


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


class Approval(BaseModel):
    ok: bool


def chain() -> Any:
    nodes = [(name, lambda _, name=name: {"log": [name]}) for name in "ab"]
    return StateGraph(State).add_sequence(nodes).add_edge(START, "a").compile(MemoryCheckpointer())


def asking(**nodes: Any) -> Any:
    """Return a graph of nodes that start at once, each asking what its function asks."""
    graph = StateGraph(State)
    for name, ask in nodes.items():
        graph.add_node(name, lambda _, ask=ask, name=name: {"log": [(name, ask())]})
        graph.add_edge(START, name)
    return graph.compile(MemoryCheckpointer())


def one_question() -> Any:
    return asking(a=lambda: interrupt("ok?"))


def two_questions() -> Any:
    return asking(a=lambda: interrupt("qa"), b=lambda: interrupt("qb"))


# -- running ---------------------------------------------------------------------------------


def test_run_that_ends_is_done():
    run = chain().thread("t").run({})
    assert (run.status, run.value) == ("done", {"log": ["a", "b"]})
    assert (run.interrupts, run.next) == ((), ())


def test_run_that_asks_is_waiting():
    run = one_question().thread("t").run({})
    assert (run.status, run.next) == ("waiting", ("a",))
    assert [question.value for question in run.interrupts] == ["ok?"]


def test_run_that_stops_at_a_breakpoint_is_waiting_without_questions():
    thread = chain().thread("t")
    run = thread.run({}, interrupt_after=["a"])
    assert (run.status, run.interrupts, run.next) == ("waiting", (), ("b",))
    assert thread.run().status == "done"


def test_id_is_turned_into_a_string():
    app = chain()
    app.thread(42).run({})
    assert app.thread("42").values == {"log": ["a", "b"]}


def test_graph_without_checkpointer_has_no_threads():
    app = StateGraph(State).add_node("n", lambda _: None).add_edge(START, "n").compile()
    with pytest.raises(ValueError, match="No checkpointer set"):
        app.thread("t")


def test_config_of_the_handle_reaches_nodes():
    seen = []

    def n(_: State, config: Any) -> None:
        seen.append(config["configurable"]["user"])

    graph = StateGraph(State).add_node("n", n).add_edge(START, "n")
    app = graph.compile(MemoryCheckpointer())
    app.thread("t", config={"configurable": {"user": "ann"}}).run({})
    assert seen == ["ann"]


# -- answering -------------------------------------------------------------------------------


def test_answer_goes_to_the_only_question():
    thread = one_question().thread("t")
    thread.run({})
    run = thread.answer("yes")
    assert (run.status, run.value) == ("done", {"log": [("a", "yes")]})


def test_an_answer_to_several_questions_must_say_which():
    thread = two_questions().thread("t")
    thread.run({})
    with pytest.raises(UnknownInterruptError, match="2 of the open questions"):
        thread.answer("yes")


@pytest.mark.parametrize("way", ["node", "id", "interrupt"])
def test_question_is_named_by_node_id_or_itself(way):
    thread = two_questions().thread("t")
    question = next(q for q in thread.run({}).interrupts if q.node == "b")
    named = {"node": "b", "id": question.id, "interrupt": question}[way]
    run = thread.answer("yes", named)
    assert (run.status, [q.node for q in run.interrupts]) == ("waiting", ["a"])
    assert thread.answer("no").value == {"log": [("a", "no"), ("b", "yes")]}


def test_unknown_question_is_refused():
    thread = one_question().thread("t")
    thread.run({})
    with pytest.raises(UnknownInterruptError, match="'elsewhere' means 0"):
        thread.answer("yes", "elsewhere")


def test_answer_where_nothing_is_asked_is_refused():
    thread = one_question().thread("t")
    thread.run({})
    thread.answer("yes")
    with pytest.raises(AlreadyAnswered):
        thread.answer("again")


def test_answer_that_does_not_fit_leaves_the_question_open():
    thread = asking(a=lambda: interrupt("?", response_schema=Approval).ok).thread("t")
    thread.run({})
    with pytest.raises(ValidationError):
        thread.answer({"ok": "perhaps"})
    assert thread.answer({"ok": True}).value == {"log": [("a", True)]}


def test_each_of_two_questions_inside_one_subgraph_is_shown_and_answered():
    inner = StateGraph(State)
    for name in "ab":
        inner.add_node(name, lambda _, name=name: {"log": [interrupt(f"q{name}")]})
        inner.add_edge(START, name)
    outer = StateGraph(State).add_node("inner", inner.compile()).add_edge(START, "inner")
    thread = outer.compile(MemoryCheckpointer()).thread("t")
    thread.run({})
    assert [question.value for question in thread.questions] == ["qa", "qb"]
    assert [question.node for question in thread.answer("A", "a").interrupts] == ["b"]
    assert thread.answer("B").value == {"log": ["A", "B"]}


# -- on an event loop ------------------------------------------------------------------------


def test_arun_and_aanswer_do_the_same():
    async def talk() -> Any:
        thread = two_questions().thread("t")
        first = await thread.arun({})
        await thread.aanswer("A", "a")
        return first, await thread.aanswer("B")

    first, last = asyncio.run(talk())
    assert (first.status, len(first.interrupts)) == ("waiting", 2)
    assert (last.status, last.value) == ("done", {"log": [("a", "A"), ("b", "B")]})


# -- changing --------------------------------------------------------------------------------


def test_edit_replaces_without_reducer_and_keeps_what_is_next():
    thread = chain().thread("t")
    thread.run({}, interrupt_after=["a"])
    state = thread.edit({"log": ["z"]})
    assert (state.values, state.next) == ({"log": ["z"]}, ("b",))
    assert thread.run().value == {"log": ["z", "b"]}


def test_edit_says_who_and_why():
    thread = chain().thread("t")
    thread.run({})
    state = thread.edit({"x": 1}, reason="typo", author="ann")
    assert state.metadata is not None
    assert (state.metadata["source"], state.metadata["reason"]) == ("update", "typo")
    assert state.metadata["author"] == "ann"


def test_edit_asks_open_questions_again():
    thread = one_question().thread("t")
    thread.run({})
    assert thread.edit({"x": 1}).next == ("a",)
    assert [question.value for question in thread.run().interrupts] == ["ok?"]
    assert thread.answer("yes").value == {"x": 1, "log": [("a", "yes")]}


def test_edit_of_an_unknown_key_names_the_known_ones():
    thread = chain().thread("t")
    thread.run({})
    with pytest.raises(InvalidUpdateError, match=r"'y' is no key .* x, log"):
        thread.edit({"y": 1})


def test_update_acts_as_a_node():
    thread = chain().thread("t")
    thread.run({}, interrupt_after=["a"])
    state = thread.update({"log": ["u"]}, as_node="a")
    assert (state.values, state.next) == ({"log": ["a", "u"]}, ("b",))


# -- branches --------------------------------------------------------------------------------


def test_fork_at_the_head_begins_a_branch_with_the_same_state():
    thread = chain().thread("t")
    thread.run({})
    fork = thread.fork(branch="idea")
    assert (fork.branch, fork.values) == ("idea", thread.values)
    assert set(thread.branches()) == {"main", "idea"}


@pytest.mark.parametrize(
    ("step", "log", "ahead"), [(0, [], ("a",)), (1, ["a"], ("b",)), (2, ["a", "b"], ())]
)
def test_fork_at_a_step_stands_where_that_step_ended(step, log, ahead):
    thread = chain().thread("t")
    thread.run({})
    state = thread.fork(at=step).state
    assert (state.values, state.next) == ({"log": log}, ahead)


def test_fork_at_a_checkpoint_id():
    thread = chain().thread("t")
    thread.run({})
    first = next(shot for shot in thread.history() if shot.next == ("b",))
    fork = thread.fork(at=first.config["configurable"]["checkpoint_id"], branch="again")
    assert (fork.values, fork.run().value) == ({"log": ["a"]}, {"log": ["a", "b"]})


def test_branches_run_on_their_own():
    thread = chain().thread("t")
    thread.run({})
    idea = thread.fork(at=0, branch="idea")
    idea.update({"log": ["u"]}, as_node="a")
    idea.run()
    main = Thread(thread.app, "t", "main")
    assert (main.values, idea.values) == ({"log": ["a", "b"]}, {"log": ["u", "b"]})
    assert main.run({}).value == {"log": ["a", "b", "a", "b"]}
    assert idea.values == {"log": ["u", "b"]}


def test_step_of_a_fork_is_looked_for_on_the_branch_of_the_handle():
    thread = chain().thread("t")
    thread.run({})
    idea = thread.fork(at=0, branch="idea")
    idea.edit({"log": ["changed"]})
    idea.run()
    main = Thread(thread.app, "t", "main")
    assert main.fork(at=1).values == {"log": ["a"]}
    assert main.fork(at=2).values == {"log": ["a", "b"]}


def test_update_on_a_branch_stays_on_it():
    thread = chain().thread("t")
    thread.run({})
    thread.fork(branch="idea")
    main = Thread(thread.app, "t", "main")
    assert main.update({"log": ["u"]}).values == {"log": ["a", "b", "u"]}
    assert Thread(thread.app, "t", "idea").values == {"log": ["a", "b"]}


def test_questions_of_a_branch_are_answered_on_it():
    thread = one_question().thread("t")
    thread.run({})
    idea = thread.fork(branch="idea")
    assert idea.run().status == "waiting"
    main = Thread(thread.app, "t", "main")
    assert main.answer("main").value == {"log": [("a", "main")]}
    assert idea.answer("idea").value == {"log": [("a", "idea")]}


def test_diff_shows_the_keys_in_which_branches_differ():
    thread = chain().thread("t")
    thread.run({"x": 1})
    thread.fork(branch="idea").edit({"log": ["z"]})
    main = Thread(thread.app, "t", "main")
    assert main.diff("idea") == {"log": (["z"], ["a", "b"])}
    assert main.diff("main", "idea") == {"log": (["a", "b"], ["z"])}
    assert main.diff("main") == {}


def test_unknown_checkpoint_and_step_are_refused():
    thread = chain().thread("t")
    thread.run({})
    with pytest.raises(UnknownCheckpointError):
        thread.fork(at=77)
    with pytest.raises(UnknownCheckpointError):
        thread.fork(at="0000000077-0")


def test_name_of_a_branch_is_given_once():
    thread = chain().thread("t")
    thread.run({})
    thread.fork(branch="idea")
    with pytest.raises(HeadMoved):
        thread.fork(branch="idea")


@pytest.mark.parametrize("name", ["new", "t"])
def test_unknown_branch_is_refused_with_the_known_ones(name):
    app = chain()
    app.thread("t").run({})
    with pytest.raises(UnknownCheckpointError, match=r"has no branch 'nowhere'\. Its branches: "):
        app.thread(name, branch="nowhere").run({})


# -- showing ---------------------------------------------------------------------------------


def test_repr_names_thread_and_branch():
    thread = chain().thread("t")
    assert repr(thread) == "Thread('t')"
    thread.run({})
    assert repr(thread.fork(branch="idea")) == "Thread('t', branch='idea')"


def test_display_shows_the_graph_the_state_and_the_questions():
    thread = one_question().thread("t")
    thread.run({"x": 7})
    bundle = thread._repr_mimebundle_()
    assert "Thread('t'): next ('a',)" in bundle["text/plain"]
    for part in ("image/svg+xml", "<b>State</b>", "<pre>7</pre>", "<b>Open questions</b>", "ok?"):
        assert part in bundle["text/html"]


def test_display_escapes_what_the_state_holds():
    thread = asking(a=lambda: interrupt("<script>")).thread("t")
    thread.run({"log": ["<b>"]})
    html = thread._repr_mimebundle_()["text/html"]
    assert "<script>" not in html
    assert "[&#x27;&lt;b&gt;&#x27;]" in html


def test_display_shortens_long_values():
    thread = chain().thread("t")
    thread.run({"log": ["y" * 2000]})
    html = thread._repr_mimebundle_()["text/html"]
    assert "characters)" in html
    assert "y" * 700 not in html


def test_display_of_a_thread_that_does_not_exist_yet():
    bundle = chain().thread("new")._repr_mimebundle_()
    assert "Thread('new'): next ()" in bundle["text/plain"]
    assert "<b>State</b>" not in bundle["text/html"]


def test_handle_and_plain_calls_see_one_thread():
    app = one_question()
    thread = app.thread("t")
    thread.run({})
    app.invoke(Command(resume="yes"), thread.config)
    assert (thread.values, thread.questions) == ({"log": [("a", "yes")]}, ())
