"""Every kind of value comes back exactly, or is refused with the way to it."""

import collections
import dataclasses
import functools
import math
import threading
from datetime import datetime

import pydantic
import pytest

from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.codec_errors import CorruptData, NotStorable, StoredError
from graphflow.checkpoint.registry import Registry

from .kinds import (
    CLASSES,
    EXACT,
    REFUSED,
    FakeZone,
    Forgotten,
    Loose,
    MyList,
    OneField,
    Open,
    Unregistered,
    User,
    coroutine,
    facts,
    label,
    visited,
)


@pytest.fixture(params=["native", "pure"])
def codec(request):
    return Codec(CLASSES, pure=request.param == "pure")


@pytest.mark.parametrize("value", EXACT, ids=label)
def test_a_value_comes_back_exactly_in_any_place(codec, value):
    for place in (value, [value], {"k": value}, (value, value), {1: value}, Open(1, value)):
        assert facts(codec.decode(codec.encode(place))) == facts(place)


@pytest.mark.parametrize("value", EXACT, ids=label)
def test_both_writers_write_the_same_bytes(value):
    native, pure = Codec(CLASSES), Codec(CLASSES, pure=True)
    assert native.encode([value]) == pure.encode([value])
    assert facts(pure.decode(native.encode(value))) == facts(value)


@pytest.mark.parametrize("value", REFUSED, ids=label)
def test_what_has_no_exact_form_is_refused_in_any_place(codec, value):
    places = {
        "": value,
        "[1]": [1, value],
        "['k']": {"k": value},
        "[0]": (value,),
        ".b": Open(1, value),
        "[1]['k'].b[0]": {1: {"k": Open(1, [value])}},
    }
    for path, place in places.items():
        with pytest.raises(NotStorable) as refusal:
            codec.encode(place)
        assert refusal.value.path.startswith(path)


def test_hundreds_of_kinds_of_values_are_covered():
    assert len(set(map(label, EXACT))) > 280
    assert len(set(map(label, REFUSED))) > 100


def test_a_coroutine_is_refused(codec):
    running = coroutine()
    with pytest.raises(NotStorable):
        codec.encode(running)
    running.close()


def test_a_refusal_names_the_way_the_type_and_the_fix(codec):
    user = Open(1, {"sessions": [Open(0), Open(0, (Forgotten(),))]})
    with pytest.raises(NotStorable) as refusal:
        codec.encode({"user": user})
    assert refusal.value.path == "['user'].b['sessions'][1].b[0]"
    assert refusal.value.kind is Forgotten
    assert "Forgotten at ['user'].b" in str(refusal.value)
    assert "@storable above Forgotten" in str(refusal.value)


def test_a_refusal_looks_into_models_keys_sets_and_private_attributes(codec):
    def path(value):
        with pytest.raises(NotStorable) as refusal:
            codec.encode(value)
        return refusal.value.path

    culprit = Unregistered()
    assert path(Loose(x=[culprit])) == ".x[0]"
    assert path([visited(User(name="a"), culprit)]) == "[0]._visits"
    assert path({culprit: 1}).startswith("(key <")
    assert path({"s": {1, culprit}}) == "['s']{...}"
    assert path(collections.deque([1, culprit])) == "[1]"
    assert path(collections.defaultdict(list, a=[culprit])) == "['a'][0]"
    assert path([datetime(2026, 1, 1, tzinfo=FakeZone())]) == "[0].tzinfo"
    assert path(MyList([0, culprit])) == "[1]"
    assert path(culprit) == ""


def test_a_secret_is_refused_with_the_reason(codec):
    with pytest.raises(NotStorable, match="in clear"):
        codec.encode({"key": pydantic.SecretStr("hunter2")})


def test_a_field_without_value_is_refused(codec):
    empty = object.__new__(OneField)
    with pytest.raises(NotStorable, match="only"):
        codec.encode([empty])


def test_an_exception_is_kept_as_a_record(codec):
    try:
        raise ValueError("bad \ud800 input")
    except ValueError as error:
        kept = codec.decode(codec.encode({"error": error}))["error"]
    assert (kept.type_name, kept.message) == ("ValueError", "bad \ud800 input")
    assert "test_an_exception_is_kept" in kept.traceback
    assert facts(codec.decode(codec.encode(kept))) == facts(kept)


def test_an_exception_that_was_never_raised_has_no_traceback(codec):
    kept = codec.decode(codec.encode(KeyError("k")))
    assert kept == StoredError("KeyError", "'k'", "")


def test_equal_sets_have_equal_bytes(codec):
    forth, back = set(), set()
    for number in range(100):
        forth.add(f"{number}")
        back.add(f"{99 - number}")
    assert codec.encode(forth) == codec.encode(back)


