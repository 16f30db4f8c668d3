"""Encrypted bodies: whole and in their place, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphflow import CheckpointError
from graphflow.checkpoint.codec import Codec
from graphflow.checkpoint.codec_errors import CodecError
from graphflow_checkpointers.encryption import DecryptionError, Keys, new_key
from graphflow_checkpointers.encryption_bodies import (
    FRAME,
    MAGIC,
    ROW,
    SNAPSHOT,
    Kind,
    Line,
    key_id_of,
)

KEY = new_key()
KEYS = Keys({"2026-11": KEY})
BODY = Codec().encode([1, 1, 0, ["answer", "a body that nobody may read"]])
NUMBERS = st.integers(-1, 2**40)


def line(
    thread: str = "t", scope: str = "", ordinal: int = 0, keys: Keys = KEYS, *, plain: bool = False
) -> Line:
    return Line(keys, (thread, scope, ordinal), allow_plaintext=plain)


def refused(open_it: Callable[[], bytes]) -> str:
    """Return what is said when a body is refused."""
    with pytest.raises(DecryptionError) as found:
        open_it()
    assert isinstance(found.value, CheckpointError)
    assert KEY not in str(found.value)
    return str(found.value)


@given(st.binary(), st.text(), st.text(), st.integers(0, 2**60), NUMBERS)
def test_a_body_comes_back_in_its_place(
    body: bytes, thread: str, scope: str, ordinal: int, number: int
) -> None:
    there = line(thread, scope, ordinal)
    for kind, numbers in ((FRAME, (number,)), (ROW, (number, 0, 1, 2)), (SNAPSHOT, (number,))):
        assert there.decrypted(kind, there.encrypted(kind, body, *numbers), *numbers) == body


def changes(stored: bytes) -> Iterator[bytes]:
    """Yield what is one byte away, each byte changed in three ways."""
    for place, bits in product(range(len(stored)), (1, 0x80, 0xFF)):
        yield stored[:place] + bytes((stored[place] ^ bits,)) + stored[place + 1 :]


def test_every_changed_byte_is_refused() -> None:
    stored = line().encrypted(FRAME, BODY, 7)
    for changed in changes(stored):
        refused(partial(line().decrypted, FRAME, changed, 7))


def test_every_cut_and_every_addition_is_refused() -> None:
    stored = line().encrypted(FRAME, BODY, 7)
    for length in range(len(stored)):
        refused(partial(line().decrypted, FRAME, stored[:length], 7))
        refused(partial(line().decrypted, FRAME, stored[length + 1 :], 7))
    refused(partial(line().decrypted, FRAME, stored + b"\0", 7))


@pytest.mark.parametrize(
    "other", [("T", "c", 2), ("t", "C", 2), ("t", "c", 3), ("c", "t", 2), ("tc", "", 2)]
)
def test_a_body_of_another_line_is_refused(other: tuple[str, str, int]) -> None:
    stored = line("t", "c", 2).encrypted(FRAME, BODY, 7)
    refused(lambda: line(*other).decrypted(FRAME, stored, 7))


PLACES: list[tuple[Kind, tuple[int, ...]]] = [
    (FRAME, (7,)), (FRAME, (8,)), (SNAPSHOT, (7,)), (SNAPSHOT, (8,)),
    (ROW, (7, 0, 0, 0)), (ROW, (8, 0, 0, 0)), (ROW, (7, 1, 0, 0)), (ROW, (7, 0, 1, 0)),
    (ROW, (7, 0, 0, 1)), (ROW, (-1, 0, 0, 0)), (FRAME, (-1,)),
]  # fmt: skip


def test_a_body_of_another_place_on_the_line_is_refused() -> None:
    for kind, numbers in PLACES:
        stored = line().encrypted(kind, BODY, *numbers)
        for other, others in PLACES:
            if (kind, numbers) != (other, others):
                refused(partial(line().decrypted, other, stored, *others))


def test_an_error_says_what_where_and_what_to_do() -> None:
    stored = line().encrypted(ROW, BODY, 3, 0, 2, 1)
    moved = line("x", "child:1", 2)
    assert refused(lambda: moved.decrypted(ROW, stored, 3, 0, 2, 1)) == (
        "Thread 'x', scope 'child:1', branch number 2: the row of task 0 (kind 2, number 1) at "
        "frame 3 cannot be decrypted with the key '2026-11': that is another key than the one "
        "which wrote it, or the bytes were changed or belong elsewhere. Check the key; if it is "
        "the right one, restore the store from a backup. Other threads in it can still be read."
    )


def test_a_wrong_key_under_the_right_id_is_refused() -> None:
    stored = line().encrypted(FRAME, BODY, 7)
    wrong = line(keys=Keys({"2026-11": new_key()}))
    assert "Check the key" in refused(lambda: wrong.decrypted(FRAME, stored, 7))


def test_a_key_that_is_not_known_is_named() -> None:
    stored = line().encrypted(FRAME, BODY, 7)
    without = line(keys=Keys({"2026-12": KEY}))
    told = refused(lambda: without.decrypted(FRAME, stored, 7))
    assert "frame 7 is encrypted with the key '2026-11'" in told
    assert "'2026-12'. Add it to Keys" in told


def test_the_same_key_under_another_id_is_another_key() -> None:
    keys = Keys({"a": KEY, "b": KEY}, current="a")
    stored = line(keys=keys).encrypted(FRAME, BODY, 7)
    renamed = stored.replace(b"\x01a", b"\x01b", 1)
    refused(lambda: line(keys=keys).decrypted(FRAME, renamed, 7))


def test_all_keys_read_and_the_current_one_writes() -> None:
    old = Keys({"old": KEY})
    both = Keys({"new": new_key(), "old": KEY}, current="new")
    stored = line(keys=old).encrypted(FRAME, BODY, 7)
    assert line(keys=both).decrypted(FRAME, stored, 7) == BODY
    again = line(keys=both).encrypted(FRAME, BODY, 7)
    assert (key_id_of(stored), key_id_of(again)) == (b"old", b"new")
    assert "'new'" in refused(lambda: line(keys=old).decrypted(FRAME, again, 7))


def test_plaintext_is_refused_unless_it_is_allowed() -> None:
    assert "allow_plaintext=True" in refused(lambda: line().decrypted(FRAME, BODY, 7))
    refused(lambda: line().decrypted(FRAME, b"", 7))
    assert line(plain=True).decrypted(FRAME, BODY, 7) == BODY


def test_where_plaintext_is_allowed_what_is_encrypted_must_still_be_whole() -> None:
    stored = line().encrypted(FRAME, BODY, 7)
    refused(lambda: line(plain=True).decrypted(FRAME, stored, 8))
    refused(lambda: line(plain=True).decrypted(FRAME, b"\xc1E2" + stored[3:], 7))
    refused(lambda: line(plain=True).decrypted(FRAME, b"\xc1", 7))
    refused(lambda: line(plain=True).decrypted(FRAME, MAGIC, 7))


@pytest.mark.parametrize("value", [None, 0, -1, "x", b"\xc1E1", [], {}, 2**70, 1.5, True, (1,)])
def test_the_codec_writes_nothing_that_looks_encrypted(value: object) -> None:
    assert Codec().encode(value)[0] != MAGIC[0]
    assert Codec(pure=True).encode(value)[0] != MAGIC[0]


@pytest.mark.parametrize("pure", [False, True])
def test_the_codec_reads_nothing_that_is_encrypted(pure: bool) -> None:
    with pytest.raises(CodecError):
        Codec(pure=pure).decode(line().encrypted(FRAME, BODY, 7))


def test_no_nonce_comes_twice() -> None:
    there, start = line(), len(MAGIC) + 1 + len("2026-11")
    nonces = {there.encrypted(FRAME, b"", 0)[start : start + 12] for _ in range(100_000)}
    assert len(nonces) == 100_000


def test_a_body_grows_by_32_bytes_and_the_id_of_its_key() -> None:
    assert len(line().encrypted(FRAME, BODY, 7)) == len(BODY) + 32 + len("2026-11")


def test_equal_bodies_do_not_look_equal() -> None:
    first, second = (line().encrypted(FRAME, BODY, 7) for _ in range(2))
    assert first != second
    assert BODY not in first


def test_threads_encrypt_and_decrypt_at_once() -> None:
    there = line()

    def work(worker: int) -> bool:
        bodies = [b"%d %d" % (worker, number) * 99 for number in range(500)]
        stored = [there.encrypted(FRAME, body, place) for place, body in enumerate(bodies)]
        return bodies == [there.decrypted(FRAME, it, place) for place, it in enumerate(stored)]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
