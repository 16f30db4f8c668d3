"""Stores by URL."""

import sys
from pathlib import Path

import pytest

from graphflow import Checkpointer, MemoryCheckpointer
from graphflow_checkpointers import urls
from graphflow_checkpointers.sqlite import SqliteCheckpointer


def test_a_url_with_three_slashes_names_a_file_in_this_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Checkpointer.from_url("sqlite:///a b%20c.db") as store:
        store.run(store.create_branch("t", "", "main", None, -1))
    with SqliteCheckpointer(tmp_path / "a b%20c.db") as store:
        assert store.run(store.threads()) == ["t"]


def test_a_url_with_four_slashes_names_a_whole_path(tmp_path):
    with Checkpointer.from_url(f"sqlite:///{tmp_path / 'a.db'}") as store:
        assert Path(store.path) == tmp_path / "a.db"


def test_two_slashes_are_a_database_in_memory():
    with Checkpointer.from_url("SQLite://") as store:
        assert store.path == ":memory:"


def test_memory_is_this_process():
    assert type(Checkpointer.from_url("memory://")) is MemoryCheckpointer


@pytest.mark.parametrize("url", ["", "agent.db", "oracle://x", "sqlite:/agent.db", "://"])
def test_what_names_no_store_is_refused_with_what_does(url):
    with pytest.raises(ValueError, match="sqlite://, memory://, postgresql://"):
        Checkpointer.from_url(url)


def test_a_file_written_like_a_server_is_refused_with_the_right_form():
    with pytest.raises(ValueError, match=r"sqlite:///agent\.db for one in this folder"):
        Checkpointer.from_url("sqlite://agent.db")


def test_a_password_is_never_shown():
    with pytest.raises(ValueError, match="no store") as caught:
        Checkpointer.from_url("oracle://ana:se:cr@et@host/db")
    assert "'oracle://ana:…@host/db'" in str(caught.value)
    assert urls.shown("redis://:secret@host:6379/0") == "redis://:…@host:6379/0"
    assert urls.shown("redis://host:6379/0") == "redis://host:6379/0"


@pytest.mark.parametrize(
    ("url", "extra"), [("postgresql://h/d", "postgres"), ("redis://h", "redis")]
)
def test_a_missing_extra_is_named(url, extra, monkeypatch):
    for module in ("psycopg", "psycopg_pool", "redis"):
        monkeypatch.setitem(sys.modules, module, None)
    for module in [name for name in sys.modules if name.startswith("graphflow_checkpointers.")]:
        if "postgres" in module or "redis" in module:
            monkeypatch.delitem(sys.modules, module)
    with pytest.raises(ImportError, match=rf'pip install "graphflow\[{extra}\]"'):
        Checkpointer.from_url(url)


def test_other_packages_add_stores_of_their_own(tmp_path, monkeypatch):
    folder = tmp_path / "theirs-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[graphflow.checkpointers]\nours = their_store:Made\n")
    (tmp_path / "their_store.py").write_text(
        "from graphflow import MemoryCheckpointer\n"
        "class Made(MemoryCheckpointer):\n"
        "    def __init__(self, url):\n"
        "        super().__init__()\n"
        "        self.url = url\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert Checkpointer.from_url("ours://there").url == "ours://there"
    with pytest.raises(ValueError, match="ours://"):
        Checkpointer.from_url("theirs://there")
