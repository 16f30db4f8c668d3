"""What nodes are given: the runtime as an object, and who gets what by name."""

from typing import Any

import pytest

from graphflow import START, ExecutionInfo, RunControl, Runtime, StateGraph
from graphflow.injection import INJECTABLE


def info(**given: Any) -> ExecutionInfo:
    return ExecutionInfo("t", "n:1", "1", **given)


def test_blank_runtime_does_nothing_and_knows_nothing():
    blank: Runtime[Any] = Runtime()
    blank.heartbeat()
    blank.stream_writer("to nobody")
    told = (blank.context, blank.store, blank.previous, blank.control, blank.execution_info)
    assert told == (None,) * 5
    assert (blank.server_info, blank.drain_requested, blank.drain_reason) == (None, False, None)


FIELDS = {
    "context": "c",
    "store": object(),
    "stream_writer": print,
    "previous": 0,
    "control": RunControl(),
    "execution_info": info(),
    "heartbeat": lambda: None,
    "server_info": {"name": "s"},
}


@pytest.mark.parametrize("name", FIELDS)
def test_merge_takes_every_field_that_the_other_sets(name):
    other: Runtime[Any] = Runtime(**{name: FIELDS[name]})
    merged: Runtime[Any] = Runtime().merge(other)
    assert getattr(merged, name) is FIELDS[name]


@pytest.mark.parametrize("name", FIELDS)
def test_merge_keeps_every_field_that_the_other_leaves(name):
    mine: Runtime[Any] = Runtime(**{name: FIELDS[name]})
    assert mine.merge(Runtime()) == mine


@pytest.mark.parametrize("name", FIELDS)
def test_override_replaces_any_field(name):
    mine: Runtime[Any] = Runtime(context="mine")
    assert getattr(mine.override(**{name: FIELDS[name]}), name) is FIELDS[name]
    assert mine == Runtime(context="mine")


def test_override_of_a_field_that_is_not_there_is_refused():
    with pytest.raises(TypeError):
        Runtime().override(contexts=1)


def test_patch_changes_the_copy_only():
    mine: Runtime[Any] = Runtime(execution_info=info())
    other = mine.patch_execution_info(node_attempt=3, run_id="r")
    assert other.execution_info == info(node_attempt=3, run_id="r")
    assert mine.execution_info == info()


def test_drain_is_seen_when_it_is_asked_for():
    control = RunControl()
    runtime: Runtime[Any] = Runtime(control=control)
    assert not runtime.drain_requested
    control.request_drain("deploy")
    assert (runtime.drain_requested, runtime.drain_reason) == (True, "deploy")


def test_names_that_can_be_injected_are_those_of_the_contract():
    assert {"config", "writer", "store", "previous", "runtime", "error"} == INJECTABLE


def test_node_of_a_graph_whose_state_is_one_value_has_no_previous():
    seen: list[Any] = []

    def n(state: int, runtime: Runtime[Any]) -> int:
        seen.append(runtime.previous)
        return state

    StateGraph(int).add_node("n", n).add_edge(START, "n").compile().invoke(3)
    assert seen == [None]
