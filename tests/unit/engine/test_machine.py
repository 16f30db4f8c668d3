"""The machine, driven by hand: no thread, no loop, no clock, no store."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import permutations
from typing import Annotated, Any, TypedDict

import pytest

from graphflow import START, GraphRecursionError, InvalidUpdateError, RetryPolicy, Send, StateGraph
from graphflow.checkpoint.records import Commit, Frame, Pending, Row, RowKind, Source
from graphflow.engine.machine import Machine
from graphflow.engine.superstep import open_questions
from graphflow.engine.turn import Options, Outcome, Start, Status, Task, Turn
from graphflow.graph.plan import Plan
from graphflow.state.deltas import APPEND
from graphflow.types import Interrupt

pytestmark = pytest.mark.filterwarnings("ignore::graphflow.errors.GraphWarning")


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    last: str


def plan_of(edges: str, joins: str = "", **options: Any) -> Plan:
    """Return the plan of `edges`, written as `START>a a>b`, and `joins`, as `a+b>c`."""
    graph: StateGraph[State] = StateGraph(State)
    pairs = [pair.split(">") for pair in edges.split()]
    ends = [pair.split(">")[1] for pair in joins.split()]
    for name in dict.fromkeys([n for pair in pairs for n in pair if n != "START"] + ends):
        graph.add_node(name, lambda state: None, **options)
    for start, end in pairs:
        graph.add_edge(START if start == "START" else start, end)
    for start, end in (pair.split(">") for pair in joins.split()):
        graph.add_edge(start.split("+"), end)
    return graph.compile().plan


def machine_of(plan: Plan, start: Start | None = None, **options: Any) -> Machine:
    return Machine(plan, Options(records=True, **options), start or Start({"log": []}))


def names(turn: Turn) -> list[str]:
    return [task.name for task in turn.tasks]


def wrote(task: Task, *targets: Any) -> Outcome:
    return Outcome(task, (("log", [task.name]),), targets)


def frame_of(turn: Turn) -> Frame:
    assert turn.commit is not None
    return turn.commit.frames[-1]


def asked(task: Task, number: int = 0) -> Outcome:
    return Outcome(task, interrupts=(Interrupt(f"{task.name}?", f"{task.name}{number}"),))


def after(commits: Sequence[Commit | None], values: dict[str, Any]) -> Start:
    """Return where a later run starts when these commits are all that is stored."""
    frame = next(c.frames[-1] for c in reversed(commits) if c and c.frames)
    rows: list[Row] = []
    for commit in commits:
        if commit is not None:
            rows = [] if commit.frames else rows + list(commit.rows)
    return Start(
        values, frame.seq, frame.seq + 1, frame.step, frame.pending, frame.joins, frame.deferred,
        tuple(rows),
    )  # fmt: skip


def test_a_run_goes_from_turn_to_turn() -> None:
    machine = machine_of(plan_of("START>a a>b"))
    turn = machine.start((("log", ["in"]),), 0.0)
    assert (names(turn), turn.status) == (["a"], Status.RUNNING)
    turn = machine.complete([wrote(turn.tasks[0])], 0.0)
    assert (names(turn), turn.status) == (["b"], Status.RUNNING)
    turn = machine.complete([wrote(turn.tasks[0])], 0.0)
    assert (names(turn), turn.status) == ([], Status.DONE)
    assert machine.values == {"log": ["in", "a", "b"]}


def test_a_frame_says_what_changed_and_what_comes_next() -> None:
    machine = machine_of(plan_of("START>a a>b"))
    turn = machine.start((("log", ["in"]),), 1.5)
    assert turn.commit is not None
    begun, entered = turn.commit.frames
    assert (begun.source, begun.seq, begun.parent, begun.step) == (Source.INPUT, 0, -1, -1)
    assert (entered.source, entered.seq, entered.parent, entered.step) == (Source.LOOP, 1, 0, 0)
    assert entered.delta == {"log": [(APPEND, ["in"])]}
    assert entered.pending == (Pending("a"),)
    assert entered.created == 1.5


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("together", [False, True])
def test_the_order_of_outcomes_does_not_show(order: tuple[int, ...], together: bool) -> None:
    machine = machine_of(plan_of("START>a START>b START>c", "a+b+c>a"))
    tasks = machine.start((), 0.0).tasks
    outcomes = [wrote(tasks[place], Send("b", place)) for place in order]
    for batch in [outcomes] if together else [[one] for one in outcomes]:
        turn = machine.complete(batch, 0.0)
    assert machine.values == {"log": ["a", "b", "c"]}
    assert [(p.name, p.arg) for p in frame_of(turn).pending] == [
        ("b", 0), ("b", 1), ("b", 2), ("a", None),
    ]  # fmt: skip


def test_what_siblings_finished_is_kept_before_the_barrier() -> None:
    machine = machine_of(plan_of("START>a START>b"))
    a, b = machine.start((), 0.0).tasks
    turn = machine.complete([wrote(b)], 0.0)
    assert (turn.status, turn.tasks) == (Status.RUNNING, ())
    assert turn.commit == Commit(
        1, rows=(Row(1, RowKind.RESULT, 0, ((("log", ["b"]),), ())),)
    )  # fmt: skip
    closing = machine.complete([wrote(a)], 0.0)
    assert closing.commit is not None
    assert closing.commit.closes_rows


def test_a_lone_task_needs_no_row() -> None:
    machine = machine_of(plan_of("START>a"))
    turn = machine.complete([wrote(machine.start((), 0.0).tasks[0])], 0.0)
    assert turn.commit is not None
    assert (turn.commit.rows, turn.commit.closes_rows) == ((), False)


def test_a_later_run_takes_up_just_what_is_unfinished() -> None:
    plan = plan_of("START>a START>b", "a+b>c")
    first = machine_of(plan)
    begun = first.start((), 0.0)
    kept = first.complete([wrote(begun.tasks[1])], 0.0)
    second = machine_of(plan, after([begun.commit, kept.commit], {"log": []}))
    turn = second.resume(0.0)
    assert names(turn) == ["a"]
    assert names(second.complete([wrote(turn.tasks[0])], 0.0)) == ["c"]
    assert second.values == {"log": ["a", "b"]}


def test_a_superstep_whose_tasks_all_finished_is_closed_without_running_any() -> None:
    plan = plan_of("START>a START>b", "a+b>c")
    first = machine_of(plan)
    begun = first.start((), 0.0)
    kept = [first.complete([wrote(task)], 0.0).commit for task in begun.tasks[:1]]
    rows = Row(1, RowKind.RESULT, 0, ((("log", ["b"]),), ()))
    start = after([begun.commit, *kept, Commit(1, rows=(rows,))], {"log": []})
    turn = machine_of(plan, start).resume(0.0)
    assert (names(turn), frame_of(turn).delta["log"]) == (
        ["c"], [(APPEND, ["a"]), (APPEND, ["b"])],
    )  # fmt: skip


def test_a_question_stops_the_run_when_nothing_else_can_go_on() -> None:
    machine = machine_of(plan_of("START>a START>b"))
    a, b = machine.start((), 0.0).tasks
    assert machine.complete([asked(a)], 0.0).status is Status.RUNNING
    turn = machine.complete([wrote(b)], 0.0)
    assert turn.status is Status.WAITING
    assert [question.id for question in machine.raised()] == ["a0"]


def test_an_answer_is_handed_to_the_task_that_asked() -> None:
    plan = plan_of("START>a START>b")
    first = machine_of(plan)
    begun = first.start((), 0.0)
    stopped = first.complete([asked(task) for task in begun.tasks], 0.0)
    start = after([begun.commit, stopped.commit], {"log": []})
    assert [question.id for question in open_questions(start.rows)] == ["a0", "b0"]
    turn = machine_of(plan, start).resume(0.0, answers={"b0": "yes"})
    assert [(task.name, task.answers) for task in turn.tasks] == [("a", ()), ("b", ("yes",))]
    assert turn.commit == Commit(1, rows=(Row(1, RowKind.ANSWER, 0, "yes"),))


def test_an_error_ends_the_run_and_keeps_what_siblings_finished() -> None:
    machine = machine_of(plan_of("START>a START>b"))
    a, b = machine.start((), 0.0).tasks
    machine.complete([wrote(b)], 0.0)
    turn = machine.complete([Outcome(a, error=ValueError("boom"))], 0.0)
    assert (turn.status, str(machine.error)) == (Status.FAILED, "boom")
    assert turn.commit is not None
    assert [row.kind for row in turn.commit.rows] == [RowKind.ERROR]


def test_a_retry_is_a_time_not_a_wait() -> None:
    policy = RetryPolicy(initial_interval=2.0, jitter=False, retry_on=KeyError, max_attempts=2)
    machine = machine_of(plan_of("START>a", retry_policy=policy))
    (a,) = machine.start((), 100.0).tasks
    turn = machine.complete([Outcome(a, error=KeyError())], 100.0)
    assert (turn.status, turn.tasks, turn.wake_at) == (Status.RUNNING, (), 102.0)
    assert list(machine.tick(101.0).tasks) == []
    assert [task.attempt for task in machine.tick(102.0).tasks] == [2]
    assert machine.complete([Outcome(a, error=KeyError())], 102.0).status is Status.FAILED


def test_two_writes_to_a_plain_key_fail_the_superstep_and_store_nothing() -> None:
    machine = machine_of(plan_of("START>a START>b"))
    tasks = machine.start((), 0.0).tasks
    turn = machine.complete([Outcome(task, (("last", task.name),)) for task in tasks], 0.0)
    assert turn.status is Status.FAILED
    assert turn.commit is None or not turn.commit.frames
    assert isinstance(machine.error, InvalidUpdateError)
    assert machine.values == {"log": []}


def test_the_limit_stops_an_endless_run_with_its_state_saved() -> None:
    machine = machine_of(plan_of("START>a a>a"), recursion_limit=3)
    turn = machine.start((), 0.0)
    for _ in range(3):
        assert turn.status is Status.RUNNING
        turn = machine.complete([wrote(turn.tasks[0])], 0.0)
    assert isinstance(machine.error, GraphRecursionError)
    assert frame_of(turn).pending == (Pending("a"),)


def test_breakpoints_stop_before_and_after() -> None:
    plan = plan_of("START>a a>b b>c")
    stops: list[tuple[str, list[str]]] = []
    for option in ("interrupt_before", "interrupt_after"):
        machine = machine_of(plan, None, **{option: frozenset("b")})
        turn = machine.start((), 0.0)
        while turn.status is Status.RUNNING:
            turn = machine.complete([wrote(turn.tasks[0])], 0.0)
        stops.append((frame_of(turn).pending[0].name, machine.values["log"]))
    assert stops == [("b", ["a"]), ("c", ["a", "b"])]


def test_a_source_that_finishes_twice_in_a_superstep_arrives_at_a_join_once() -> None:
    graph: StateGraph[State] = StateGraph(State)
    for name in "abc":
        graph.add_node(name, lambda state: None)
    graph.add_edge(START, "a").add_edge(["a", "b"], "c")
    graph.add_conditional_edges("a", lambda state: "b", ["b"])
    machine = machine_of(graph.compile().plan)
    turn = machine.start((), 0.0)
    turn = machine.complete([wrote(turn.tasks[0], Send("b", 1), Send("b", 2))], 0.0)
    turn = machine.complete([wrote(task) for task in turn.tasks], 0.0)
    assert names(turn) == ["c"]
    assert frame_of(turn).joins == {}


def test_task_ids_are_the_same_in_every_replay_and_differ_between_tasks() -> None:
    plan = plan_of("START>a START>b")
    ids = [[task.id for task in machine_of(plan).start((), 0.0).tasks] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2
