"""Contract §2: schemas, channels, reducers."""

import operator
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, Required

import pydantic
import pytest
from typing_extensions import TypedDict

from graphflow import (
    END,
    START,
    Command,
    EphemeralValue,
    InvalidUpdateError,
    IsLastStep,
    Overwrite,
    RemainingSteps,
    Send,
    StateGraph,
    UntrackedValue,
)


class Log(TypedDict):
    log: Annotated[list[Any], operator.add]


class Pair(TypedDict, total=False):
    x: Required[int]
    y: NotRequired[int]


def single(schema: Any, node: Any, **options: Any) -> Any:
    """Return a graph of one node."""
    return StateGraph(schema, **options).add_node("n", node).add_edge(START, "n")


def beside(schema: Any, **nodes: Any) -> Any:
    """Return a graph whose nodes all run in one superstep."""
    graph = StateGraph(schema)
    for name, node in nodes.items():
        graph.add_node(name, node).add_edge(START, name)
    return graph


def test_2_1_typed_dict_with_optional_keys_is_a_state(call):
    app = single(Pair, lambda state: {"y": state["x"] + 1}).compile()
    assert call.invoke(app, {"x": 1}) == {"x": 1, "y": 2}


def test_2_1_bare_type_is_a_state_without_keys(call):
    app = single(Annotated[list, operator.add], lambda state: [len(state)]).compile()
    assert call.invoke(app, [7]) == [7, 1]


def test_2_1_bare_type_without_reducer_keeps_the_last_value(call):
    app = single(int, lambda state: state + 1).compile()
    assert call.invoke(app, 4) == 5


@pytest.mark.parametrize(
    "odd", [lambda: 0, lambda a: a, lambda a, b, c: a], ids=["none", "one", "three"]
)
def test_2_2_reducer_with_other_arity_is_refused(odd):
    class State(TypedDict):
        key: Annotated[list[int], odd]

    with pytest.raises(ValueError, match="Invalid reducer signature"):
        StateGraph(State)


def test_2_2_only_the_last_metadata_item_is_the_reducer(call):
    class State(TypedDict):
        key: Annotated[int, "a remark", operator.add]

    app = single(State, lambda _: {"key": 2}).compile()
    assert call.invoke(app, {"key": 1}) == {"key": 3}


def test_2_2_metadata_that_cannot_be_called_makes_no_reducer(call):
    class State(TypedDict):
        key: Annotated[int, "a remark"]

    app = single(State, lambda _: {"key": 2}).compile()
    assert call.invoke(app, {"key": 1}) == {"key": 2}


@pytest.mark.simulated
def test_2_3_two_writes_to_a_plain_key_in_a_superstep_are_refused(call):
    app = beside(Pair, a=lambda _: {"y": 1}, b=lambda _: {"y": 2}).compile()
    with pytest.raises(
        InvalidUpdateError, match=r"^At key 'y': Can receive only one value per step"
    ):
        call.invoke(app, {"x": 0})


@pytest.mark.parametrize(
    ("kind", "start"),
    [(list, []), (int, 0), (str, ""), (dict, {}), (set, set()),
     (Sequence, []), (Set, set()), (Mapping, {})],
)  # fmt: skip
def test_2_4_reducer_key_starts_as_its_type_called_without_arguments(call, kind, start):
    def first(old: Any, new: Any) -> Any:
        return old

    State = TypedDict("State", {"x": int, "key": Annotated[kind, first]})  # noqa: UP013
    seen = []
    app = single(State, lambda state: seen.append(state)).compile()
    assert call.invoke(app, {"x": 1}) == {"x": 1, "key": start}
    assert seen == [{"x": 1, "key": start}]


def test_2_4_plain_key_is_absent_until_written(call):
    seen = []
    app = single(Pair, lambda state: seen.append(state)).compile()
    assert call.invoke(app, {"x": 1}) == {"x": 1}
    assert seen == [{"x": 1}]


def test_2_4_first_write_is_the_value_where_the_type_has_no_start(call):
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    class State(TypedDict):
        key: Annotated[Point, lambda old, new: Point(old.x + new.x)]

    seen = []
    graph = StateGraph(State).add_sequence(
        [("a", lambda state: {"key": Point(len(state))}), ("b", lambda _: {"key": Point(5)})]
    )
    app = graph.add_edge(START, "a").add_node("c", seen.append).add_edge("b", "c").compile()
    assert call.invoke(app, {})["key"].x == 5
    assert seen[0]["key"].x == 5


