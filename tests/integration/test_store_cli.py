"""`graphflow threads`, `show`, `export` and so on, on files that programs left behind."""

from __future__ import annotations

import io
import json
import operator
import os
import pty
import re
import select
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

import pytest

from graphflow import START, StateGraph, interrupt, storable
from graphflow_checkpointers.sqlite import SqliteCheckpointer
from graphflow_integrations.cli import main
from graphflow_integrations.stores.printing import visible


@storable("cli.Order")
@dataclass
class Order:
    number: int


class State(TypedDict):
    orders: Annotated[list[Any], operator.add]


def order(state: State) -> State:
    return {"orders": [Order(7)]}


def approve(state: State) -> State:
    return {"orders": [interrupt("Approve?")]}


class Told(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Told]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, which the process is in, with two threads in `shop.db`."""
    monkeypatch.chdir(tmp_path)
    with SqliteCheckpointer("shop.db") as store:
        graph = StateGraph(State).add_sequence([order, approve]).add_edge(START, "order")
        app = graph.compile(checkpointer=store)
        for name in ("a", "b"):
            app.invoke({"orders": []}, {"configurable": {"thread_id": name}})
    return tmp_path


@pytest.fixture
def cli(folder: Path, capfd: pytest.CaptureFixture[str]) -> Cli:
    def call(*arguments: str) -> Told:
        capfd.readouterr()
        try:
            status = main(arguments)
        except SystemExit as exit:
            status = int(exit.code or 0)
        return Told(status, *capfd.readouterr())

    return call


def test_threads_are_listed_with_what_waits(cli):
    told = cli("threads", "shop.db")
    header, first, second = told.out.splitlines()
    assert header.lower().split()[:4] == ["thread", "branches", "checkpoint", "step"]
    assert first.split()[:6] == ["a", "1", "0000000002-0", "1", "approve", "1"]
    assert second.split()[0] == "b"


def test_a_url_means_the_same_as_a_path(cli, folder):
    whole = cli("threads", f"sqlite:///{folder / 'shop.db'}", "--json").json
    assert whole == cli("threads", "sqlite:///shop.db", "--json").json
    assert whole == cli("threads", "shop.db", "--json").json
    assert [thread["thread"] for thread in whole] == ["a", "b"]


def test_a_history_is_newest_first(cli):
    found = cli("history", "shop.db", "a", "--json").json
    assert [(entry["source"], entry["ran"], entry["next"]) for entry in found] == [
        ("loop", ["order"], ["approve"]),
        ("loop", ["__start__"], ["order"]),
        ("input", [], ["__start__"]),
    ]
    assert [entry["parent"] for entry in found][:-1] == [e["checkpoint"] for e in found[1:]]
    assert len(cli("history", "shop.db", "a", "--limit", "1").out.splitlines()) == 2


def test_a_state_is_shown_without_the_classes_it_is_made_of(cli, folder):
    """In a process of its own, where nobody registered `cli.Order`."""
    command = [sys.executable, "-m", "graphflow_integrations.cli", "show", "shop.db", "a", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=True)
    shown = json.loads(done.stdout)
    order = {"class": "cli.Order", "version": 1, "data": {"number": 7}}
    assert shown["values"] == {"orders": [order]}
    assert shown["rows"][0]["value"]["value"] == "Approve?"


def test_any_checkpoint_can_be_shown(cli):
    assert cli("show", "shop.db", "a", "0000000001-0", "--json").json["values"] == {"orders": []}
    text = cli("show", "shop.db", "a").out
    assert "next: approve" in text
    assert '"class": "cli.Order"' in text


def test_threads_go_through_a_file_into_another_store(cli):
    assert cli("export", "shop.db", "--out", "threads.jsonl").status == 0
    assert cli("import", "new.db", "threads.jsonl", "--json").json == {"threads": ["a", "b"]}
    for name in ("a", "b"):
        states = [cli("show", store, name, "--json").json for store in ("shop.db", "new.db")]
        assert states[0] == states[1]


def test_one_thread_goes_through_a_pipe_under_another_name(cli, monkeypatch):
    exported = cli("export", "shop.db", "a").out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(exported.encode())))
    assert cli("import", "shop.db", "-", "--as", "c").status == 0
    names = [thread["thread"] for thread in cli("threads", "shop.db", "--json").json]
    assert names == ["a", "b", "c"]


def test_a_file_is_imported_as_a_whole_or_not_at_all(cli, folder):
    cli("export", "shop.db", "-o", "threads.jsonl")
    cli("delete", "shop.db", "a", "--yes")
    told = cli("import", "shop.db", "threads.jsonl")
    assert told.status == 1
    assert "names already: 'b'" in told.err
    whole = (folder / "threads.jsonl").read_bytes()
    (folder / "threads.jsonl").write_bytes(whole[:-10])
    assert "cut" in cli("import", "new.db", "threads.jsonl").err
    assert cli("threads", "new.db", "--json").json == []
    assert [t["thread"] for t in cli("threads", "shop.db", "--json").json] == ["b"]


def test_an_export_that_fails_leaves_the_file_of_before(cli, folder):
    (folder / "threads.jsonl").write_text("before")
    assert cli("export", "shop.db", "a", "nobody", "-o", "threads.jsonl").status == 1
    assert (folder / "threads.jsonl").read_text() == "before"
    assert sorted(path.name for path in folder.glob("*threads*")) == ["threads.jsonl"]


def test_a_thread_is_copied_in_the_store_and_to_another(cli):
    assert cli("copy", "shop.db", "a", "copy").status == 0
    assert cli("copy", "shop.db", "a", "copy", "--to", "other.db").status == 0
    for store in ("shop.db", "other.db"):
        assert cli("show", store, "copy", "--json").json["next"] == ["approve"]


def test_a_report_adds_up(cli):
    found = cli("report", "shop.db", "--json").json
    assert found["total"]["checkpoints"] == 6
    assert found["total"]["bytes"] == sum(thread["bytes"] for thread in found["threads"])
    assert "(2 in all)" in cli("report", "shop.db").out


def test_threads_are_removed_only_when_it_is_said_twice(cli, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # a pipe: it is nobody's answer
    assert cli("delete", "shop.db", "a").status == 1
    assert len(cli("threads", "shop.db", "--json").json) == 2
    assert cli("delete", "shop.db", "a", "nobody", "--yes").status == 1
    assert len(cli("threads", "shop.db", "--json").json) == 2
    assert cli("delete", "shop.db", "a", "--yes", "--json").json == {"removed": ["a"]}
    assert len(cli("threads", "shop.db", "--json").json) == 1


def test_a_check_finds_what_is_damaged_and_says_so_in_its_status(cli, folder):
    assert cli("check", "shop.db").status == 0
    with sqlite3.connect(folder / "shop.db") as database:
        database.execute("UPDATE graphflow_frame SET body = x'00' WHERE id = (2 << 28) + 2")
    database.close()
    told = cli("check", "shop.db", "--json")
    assert told.status == 1
    assert [(problem["thread"], problem["branch"]) for problem in told.json["problems"]][:1] == [
        ("b", "main")
    ]
    assert "does not match its checksum" in cli("check", "shop.db").out
    assert cli("check", "shop.db", "a").status == 0


@pytest.mark.parametrize(
    "command",
    [("threads",), ("history", "a"), ("show", "a"), ("report",), ("check",), ("export",),
     ("copy", "a", "b"), ("delete", "a")],
    ids=lambda command: command[0],
)  # fmt: skip
def test_a_typing_error_makes_no_file(cli, folder, command):
    name, *rest = command
    told = cli(name, "sohp.db", *rest)
    assert (told.status, told.err) == (1, "There is no file sohp.db.\n")
    assert not (folder / "sohp.db").exists()


@pytest.mark.parametrize(
    "arguments",
    [("history", "nobody"), ("show", "nobody"), ("report", "nobody"), ("check", "nobody"),
     ("copy", "nobody", "c"), ("export", "nobody"), ("show", "a", "0000000009-0"),
     ("show", "a", "soon"), ("show", "a", "--branch", "none"), ("show", "a", "--scope", "none")],
    ids=" ".join,
)  # fmt: skip
def test_what_is_not_there_is_told(cli, arguments):
    told = cli(arguments[0], "shop.db", *arguments[1:])
    assert told.status == 1
    assert "has no" in told.err or "is no checkpoint" in told.err


def test_an_unknown_kind_of_store_is_told(cli):
    told = cli("threads", "oracle://somewhere")
    assert told.status == 1
    assert "sqlite://, memory://" in told.err


def test_names_cannot_steer_the_terminal(cli, folder):
    with SqliteCheckpointer("shop.db") as store:
        store.run(store.create_branch("evil\x1b[2J\r\n", "", "main", None, -1))
    assert r"evil\x1b[2J\r\n" in cli("threads", "shop.db").out
    assert visible("ünï 日本 🙂") == "ünï 日本 🙂"


def on_terminal(folder: Path, *arguments: str, typed: bytes = b"") -> str:
    """Run a command in a process with a terminal, and return what that shows."""
    end, terminal = pty.openpty()
    command = [sys.executable, "-m", "graphflow_integrations.cli", *arguments]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=folder, env=environment
    )
    os.close(terminal)
    os.write(end, typed)
    shown = b""
    with suppress(OSError):  # what a terminal says when nobody is left at its other end
        while select.select([end], [], [], 60)[0] and (part := os.read(end, 1 << 16)):
            shown += part
    os.close(end)
    assert process.wait(60) == 0
    return shown.decode()


def test_a_terminal_shows_a_table_and_is_asked_before_threads_are_removed(folder):
    assert re.search(r"\x1b\[1mthread.*\r\na .*approve", on_terminal(folder, "threads", "shop.db"))
    shown = on_terminal(folder, "delete", "shop.db", "a", "b", typed=b"y\n")
    assert "Remove 2 threads for good? [y/N]" in shown
    assert "2 threads removed" in shown


def test_a_terminal_shows_how_far_long_work_is(folder):
    with SqliteCheckpointer(folder / "shop.db") as store:
        for number in range(30):
            store.run(store.create_branch(f"t{number}", "", "main", None, -1))
    shown = on_terminal(folder, "check", "shop.db")
    assert "Checking" in shown
    assert "32 threads checked, 0 problems" in shown


def test_checkpoints_that_nobody_wants_are_removed(cli):
    before = [cli("show", "shop.db", name, "--json").json for name in ("a", "b")]
    assert cli("prune", "shop.db", "a", "--last", "1", "--json").json["checkpoints"] == 2
    assert cli("prune", "shop.db", "--last", "2").out.startswith("1 checkpoint removed, ")
    assert [cli("show", "shop.db", name, "--json").json for name in ("a", "b")] == before
    counts = [len(cli("history", "shop.db", name, "--json").json) for name in ("a", "b")]
    assert counts == [1, 2]
    assert cli("check", "shop.db").status == 0


def test_old_threads_are_removed_with_all_they_have(cli):
    assert cli("prune", "shop.db", "--threads-days", "1").out.startswith("0 checkpoints removed")
    assert "2 threads removed" in cli("prune", "shop.db", "--threads-days", "0").out
    assert cli("threads", "shop.db", "--json").json == []


def test_a_prune_that_says_nothing_is_refused(cli):
    assert "Say what is kept" in cli("prune", "shop.db").err
    assert "no thread 'c'" in cli("prune", "shop.db", "c", "--last", "1").err


def test_erased_threads_are_in_the_file_no_more(cli, folder):
    assert b"Approve?" in (folder / "shop.db").read_bytes()
    assert cli("delete", "shop.db", "a", "b", "--yes", "--erase").status == 0
    assert b"Approve?" not in (folder / "shop.db").read_bytes()


VERSION_2 = """
import operator
from typing import Annotated, Any, TypedDict
from graphflow import START, StateGraph, Upgrade

