"""What a user may name is found again under that name and no other, or refused, on every store."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest

from graphflow import START, Checkpointer, CompiledStateGraph, StateGraph, interrupt
from graphflow.testing.material import AWKWARD

NASTY = (
    *AWKWARD,
    # SQL
    *("' OR '1'='1", '" OR ""="', "x'); DELETE FROM graphflow_thread; --", "a/*b*/c", "a;b"),
    *("1; SELECT pg_sleep(9)", "$$x$$", "E'\\x41'", "U&'\\0041'", "::regclass", "%s", "%%"),
    *("x'00'", "CASE WHEN 1", "graphflow_", "<schema>", ") UNION SELECT 1", "null", "true", "1e9"),
    # Redis: keys, globs, Lua, JSON, protocol, search
    *("*", "?", "[ab]", "[^a]", "\\*", "a*b", "{a}", "}{", "{}", "a:b", "a:b:frames", ":lease:"),
    *("')..redis.call('FLUSHALL')..('", "KEYS[1]", "]]", "--[[", "return 1", '["a","b"]', "["),
    *("*1\r\n$8\r\nFLUSHALL\r\n", "@a:{b}", "(a|b)", "~a", "-a", "a=>[KNN 1 @v $b]", "next:"),
    *("%(a)s", "branch:", "\\u0000", "`x`"),
    # formats, templates, shells, paths
    *("{0.__class__}", "{x!r}", "%n%n", "{{7*7}}", "${x}", "$(id)", "`id`", "<script>", "&amp;"),
    *("..", ".", "/", "//", "C:\\nul", "~", "a/b", "a\\b", "-rf", "--help", "file:///etc", "con"),
    *("__class__", "__init__", "__main__", "constructor", "None", "True", "self", "main"),
    *("0000000001-0", "1-0", "-1", "+1", "1.0", " 1", "1 ", "1_0", "0x1", "inf", "nan", "a?b#c"),
    *("\u0663-\u0660", "\u00b2", "\u00b2-0", "1-\u0660", "fork-main"),
    # texts that look alike
    *("a", "A", "a ", " a", "a\t", "a\n", "a\0", "é", "e\u0301", "\ufb01", "fi", "K", "\u212a"),
    *("\u00a0", "\u200b", "a\u200b", "\u202ea", "\ufeffa", "\u2028", "\U000e0041", "\u0130", "i"),
    *("ß", "ss", "\u0131", "I", "\uffff", "\ufffd", "\U0010ffff", "\x1f", "\x7f", "\x85"),
    *("\U0001f3f3\ufe0f\u200d\U0001f308", "\ud800", "a\udfff", "\ud83d\ude00"),
)  # fmt: skip
"""Names that a careless store would mix up, cut off, change or obey."""


class State(TypedDict, total=False):
    said: Annotated[list[str], operator.add]


def echo(store: Checkpointer | None) -> CompiledStateGraph:
    graph = StateGraph(State).add_node("echo", lambda state: {})
    return graph.add_edge(START, "echo").compile(store)


def at(thread: Any, **more: Any) -> Any:
    return {"configurable": {"thread_id": thread, **more}}


def accepted(call: Callable[[], object]) -> bool:
    """Return whether a call did something; else it said why not."""
    try:
        call()
    except UnicodeError as error:
        raise AssertionError("that is Python's error, not ours") from error
    except ValueError as refusal:
        if len(str(refusal)) < 20:
            raise
        return False
    return True


class NamePromises:
    """The promises; a subclass gives `store`, an empty one."""

    @pytest.fixture
    def store(self) -> Any:
        raise NotImplementedError

    def test_threads(self, store: Checkpointer) -> None:
        app = echo(store)

        def run(name: str) -> object:
            return app.invoke({"said": [name]}, at(name), durability="exit")

        known = [name for name in NASTY if accepted(lambda name=name: run(name))]
        assert len(known) > len(NASTY) - 10
        assert store.run(store.threads()) == known
        for name in known:
            assert app.get_state(at(name)).values == {"said": [name]}, name
        for name in known[::2]:
            store.delete_thread(name)
        assert store.run(store.threads()) == known[1::2]
        assert [app.get_state(at(name)).values for name in known] == [
            {"said": [name]} if place % 2 else {} for place, name in enumerate(known)
        ]

    def test_branches(self, store: Checkpointer) -> None:
        app = echo(store)
        app.invoke({"said": ["first"]}, at("t"))
        app.invoke({"said": ["first"]}, at("other"))
        start = app.get_state(at("t")).config

        def fork(name: str) -> None:
            assert app.fork(start, name=name) == name
            app.update_state(at("t", branch=name), {"said": [name]})

        known = [
            name for name in NASTY if name != "main" and accepted(lambda name=name: fork(name))
        ]
        assert len(known) > len(NASTY) - 10
        assert list(app.branches("t")) == ["main", *known]
        assert list(app.branches("other")) == ["main"]
        for name in known:
            assert app.get_state(at("t", branch=name)).values["said"] == ["first", name], name
        for name in {*NASTY} - {*known, "main"}:
            assert not accepted(lambda name=name: app.get_state(at("t", branch=name))), name
        assert not accepted(lambda: app.get_state(at("other", branch="A")))

    def test_nodes(self, store: Checkpointer) -> None:
        found = 0
        for place, name in enumerate(NASTY):
            inner = StateGraph(State).add_node("ask", lambda state: {"said": [interrupt("?")]})
            child = inner.add_edge(START, "ask").compile()
            graph = StateGraph(State)
            if not accepted(
                lambda graph=graph, name=name, child=child: graph.add_node(name, child)
            ):
                continue
            app, config = graph.add_edge(START, name).compile(store), at(f"t{place}")
            if not accepted(lambda app=app, config=config: app.invoke({}, config)):
                continue
            found += 1
            shot = app.get_state(config, subgraphs=True)
            assert shot.next == (name,)
            (task,) = shot.tasks
            assert task.name == name
            assert task.state.next == ("ask",)
            place_inside = task.state.config
            assert app.get_state(place_inside).next == ("ask",), name
            assert app.get_state(at(f"t{place}", checkpoint_ns=f"{name}:")).next == ()
        assert found > len(NASTY) - 30

    def test_keys_of_the_state(self, store: Checkpointer) -> None:
        names = [name for name in NASTY if name]
        schema = TypedDict("schema", dict.fromkeys(names, Any), total=False)  # type: ignore[misc]
        graph: Any = StateGraph(schema).add_node("n", lambda s: {k: [k, v] for k, v in s.items()})
        app = graph.add_edge(START, "n").compile(store)
        app.invoke({name: name for name in names}, at("t"))
        assert app.get_state(at("t")).values == {name: [name, name] for name in names}
        app.update_state(at("t"), {names[0]: "changed"}, "n")
        assert app.get_state(at("t")).values == {
            name: "changed" if name == names[0] else [name, name] for name in names
        }

    def test_checkpoint_ids(self, store: Checkpointer) -> None:
        app = echo(store)
        for thread in ("t", "u"):
            app.invoke({"said": ["one"]}, at(thread))
        newest = app.get_state(at("t")).config["configurable"]["checkpoint_id"]
        for name in (*NASTY, "9" * 30 + "-0", "9" * 5000 + "-0", "0-" + "9" * 30, f"{1 << 28}-0"):
            if name in ("0000000001-0", "1-0"):  # those are in the thread
                continue
            place = at("t", checkpoint_id=name)
            if name:
                assert not accepted(lambda place=place: app.get_state(place)), name
                assert not accepted(lambda place=place: app.invoke({"said": ["x"]}, place)), name
                assert not accepted(lambda place=place: app.update_state(place, {})), name
        assert app.get_state(at("t")).config["configurable"]["checkpoint_id"] == newest
        assert list(app.branches("t")) == ["main"]

    def test_namespaces(self, store: Checkpointer) -> None:
        app = echo(store)
        app.invoke({"said": ["one"]}, at("t"))
        for name in NASTY:
            place = at("t", checkpoint_ns=name)
            if name and accepted(lambda place=place: app.get_state(place)):
                assert app.get_state(place).values == {}, name
                with pytest.raises(Exception, match=r".{20}"):
                    app.invoke(None, place)
        assert store.run(store.scopes("t")) == [""]

    def test_metadata(self, store: Checkpointer) -> None:
        app = echo(store)
        told = {name: [name] for name in NASTY}
        app.invoke({"said": []}, {**at("t"), "metadata": told})
        found = app.get_state(at("t")).metadata
        assert {name: found.get(name) for name in told} == told
        for thread in ("t", "u"):
            config = at(thread, **{name: name for name in NASTY if not name.startswith("__")})
            app.invoke({"said": []}, config)
            found = app.get_state(at(thread)).metadata
            assert {found[name] for name in NASTY if not name.startswith("__")} <= {*NASTY}

    def test_tags(self, store: Checkpointer) -> None:
        store.tags = NASTY
        app = echo(store)
        for place, name in enumerate(NASTY):
            told = {name: name, NASTY[place - 1]: place}
            app.invoke({"said": []}, {**at(f"t{place}"), "metadata": told}, durability="exit")
        app.invoke({"said": []}, {**at("all"), "metadata": dict.fromkeys(NASTY, "all")})
        for place, name in enumerate(NASTY):
            found = store.find_threads({name: name}).threads
            assert found == [f"t{place}"], name
            assert store.find_threads({name: name, NASTY[place - 1]: place}).threads == found
            assert store.find_threads({name: name + "*"}).threads == [], name
            assert store.find_threads({name: "all"}).threads == ["all"], name
            assert store.find_threads({name: "all", NASTY[place - 1]: place}).threads == [], name
        for name in NASTY:
            is_number = {*name} <= {*"0123456789abcdef"} and name != ""
            assert accepted(lambda name=name: store.find_threads(after=name)) is is_number, name
