"""Every store keeps the same promises, to blocking callers and to asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from graphflow import NotStorable
from graphflow.memory import (
    BaseStore,
    GetOp,
    IndexConfig,
    InMemoryStore,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from graphflow_checkpointers.sqlite_store import SqliteStore

Make = Callable[..., BaseStore]
USERS = ("users", "42")
AWKWARD = (
    " ", "ünï-日本-🙂", "a\0b", "a\0c", "n" * 4096, "'; DROP TABLE x; --", '"x"',
    "%", "_", "*", "?", "[a]", "\\", "//etc/passwd", "$1", "?1", ":name", "{0}", "NULL", "0",
    "/", "a/", "-", "\r\n\t", "\U0010ffff",
)  # fmt: skip
"""Labels that a careless store would mix up, cut off or obey."""


class Clock:
    """A clock that is set by hand; in minutes."""

    minutes = 0.0

    def __call__(self) -> float:
        return 1_700_000_000 + self.minutes * 60


class AsyncFace:
    """A store whose every call goes through its a-form."""

    def __init__(self, store: BaseStore) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        form = getattr(self.store, f"a{name}")
        return lambda *args, **named: asyncio.run(form(*args, **named))


async def aembed(texts: list[str]) -> list[list[float]]:
    return embed(texts)


def embed(texts: list[str]) -> list[list[float]]:
    """Count letters: texts of the same letters mean the same."""
    return [[float(text.count(letter)) for letter in "abcd"] for text in texts]


LETTERS: IndexConfig = {"embed": embed, "dims": 4, "fields": ["text"]}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "sqlite in memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Make]:
    """Makes stores of one kind."""
    made: list[BaseStore] = []

    def make_one(**options: Any) -> BaseStore:
        if request.param == "memory":
            made.append(InMemoryStore(clock=clock, **options))
        else:
            path = tmp_path / f"{len(made)}.db" if request.param == "sqlite" else ":memory:"
            made.append(SqliteStore(path, clock=clock, **options))
        return made[-1]

    yield make_one
    for store in made:
        store.close()


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Callable[[BaseStore], Any]:
    """How a store is called."""
    return (lambda store: store) if request.param == "sync" else AsyncFace


@pytest.fixture
def store(make: Make, face: Callable[[BaseStore], Any]) -> Any:
    """An empty store."""
    return face(make())


def keys(found: list[Any]) -> list[str]:
    return [item.key for item in found]


# -- put, get, delete -------------------------------------------------------------------------


def test_what_was_put_is_got(store: Any) -> None:
    store.put(
        USERS, "name", {"text": "Ada", "at": datetime(2024, 1, 1, tzinfo=UTC), "pair": (1, 2)}
    )
    item = store.get(USERS, "name")
    assert (item.namespace, item.key) == (USERS, "name")
    assert item.value == {"text": "Ada", "at": datetime(2024, 1, 1, tzinfo=UTC), "pair": (1, 2)}


def test_what_was_never_put_is_none(store: Any) -> None:
    assert store.get(USERS, "name") is None


def test_a_namespace_does_not_hold_the_items_of_those_below(store: Any) -> None:
    store.put((*USERS, "facts"), "name", {})
    assert store.get(USERS, "name") is None


def test_putting_again_replaces_the_value_whole(store: Any) -> None:
    store.put(USERS, "name", {"text": "Ada", "old": 1})
    store.put(USERS, "name", {"text": "Eve"})
    assert store.get(USERS, "name").value == {"text": "Eve"}


def test_putting_again_keeps_the_time_of_creation(store: Any, clock: Clock) -> None:
    store.put(USERS, "name", {})
    created = store.get(USERS, "name").created_at
    clock.minutes = 5
    store.put(USERS, "name", {})
    item = store.get(USERS, "name")
    assert (item.created_at, (item.updated_at - created).total_seconds()) == (created, 300)


def test_times_are_in_utc(store: Any, clock: Clock) -> None:
    store.put(USERS, "name", {})
    item = store.get(USERS, "name")
    assert item.created_at == item.updated_at == datetime.fromtimestamp(clock(), UTC)
    assert item.created_at.tzinfo is UTC


def test_a_deleted_item_is_gone(store: Any) -> None:
    store.put(USERS, "name", {})
    store.put(USERS, "age", {})
    store.delete(USERS, "name")
    assert (store.get(USERS, "name"), keys(store.search(()))) == (None, ["age"])


def test_deleting_what_is_not_there_is_no_error(store: Any) -> None:
    store.delete(USERS, "name")
    assert store.list_namespaces() == []


def test_changing_a_value_after_it_was_put_changes_nothing(store: Any) -> None:
    value = {"tags": ["a"]}
    store.put(USERS, "name", value)
    value["tags"].append("b")
    assert store.get(USERS, "name").value == {"tags": ["a"]}


def test_changing_a_value_that_was_got_changes_nothing(store: Any) -> None:
    store.put(USERS, "name", {"tags": ["a"]})
    store.get(USERS, "name").value["tags"].append("b")
    store.search(USERS)[0].value["tags"].append("c")
    assert store.get(USERS, "name").value == {"tags": ["a"]}


def test_an_item_tells_itself_for_json(store: Any) -> None:
    store.put(USERS, "name", {"text": "Ada"})
    assert store.search(USERS)[0].dict() == {
        "value": {"text": "Ada"},
        "key": "name",
        "namespace": ["users", "42"],
        "created_at": "2023-11-14T22:13:20+00:00",
        "updated_at": "2023-11-14T22:13:20+00:00",
        "score": None,
    }


# -- what is refused --------------------------------------------------------------------------


def test_what_cannot_be_stored_is_refused_and_named(store: Any) -> None:
    with pytest.raises(NotStorable, match=r"\['lock'\]") as caught:
        store.put(USERS, "name", {"lock": object()})
    assert "'name' in ('users', '42')" in caught.value.__notes__[0]
    assert store.get(USERS, "name") is None


@pytest.mark.parametrize(
    ("namespace", "told"),
    [
        ((), "at least one label"),
        ("users", r"write \('users',\)"),
        (["users"], "tuple"),
        (("a", ""), "empty"),
        (("a.b",), "dot"),
        (("a", 1), "not a str"),
        (("\ud800",), "surrogates"),
    ],
)
def test_what_is_no_namespace_is_refused(store: Any, namespace: Any, told: str) -> None:
    with pytest.raises(InvalidNamespaceError, match=told):
        store.put(namespace, "key", {})
    with pytest.raises(InvalidNamespaceError, match=told):
        store.get(namespace, "key")


@pytest.mark.parametrize("key", [1, None, b"k"])
def test_a_key_that_is_no_text_is_refused(store: Any, key: Any) -> None:
    with pytest.raises(TypeError, match="key is a str"):
        store.put(USERS, key, {})


@pytest.mark.parametrize("value", [None, "text", ["a"], 1])
def test_a_value_that_is_no_dict_is_refused(store: Any, value: Any) -> None:
    with pytest.raises(TypeError, match="keeps dicts"):
        store.put(USERS, "name", value)


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_no_time_to_live_is_refused(store: Any, ttl: float) -> None:
    with pytest.raises(ValueError, match="ttl is minutes"):
        store.put(USERS, "name", {}, ttl=ttl)


# -- search by namespace and field ------------------------------------------------------------


def test_search_finds_what_is_at_and_below_a_namespace(store: Any) -> None:
    for namespace in [("a",), ("a", "b"), ("a", "b", "c"), ("ab",), ("b", "a")]:
        store.put(namespace, ".".join(namespace), {})
    assert keys(store.search(("a",))) == ["a", "a.b", "a.b.c"]
    assert keys(store.search(("a", "b"))) == ["a.b", "a.b.c"]
    assert len(store.search(())) == 5


@pytest.mark.parametrize("label", AWKWARD)
def test_awkward_labels_and_keys_are_only_text(store: Any, label: str) -> None:
    for other in ("a", "ab", "users", "aXb", "n"):
        store.put((other, "x"), other, {})
    store.put((label, "x"), label, {"is": label})
    assert store.get((label, "x"), label).value == {"is": label}
    assert keys(store.search((label,))) == [label]
    assert (label, "x") in store.list_namespaces()


def test_items_come_in_order_of_creation_from_whatever_namespace(store: Any) -> None:
    for number in range(6):
        store.put(("n", str(number % 2)), f"k{number}", {})
    store.put(("n", "0"), "k2", {"updated": True})
    assert keys(store.search(("n",))) == ["k0", "k1", "k2", "k3", "k4", "k5"]


def test_an_item_that_was_deleted_and_put_again_comes_last(store: Any) -> None:
    for key in "abc":
        store.put(USERS, key, {})
    store.delete(USERS, "a")
    store.put(USERS, "a", {})
    assert keys(store.search(USERS)) == ["b", "c", "a"]


def test_search_returns_ten_unless_told_otherwise(store: Any) -> None:
    for number in range(12):
        store.put(USERS, f"{number:02}", {"even": number % 2 == 0})
    assert len(store.search(USERS)) == 10
    assert keys(store.search(USERS, limit=3, offset=10)) == ["10", "11"]
    assert keys(store.search(USERS, filter={"even": True}, limit=2, offset=1)) == ["02", "04"]
    assert store.search(USERS, limit=0) == []


@pytest.mark.parametrize("page", [{"limit": -1}, {"offset": -1}])
def test_a_page_before_the_first_is_refused(store: Any, page: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        store.search(USERS, **page)
    with pytest.raises(ValueError, match="at least 0"):
        store.list_namespaces(**page)


def test_a_filter_narrows_a_search(store: Any) -> None:
    store.put(USERS, "a", {"kind": "fact", "user": {"age": 17}})
    store.put(USERS, "b", {"kind": "fact", "user": {"age": 40}})
    store.put(USERS, "c", {"kind": "task", "user": {"age": 50}})
    assert keys(store.search(USERS, filter={"kind": "fact", "user.age": {"$gt": 18}})) == ["b"]


def test_a_filter_with_an_unknown_operator_is_refused(store: Any) -> None:
    with pytest.raises(ValueError, match=r"'\$regex', which is none of \$eq"):
        store.search(USERS, filter={"kind": {"$regex": "x"}})


# -- search by meaning ------------------------------------------------------------------------


@pytest.mark.parametrize("function", [embed, aembed])
def test_the_nearest_come_first(make: Make, face: Any, function: Any) -> None:
    store = face(make(index={**LETTERS, "embed": function}))
    for text in ("aab", "ccd", "aaaa", "abcd"):
        store.put(USERS, text, {"text": text})
    found = store.search(USERS, query="aa", limit=3)
    assert keys(found) == ["aaaa", "aab", "abcd"]
    assert [item.score for item in found] == pytest.approx([1, 0.894427, 0.5], abs=1e-6)


def test_meaning_filter_and_page_go_together(make: Make, face: Any) -> None:
    store = face(make(index=LETTERS))
    for number, text in enumerate(["a", "aab", "ab", "abb", "b"]):
        store.put(USERS, text, {"text": text, "odd": number % 2 == 1})
    assert keys(store.search(USERS, query="a", filter={"odd": False})) == ["a", "ab", "b"]
    assert keys(store.search(USERS, query="a", limit=2, offset=1)) == ["aab", "ab"]


def test_the_same_meaning_comes_in_order_of_creation(make: Make) -> None:
    store = make(index=LETTERS)
    for text in ("ab", "ba", "abab"):
        store.put(USERS, text, {"text": text})
    assert keys(store.search(USERS, query="ab")) == ["ab", "ba", "abab"]


def test_search_without_query_needs_no_meaning(make: Make) -> None:
    store = make(index=LETTERS)
    store.put(USERS, "a", {"text": "a"})
    assert [item.score for item in store.search(USERS)] == [None]


def test_a_query_to_a_store_without_index_says_how_to_make_one(store: Any) -> None:
    with pytest.raises(ValueError, match=r"Store\(index=\{'embed': function"):
        store.search(USERS, query="a")


def test_items_that_are_not_indexed_are_not_found_by_meaning(make: Make, face: Any) -> None:
    store = face(make(index=LETTERS))
    store.put(USERS, "seen", {"text": "a"})
    store.put(USERS, "hidden", {"text": "a"}, index=False)
    store.put(USERS, "blank", {"text": " "})
    store.put(USERS, "without", {"other": "a"})
    assert keys(store.search(USERS, query="a")) == ["seen"]
    assert len(store.search(USERS)) == 4


def test_an_item_can_say_itself_what_is_indexed(make: Make) -> None:
    store = make(index=LETTERS)
    store.put(USERS, "own", {"text": "d", "title": "a"}, index=["title"])
    (item,) = store.search(USERS, query="a")
    assert item.score == pytest.approx(1)


def test_an_item_of_many_texts_is_as_near_as_the_nearest(make: Make) -> None:
    store = make(index={**LETTERS, "fields": ["tags[*]"]})
    store.put(USERS, "mixed", {"tags": ["d", "a"]})
    store.put(USERS, "near", {"tags": ["aab"]})
    assert keys(store.search(USERS, query="a")) == ["mixed", "near"]


def test_putting_again_replaces_the_meaning(make: Make) -> None:
    store = make(index=LETTERS)
    store.put(USERS, "x", {"text": "a"})
    store.put(USERS, "x", {"text": "b"})
    (item,) = store.search(USERS, query="b")
    assert item.score == pytest.approx(1)


def test_embeddings_of_the_wrong_size_are_refused_before_anything_is_stored(make: Make) -> None:
    store = make(index={**LETTERS, "dims": 3})
    with pytest.raises(ValueError, match=r"4 numbers where .* 'dims': 3"):
        store.put(USERS, "a", {"text": "a"})
    assert store.search(USERS) == []


def test_an_embedding_that_fails_stores_nothing(make: Make, face: Any) -> None:
    def fail(texts: list[str]) -> list[list[float]]:
        raise ConnectionError("no model")

    store = face(make(index={**LETTERS, "embed": fail}))
    with pytest.raises(ConnectionError):
        store.put(USERS, "a", {"text": "a"})
    assert store.search(USERS) == []


# -- time to live -----------------------------------------------------------------------------


def test_an_item_is_gone_when_its_time_is_over(store: Any, clock: Clock) -> None:
    store.put(USERS, "short", {}, ttl=1)
    store.put(USERS, "long", {})
    clock.minutes = 1
    assert store.get(USERS, "short") is None
    assert keys(store.search(USERS)) == ["long"]


def test_a_namespace_whose_items_are_gone_is_not_listed(store: Any, clock: Clock) -> None:
    store.put(USERS, "short", {}, ttl=1)
    clock.minutes = 2
    assert store.list_namespaces() == []


@pytest.mark.parametrize("read", ["get", "search"])
def test_reading_starts_the_time_to_live_anew(store: Any, clock: Clock, read: str) -> None:
    store.put(USERS, "name", {}, ttl=10)
    clock.minutes = 9
    store.get(USERS, "name") if read == "get" else store.search(USERS)
    clock.minutes = 18
    assert store.get(USERS, "name") is not None


@pytest.mark.parametrize("read", ["get", "search"])
def test_reading_can_leave_the_time_to_live_alone(store: Any, clock: Clock, read: str) -> None:
    store.put(USERS, "name", {}, ttl=10)
    clock.minutes = 9
    if read == "get":
        store.get(USERS, "name", refresh_ttl=False)
    else:
        store.search(USERS, refresh_ttl=False)
    clock.minutes = 11
    assert store.get(USERS, "name") is None


def test_an_item_put_again_after_its_time_is_a_new_one(store: Any, clock: Clock) -> None:
    store.put(USERS, "name", {}, ttl=1)
    store.put(USERS, "other", {})
    clock.minutes = 2
    store.put(USERS, "name", {})
    assert store.get(USERS, "name").created_at.timestamp() == clock()
    assert keys(store.search(USERS)) == ["other", "name"]


def test_putting_again_without_time_to_live_makes_an_item_stay(store: Any, clock: Clock) -> None:
    store.put(USERS, "name", {}, ttl=1)
    store.put(USERS, "name", {})
    clock.minutes = 100
    assert store.get(USERS, "name") is not None


# -- namespaces -------------------------------------------------------------------------------

PLACES = [("a", "b", "c"), ("a", "b", "d"), ("a", "x"), ("b", "b", "d"), ("c",)]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, PLACES),
        ({"prefix": ("a",)}, PLACES[:3]),
        ({"prefix": ("a", "b")}, PLACES[:2]),
        ({"suffix": ("d",)}, [PLACES[1], PLACES[3]]),
        ({"prefix": ("*", "b")}, [PLACES[0], PLACES[1], PLACES[3]]),
        ({"suffix": ("b", "*")}, [PLACES[0], PLACES[1], PLACES[3]]),
        ({"prefix": ("a",), "suffix": ("d",)}, [PLACES[1]]),
        ({"prefix": ("a", "b", "c", "d")}, []),
        ({"max_depth": 1}, [("a",), ("b",), ("c",)]),
        ({"max_depth": 2, "prefix": ("a",)}, [("a", "b"), ("a", "x")]),
        ({"limit": 2}, PLACES[:2]),
        ({"limit": 2, "offset": 4}, PLACES[4:]),
    ],
)
def test_namespaces_are_listed(store: Any, asked: dict[str, Any], found: list[Any]) -> None:
    for namespace in reversed(PLACES):
        store.put(namespace, "1", {})
        store.put(namespace, "2", {})
    assert store.list_namespaces(**asked) == found


def test_an_emptied_namespace_is_not_listed(store: Any) -> None:
    store.put(USERS, "name", {})
    store.delete(USERS, "name")
    assert store.list_namespaces() == []


# -- batches, threads -------------------------------------------------------------------------


def test_a_batch_is_carried_out_in_its_order(store: Any) -> None:
    results = store.batch(
        [
            PutOp(USERS, "a", {"n": 1}),
            GetOp(USERS, "a"),
            PutOp(USERS, "a", None),
            GetOp(USERS, "a"),
            PutOp(USERS, "b", {"n": 2}),
            SearchOp(("users",)),
            ListNamespacesOp([MatchCondition("prefix", ("users",))]),
        ]
    )
    assert (results[1].value, results[3], keys(results[5]), results[6]) == (
        {"n": 1}, None, ["b"], [USERS],
    )  # fmt: skip


def test_a_batch_with_one_wrong_request_stores_nothing(store: Any) -> None:
    with pytest.raises(InvalidNamespaceError):
        store.batch([PutOp(USERS, "a", {}), PutOp((), "b", {})])
    assert store.search(()) == []


def test_a_batch_is_embedded_in_one_call(make: Make) -> None:
    calls: list[list[str]] = []

    def noted(texts: list[str]) -> list[list[float]]:
        calls.append(texts)
        return embed(texts)

    store = make(index={**LETTERS, "embed": noted})
    texts = ["a", "b"]
    found = store.batch(
        [*(PutOp(USERS, text, {"text": text}) for text in texts), SearchOp(USERS, query="b")]
    )
    assert (calls, keys(found[2])) == ([["a", "b", "b"]], ["b", "a"])


def test_many_threads_lose_nothing(make: Make) -> None:
    store = make(index=LETTERS)

    def work(number: int) -> int:
        store.put(("t", str(number % 3)), str(number), {"text": "a", "n": number})
        return len(store.search(("t",), query="a", limit=100))

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(work, range(40)))
    assert max(counts) == 40
    assert {item.value["n"] for item in store.search((), limit=100)} == set(range(40))


async def _gather(store: BaseStore) -> list[Any]:
    await asyncio.gather(*(store.aput(USERS, str(n), {"n": n}) for n in range(20)))
    return await store.asearch(USERS, limit=100)


def test_many_tasks_lose_nothing(make: Make) -> None:
    assert len(asyncio.run(_gather(make()))) == 20