def test_the_order_in_which_attributes_were_set_does_not_show(codec):
    one, two = Open(1, 2), object.__new__(Open)
    two.b, two.a = 2, 1
    assert codec.encode(one) == codec.encode(two)


def test_a_cached_property_is_not_part_of_the_object():
    @dataclasses.dataclass
    class Circle:
        radius: float

        @functools.cached_property
        def area(self):
            return self.radius**2 * math.pi

    classes = Registry()
    classes.register(Circle)
    codec, circle = Codec(classes), Circle(2.0)
    assert circle.area > 12
    assert vars(codec.decode(codec.encode(circle))) == {"radius": 2.0}


def test_init_post_init_and_validators_do_not_run_when_reading():
    class Strict(pydantic.BaseModel):
        n: int

        @pydantic.field_validator("n")
        @classmethod
        def check(cls, n):
            calls.append(n)
            return n

    @dataclasses.dataclass(frozen=True)
    class Loud:
        n: int

        def __post_init__(self):
            calls.append(self.n)

    calls: list[int] = []
    classes = Registry()
    classes.register(Strict)
    classes.register(Loud)
    codec = Codec(classes)
    data = codec.encode([Strict(n=1), Loud(2)])
    calls.clear()
    assert codec.decode(data) == [Strict.model_construct(n=1), object_of(Loud, n=2)]
    assert calls == []


def object_of(kind, **attributes):
    made = object.__new__(kind)
    vars(made).update(attributes)
    return made


def test_lists_and_dicts_of_what_was_read_can_be_changed(codec):
    value = codec.decode(codec.encode([[], {}, bytearray(), Open(1)]))
    value[0].append(1)
    value[1]["a"] = 1
    value[2].append(1)
    value[3].a = 2
    assert value == [[1], {"a": 1}, bytearray(b"\1"), Open(2)]


def loop_in_a_list():
    loop: list = []
    loop.append(loop)
    return loop


def loop_in_a_dict():
    loop: dict = {"a": 1}
    loop["b"] = {"c": loop}
    return loop


def loop_through_objects():
    loop = Open(1, [])
    loop.b.append((loop, loop))
    return loop


def wide_loop():
    loop: list = []
    loop.extend((loop,) * 5)
    return loop


@pytest.mark.parametrize("make", [loop_in_a_list, loop_in_a_dict, loop_through_objects, wide_loop])
def test_a_value_that_contains_itself_is_refused(codec, make):
    with pytest.raises(NotStorable, match="contains itself"):
        codec.encode({"x": make()})


def nested(depth, wrap):
    value: object = 1
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS = [lambda v: [v], lambda v: {"k": v}, lambda v: {1: v}, lambda v: (v,), lambda v: Open(1, v)]


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("depth", [50, 95, 99, 100])
def test_a_hundred_levels_of_anything_can_be_stored(codec, wrap, depth):
    value = nested(depth, wrap)
    data = codec.encode(value)
    assert facts(codec.decode(data)) == facts(value)
    assert facts(Codec(CLASSES, pure=True).decode(data)) == facts(value)


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("depth", [256, 300, 5000])
def test_what_is_nested_too_deeply_is_refused(codec, wrap, depth):
    with pytest.raises(NotStorable, match="deep"):
        codec.encode(nested(depth, wrap))


def test_both_writers_draw_the_line_at_the_same_depth():
    def deepest(codec, wrap):
        for depth in range(90, 260):
            try:
                codec.encode(nested(depth, wrap))
            except NotStorable:
                return depth - 1
        return None

    lines = [[deepest(Codec(CLASSES, pure=pure), wrap) for wrap in WRAPS] for pure in (0, 1)]
    assert lines[0] == lines[1] == [255, 255, 100, 100, 100]


def test_an_object_that_is_reached_twice_comes_back_as_two(codec):
    shared = [1]
    first, second = codec.decode(codec.encode([shared, shared]))
    assert first == second == [1]
    assert first is not second


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91", b"\x01\x02", b"\xa5abc", b"\x81\x01\x02"])
def test_bytes_that_were_never_written_are_corrupt(codec, data):
    with pytest.raises(CorruptData):
        codec.decode(data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_read(codec, kind):
    assert codec.decode(kind(codec.encode({"a": (1,)}))) == {"a": (1,)}


def test_threads_share_a_codec():
    codec, values = Codec(CLASSES), [nested(12, lambda v: (v, [v])) for _ in range(4)]
    results: list = [None] * 4

    def work(place):
        results[place] = codec.decode(codec.encode(values[place]))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == values
