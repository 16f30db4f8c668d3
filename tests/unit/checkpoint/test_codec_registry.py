"""Classes come and go, fields change; stored objects are read right, or with a clear error."""

import dataclasses
import enum
import sys
import types
import typing
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import pydantic
import pytest

from graphflow.checkpoint import registry as default
from graphflow.checkpoint.codec import Codec, codec
from graphflow.checkpoint.codec_errors import CodecError, CorruptData, NotStorable, UnknownType
from graphflow.checkpoint.reachable import register_reachable
from graphflow.checkpoint.registry import Registry, storable, upcast


def moved(kind, value, **options):
    """Store a value of one class and read it where the tag stands for another."""
    old, new = Registry(), Registry()
    old.register(type(value), "thing")
    new.register(kind, "thing", **options)
    return new, lambda: Codec(new).decode(Codec(old).encode(value))


@dataclasses.dataclass
class Order:
    item: str
    amount: int = 1


@dataclasses.dataclass
class LongerOrder:
    item: str
    amount: int = 7
    notes: list[str] = dataclasses.field(default_factory=lambda: ["new"])


@dataclasses.dataclass
class StricterOrder:
    item: str
    amount: int
    customer: str


@dataclasses.dataclass
class ShorterOrder:
    item: str


class Model(pydantic.BaseModel):
    item: str
    amount: int = 1


class LongerModel(pydantic.BaseModel):
    item: str
    amount: int = 7
    notes: list[str] = pydantic.Field(default_factory=lambda: ["new"])
    _cache: dict[str, int] = pydantic.PrivateAttr(default_factory=dict)


class StricterModel(pydantic.BaseModel):
    item: str
    amount: int
    customer: str


class ShorterModel(pydantic.BaseModel):
    item: str


class Row(NamedTuple):
    item: str
    amount: int = 1


class LongerRow(NamedTuple):
    item: str
    amount: int = 7
    note: str = "new"


FAMILIES = [
    (Order, LongerOrder, StricterOrder, ShorterOrder),
    (Model, LongerModel, StricterModel, ShorterModel),
]


def test_a_new_field_gets_its_default_and_stored_values_stay_what_they_were():
    assert moved(LongerOrder, Order("pen"))[1]() == LongerOrder("pen", 1, ["new"])
    assert moved(LongerRow, Row("pen"))[1]() == LongerRow("pen", 1, "new")
    model = moved(LongerModel, Model(item="pen"))[1]()
    assert model == LongerModel(item="pen", amount=1)
    assert model.model_fields_set == {"item"}
    assert model._cache == {}


@pytest.mark.parametrize("family", FAMILIES, ids=["dataclass", "pydantic"])
def test_a_new_field_without_default_is_an_error_that_names_it(family):
    old, _, stricter, _ = family
    with pytest.raises(CorruptData, match="'customer'"):
        moved(stricter, old(item="pen", amount=1))[1]()


@pytest.mark.parametrize("family", FAMILIES, ids=["dataclass", "pydantic"])
def test_a_stored_field_that_the_class_lost_is_never_dropped_in_silence(family):
    old, _, _, shorter = family
    with pytest.raises(UnknownType, match=r"no field 'amount'.*@upcast"):
        moved(shorter, old(item="pen", amount=1))[1]()


@pytest.mark.parametrize("family", FAMILIES, ids=["dataclass", "pydantic"])
def test_upcasts_run_in_a_chain_on_plain_fields(family):
    old, _, _, shorter = family
    classes, read = moved(shorter, old(item="pen", amount=2), version=3)
    classes.upcast("thing", 1, lambda fields: {"text": f"{fields['amount']} {fields['item']}"})
    classes.upcast("thing", 2, lambda fields: {"item": fields["text"]})
    assert read() == shorter(item="2 pen")


def test_a_field_that_an_upcast_added_counts_as_set():
    classes, read = moved(StricterModel, Model(item="pen"), version=2)
    classes.upcast("thing", 1, lambda fields: {**fields, "customer": "ann"})
    assert read().model_fields_set == {"item", "customer"}


def test_a_missing_upcast_is_named():
    classes, read = moved(ShorterOrder, Order("pen"), version=3)
    classes.upcast("thing", 1, lambda fields: fields)
    with pytest.raises(UnknownType, match=r'@upcast\("thing", 2\)'):
        read()


def test_an_upcast_that_raises_is_named():
    classes, read = moved(ShorterOrder, Order("pen"), version=2)
    classes.upcast("thing", 1, lambda fields: fields["no such"])
    with pytest.raises(CodecError, match="upcast of 'thing' from version 1"):
        read()


