"""Encrypted stores by URL, in programs and on the command line."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Annotated, TypedDict

import pytest

from graphflow import START, Checkpointer, StateGraph
from graphflow_checkpointers.encryption import EncryptedCheckpointer, new_key
from graphflow_checkpointers.sqlite import SqliteCheckpointer
from graphflow_integrations.cli import main

THREAD = {"configurable": {"thread_id": "ana"}, "metadata": {"ward": "b"}}


class State(TypedDict):
    log: Annotated[list[str], operator.add]


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with one thread, whose key is in the environment."""
    monkeypatch.setenv("GRAPHFLOW_KEYS", f"k:{new_key()}")
    url = f"encrypted+sqlite:///{tmp_path / 'ward.db'}"
    graph = StateGraph(State).add_node("n", lambda state: {"log": ["examined"]})
    with Checkpointer.from_url(url, tags=("ward",)) as store:
        assert isinstance(store, EncryptedCheckpointer)
        assert isinstance(store.inner, SqliteCheckpointer)
        graph.add_edge(START, "n").compile(checkpointer=store).invoke({"log": ["came"]}, THREAD)
        assert store.find_threads({"ward": "b"}).threads == ["ana"]
    assert b"examined" not in (tmp_path / "ward.db").read_bytes()
    return url


def test_the_commands_read_it_with_the_keys_of_the_environment(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["threads", url]) == 0
    assert "ana" in capsys.readouterr().out
    assert main(["show", url, "ana"]) == 0
    assert "examined" in capsys.readouterr().out
    assert main(["check", url]) == 0


def test_without_the_key_they_say_so(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHFLOW_KEYS", f"k:{new_key()}")
    assert main(["show", url, "ana"]) != 0
    told = capsys.readouterr()
    assert "Thread 'ana', branch number 0: frame 0" in told.err
    assert "examined" not in told.out
    monkeypatch.delenv("GRAPHFLOW_KEYS")
    assert main(["show", url, "ana"]) != 0
    assert "GRAPHFLOW_KEYS must be id:key" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHFLOW_KEYS", f"k:{new_key()}")
    assert main(["threads", f"encrypted+sqlite:///{tmp_path / 'none.db'}"]) != 0
    assert "There is no file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_store_inside_is_opened_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHFLOW_KEYS", f"k:{new_key()}")
    with pytest.raises(ValueError, match="'oracle://x' names no store"):
        Checkpointer.from_url("encrypted+oracle://x")
