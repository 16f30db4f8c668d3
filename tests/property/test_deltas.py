"""Deltas: every way of applying them agrees with a naive model, and what is compared is exact."""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphflow import START, HumanMessage, MemoryCheckpointer, MessagesState, StateGraph
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.recorder import Comparer
from graphflow.state.deltas import (
    APPEND,
    CLEAR,
    DROP,
    PUT,
    SET,
    SPLICE,
    Folder,
    Op,
    Unfolder,
    apply_delta,
)

Values = dict[str, Any]
small = st.integers(-3, 3)
lists = st.lists(small, max_size=4)
dicts = st.dictionaries(st.sampled_from("abcd"), small, max_size=4)


def list_ops() -> st.SearchStrategy[Op]:
    index = st.integers(0, 5)
    return st.one_of(
        st.tuples(st.just(SET), lists),
        st.tuples(st.just(APPEND), lists),
        st.tuples(st.just(SPLICE), index, index, lists),
        st.tuples(st.just(CLEAR)),
    )


def dict_ops() -> st.SearchStrategy[Sequence[Op]]:
    """Return ops that begin with a dict, as a PUT or DROP always follows one."""
    change = st.one_of(
        st.tuples(st.just(PUT), dicts),
        st.tuples(st.just(DROP), st.lists(st.sampled_from("abcd"))),
    )
    return st.tuples(st.tuples(st.just(SET), dicts), st.lists(change, max_size=3)).map(
        lambda parts: [parts[0], *parts[1]]
    )


deltas = st.fixed_dictionaries(
    {}, optional={"list": st.lists(list_ops(), max_size=3), "dict": dict_ops()}
)


def naive(values: Values, delta: Any) -> Values:
    """Apply a delta the slow and obvious way, sharing nothing."""
    values, delta = copy.deepcopy(values), copy.deepcopy(delta)
    for key, ops in delta.items():
        for code, *arguments in ops:
            if code == SET:
                values[key] = arguments[0]
            elif code == APPEND:
                values[key] = values.get(key, []) + arguments[0]
            elif code == SPLICE:
                index, count, items = arguments
                values.setdefault(key, [])[index : index + count] = items
            elif code == PUT:
                values[key].update(arguments[0])
            elif code == DROP:
                for name in arguments[0]:
                    values[key].pop(name, None)
            else:
                values.pop(key, None)
    return values


def in_order(values: Values) -> Any:
    """Return values so that dicts whose keys are in another order differ."""
    return {key: list(v.items()) if isinstance(v, dict) else v for key, v in values.items()}


def states_after(sequence: Sequence[Any]) -> list[Values]:
    states: list[Values] = [{}]
    for delta in sequence:
        states.append(naive(states[-1], delta))
    return states


@given(st.lists(deltas, max_size=8))
def test_applying_agrees_with_the_model_and_mutates_nothing_given(sequence: list[Any]) -> None:
    values: Values = {}
    given_away = [values]
    for delta in sequence:
        values = dict(values)
        apply_delta(values, delta)
        given_away.append(values)
    assert list(map(in_order, given_away)) == list(map(in_order, states_after(sequence)))


@given(st.lists(deltas, max_size=8))
def test_folding_agrees_with_the_model_and_mutates_nothing_given(sequence: list[Any]) -> None:
    folder = Folder({})
    seen: list[Values] = [{}]
    for delta in sequence:
        folder.apply(delta)
        seen.append(folder.values())
    assert list(map(in_order, seen)) == list(map(in_order, states_after(sequence)))


@given(st.lists(deltas, max_size=8), st.sets(st.integers(0, 8)))
def test_folding_does_not_depend_on_who_looks(sequence: list[Any], looks: set[int]) -> None:
    folder, untouched = Folder({}), copy.deepcopy(sequence)
    for number, delta in enumerate(sequence):
        folder.apply(delta)
        if number in looks:
            folder.values()
    assert in_order(folder.values()) == in_order(states_after(sequence)[-1])
    assert sequence == untouched


@given(st.lists(deltas, max_size=8))
def test_unfolding_walks_back_through_every_state(sequence: list[Any]) -> None:
    unfolder, backwards = Unfolder({}), []
    for delta in sequence:
        unfolder.apply(delta)
    for _ in sequence:
        backwards.append(unfolder.values())
        unfolder.undo()
    backwards.append(unfolder.values())
    assert list(map(in_order, backwards[::-1])) == list(map(in_order, states_after(sequence)))


def test_an_op_of_a_later_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"op code 99 at key 'k'"):
        apply_delta({}, {"k": [(99,)]})


# -- comparing: what changed in a value whose channel cannot tell ------------------------------

names: st.SearchStrategy[Any] = st.one_of(
    st.text(max_size=3), st.integers(-2, 2), st.booleans(), st.floats(-1, 1), st.none()
)
leaves = st.one_of(small, st.booleans(), st.text(max_size=20), st.floats(allow_nan=False))
elements = st.one_of(
    leaves, st.lists(leaves, max_size=3), st.dictionaries(names, leaves, max_size=3)
)
long_lists = st.lists(elements, min_size=14, max_size=24)
long_dicts = st.dictionaries(
    st.integers(0, 30).map(str) | names, elements, min_size=14, max_size=24
)