def test_2_5_input_of_a_second_run_is_reduced_into_the_kept_state(call, saver, thread):
    app = single(Log, lambda _: {"log": ["n"]}).compile(saver)
    call.invoke(app, {"log": ["i"]}, thread)
    assert call.invoke(app, {"log": ["j"]}, thread) == {"log": ["i", "n", "j", "n"]}


def test_2_5_key_that_the_input_lacks_is_untouched(call, saver, thread):
    app = single(Pair, lambda _: None).compile(saver)
    call.invoke(app, {"x": 1, "y": 2}, thread)
    assert call.invoke(app, {"x": 3}, thread) == {"x": 3, "y": 2}


FORMS = [
    Overwrite(["new"]),
    {"__overwrite__": ["new"]},
    {"value": ["new"], "type": "__overwrite__"},
]


@pytest.mark.parametrize("form", FORMS, ids=["object", "short", "json"])
def test_2_6_overwrite_skips_the_reducer(call, form):
    app = single(Log, lambda _: {"log": form}).compile()
    assert call.invoke(app, {"log": ["old"]}) == {"log": ["new"]}


@pytest.mark.simulated
@pytest.mark.parametrize("writer", ["a", "b", "c"])
def test_2_6_overwrite_drops_all_other_writes_of_its_superstep(call, writer):
    def node(name: str) -> Any:
        return lambda _: {"log": Overwrite(["over"]) if name == writer else [name]}

    app = beside(Log, **{name: node(name) for name in "abc"}).compile()
    assert call.invoke(app, {"log": ["old"]}) == {"log": ["over"]}


@pytest.mark.simulated
def test_2_6_two_overwrites_in_a_superstep_are_refused(call):
    app = beside(
        Log, a=lambda _: {"log": Overwrite([])}, b=lambda _: {"log": {"__overwrite__": []}}
    ).compile()
    with pytest.raises(InvalidUpdateError, match="Can receive only one Overwrite value per super"):
        call.invoke(app, {"log": []})


@pytest.mark.simulated
def test_2_6_overwrite_replaces_what_its_own_task_wrote_before_and_after(call):
    pairs = [("log", [1]), ("log", Overwrite([9])), ("log", [2])]
    app = single(Log, lambda _: Command(update=pairs)).compile()
    assert call.invoke(app, {"log": [0]}) == {"log": [9]}


@pytest.mark.simulated
def test_2_6_two_overwrites_of_one_task_are_refused(call):
    pairs = [("log", Overwrite([8])), ("log", Overwrite([9]))]
    app = single(Log, lambda _: Command(update=pairs)).compile()
    with pytest.raises(InvalidUpdateError, match="Can receive only one Overwrite value per super"):
        call.invoke(app, {"log": []})


def test_2_6_input_and_update_may_overwrite(call, saver, thread):
    app = single(Log, lambda _: {"log": ["n"]}).compile(saver)
    call.invoke(app, {"log": ["old"]}, thread)
    assert call.invoke(app, {"log": Overwrite(["i"])}, thread) == {"log": ["i", "n"]}
    call.update(app, thread, {"log": Overwrite(["u"])})
    assert call.state(app, thread).values == {"log": ["u"]}


def test_2_6_plain_key_stores_the_overwrite_itself(call):
    app = single(Pair, lambda _: {"y": Overwrite(1)}).compile()
    assert call.invoke(app, {"x": 0}) == {"x": 0, "y": Overwrite(1)}


def test_2_7_unknown_keys_of_input_and_returns_are_ignored(call):
    app = single(Pair, lambda _: {"y": 1, "z": 2}).compile()
    assert call.invoke(app, {"x": 0, "w": 3}) == {"x": 0, "y": 1}


class Question(TypedDict):
    question: str


class Answer(TypedDict):
    answer: str


class Talk(Question, Answer):
    notes: str


def test_2_8_input_and_output_are_filtered_by_their_schemas(call):
    seen = []

    def n(state: Talk) -> dict[str, str]:
        seen.append(state)
        return {"answer": "42", "notes": "n"}

    app = single(Talk, n, input_schema=Question, output_schema=Answer).compile()
    assert call.invoke(app, {"question": "?", "notes": "smuggled"}) == {"answer": "42"}
    assert seen == [{"question": "?"}]


def test_2_8_stream_shows_all_keys_unless_output_keys_are_given(call):
    app = single(
        Talk, lambda _: {"answer": "42"}, input_schema=Question, output_schema=Answer
    ).compile()
    given = {"question": "?"}
    assert call.stream(app, given, stream_mode="values") == [
        {"question": "?"},
        {"question": "?", "answer": "42"},
    ]
    shown = call.stream(app, given, stream_mode="values", output_keys=["answer"])
    assert shown[-1] == {"answer": "42"}