def test_what_newer_code_wrote_is_refused():
    old, new = Registry(), Registry()
    new.register(Order, "thing", 2)
    old.register(Order, "thing", 1)
    with pytest.raises(UnknownType, match="version 2, this process has 1"):
        Codec(old).decode(Codec(new).encode(Order("pen")))


def test_an_unknown_tag_is_named_with_the_remedy():
    classes = Registry()
    classes.register(Order, "shop.Order")
    data = Codec(classes).encode({"order": Order("pen")})
    with pytest.raises(UnknownType, match=r"'shop.Order'.*@storable\(\"shop.Order\"\)"):
        Codec(Registry()).decode(data)


def test_an_enumeration_is_read_by_name_and_a_lost_member_is_named():
    old = enum.Enum("Status", {"OPEN": 1, "SHUT": 2})
    new = enum.Enum("Status", {"OPEN": "open", "CLOSED": "closed"})
    assert moved(new, old.OPEN)[1]() is new.OPEN
    with pytest.raises(UnknownType, match="no member 'SHUT'"):
        moved(new, old.SHUT)[1]()
    classes, read = moved(new, old.SHUT, version=2)
    classes.upcast("thing", 1, lambda name: {"SHUT": "CLOSED"}.get(name, name))
    assert read() is new.CLOSED


def test_a_class_that_is_defined_again_takes_over_and_old_instances_can_still_be_stored():
    def cell(classes):
        @dataclasses.dataclass
        class Note:
            text: str

        classes.register(Note, "note")
        return Note

    classes = Registry()
    first, second = cell(classes), cell(classes)
    values = Codec(classes)
    assert first is not second
    assert values.decode(values.encode([first("a"), second("b")])) == [second("a"), second("b")]


def test_two_classes_cannot_share_a_tag_or_a_code():
    classes = Registry()
    classes.register(Order, "order", code=65)
    with pytest.raises(ValueError, match=r"'order' stands for .*\.Order"):
        classes.register(Model, "order")
    with pytest.raises(ValueError, match="stands for"):
        classes.register(Model, "model", code=65)
    with pytest.raises(ValueError, match="code 63"):
        classes.register(Model, "model", code=63)


def test_a_script_that_is_imported_under_its_module_name_too_is_no_second_class():
    classes = Registry()
    classes.register(Order, "order")
    twin = dataclasses.make_dataclass("Order", ["item"], namespace={"__module__": "__main__"})
    twin.__qualname__ = Order.__qualname__
    classes.register(twin, "order")
    assert Codec(classes).decode(Codec(classes).encode(twin("pen"))) == twin("pen")


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    role: str
    text: str = ""
    name: str | None = None
    number: int = 0
    share: float = 0.0
    calls: tuple[str, ...] = ()
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)


MESSAGES = [
    Message("user"),
    Message("user", "", None, False, -0.0, (), {}),
    Message("user", "hi", "ann", 1, 1.5, ("a",), {"k": (1,)}),
    Message("user", name="x", calls=[], meta=()),  # type: ignore[arg-type]
]


def compact():
    classes = Registry()
    classes.register(Message, "m", code=65, omit_defaults=True)
    return Codec(classes)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_compact_record_omits_defaults_and_comes_back_exactly(message):
    values = compact()
    back = values.decode(values.encode(message))
    assert [(type(part), repr(part)) for part in dataclasses.astuple(back)] == [
        (type(part), repr(part)) for part in dataclasses.astuple(message)
    ]
    assert tuple(back.__slots__) == tuple(message.__slots__)


def test_a_compact_record_of_defaults_costs_few_bytes():
    plain = Registry()
    plain.register(Message)
    assert len(compact().encode(Message("user"))) < 35 < 110 < len(Codec(plain).encode(MESSAGES[0]))


def test_containers_that_a_compact_record_omits_are_not_shared():
    values = compact()
    first, second = values.decode(values.encode([Message("a"), Message("b")]))
    assert first.meta is not second.meta


def test_a_compact_record_still_checks_its_fields():
    values = compact()
    data = values.encode(Message("user", "hi"))
    with pytest.raises(UnknownType, match="'tixt'"):
        values.decode(data.replace(b"text", b"tixt"))
    with pytest.raises(CorruptData, match="'role'"):
        values.decode(data.replace(b"role", b"text").replace(b"user", b"name"))


def test_dump_and_load_store_any_class():
    class Money:
        def __init__(self, cents):
            self.cents = cents

    classes = Registry()
    classes.register(Money, "money", dump=lambda m: {"cents": m.cents}, load=lambda d: Money(**d))
    values = Codec(classes)
    assert values.decode(values.encode((Money(5),)))[0].cents == 5
    with pytest.raises(NotStorable, match=r"at \[0\]"):
        values.encode([Money(object())])


