"""Tags of an encrypted store: found with the keys, told to nobody without them."""

from __future__ import annotations

from pathlib import Path

from graphflow import MemoryCheckpointer
from graphflow.checkpoint.indexing import index_all
from graphflow.checkpoint.tags import tags_of
from graphflow.checkpoint.transfer import export_thread, import_thread
from graphflow_checkpointers.encryption import EncryptedCheckpointer, Keys, new_key
from graphflow_checkpointers.sqlite import SqliteCheckpointer

from ...conformance.test_erasing import files, talk

TAGS = ("customer", "tenant")


def customer(name: str) -> bytes:
    return tags_of(("customer",), {"customer": name})[0].value


def test_the_store_inside_has_no_value_and_nothing_that_can_be_guessed(tmp_path: Path) -> None:
    for folder in ("plain", "hidden"):
        (tmp_path / folder).mkdir()
    inner = SqliteCheckpointer(tmp_path / "hidden" / "threads.db", tags=TAGS)
    with EncryptedCheckpointer(inner, Keys({"k": new_key()})) as store:
        for thread in ("t", "u"):
            talk(store, thread, "hello", customer="Ada Lovelace", tenant=thread)
        assert store.find_threads({"customer": "Ada Lovelace"}).threads == ["t", "u"]
        assert inner.find_threads({"customer": "Ada Lovelace"}).threads == []
        hidden = files(tmp_path / "hidden")
    with SqliteCheckpointer(tmp_path / "plain" / "threads.db", tags=TAGS) as open_to_all:
        talk(open_to_all, "t", "hello", customer="Ada Lovelace", tenant="t")
        readable = files(tmp_path / "plain")
    traces = (b"Ada Lovelace", customer("Ada Lovelace"))
    assert [trace in readable for trace in traces] == [True, True]
    assert [trace in hidden for trace in traces] == [False, False]


def test_equal_values_under_different_keys_are_different_inside() -> None:
    one, other = (Keys({"k": new_key()}) for _ in range(2))
    digest = customer("ada")
    assert one.digest("k", digest) == one.digest("k", digest) != other.digest("k", digest)
    assert len(one.digest("k", digest)) == 32
    both = Keys({"a": bytes(32), "b": bytes(32)}, current="a")
    assert both.digest("a", digest) != both.digest("b", digest)


def test_threads_are_found_whichever_of_the_keys_was_current() -> None:
    inner = MemoryCheckpointer(tags=TAGS)
    old, new = {"old": new_key()}, {"new": new_key()}
    before = EncryptedCheckpointer(inner, Keys(old))
    for number in range(3):
        talk(before, f"old {number}", "hello", customer="ada", tenant=1)
    store = EncryptedCheckpointer(inner, Keys({**new, **old}, current="new"))
    talk(store, "new 0", "hello", customer="ada", tenant=1)
    talk(store, "old 1", "again", tenant=1, customer="ben")
    talk(store, "old 2", "again", tenant=2)
    assert store.find_threads({"customer": "ada"}).threads == ["old 0", "old 2", "new 0"]
    assert store.find_threads({"customer": "ada", "tenant": 2}).threads == ["old 2"]
    page = store.find_threads({"customer": "ada", "tenant": 1}, limit=1)
    assert page.threads == ["old 0"]
    page = store.find_threads({"customer": "ada", "tenant": 1}, limit=1, after=page.after)
    assert (page.threads, page.after) == (["new 0"], None)
    alone = EncryptedCheckpointer(inner, Keys(new))
    assert alone.find_threads({"customer": "ada"}).threads == ["old 2", "new 0"]


def test_indexing_moves_tags_to_the_current_key() -> None:
    inner = MemoryCheckpointer(tags=TAGS)
    old, new = {"old": new_key()}, {"new": new_key()}
    talk(EncryptedCheckpointer(inner, Keys(old)), "t", "hello", customer="ada")
    store = EncryptedCheckpointer(inner, Keys({**new, **old}, current="new"))
    alone = EncryptedCheckpointer(inner, Keys(new))
    assert alone.find_threads({"customer": "ada"}).threads == []
    assert store.run(index_all(store)) == 1
    assert alone.find_threads({"customer": "ada"}).threads == ["t"]


def test_what_is_imported_still_encrypted_is_found_when_it_is_indexed() -> None:
    keys = Keys({"k": new_key()})
    source, target = (EncryptedCheckpointer(MemoryCheckpointer(tags=TAGS), keys) for _ in range(2))
    talk(source, "t", "hello", customer="ada")
    lines = list(source.inner.run(export_thread(source.inner, "t")))
    target.inner.run(import_thread(target.inner, lines))
    assert target.find_threads({"customer": "ada"}).threads == []
    target.run(index_all(target))
    assert target.find_threads({"customer": "ada"}).threads == ["t"]