class State(TypedDict):
    orders: Annotated[list[Any], operator.add]
    total: int

def graph():
    nodes = [("order", lambda state: None), ("decide", lambda state: None)]
    return StateGraph(State).add_sequence(nodes).add_edge(START, "order")

app = graph().compile()
mended = graph().compile(upgrade=Upgrade(renamed={"approve": "decide"}))
"""


def test_an_upgrade_is_tried_on_all_threads_before_it_is_made(cli, folder):
    (folder / "version_2.py").write_text(VERSION_2)
    told = cli("check-upgrade", "shop.db", "version_2:app")
    assert told.status == 1
    assert "waits to run 'approve', which is no node" in told.out
    assert told.out.splitlines()[-1] == "2 threads compared, 2 problems"
    assert cli("check-upgrade", "shop.db", "version_2:mended").status == 0
    found = cli("check-upgrade", "shop.db", "version_2:app", "a", "--json").json
    assert [each["is_problem"] for each in found] == [True]


@pytest.mark.parametrize("graph", ["version_2", "nothing:app", "json:dumps", "json:nothing"])
def test_what_is_no_graph_is_told(cli, graph):
    told = cli("check-upgrade", "shop.db", graph)
    assert told.status == 1
    assert graph in told.err


def test_threads_are_listed_by_their_tags(cli, folder):
    def run(store: SqliteCheckpointer, thread: str, **metadata: Any) -> None:
        graph = StateGraph(State).add_sequence([order]).add_edge(START, "order")
        config = {"configurable": {"thread_id": thread}, "metadata": metadata}
        graph.compile(checkpointer=store).invoke({"orders": []}, config)

    def listed(*tags: str) -> list[str]:
        found = cli("threads", "shop.db", "--json", *(f"--tag={tag}" for tag in tags))
        return [thread["thread"] for thread in found.json]

    with SqliteCheckpointer("shop.db", tags=("customer", "a=b")) as store:
        for number in range(103):
            run(store, f"t{number}", customer="ada", seats=number)
        run(store, "true", customer=True)
        run(store, "one", customer=1)
        run(store, "text", customer="1=1")
    assert listed("customer=ada") == [f"t{number}" for number in range(103)]
    assert listed("customer:=true") == ["true"]
    assert listed("customer:=1") == ["one"]
    assert listed("customer=1=1") == ["text"]
    assert listed("customer=1") == listed("seats:=7") == []
    assert cli("index", "shop.db", "seats").out == "108 threads indexed by seats\n"
    assert listed("seats:=7") == listed("customer=ada", "seats:=7") == ["t7"]
    assert cli("index", "shop.db", "seats", "customer", "--json").json == {
        "threads": 108, "tags": ["seats", "customer"],
    }  # fmt: skip


@pytest.mark.parametrize("tag", ["customer", "customer:=ada", "customer:=1.0", "customer:=null"])
def test_a_tag_that_is_written_in_another_way_is_told(cli, tag):
    told = cli("threads", "shop.db", "--tag", tag)
    assert (told.status, told.out) == (1, "")
    assert f"'{tag}' is no tag" in told.err
