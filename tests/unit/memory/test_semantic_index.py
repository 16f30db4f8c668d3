"""Embedding functions of all kinds, from all kinds of callers."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import pytest

from graphflow.memory import InMemoryStore
from graphflow.memory.semantic_index import SemanticIndex
from graphflow.memory.vectors import packed


def sync_embed(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


async def async_embed(texts: list[str], *, pause: float = 0) -> list[list[float]]:
    await asyncio.sleep(pause)
    return sync_embed(texts)


class Model:
    async def __call__(self, texts: list[str]) -> list[list[float]]:
        return sync_embed(texts)


@pytest.mark.parametrize("embed", [sync_embed, async_embed, partial(async_embed, pause=0), Model()])
def test_every_kind_of_function_serves_both_kinds_of_callers(embed: Any) -> None:
    index = SemanticIndex({"embed": embed, "dims": 2})
    wanted = [packed([3, 1]), packed([1, 1])]
    assert index.embed(["abc", "a"]) == asyncio.run(index.aembed(["abc", "a"])) == wanted


def test_a_blocking_caller_inside_a_running_loop_is_served_too() -> None:
    store = InMemoryStore(index={"embed": async_embed, "dims": 2})

    async def cell() -> int:
        store.put(("a",), "k", {"text": "abc"})
        return len(store.search(("a",), query="abc"))

    assert asyncio.run(cell()) == 1


def test_async_functions_of_blocking_callers_run_on_one_loop() -> None:
    loops = []

    async def embed(texts: list[str]) -> list[list[float]]:
        loops.append(asyncio.get_running_loop())
        return sync_embed(texts)

    index = SemanticIndex({"embed": embed, "dims": 2})
    index.embed(["a"])
    index.embed(["b"])
    assert loops[0] is loops[1]


def test_a_blocking_function_does_not_hold_up_the_loop() -> None:
    threads = []

    def embed(texts: list[str]) -> list[list[float]]:
        threads.append(threading.current_thread())
        return sync_embed(texts)

    asyncio.run(SemanticIndex({"embed": embed, "dims": 2}).aembed(["a"]))
    assert threads[0] is not threading.main_thread()


def test_nothing_to_embed_asks_no_model() -> None:
    def embed(texts: list[str]) -> list[list[float]]:
        raise ConnectionError

    index = SemanticIndex({"embed": embed, "dims": 2})
    assert index.embed([]) == asyncio.run(index.aembed([])) == []


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, "'embed' is None"),
        ({"embed": "openai:small", "dims": 2}, "embed_documents"),
        ({"embed": sync_embed}, "'dims' is None"),
        ({"embed": sync_embed, "dims": 0}, "'dims' is 0"),
        ({"embed": sync_embed, "dims": 2, "fields": "text"}, r"write \['text'\]"),
    ],
)
def test_a_config_that_cannot_work_says_what_to_write(config: Any, told: str) -> None:
    with pytest.raises((TypeError, ValueError), match=told):
        SemanticIndex(config)


def test_too_few_vectors_are_refused() -> None:
    index = SemanticIndex({"embed": lambda texts: [[1.0, 2.0]], "dims": 2})
    with pytest.raises(ValueError, match="1 vectors for 2 texts"):
        index.embed(["a", "b"])
