"""States that are pydantic models and dataclasses (contract §2.11, §2.12, §10)."""

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any

import pydantic
from typing_extensions import TypedDict

from .programs import THREAD, chain, parity, raised


class Item(pydantic.BaseModel):
    name: str
    price: float = 1.0


class Order(pydantic.BaseModel):
    customer: str
    items: list[Item] = []
    total: float | None = None
    log: Annotated[list[str], operator.add] = []


@dataclass
class Trip:
    city: str
    days: int = 1
    log: Annotated[list[str], operator.add] = field(default_factory=list)


@parity
def test_node_gets_an_instance_of_the_model(lib, call):
    seen = []

    def node(order: Order) -> Any:
        seen.append((type(order).__name__, order.customer, order.items, order.total))
        return {"total": sum(item.price for item in order.items)}

    app = chain(lib, Order, ("n", node)).compile()
    given = {"customer": "ann", "items": [{"name": "tea", "price": "2.5"}, {"name": "cup"}]}
    return call.invoke(app, given), seen


@parity
def test_input_may_be_an_instance_of_the_model(lib, call):
    app = chain(lib, Order, ("n", lambda order: {"log": [order.customer]})).compile()
    return call.invoke(app, Order(customer="ann", items=[Item(name="tea")]))


@parity
def test_invalid_input_is_refused_before_any_node(lib, call):
    ran = []
    app = chain(lib, Order, ("n", lambda _: ran.append("n"))).compile()
    given = [{"customer": 7}, {}, {"customer": "ann", "items": [{}]}]
    refusals = [raised(lib, lambda one=one: call.invoke(app, one), "Order") for one in given]
    return refusals, ran


@parity
def test_returned_model_writes_every_field_but_untouched_none(lib, call):
    def node(order: Order) -> Order:
        return Order(customer="bob")

    app = chain(lib, Order, ("n", node)).compile()
    given = {"customer": "ann", "total": 5.0, "log": ["in"]}
    return call.invoke(app, given), call.stream(app, given)


@parity
def test_returned_model_with_none_set_on_purpose_writes_it(lib, call):
    app = chain(lib, Order, ("n", lambda _: Order(customer="bob", total=None))).compile()
    return call.invoke(app, {"customer": "ann", "total": 5.0})


@parity
def test_returned_changed_copy_of_the_model(lib, call):
    def node(order: Order) -> Order:
        return order.model_copy(update={"customer": order.customer.upper()})

    return call.invoke(chain(lib, Order, ("n", node)).compile(), {"customer": "ann"})


@parity
def test_mutating_the_instance_changes_nothing(lib, call):
    def node(order: Order) -> None:
        order.customer = "mutated"

    return call.invoke(chain(lib, Order, ("n", node)).compile(), {"customer": "ann"})


@parity
def test_validators_run_on_entry_to_a_node(lib, call):
    class Clean(pydantic.BaseModel):
        word: str

        @pydantic.field_validator("word")
        @classmethod
        def stripped(cls, word: str) -> str:
            return word.strip()

    seen = []
    nodes = [("a", lambda state: seen.append(state.word)), ("b", lambda _: {"word": " b "})]
    nodes.append(("c", lambda state: seen.append(state.word)))
    return call.invoke(chain(lib, Clean, *nodes).compile(), {"word": " in "}), seen


@parity
def test_values_that_nodes_write_are_not_coerced(lib, call):
    class Typed(pydantic.BaseModel):
        number: int = 0

    seen = []
    nodes = [("a", lambda _: {"number": "12"}), ("b", lambda state: seen.append(state.number))]
    return call.invoke(chain(lib, Typed, *nodes).compile(), {"number": "3"}), seen


@parity
def test_defaults_of_the_model_are_seen_but_not_in_the_result(lib, call):
    class Defaults(pydantic.BaseModel):
        given: str
        level: int = 3

    seen = []
    app = chain(lib, Defaults, ("n", lambda state: seen.append(state.level))).compile()
    return call.invoke(app, {"given": "g"}), seen


@parity
def test_conditional_edge_gets_the_model(lib, call):
    graph = lib.StateGraph(Order).add_node("a", lambda _: {"total": 12.0})
    graph.add_node("big", lambda _: {"log": ["big"]}).add_node("small", lambda _: {"log": ["s"]})
    graph.add_edge(lib.START, "a")
    graph.add_conditional_edges("a", lambda order: "big" if order.total > 10 else "small")
    return call.invoke(graph.compile(), {"customer": "ann"})


@parity
def test_model_state_over_two_runs_of_a_thread(lib, call):
    app = chain(lib, Order, ("n", lambda order: {"log": [order.customer]}))
    app = app.compile(checkpointer=lib.InMemorySaver())
    first = call.invoke(app, {"customer": "ann"}, THREAD)
    return first, call.invoke(app, {"customer": "bob"}, THREAD), call.state(app).values


