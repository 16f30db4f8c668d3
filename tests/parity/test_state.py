"""Schemas, channels and reducers (contract §2)."""

import operator
from collections.abc import Mapping, Sequence, Set
from typing import Annotated, Any, NotRequired, Required

from typing_extensions import TypedDict

from .programs import SYNC, THREAD, chain, parallel, parity, parity_in, raised


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


def merge(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    """Count up: a reducer as users write it."""
    return {key: left.get(key, 0) + right.get(key, 0) for key in left.keys() | right.keys()}


@parity
def test_reducer_joins_parallel_writes_by_node_name(lib, call):
    graph = parallel(lib, State, ("b", lambda _: {"log": ["b"]}), ("a", lambda _: {"log": ["a"]}))
    return call.invoke(graph.compile(), {"log": ["in"]})


@parity
def test_sends_write_after_nodes_and_in_their_order(lib, call):
    def path(_: State) -> Any:
        return [lib.Send("worker", number) for number in (3, 1, 2)] + ["z"]

    graph = lib.StateGraph(State).add_node("start", lambda _: None)
    graph.add_node("worker", lambda number: {"log": [number]})
    graph.add_node("z", lambda _: {"log": ["z"]}).add_edge(lib.START, "start")
    graph.add_conditional_edges("start", path, ["worker", "z"])
    return call.invoke(graph.compile(), {"log": []})


@parity
def test_last_value_takes_one_write_a_superstep(lib, call):
    app = parallel(lib, State, ("a", lambda _: {"x": 1}), ("b", lambda _: {"x": 2})).compile()
    says = "At key 'x': Can receive only one value per step"
    return raised(lib, lambda: call.invoke(app, {"x": 0}), says)


@parity
def test_start_values_of_reducer_keys(lib, call):
    class Kinds(TypedDict, total=False):
        words: Annotated[list[str], operator.add]
        count: Annotated[int, operator.add]
        ratio: Annotated[float, operator.add]
        text: Annotated[str, operator.add]
        table: Annotated[dict[str, int], merge]
        names: Annotated[set[str], operator.or_]
        frozen: Annotated[frozenset[str], operator.or_]
        row: Annotated[tuple[int, ...], operator.add]
        flag: Annotated[bool, operator.or_]
        sequence: Annotated[Sequence[int], operator.add]
        group: Annotated[Set[int], operator.or_]
        mapping: Annotated[Mapping[str, int], merge]
        maybe: Annotated[list[str] | None, lambda left, right: [*(left or []), *right]]
        plain: str

    seen = []
    app = chain(lib, Kinds, ("n", lambda state: seen.append(dict(state)))).compile()
    return call.invoke(app, {"plain": "p"}), seen


@parity
def test_key_whose_type_cannot_be_called_starts_with_the_first_write(lib, call):
    class Maybe(TypedDict, total=False):
        best: Annotated[int | None, lambda left, right: max(left, right)]

    app = chain(lib, Maybe, ("n", lambda _: {"best": 3})).compile()
    return call.invoke(app, {}), call.invoke(app, {"best": 7})


@parity
def test_input_passes_reducers_on_every_run_of_a_thread(lib, call):
    graph = chain(lib, State, ("n", lambda _: {"log": ["n"]}))
    app = graph.compile(checkpointer=lib.InMemorySaver())
    first = call.invoke(app, {"log": ["one"], "x": 1}, THREAD)
    return first, call.invoke(app, {"log": ["two"]}, THREAD), call.state(app)


@parity
def test_three_forms_of_overwrite_mean_the_same(lib, call):
    forms = [
        lib.Overwrite(["new"]),
        {"__overwrite__": ["new"]},
        {"value": ["new"], "type": "__overwrite__"},
    ]
    graphs = [chain(lib, State, ("n", lambda _, form=form: {"log": form})) for form in forms]
    return [call.invoke(graph.compile(), {"log": ["old"]}) for graph in graphs]


@parity
def test_overwrite_wins_over_all_writes_of_its_superstep(lib, call):
    nodes = [
        ("a", lambda _: {"log": ["a"]}),
        ("b", lambda _: {"log": lib.Overwrite(["b"])}),
        ("c", lambda _: {"log": ["c"]}),
    ]
    return call.invoke(parallel(lib, State, *nodes).compile(), {"log": ["in"]})


@parity
def test_two_overwrites_in_a_superstep_are_refused(lib, call):
    nodes = [(name, lambda _: {"log": lib.Overwrite([1])}) for name in "ab"]
    app = parallel(lib, State, *nodes).compile()
    return raised(lib, lambda: call.invoke(app, {"log": []}), "only one Overwrite")


@parity
def test_overwrite_in_input_and_in_an_update(lib, call):
    app = chain(lib, State, ("n", lambda _: None)).compile(checkpointer=lib.InMemorySaver())
    call.invoke(app, {"log": [1]}, THREAD)
    second = call.invoke(app, {"log": lib.Overwrite([2])}, THREAD)
    call.update(app, THREAD, {"log": lib.Overwrite([3])})
    return second, call.state(app).values


@parity
def test_overwrite_in_a_last_value_key_is_stored_as_it_is(lib, call):
    app = chain(lib, State, ("n", lambda _: {"x": lib.Overwrite(1)})).compile()
    return type(call.invoke(app, {})["x"]).__name__


@parity
def test_unknown_keys_are_ignored(lib, call):
    app = chain(lib, State, ("n", lambda _: {"x": 1, "typo": 2})).compile()
    return call.invoke(app, {"log": ["in"], "other": 3})


@parity
def test_input_and_output_schema_filter(lib, call):
    class Given(TypedDict):
        question: str

    class Answer(TypedDict):
        answer: str

    class Whole(Given, Answer):
        notes: list[str]

    graph = lib.StateGraph(Whole, input_schema=Given, output_schema=Answer)
    seen = []
    graph.add_node("think", lambda state: seen.append(dict(state)) or {"notes": ["n"]})
    graph.add_node("say", lambda state: {"answer": state["question"] + state["notes"][0]})
    app = graph.add_edge(lib.START, "think").add_edge("think", "say").compile()
    given = {"question": "q", "answer": "not mine", "notes": ["not mine"]}
    result = call.invoke(app, given)
    streamed = call.stream(app, given, stream_mode="values")
    kept = call.stream(app, given, stream_mode="values", output_keys=["notes"])
    return result, seen, streamed, kept


@parity
def test_output_keys_narrow_the_updates_too(lib, call):
    nodes = [("a", lambda _: {"x": 1, "log": ["a"]}), ("b", lambda _: {"x": 2})]
    return call.stream(chain(lib, State, *nodes).compile(), {"log": []}, output_keys=["log"])


@parity
def test_one_output_key_as_text_gives_the_bare_value(lib, call):
    app = chain(lib, State, ("n", lambda _: {"x": 1})).compile()
    results = [call.invoke(app, {"log": []}, output_keys=keys) for keys in ("x", ["x"])]
    return results, call.stream(app, {"log": []}, stream_mode="values", output_keys="x")


@parity
def test_values_of_invoke_with_stream_mode_values_are_the_output_keys(lib, call):
    class Answer(TypedDict):
        x: int

    graph = lib.StateGraph(State, output_schema=Answer).add_node("n", lambda _: {"x": 1})
    app = graph.add_edge(lib.START, "n").compile()
    return call.invoke(app, {"log": [1]}, stream_mode=["values"]), call.invoke(app, {"log": [1]})


@parity
def test_node_with_a_private_input_schema(lib, call):
    class Private(TypedDict):
        secret: str

    class Reader(TypedDict, total=False):
        secret: str
        x: int

    seen = []

    def writes(_: State) -> Private:
        return {"secret": "s"}

    def reads(state: Reader) -> Any:
        seen.append(dict(state))
        return {"log": [state["secret"]]}

    app = chain(lib, State, ("writes", writes), ("reads", reads)).compile()
    return call.invoke(app, {"log": []}), seen, call.stream(app, {"log": []})


@parity
def test_input_schema_of_add_node_wins_over_the_hint(lib, call):
    class OnlyX(TypedDict):
        x: int

    seen = []

    def node(state: State) -> None:
        seen.append(dict(state))

    graph = lib.StateGraph(State).add_node("n", node, input_schema=OnlyX)
    app = graph.add_edge(lib.START, "n").compile()
    return call.invoke(app, {"x": 1, "log": ["l"]}), seen


@parity
def test_node_may_write_keys_outside_its_input_schema(lib, call):
    class OnlyX(TypedDict):
        x: int

    def node(state: OnlyX) -> Any:
        return {"log": [state["x"]]}

    return call.invoke(chain(lib, State, ("n", node)).compile(), {"x": 5})


@parity
def test_node_gets_only_keys_that_have_a_value(lib, call):
    class Sparse(TypedDict, total=False):
        given: str
        missing: str
        listed: Annotated[list[str], operator.add]

    seen = []
    app = chain(lib, Sparse, ("n", lambda state: seen.append(dict(state)))).compile()
    return call.invoke(app, {"given": "g"}), seen


@parity
def test_required_and_not_required_are_looked_through(lib, call):
    class Marked(TypedDict, total=False):
        must: Required[Annotated[list[str], operator.add]]
        may: NotRequired[Annotated[list[str], operator.add]]

    app = chain(lib, Marked, ("n", lambda _: {"must": ["n"], "may": ["n"]})).compile()
    return call.invoke(app, {"must": ["in"]})


@parity
def test_none_is_a_value_and_no_return_writes_nothing(lib, call):
    app = chain(lib, State, ("a", lambda _: {"x": None}), ("b", lambda _: None)).compile()
    return call.invoke(app, {"x": 1}), call.stream(app, {"x": 1})


@parity
def test_root_state_of_a_bare_type(lib, call):
    schema = Annotated[list[str], operator.add]
    app = chain(lib, schema, ("a", lambda s: [*s, "a"]), ("b", lambda _: ["b"])).compile()
    return call.invoke(app, ["in"]), call.stream(app, ["in"]), call.invoke(app, [])


@parity
def test_root_state_without_reducer(lib, call):
    app = chain(lib, int, ("double", lambda n: n * 2), ("inc", lambda n: n + 1)).compile()
    return call.invoke(app, 4), call.stream(app, 4, stream_mode="values")


@parity
def test_key_declared_with_and_without_reducer_keeps_the_reducer(lib, call):
    class Given(TypedDict):
        log: list[Any]

    graph = lib.StateGraph(State, input_schema=Given).add_node("n", lambda _: {"log": ["n"]})
    return call.invoke(graph.add_edge(lib.START, "n").compile(), {"log": ["in"]})


@parity_in(SYNC)
def test_key_declared_with_two_reducers_is_refused(lib, call):
    class Other(TypedDict):
        log: Annotated[list[Any], merge]

    return raised(lib, lambda: _made(lib, output_schema=Other))[0]


@parity_in(SYNC)
def test_reducer_of_another_signature_is_refused(lib, call):
    def three(left: Any, right: Any, more: Any) -> Any: ...
    def one(left: Any) -> Any: ...
    def optional(left: Any, right: Any, more: Any = None) -> Any: ...
    def keyword(left: Any, right: Any, *, more: Any = None) -> Any: ...

    def made(reducer: Any) -> Any:
        class Reduced(TypedDict):
            key: Annotated[list[Any], reducer]

        return raised(lib, lambda: type(lib.StateGraph(Reduced)).__name__, "Invalid reducer")

    return {reducer.__name__: made(reducer) for reducer in (three, one, optional, keyword)}


@parity
def test_metadata_that_is_no_reducer_leaves_a_last_value(lib, call):
    class Documented(TypedDict, total=False):
        name: Annotated[str, "the name"]
        items: Annotated[list[int], operator.add, "not last"]

    nodes = [("a", lambda _: {"name": "a", "items": [1]}), ("b", lambda _: {"items": [2]})]
    return call.invoke(chain(lib, Documented, *nodes).compile(), {"name": "n", "items": [0]})


@parity
def test_one_task_writes_a_key_several_times(lib, call):
    def node(_: State) -> Any:
        return lib.Command(update=[("log", ["one"]), ("log", ["two"]), ("x", 1)])

    def commands(_: State) -> Any:
        return [lib.Command(update={"log": ["three"]}), lib.Command(update={"log": ["four"]})]

    app = chain(lib, State, ("pairs", node), ("commands", commands)).compile()
    return call.invoke(app, {"log": []}), call.stream(app, {"log": []})


@parity
def test_untracked_value_is_never_stored(lib, call):
    class Session(TypedDict, total=False):
        handle: Annotated[Any, lib.UntrackedValue]
        log: Annotated[list[Any], operator.add]

    nodes = [
        ("opens", lambda _: {"handle": "open"}),
        ("reads", lambda state: {"log": [state.get("handle")]}),
    ]
    app = chain(lib, Session, *nodes).compile(checkpointer=lib.InMemorySaver())
    result = call.invoke(app, {"log": []}, THREAD)
    return result, [snapshot.values for snapshot in call.history(app)]


@parity
def test_untracked_value_is_gone_after_a_breakpoint(lib, call):
    class Session(TypedDict, total=False):
        handle: Annotated[Any, lib.UntrackedValue]
        log: Annotated[list[Any], operator.add]

    nodes = [
        ("opens", lambda _: {"handle": "open"}),
        ("reads", lambda state: {"log": [state.get("handle", "gone")]}),
    ]
    graph = chain(lib, Session, *nodes)
    app = graph.compile(checkpointer=lib.InMemorySaver(), interrupt_before=["reads"])
    return call.invoke(app, {"log": []}, THREAD), call.invoke(app, None, THREAD)


@parity
def test_untracked_key_is_stripped_from_a_stored_send(lib, call):
    class Session(TypedDict, total=False):
        handle: Annotated[Any, lib.UntrackedValue]
        log: Annotated[list[Any], operator.add]

    graph = lib.StateGraph(Session).add_node("start", lambda _: None)
    graph.add_node("worker", lambda given: {"log": [sorted(given)]}).add_edge(lib.START, "start")
    sends = [lib.Send("worker", {"handle": "open", "item": 1})]
    graph.add_conditional_edges("start", lambda _: sends, ["worker"])
    app = graph.compile(checkpointer=lib.InMemorySaver(), interrupt_before=["worker"])
    call.invoke(app, {"log": []}, THREAD)
    return call.invoke(app, None, THREAD)


@parity
def test_ephemeral_value_is_seen_in_the_next_superstep_only(lib, call):
    class Signal(TypedDict, total=False):
        flash: Annotated[str, lib.EphemeralValue]
        log: Annotated[list[Any], operator.add]

    nodes = [
        ("a", lambda state: {"flash": "bright", "log": [state.get("flash")]}),
        ("b", lambda state: {"log": [state.get("flash")]}),
        ("c", lambda state: {"log": [state.get("flash")]}),
    ]
    return call.invoke(chain(lib, Signal, *nodes).compile(), {"flash": "in", "log": []})


@parity
def test_remaining_steps_and_is_last_step(lib, call):
    class Managed(TypedDict, total=False):
        log: Annotated[list[Any], operator.add]
        left: lib.RemainingSteps
        last: lib.IsLastStep

    def node(state: Managed) -> Any:
        return {"log": [(state["left"], state["last"])]}

    app = chain(lib, Managed, ("a", node), ("b", node), ("c", node)).compile()
    return [call.invoke(app, {"log": []}, {"recursion_limit": limit}) for limit in (4, 10)]


@parity_in(SYNC)
def test_managed_values_are_refused_in_input_and_output(lib, call):
    class Managed(TypedDict):
        left: lib.RemainingSteps

    makes = {"input": {"input_schema": Managed}, "output": {"output_schema": Managed}}
    return {
        side: raised(lib, lambda given=given: _made(lib, **given))[0]
        for side, given in makes.items()
    }


@parity
def test_mutating_the_state_in_a_node_of_a_run_without_writing(lib, call):
    def node(state: State) -> None:
        state["x"] = "changed"

    app = chain(lib, State, ("n", node)).compile(checkpointer=lib.InMemorySaver())
    return call.invoke(app, {"x": "given"}, THREAD), call.state(app).values


def _made(lib: Any, **schemas: Any) -> str:
    graph = lib.StateGraph(State, **schemas).add_node("n", lambda _: None)
    return type(graph.add_edge(lib.START, "n").compile()).__name__
