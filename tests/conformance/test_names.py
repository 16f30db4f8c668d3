"""Names in memory and in SQLite: of threads, branches, nodes, keys, namespaces and items."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import graphflow_checkpointers
from graphflow import Checkpointer, MemoryCheckpointer
from graphflow.memory import BaseStore, InMemoryStore
from graphflow_checkpointers.sqlite import SqliteCheckpointer
from graphflow_checkpointers.sqlite_store import SqliteStore

from .names import NASTY, NamePromises, accepted


class TestMemory(NamePromises):
    @pytest.fixture
    def store(self) -> Checkpointer:
        return MemoryCheckpointer()


class TestSqlite(NamePromises):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Checkpointer]:
        with SqliteCheckpointer(tmp_path / "threads.db", synchronous="normal") as store:
            yield store


# -- items of the memory -----------------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    store: Any = InMemoryStore()
    if request.param == "sqlite":
        store = SqliteStore(tmp_path / "memory.db", synchronous="normal")
    yield store
    store.close()


def test_items_are_found_under_their_key_and_no_other(shelf: BaseStore) -> None:
    space = ("space",)
    known = [
        name for name in NASTY if accepted(lambda name=name: shelf.put(space, name, {"is": name}))
    ]
    assert len(known) > len(NASTY) - 10
    assert [item.key for item in shelf.search(space, limit=999)] == known
    for name in known:
        found = shelf.get(space, name)
        assert found is not None
        assert (found.key, found.value) == (name, {"is": name})
        assert [item.key for item in shelf.search(space, filter={"is": name})] == [name]
    for name in known[::2]:
        shelf.delete(space, name)
    assert [item.key for item in shelf.search(space, limit=999)] == known[1::2]


def test_namespaces_hold_what_was_put_there_and_nothing_else(shelf: BaseStore) -> None:
    known = [
        name for name in NASTY if accepted(lambda name=name: shelf.put((name,), "k", {"is": name}))
    ]
    assert len(known) > len(NASTY) - 30
    for name in known:
        shelf.put((name, "below", name), "k", {"is": "below"})
    assert {*shelf.list_namespaces(limit=9999)} == {
        place for name in known for place in ((name,), (name, "below", name))
    }
    for name in known:
        found = [(item.namespace, item.value["is"]) for item in shelf.search((name,))]
        assert found == [((name,), name), ((name, "below", name), "below")], name
        if name != "*":  # any label, in a pattern
            places = [(name,), (name, "below", name)]
            assert sorted(shelf.list_namespaces(prefix=(name,))) == places, name


def test_fields_are_compared_with_what_was_meant(shelf: BaseStore) -> None:
    fields = [name for name in NASTY if "." not in name and not name.startswith("$")]
    for number, name in enumerate(fields):
        shelf.put(("space",), str(number), {name: number})
    for number, name in enumerate(fields):
        found = shelf.search(("space",), filter={name: number})
        assert [item.key for item in found] == [str(number)], name


# -- how statements are made -------------------------------------------------------------------

EXECUTES = {"execute", "executemany", "executescript", "exchange"}
FOLDER = Path(graphflow_checkpointers.__file__).parent
STATEMENTS = (
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "DELETE ",
    "CREATE ",
    "ALTER ",
    "DROP ",
    "WITH ",
    "PRAGMA ",
)
WRITTEN_ONCE = {
    "append": "as many places as there are frames",
    "append_and_drop_rows": "the same, and another statement around it",
    "put_rows": "with a place for the lease, or without",
    "_migrate": "two numbers of the code's, formatted as such",
}
"""Functions that make SQL of something else than values, and of what."""


def made_at_run_time(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the texts of SQL that are put together inside a function, with its name."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if is_put_together(node) and is_sql(node):
                    yield function.name, node  # type: ignore[misc]  # it is an expression


def is_put_together(node: ast.AST) -> bool:
    """Whether it is an f-string with a part in it, `a + b`, `a % b`, `a.format(b)` or a join."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Mod)
    methods = ("format", "format_map", "join", "replace")
    is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return is_method and node.func.attr in methods  # type: ignore[attr-defined]


def is_sql(node: ast.AST) -> bool:
    texts = (
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )
    return any(text.lstrip().startswith(STATEMENTS) for text in texts)


def test_no_sql_is_made_of_values() -> None:
    found = {
        name: ast.unparse(node)
        for path in sorted(FOLDER.glob("*.py"))
        for name, node in made_at_run_time(ast.parse(path.read_text()))
    }
    assert found.keys() == WRITTEN_ONCE.keys(), found


def test_what_may_vary_in_sql_is_no_value() -> None:
    """Of the functions that make SQL, none takes anything but counts and flags."""
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name in WRITTEN_ONCE:
                if path.name == "postgres_statements.py":
                    kinds = [ast.unparse(argument.annotation) for argument in node.args.args]  # type: ignore[arg-type]
                    assert {*kinds} <= {"int", "bool"}
                for part in ast.walk(node):
                    if isinstance(part, ast.FormattedValue) and path.name == "sqlite_file.py":
                        assert ast.unparse(part.format_spec) == "f'd'"  # type: ignore[arg-type]


def test_what_is_executed_is_a_constant_or_a_parameter() -> None:
    """No call that executes is given a text that it puts together itself."""
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(getattr(node, "func", None), "attr", None)
            if isinstance(node, ast.Call) and name in EXECUTES and node.args:
                in_migration = path.name == "sqlite_file.py" and "PRAGMA" in ast.unparse(node)
                assert in_migration or not is_put_together(node.args[0]), ast.unparse(node)


def test_no_script_of_lua_is_made_at_run_time() -> None:
    for path in FOLDER.glob("redis*.py"):
        tree = ast.parse(path.read_text())
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                called = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
                assert "script" not in [getattr(call, "id", None) for call in called]