@st.composite
def histories(draw: st.DrawFn, first: st.SearchStrategy[Any]) -> list[Any]:
    """Return versions of one container; some were mutated in place, deep inside."""
    versions = [draw(first)]
    for _ in range(draw(st.integers(1, 4))):
        versions.append(changed(draw, copy.deepcopy(versions[-1])))
    return versions


def changed(draw: st.DrawFn, value: Any) -> Any:
    for _ in range(draw(st.integers(0, 3))):
        places = list(range(len(value))) if isinstance(value, list) else list(value)
        place = draw(st.sampled_from(places)) if places else None
        what = draw(st.sampled_from(["mutate", "remove", "add", "replace", "reverse"]))
        if what == "reverse":
            value = value[::-1] if isinstance(value, list) else dict(reversed(value.items()))
        elif what == "add" and isinstance(value, list):
            value.insert(draw(st.integers(0, len(value))), draw(elements))
        elif what == "add":
            value[draw(names)] = draw(elements)
        elif place is None:
            continue
        elif what == "remove":
            del value[place]
        elif what == "mutate" and isinstance(value[place], list):
            value[place].append(draw(leaves))
        else:
            value[place] = draw(elements)
    return value


def check_compared(versions: list[Any]) -> None:
    codec = Codec()
    live, stored = versions[0], {"k": copy.deepcopy(versions[0])}
    comparer = Comparer(codec, {"k": live}, frozenset("k"))
    for version in versions[1:]:
        mutate_into(live, version)
        delta = comparer.compared({"k": ((SET, live),)})
        apply_delta(stored, copy.deepcopy(delta))
        assert codec.encode(stored["k"]) == codec.encode(version)


def mutate_into(live: Any, version: Any) -> None:
    """Make the very same container hold another version, as a careless node does."""
    live.clear()
    live.extend(version) if isinstance(live, list) else live.update(version)


@given(histories(long_lists))
@settings(max_examples=100)
def test_what_changed_in_a_list_is_stored_exactly(versions: list[Any]) -> None:
    check_compared(versions)


@given(histories(long_dicts))
@settings(max_examples=100)
def test_what_changed_in_a_dict_is_stored_exactly(versions: list[Any]) -> None:
    check_compared(versions)


def test_an_element_that_was_mutated_in_place_is_stored() -> None:
    items: list[dict[str, Any]] = [{"n": n} for n in range(100)]
    comparer = Comparer(Codec(), {"k": items}, frozenset("k"))
    items[57]["n"] = "other"
    assert comparer.compared({"k": ((SET, items),)}) == {"k": [(SPLICE, 57, 1, [{"n": "other"}])]}


@pytest.mark.parametrize("other", [True, 1.0])
def test_a_key_that_is_equal_but_of_another_type_is_stored(other: Any) -> None:
    table = dict.fromkeys(range(20), "x")
    check_compared([table, {other if key == 1 else key: "x" for key in table}])


# -- size: what is stored grows with what is new ----------------------------------------------


def tail_once(old: list[Any], new: list[Any]) -> list[Any]:
    return [*old, *new]


def put(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {**old, **new}


class Appending(TypedDict):
    plain: Annotated[list[str], operator.add]
    custom: Annotated[list[str], tail_once]
    table: Annotated[dict[str, str], put]


class Counting(MemoryCheckpointer):
    """Counts the bytes of frames."""

    sizes: list[int]

    def append(self, branch: int, head: int, frames: Any, **options: Any) -> Any:
        self.sizes.append(sum(len(frame.body) for frame in frames))
        return super().append(branch, head, frames, **options)


def frame_sizes(schema: Any, update: Any, steps: int = 120) -> list[int]:
    """Run a graph of one node again and again on one thread; return the size of each turn."""
    store = Counting()
    store.sizes = []
    graph = StateGraph(schema).add_node("n", update).add_edge(START, "n")
    app, turns = graph.compile(checkpointer=store), []
    for _ in range(steps):
        app.invoke({}, {"configurable": {"thread_id": "t"}})
        turns.append(sum(store.sizes))
        store.sizes.clear()
    return turns


@pytest.mark.parametrize("key", ["plain", "custom"])
def test_a_list_that_grows_costs_what_is_new(key: str) -> None:
    sizes = frame_sizes(Appending, lambda state: {key: ["x" * 100]})
    assert max(sizes[20:]) < 300


def test_a_dict_that_grows_costs_what_is_new() -> None:
    sizes = frame_sizes(Appending, lambda s: {"table": {str(len(s.get("table", ()))): "x" * 100}})
    assert max(sizes[20:]) < 500


def test_messages_that_are_added_cost_what_is_new() -> None:
    sizes = frame_sizes(MessagesState, lambda state: {"messages": [HumanMessage("x" * 100)]})
    assert max(sizes[20:]) < 1000
