"""What every checkpointer must do with tags; a part of `StoreConformance`.

A store that keeps none says so: `keeps_tags = False` in the subclass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import pytest

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.indexing import index_all, index_thread
from graphflow.checkpoint.protocol import MAIN, Branch, Operation, Tag
from graphflow.checkpoint.tags import ThreadPage, find_threads, tags_of
from graphflow.checkpoint.transfer import copy_thread, export_thread, import_thread
from graphflow.errors import CheckpointError
from graphflow.state_graph import StateGraph
from graphflow.testing.material import AWKWARD, Do, stored
from graphflow.types import START, Config

VALUES: tuple[str | int | bool, ...] = (
    1, True, "1", "True", "true", 0, False, "0", "", "None", "1.0", -1, 2**63, 2**64, -(2**200),
)  # fmt: skip
"""Values that a careless store would take for one another."""


class _State(TypedDict, total=False):
    said: str


class TagConformance:
    """The cases. `StoreConformance` has the fixtures."""

    keeps_tags: ClassVar[bool] = True

    if TYPE_CHECKING:

        def line(self, store: Checkpointer, do: Do, thread: str, *seqs: int) -> Branch:
            """Return a branch with these frames."""

    @pytest.fixture
    def find(self, store: Checkpointer, do: Do) -> Callable[..., list[str]]:
        """Find threads by tags; the store has declared `customer` and `tenant`."""
        if not self.keeps_tags:
            pytest.skip("The store keeps no tags, and says so.")
        store.tags = ("customer", "tenant")
        return lambda **tags: do(find_threads(store, tags)).threads

    def test_a_store_without_tags_says_so(self, store: Checkpointer, do: Do) -> None:
        if self.keeps_tags:
            assert do(find_threads(store)) == ThreadPage([], None)
        else:
            with pytest.raises(CheckpointError, match="keeps no tags"):
                do(find_threads(store))

    # -- the verbs -----------------------------------------------------------------------------

    def test_threads_are_found_by_equal_tags(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        for thread, customer, tenant in (("z", "ada", 1), ("a", "ada", 2), ("m", "ben", 1)):
            self.tag(store, do, thread, customer=customer, tenant=tenant)
        self.line(store, do, "untagged", 0)
        assert find(customer="ada") == ["z", "a"]
        assert find(tenant=1) == ["z", "m"]
        assert find(customer="ada", tenant=1) == find(tenant=1, customer="ada") == ["z"]
        assert find(customer="ben", tenant=2) == find(customer="nobody") == []
        assert find() == ["z", "a", "m", "untagged"]

    def test_the_newest_value_of_a_key_stays(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        self.tag(store, do, "t", customer="ada", tenant=1)
        self.tag(store, do, "t", customer="ben")
        assert (find(customer="ada"), find(customer="ben"), find(tenant=1)) == ([], ["t"], ["t"])
        self.tag(store, do, "t", customer="ada")
        self.tag(store, do, "t", customer="ada")
        assert (find(customer="ada", tenant=1), find(customer="ben")) == (["t"], [])

    def test_a_thread_that_is_not_there_gets_no_tags(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        do(store.put_tags("t", self.tags(customer="ada")))
        assert find(customer="ada") == do(store.threads()) == []
        self.line(store, do, "t", 0)
        assert find(customer="ada") == []

    def test_tags_types_not_conflated(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        for place, value in enumerate(VALUES):
            self.tag(store, do, f"t{place}", customer=value)
        for place, value in enumerate(VALUES):
            assert find(customer=value) == [f"t{place}"], repr(value)

    def test_threads_filter_tag_injection_corpus(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        store.tags = AWKWARD
        for text in AWKWARD:
            do(store.create_branch(text, "", MAIN, None, -1))
            do(store.put_tags(text, tags_of(AWKWARD, {"%": "shared", text: text})))
        for text in AWKWARD:
            assert find(**{text: text}) == [text]
            assert find(**{text: f"{text} "}) == find(**{text: "*"}) == []
        assert find(**{"%": "shared"}) == [text for text in AWKWARD if text != "%"]

    def test_what_is_no_tag_is_refused(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        self.tag(store, do, "t", customer="ada")
        with pytest.raises(ValueError, match=r"'color' is not declared.*'customer', 'tenant'"):
            find(color="red")
        for value in (None, 1.0, b"ada", ["ada"], ("ada",), {"$ne": "ada"}):
            with pytest.raises(TypeError, match=rf"'customer' must be .* {type(value).__name__}\b"):
                find(customer=value)
        for after in ("", " ", "-1", "0x1", "1;", "9" * 99, "*", "1 OR 1=1"):
            with pytest.raises(ValueError, match="is no cursor"):
                do(find_threads(store, {"customer": "ada"}, 1, after))
        with pytest.raises(ValueError, match="at least 1"):
            do(find_threads(store, {"customer": "ada"}, 0))

    @pytest.mark.parametrize("tags", [{}, {"customer": "ada"}, {"customer": "ada", "tenant": 1}])
    def test_threads_cursor_stable(
        self,
        store: Checkpointer,
        do: Do,
        find: Callable[..., list[str]],
        tags: dict[str, str | int],
    ) -> None:
        """Who is there all the time comes once, in order, whatever else comes and goes."""
        for number in range(12):
            self.tag(store, do, f"t{number}", customer="ada", tenant=1)
            self.tag(store, do, f"other {number}", customer="ben", tenant=1)
        seen: list[str] = []
        after, turn = None, 0
        while turn == 0 or after is not None:
            page: ThreadPage = do(find_threads(store, tags, 5, after))
            assert 1 <= len(page.threads) <= 5
            seen, after = [*seen, *page.threads], page.after
            if after is not None:
                do(store.remove_thread(page.threads[-1]))  # the cursor stands on it
                do(store.remove_thread(page.threads[0]))
                self.tag(store, do, f"new {turn}", customer="ada", tenant=1)
            turn += 1
        stayed = [name for name in do(store.threads()) if not name.startswith("new")]
        wanted = [name for name in stayed if not tags or name.startswith("t")]
        assert [name for name in seen if name in wanted] == wanted
        assert len(seen) == len({*seen})
        assert after is None
        assert do(find_threads(store, tags, 5, "f" * 64)) == ThreadPage([], None)

    def test_a_page_that_ends_with_the_last_thread_is_the_last(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        for number in range(4):
            self.tag(store, do, f"t{number}", customer="ada")
        first = do(find_threads(store, {"customer": "ada"}, 2))
        assert do(find_threads(store, {"customer": "ada"}, 2, first.after)).after is None
        assert do(find_threads(store, {"customer": "ada"}, 4)).after is None

    def test_tags_go_with_their_thread(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        self.tag(store, do, "gone", customer="ben")
        for thread in ("gone", "kept"):
            self.tag(store, do, thread, customer="ada")
        do(store.remove_thread("gone"))
        assert find(customer="ada") == ["kept"]
        self.line(store, do, "gone", 0)
        assert find(customer="ada") == ["kept"]
        assert find(customer="ben") == []
        self.tag(store, do, "gone", customer="ada")
        assert find(customer="ada") == ["kept", "gone"]

    def test_an_error_takes_back_tags(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        self.tag(store, do, "t", customer="ada")

        def fails() -> Operation[None]:
            yield from store.begin(write=True)
            yield from store.create_branch("new", "", MAIN, None, -1)
            yield from store.put_tags("new", self.tags(customer="ada"))
            yield from store.put_tags("t", self.tags(customer="ben", tenant=1))
            raise LookupError("halfway")

        with pytest.raises(LookupError, match="halfway"):
            do(fails())
        assert find(customer="ada") == find() == ["t"]
        assert find(customer="ben") == find(tenant=1) == []

    # -- runs ----------------------------------------------------------------------------------

    def test_a_run_gives_its_thread_tags(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        app = self.app(store)
        app.invoke({"said": "hi"}, self.at("t", customer="ada", tenant=7, color="red"))
        app.invoke({"said": "hi"}, self.at("other", customer="ben"))
        assert find(customer="ada") == find(customer="ada", tenant=7) == ["t"]
        app.invoke({"said": "again"}, self.at("t"))
        assert find(customer="ada", tenant=7) == ["t"]
        assert app.get_state(self.at("t")).metadata["customer"] == "ada"
        app.invoke({"said": "again"}, self.at("t", customer="ben"))
        assert find(customer="ada") == []
        assert find(customer="ben", tenant=7) == ["t"]
        app.update_state(self.at("other", customer="ada"), {"said": "by hand"})
        assert find(customer="ada") == ["other"]

    def test_a_run_at_exit_and_one_on_a_loop_give_tags(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        app = self.app(store)
        app.invoke({"said": "hi"}, self.at("exit", customer="ada"), durability="exit")
        asyncio.run(app.ainvoke({"said": "hi"}, self.at("loop", customer="ada")))
        assert store.find_threads({"customer": "ada"}).threads == ["exit", "loop"]
        page = asyncio.run(store.afind_threads({"customer": "ada"}, limit=1))
        assert page.threads == ["exit"]
        page = asyncio.run(store.afind_threads({"customer": "ada"}, limit=1, after=page.after))
        assert page == ThreadPage(["loop"], None)

    @pytest.mark.parametrize("value", [None, 1.5, ["ada"]])
    def test_another_type_is_refused_before_any_node_runs(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]], value: Any
    ) -> None:
        ran: list[str] = []
        app, config = self.app(store, ran), self.at("t", customer=value)
        for durability in ("sync", "exit"):
            with pytest.raises(TypeError, match=rf"'customer'.*{type(value).__name__}.*leave the"):
                app.invoke({"said": "hi"}, config, durability=durability)
        with pytest.raises(TypeError, match="'customer'"):
            app.update_state(config, {"said": "by hand"}, as_node="talk")
        assert ran == do(store.threads()) == []

    def test_a_store_without_declared_tags_takes_any_metadata(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        store.tags = ()
        self.app(store).invoke({"said": "hi"}, self.at("t", customer=1.5, tenant=7))
        store.tags = ("tenant",)
        assert find(tenant=7) == []

    def test_older_threads_are_found_when_they_are_indexed(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        store.tags, app = (), self.app(store)
        for thread, customer in (("t", "ada"), ("u", "ben"), ("float", 1.5)):
            app.invoke({"said": "hi"}, self.at(thread, customer=customer))
        app.invoke({"said": "hi"}, self.at("u", customer="ada", tenant=7))
        app.invoke({"said": "hi"}, self.at("u"))
        store.tags = ("customer", "tenant")
        app.invoke({"said": "hi"}, self.at("new", customer="ada"))
        assert find(customer="ada") == ["new"]
        for _ in range(2):
            assert do(index_all(store)) == 4
            assert sorted(find(customer="ada")) == ["new", "t", "u"]
            assert find(tenant=7) == ["u"]
            assert find(customer="ben") == []
        do(index_thread(store, "nobody"))
        assert find() == ["t", "u", "float", "new"]

    def test_copies_have_the_same_tags(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        app = self.app(store)
        app.invoke({"said": "hi"}, self.at("t", customer="ada", tenant=7))
        app.invoke({"said": "again"}, self.at("t"))
        store.prune("t", last=1)
        do(copy_thread(store, "t", "copy"))
        do(import_thread(store, list(do(export_thread(store, "t"))), "imported"))
        assert find(customer="ada", tenant=7) == ["t", "copy", "imported"]

    def test_what_runs_in_a_fork_gives_tags(
        self, store: Checkpointer, do: Do, find: Callable[..., list[str]]
    ) -> None:
        app = self.app(store)
        app.invoke({"said": "hi"}, self.at("t", customer="ada"))
        old = app.get_state(self.at("t")).config
        app.invoke({"said": "again"}, self.at("t", customer="ben"))
        app.invoke({"said": "else"}, old)
        assert find(customer="ben") == ["t"]
        app.invoke({"said": "else"}, {**old, "metadata": {"customer": "cem"}})
        assert (find(customer="cem"), find(customer="ben")) == (["t"], [])
        do(index_all(store))
        assert (find(customer="cem"), find(customer="ben")) == (["t"], [])

    # -- making things -------------------------------------------------------------------------

    def app(self, store: Checkpointer, ran: list[str] | None = None) -> Any:
        """Return a graph of one node, which notes that it ran."""

        def talk(state: _State) -> _State:
            if ran is not None:
                ran.append(state["said"])
            return {"said": state["said"] * 2}

        return StateGraph(_State).add_node("talk", talk).add_edge(START, "talk").compile(store)

    def at(self, thread: str, **metadata: Any) -> Config:
        """Return a config with metadata."""
        return {"configurable": {"thread_id": thread}, "metadata": metadata}

    def tags(self, **values: str | int) -> list[Tag]:
        """Return tags as a store is given them."""
        return tags_of(tuple(values), values)

    def tag(self, store: Checkpointer, do: Do, thread: str, **values: str | int) -> None:
        """Give a thread tags, and make it if there is none."""
        if not do(store.branches(thread)):
            branch: Branch = do(store.create_branch(thread, "", MAIN, None, -1))
            do(store.append(branch.id, -1, stored(0), drop_rows=False))
        do(store.put_tags(thread, self.tags(**values)))