@parity
def test_node_with_its_own_model_as_input(lib, call):
    class Narrow(pydantic.BaseModel):
        customer: str

    seen = []

    def node(state: Narrow) -> None:
        seen.append((type(state).__name__, state.customer))

    return call.invoke(chain(lib, Order, ("n", node)).compile(), {"customer": "ann"}), seen


@parity
def test_model_as_output_schema(lib, call):
    class Result(pydantic.BaseModel):
        total: float

    graph = lib.StateGraph(Order, output_schema=Result).add_node("n", lambda _: {"total": "3"})
    app = graph.add_edge(lib.START, "n").compile()
    given = {"customer": "ann"}
    return call.invoke(app, given), call.invoke(app, given, version="v2").value


@parity
def test_model_as_input_schema_of_a_dict_state(lib, call):
    class Ask(pydantic.BaseModel):
        question: str

    class State(TypedDict, total=False):
        question: str
        answer: str

    seen = []

    def node(state: Any) -> Any:
        seen.append(state)
        return {"answer": "a"}

    graph = lib.StateGraph(State, input_schema=Ask).add_node("n", node).add_edge(lib.START, "n")
    app = graph.compile()
    return call.invoke(app, {"question": "q", "answer": "no"}), seen


@parity
def test_enums_and_nested_models_survive_a_checkpoint(lib, call):
    nodes = [
        ("a", lambda _: {"items": [Item(name="tea")]}),
        ("b", lambda o: {"log": [o.items[0].name]}),
    ]
    app = chain(lib, Order, *nodes).compile(
        checkpointer=lib.InMemorySaver(), interrupt_before=["b"]
    )
    call.invoke(app, {"customer": "ann"}, THREAD)
    return call.state(app).values, call.invoke(app, None, THREAD)


@parity
def test_node_gets_an_instance_of_the_dataclass(lib, call):
    seen = []

    def node(trip: Trip) -> Any:
        seen.append((type(trip).__name__, trip.city, trip.days))
        return {"days": trip.days + 1}

    app = chain(lib, Trip, ("n", node)).compile()
    return call.invoke(app, {"city": "Oslo"}), call.invoke(app, Trip("Rome", 4)), seen


@parity
def test_returned_dataclass_writes_all_its_fields(lib, call):
    app = chain(lib, Trip, ("n", lambda trip: Trip("Bonn", trip.days + 1))).compile()
    given = {"city": "Oslo", "days": 3, "log": ["in"]}
    return call.invoke(app, given), call.stream(app, given)


@parity
def test_v2_values_are_instances_of_the_schema(lib, call):
    apps = [
        chain(lib, Trip, ("n", lambda _: {"days": 2})).compile(),
        chain(lib, Order, ("n", lambda _: {"total": "2"})).compile(),
    ]
    given = [{"city": "Oslo"}, {"customer": "ann"}]
    modes = ["values", "updates"]
    streams = [
        call.stream(app, one, stream_mode=modes, version="v2")
        for app, one in zip(apps, given, strict=True)
    ]
    return streams, [
        call.invoke(app, one, version="v2") for app, one in zip(apps, given, strict=True)
    ]


@parity
def test_v2_checkpoints_hold_instances_but_for_the_input(lib, call):
    app = chain(lib, Trip, ("n", lambda _: {"days": 2})).compile(checkpointer=lib.InMemorySaver())
    return call.stream(app, {"city": "Oslo"}, THREAD, stream_mode=["checkpoints"], version="v2")


@parity
def test_invalid_input_is_refused_alike_in_both_versions(lib, call):
    app = chain(lib, Order, ("n", lambda _: None)).compile()
    return [
        raised(lib, lambda version=version: call.invoke(app, {"items": 3}, version=version))
        for version in ("v1", "v2")
    ]


@parity
def test_missing_dataclass_fields_are_refused(lib, call):
    app = chain(lib, Trip, ("n", lambda _: None)).compile()
    return raised(lib, lambda: call.invoke(app, {"days": 3}))


@parity
def test_update_state_with_a_model_instance(lib, call):
    app = chain(lib, Order, ("n", lambda _: None)).compile(checkpointer=lib.InMemorySaver())
    call.invoke(app, {"customer": "ann", "log": ["in"]}, THREAD)
    call.update(app, THREAD, Order(customer="bob", log=["edit"]))
    return call.state(app).values


@parity
def test_schema_that_inherits(lib, call):
    class Base(TypedDict):
        log: Annotated[list[str], operator.add]

    class Derived(Base, total=False):
        extra: int

    app = chain(lib, Derived, ("n", lambda _: {"log": ["n"], "extra": 1})).compile()
    return call.invoke(app, {"log": ["in"]})


@parity
def test_model_with_aliases_is_written_by_field_name(lib, call):
    class Aliased(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(populate_by_name=True)
        name: str = pydantic.Field(alias="Name")

    seen = []
    app = chain(lib, Aliased, ("n", lambda state: seen.append(state.name))).compile()
    return call.invoke(app, {"name": "n"}), seen