def test_2_8_plain_declaration_may_repeat_a_reducer_key(call):
    class Out(TypedDict):
        log: list[Any]

    app = single(Log, lambda _: {"log": ["n"]}, output_schema=Out).compile()
    assert call.invoke(app, {"log": ["i"]}) == {"log": ["i", "n"]}


def test_2_8_two_reducers_for_one_key_are_refused():
    class Other(TypedDict):
        log: Annotated[list[Any], lambda a, b: b]

    with pytest.raises(ValueError, match="log"):
        single(Log, lambda _: None, output_schema=Other).compile()


class Private(TypedDict):
    secret: str


def test_2_9_hint_of_the_first_parameter_is_the_nodes_input(call):
    seen = []

    def reads(state: Private) -> None:
        seen.append(state)

    graph = StateGraph(Pair).add_sequence([("w", lambda _: {"secret": "s"}), reads])
    app = graph.add_edge(START, "w").compile()
    assert call.invoke(app, {"x": 1}) == {"x": 1}
    assert seen == [{"secret": "s"}]


def test_2_9_input_schema_of_add_node_wins_over_the_hint(call):
    seen = []

    def reads(state: Pair) -> None:
        seen.append(state)

    graph = StateGraph(Pair).add_node("w", lambda _: {"secret": "s"})
    graph.add_node("r", reads, input_schema=Private).add_edge(START, "w").add_edge("w", "r")
    call.invoke(graph.compile(), {"x": 1})
    assert seen == [{"secret": "s"}]


def test_2_10_node_may_write_keys_outside_its_input_schema(call):
    def writes(state: Private) -> dict[str, int]:
        return {"y": 5}

    app = single(Pair, writes).compile()
    assert call.invoke(app, {"x": 1}) == {"x": 1, "y": 5}


def test_2_10_node_may_write_a_key_that_only_another_nodes_schema_declares(call):
    seen = []

    def reads(state: Private) -> None:
        seen.append(state)

    def writes(state: Pair) -> dict[str, str]:
        return {"secret": "s"}

    graph = StateGraph(Pair, output_schema=Pair).add_sequence([writes, reads])
    assert call.invoke(graph.add_edge(START, "writes").compile(), {"x": 1}) == {"x": 1}
    assert seen == [{"secret": "s"}]


class Inner(pydantic.BaseModel):
    size: int = 1


class Model(pydantic.BaseModel):
    x: int
    name: str = "anon"
    inner: Inner = Inner()
    note: str | None = None


def test_2_11_node_gets_a_coerced_model_and_invoke_returns_what_was_written(call):
    seen = []
    app = single(Model, lambda state: seen.append(state)).compile()
    assert call.invoke(app, {"x": "1", "inner": {"size": "3"}}) == {
        "x": "1",
        "inner": {"size": "3"},
    }
    assert seen == [Model(x=1, inner=Inner(size=3))]


def test_2_11_invalid_input_is_refused_before_any_node_runs(call):
    seen = []
    app = single(Model, lambda state: seen.append(state)).compile()
    with pytest.raises(pydantic.ValidationError):
        call.invoke(app, {"x": "many"})
    assert seen == []


def test_2_11_mutating_the_model_does_not_change_the_state(call):
    def n(state: Model) -> None:
        state.x = 99

    assert call.invoke(single(Model, n).compile(), {"x": 1}) == {"x": 1}


def test_2_11_every_field_of_a_returned_model_is_written_but_untouched_nones(call):
    app = single(Model, lambda _: Model(x=2)).compile()
    assert call.invoke(app, {"x": 1, "name": "ann"}) == {
        "x": 2,
        "name": "anon",
        "inner": Inner(),
    }


def test_2_11_none_that_was_set_is_written(call):
    app = single(Model, lambda _: Model(x=2, note=None)).compile()
    assert call.invoke(app, {"x": 1, "note": "old"})["note"] is None


def test_2_11_validators_run_on_entry(call):
    class Strict(pydantic.BaseModel):
        word: str

        @pydantic.field_validator("word")
        @classmethod
        def _lower(cls, word: str) -> str:
            return word.lower()

    seen = []
    app = single(Strict, lambda state: seen.append(state.word)).compile()
    call.invoke(app, {"word": "LOUD"})
    assert seen == ["loud"]


@dataclass
class Record:
    x: int
    log: Annotated[list[str], operator.add] = field(default_factory=list)


@pytest.mark.parametrize("given", [{"x": 1}, Record(1)], ids=["dict", "instance"])
@pytest.mark.parametrize("returned", [{"x": 2}, Record(2)], ids=["dict", "instance"])
def test_2_12_dataclass_states_are_instances_in_and_out_of_nodes(call, given, returned):
    seen = []

    def n(state: Record) -> Any:
        seen.append(state)
        return returned

    assert call.invoke(single(Record, n).compile(), given) == {"x": 2, "log": []}
    assert seen == [Record(1)]


