"""Keys: taken in the forms in which people have them, refused in all others, never shown."""

from __future__ import annotations

from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import pytest

from graphflow_checkpointers.encryption import EncryptedCheckpointer, Keys, new_key

RAW = bytes(range(224, 256))
BARE, SWAPPED, SHORT, TWICE = (new_key() for _ in range(4))


def shown(keys: Mapping[str, Any], current: str | None = None) -> str:
    """Return what is said when keys are refused."""
    with pytest.raises(ValueError) as refused:
        Keys(keys, current)
    return str(refused.value)


def test_bytes_and_both_kinds_of_base64_are_the_same_key() -> None:
    texts = (
        b64encode(RAW).decode(),
        urlsafe_b64encode(RAW).decode(),
        f" {b64encode(RAW).decode()}\n",
    )
    sealed = Keys({"k": RAW}).cipher(b"k", b"line").encrypt(bytes(12), b"body", b"")
    for text in texts:
        cipher = Keys({"k": text}).cipher(b"k", b"line")
        assert cipher.decrypt(bytes(12), sealed, b"") == b"body"


def test_a_new_key_is_32_bytes_and_new() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert {len(b64decode(key)) for key in made} == {32}


@pytest.mark.parametrize(
    "key", ["", "correct horse battery staple", "A" * 44, "ä" * 44, b"short", RAW[:16], RAW * 2, 7]
)
def test_what_is_no_key_is_refused_without_being_shown(key: Any) -> None:
    told = shown({"mine": key})
    assert "'mine'" in told
    assert "new_key()" in told
    assert not key or str(key) not in told.replace("new_key()", "")


def test_a_key_of_32_characters_is_no_base64_of_one() -> None:
    assert "base64" in shown({"k": "0123456789abcdef0123456789abcdef"})


@pytest.mark.parametrize("name", ["", "k" * 256, "ü" * 128])
def test_an_id_must_fit_into_what_is_stored(name: str) -> None:
    assert "255 bytes" in shown({name: RAW})


def test_of_several_keys_the_one_that_writes_must_be_named() -> None:
    several = {"new": RAW, "old": RAW}
    assert "one of 'new', 'old'" in shown(several)
    assert shown(several, BARE) == shown(several)
    assert "no keys" in shown({})
    assert Keys(several, current="old").current == "old"
    assert Keys({"only": RAW}).current == "only"


def test_keys_come_from_the_environment_the_first_one_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRAPHFLOW_KEYS", f"2026-11:{new_key()}, 2026-10:{new_key()}")
    keys = Keys.from_env()
    assert (keys.ids, keys.current) == (("2026-11", "2026-10"), "2026-11")


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        (None, 1),
        ("", 1),
        (BARE, 1),
        (f"{SWAPPED}:k", 1),
        (f"k:{SHORT[1:]}", 1),
        (SHORT[1:], 1),
        (f"k:{TWICE},", 2),
        (f"k:{TWICE},k:{TWICE}", 2),
        (f"k:{TWICE};j:{TWICE}", 1),
    ],
    ids=["unset", "empty", "bare", "swapped", "short", "bare and short", "comma", "twice", "other"],
)
def test_an_environment_without_keys_is_told_without_showing_what_it_holds(
    monkeypatch: pytest.MonkeyPatch, text: str | None, entry: int
) -> None:
    monkeypatch.delenv("OTHER", raising=False)
    if text is not None:
        monkeypatch.setenv("OTHER", text)
    with pytest.raises(ValueError, match=f"OTHER must be id:key.*Entry {entry} ") as refused:
        Keys.from_env("OTHER")
    assert not [key for key in (BARE, SWAPPED, SHORT, TWICE) if key[1:] in str(refused.value)]


def test_a_key_in_the_place_of_its_id_is_refused_without_being_shown() -> None:
    told = shown({BARE: "2026-11"}) + shown({BARE: "2026-11", "other": RAW}, "none")
    assert "{id: key}" in told
    assert BARE not in told


def test_keys_do_not_show_themselves() -> None:
    key = new_key()
    keys = Keys({"2026-11": key, "2026-10": RAW}, current="2026-11")
    assert repr(keys) == "Keys('2026-11', '2026-10', current='2026-11')"
    assert key not in f"{keys}{keys!r}"


def test_every_key_line_and_id_has_a_cipher_of_its_own() -> None:
    keys = Keys({"a": RAW, "b": RAW, "c": bytes(32)}, current="a")
    made = {
        keys.cipher(key_id, purpose).encrypt(bytes(12), b"body", b"")
        for key_id in (b"a", b"b", b"c")
        for purpose in (b"line", b"other line")
    }
    assert len(made) == 6


def test_a_store_in_a_wrong_order_is_refused_at_once(keys: Keys) -> None:
    with pytest.raises(TypeError, match="a checkpointer and Keys, not Keys and str"):
        EncryptedCheckpointer(keys, "agent.db")  # type: ignore[arg-type]