def test_what_dump_and_load_must_keep_is_checked():
    classes = Registry()
    with pytest.raises(TypeError, match="go together"):
        classes.register(Order, dump=vars)
    classes.register(Order, "order", dump=vars, load=dict)
    with pytest.raises(CorruptData, match="made a dict"):
        Codec(classes).decode(Codec(classes).encode(Order("pen")))


class WithSlot:
    __slots__ = ("hidden",)


@dataclasses.dataclass
class HidesState(WithSlot):
    a: int = 0


@dataclasses.dataclass
class IsAlsoAList(list):
    a: int = 0


@dataclasses.dataclass
class Computes:
    a: int

    def _get(self):
        return self.__dict__["raw"]

    def _set(self, value):
        self.__dict__["raw"] = value


Computes.a = property(Computes._get, Computes._set)  # type: ignore[assignment]


@pytest.mark.parametrize(
    "kind", [WithSlot, HidesState, IsAlsoAList, Computes, types.SimpleNamespace]
)
def test_a_class_whose_instances_hold_more_than_it_tells_is_refused_at_once(kind):
    with pytest.raises(NotStorable, match="dump="):
        Registry().register(kind)


@storable
@dataclasses.dataclass
class Plain:
    a: int


@storable("tests.Tagged", version=2)
class Tagged(enum.Enum):
    ONE = 1


@upcast("tests.Tagged", 1)
def _one(name):
    return "ONE"


def test_the_decorators_fill_the_default_registry():
    assert (f"{__name__}.Plain", 1, Plain) in list(default.registry)
    assert ("tests.Tagged", 2, Tagged) in list(default.registry)
    assert codec.decode(codec.encode([Plain(1), Tagged.ONE])) == [Plain(1), Tagged.ONE]


# -------------------------------------------------------------------- what an annotation reaches

T = TypeVar("T", bound="Bounded")


class Bounded(pydantic.BaseModel):
    pass


class Leaf(enum.Enum):
    A = 1


class Inner(NamedTuple):
    leaf: Leaf


@dataclasses.dataclass
class Box(Generic[T]):
    content: T
    missing: "NotDefinedAnywhere"  # type: ignore[name-defined]  # noqa: F821
    inner: "list[Inner] | None" = None


class Sub(Bounded):
    sub_only: "dict[str, Literal[Mood.GOOD]]" = {}


class Mood(enum.StrEnum):
    GOOD = "good"


Alias = typing.NewType("Alias", Order)


class State(TypedDict, total=False):
    boxes: Annotated[list[Box[Bounded]], "reducer"]
    aliases: typing.NotRequired[tuple[Alias, ...]]
    anything: Any
    number: int


class Tree(pydantic.BaseModel):
    children: "list[Tree]" = []
    row: Row | None = None
    _note: Model | None = None


def test_everything_that_a_state_reaches_is_registered():
    classes = Registry()
    found = set(register_reachable(State, into=classes))
    assert found == {Box, Bounded, Sub, Inner, Leaf, Mood, Order}
    assert all(kind in classes for kind in found)
    value = {"boxes": [Box(Sub(), None, [Inner(Leaf.A)])], "mood": Mood.GOOD, "order": Order("a")}
    assert Codec(classes).decode(Codec(classes).encode(value)) == value


def test_recursive_models_end():
    classes = Registry()
    assert set(register_reachable(Tree, into=classes)) == {Tree, Row, Model}
    value = Tree(children=[Tree(row=Row("a"))])
    assert Codec(classes).decode(Codec(classes).encode(value)) == value


def test_a_class_that_has_a_tag_keeps_it():
    classes = Registry()
    classes.register(Order, "order", 4)
    register_reachable(list[Order], into=classes)
    assert [entry for entry in classes if entry[2] is Order] == [("order", 4, Order)]


def test_plain_annotations_register_nothing():
    classes = Registry()
    for hint in (int, str | None, list[dict[str, Any]], Any, None, "x", TypedDict("E", {}), 5):
        assert register_reachable(hint, into=classes) == ()


def test_a_model_whose_types_come_later_can_be_registered_before_them():
    module = types.ModuleType("later")
    sys.modules["later"] = module
    exec(
        "from __future__ import annotations\nimport pydantic\n"
        "class First(pydantic.BaseModel):\n    second: Second | None = None\n    n: int = 0\n",
        vars(module),
    )
    classes = Registry()
    classes.register(module.First)
    exec("class Second(pydantic.BaseModel):\n    x: int\nFirst.model_rebuild()", vars(module))
    classes.register(module.Second)
    value = module.First(second=module.Second(x=1))
    assert Codec(classes).decode(Codec(classes).encode(value)) == value
    del sys.modules["later"]
