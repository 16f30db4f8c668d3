"""Search by meaning: which texts of a value are embedded, by which function.

The function may be sync or async; it serves blocking and async callers alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypedDict, cast

from graphflow.memory.background_loop import on_background_loop
from graphflow.memory.requests import Fields
from graphflow.memory.texts import texts_of
from graphflow.memory.vectors import packed

Vectors = Sequence[Sequence[float]]
Embed = Callable[[list[str]], Vectors] | Callable[[list[str]], Awaitable[Vectors]]

_HOW = "index={'embed': function of a list of texts, 'dims': number of dimensions}"


class IndexConfig(TypedDict, total=False):
    """How a store searches by meaning."""

    embed: Embed
    """Texts to vectors, in their order; sync or async."""
    dims: int
    """Numbers in a vector."""
    fields: list[str]
    """Paths whose text is searched, see `graphflow.memory.texts`; `["$"]` if not given."""


class SemanticIndex:
    """Texts of values, and texts to packed vectors."""

    def __init__(self, config: IndexConfig) -> None:
        embed, dims, fields = config.get("embed"), config.get("dims"), config.get("fields", ["$"])
        if not callable(embed):
            raise TypeError(
                f"A store searches by meaning with {_HOW}; 'embed' is {embed!r}. An object with a "
                "method for it is given as index={'embed': model.embed_documents, …}."
            )
        if type(dims) is not int or dims < 1:
            raise ValueError(f"{_HOW}: 'dims' is {dims!r}.")
        if isinstance(fields, str):
            raise TypeError(f"'fields' is a list of paths: write [{fields!r}].")
        self._embed, self._dims, self._fields = embed, dims, tuple(fields)

    def texts(self, value: Any, fields: Fields) -> list[str]:
        """Return what to embed of a value."""
        if fields is False:
            return []
        return texts_of(value, self._fields if fields is None else fields)

    def embed(self, texts: list[str]) -> list[bytes]:
        """Return the packed vectors of texts; waits for an async function.

        Raises:
            ValueError: The function returned not one vector of `dims` numbers for every text.
        """
        if not texts:
            return []
        if _is_async(self._embed):
            answer = on_background_loop(cast("Coroutine[Any, Any, Vectors]", self._embed(texts)))
        else:
            answer = cast("Vectors", self._embed(texts))
        return self._packed(answer, len(texts))

    async def aembed(self, texts: list[str]) -> list[bytes]:
        """As `embed`, without blocking the event loop: a sync function gets a thread."""
        if not texts:
            return []
        if _is_async(self._embed):
            answer = await cast("Awaitable[Vectors]", self._embed(texts))
        else:
            answer = cast("Vectors", await asyncio.to_thread(self._embed, texts))
        return self._packed(answer, len(texts))

    def _packed(self, answer: Vectors, count: int) -> list[bytes]:
        vectors = list(answer)
        if len(vectors) != count:
            raise ValueError(f"'embed' returned {len(vectors)} vectors for {count} texts.")
        for vector in vectors:
            if len(vector) != self._dims:
                raise ValueError(
                    f"'embed' returned a vector of {len(vector)} numbers where the store's index "
                    f"has 'dims': {self._dims}. Nothing was stored; make the two agree."
                )
        return [packed(vector) for vector in vectors]


def _is_async(function: Any) -> bool:
    from inspect import iscoroutinefunction

    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)