def test_2_12_all_fields_of_a_returned_dataclass_are_written(call):
    app = single(Record, lambda _: Record(3, ["n"])).compile()
    assert call.invoke(app, {"x": 1, "log": ["i"]}) == {"x": 3, "log": ["i", "n"]}


def test_2_13_none_is_a_value_and_returning_none_writes_nothing(call):
    app = beside(Pair, a=lambda _: {"y": None}, b=lambda _: None, c=lambda _: {}).compile()
    assert call.invoke(app, {"x": 1, "y": 2}) == {"x": 1, "y": None}


class Session(TypedDict):
    x: int
    socket: Annotated[object, UntrackedValue]


def test_2_14_untracked_value_lives_in_the_run_and_is_never_stored(call, saver, thread):
    seen = []
    graph = StateGraph(Session).add_sequence(
        [("a", lambda _: {"socket": object()}), ("b", lambda state: seen.append(state))]
    )
    app = graph.add_edge(START, "a").compile(saver)
    call.invoke(app, {"x": 1}, thread)
    assert "socket" in seen[0]
    assert call.state(app, thread).values == {"x": 1}


def test_2_14_untracked_value_is_stripped_from_stored_sends(call, saver, thread):
    seen = []
    graph = StateGraph(Session).add_node("b", lambda arg: seen.append(sorted(arg)))
    graph.add_conditional_edges(START, lambda _: Send("b", {"x": 2, "socket": object()}), ["b"])
    app = graph.compile(saver, interrupt_before=["b"])
    call.invoke(app, {"x": 1}, thread)
    call.invoke(app, None, thread)
    assert seen == [["x"]]


def test_2_14_ephemeral_value_is_seen_in_the_next_superstep_only(call):
    class State(TypedDict):
        x: int
        hint: Annotated[str, EphemeralValue]

    seen = []
    graph = StateGraph(State).add_sequence(
        [
            ("a", lambda _: {"hint": "h"}),
            ("b", lambda state: seen.append(state.get("hint"))),
            ("c", lambda state: seen.append(state.get("hint"))),
        ]
    )
    assert call.invoke(graph.add_edge(START, "a").compile(), {"x": 1}) == {"x": 1}
    assert seen == ["h", None]


class Counted(TypedDict):
    x: int
    last: IsLastStep
    left: RemainingSteps


def test_2_15_managed_values_count_down_and_are_not_in_the_output(call):
    seen = []

    def n(state: Counted) -> Command[Any]:
        seen.append((state["left"], state["last"]))
        return Command(goto=END if state["last"] else "n")

    app = single(Counted, n).compile()
    result = call.invoke(app, {"x": 1}, {"recursion_limit": 5})
    assert seen == [(4, False), (3, False), (2, False), (1, True)]
    assert result == {"x": 1}


@pytest.mark.parametrize("role", ["input_schema", "output_schema"])
def test_2_15_managed_values_are_refused_in_input_and_output_schemas(role):
    with pytest.raises(ValueError, match="Managed channels"):
        single(Pair, lambda _: None, **{role: Counted}).compile()


@pytest.mark.simulated
def test_2_16_edge_tasks_write_by_name_before_sends_by_number(call):
    graph = beside(Log, z=lambda _: {"log": ["z"]}).add_node("s", lambda arg: {"log": [arg]})
    graph.add_conditional_edges(START, lambda _: [Send("s", f"send{i}") for i in range(3)], ["s"])
    assert call.invoke(graph.compile(), {"log": []}) == {"log": ["z", "send0", "send1", "send2"]}


@pytest.mark.simulated
def test_2_16_order_of_writes_does_not_depend_on_who_finished_first(call):
    import time

    def slow(_: Log) -> Log:
        time.sleep(0.02)
        return {"log": ["a"]}

    app = beside(Log, b=lambda _: {"log": ["b"]}, a=slow).compile()
    assert call.invoke(app, {"log": []}) == {"log": ["a", "b"]}


@pytest.mark.simulated
def test_2_17_one_task_may_write_a_key_several_times(call, saver, thread):
    pairs = Command(update=[("log", [1]), ("log", [2])])
    app = single(Log, lambda _: [pairs, Command(update={"log": [3]})]).compile(saver)
    assert call.invoke(app, {"log": [0]}, thread) == {"log": [0, 1, 2, 3]}
    assert call.state(app, thread).values == {"log": [0, 1, 2, 3]}
