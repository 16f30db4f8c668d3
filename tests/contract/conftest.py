"""What the contract's tests share: each is written once and runs blocking and on an event loop.

`call` is the way of calling (`invoke`, `stream`, … or their a-forms), `saver` the place threads are
kept in. The tests of a section are named after its statements: `test_2_6_...` holds §2, number 6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphflow import MemoryCheckpointer
from graphflow_checkpointers.sqlite import SqliteCheckpointer

Config = dict[str, Any]


class Blocking:
    """Calls a compiled graph from plain code."""

    def invoke(self, app: Any, given: Any, config: Config | None = None, **options: Any) -> Any:
        return app.invoke(given, config, **options)

    def stream(
        self, app: Any, given: Any, config: Config | None = None, **options: Any
    ) -> list[Any]:
        return list(app.stream(given, config, **options))

    def state(self, app: Any, config: Config) -> Any:
        return app.get_state(config)

    def history(self, app: Any, config: Config, **options: Any) -> list[Any]:
        return list(app.get_state_history(config, **options))

    def update(self, app: Any, config: Config, values: Any, as_node: str | None = None) -> Any:
        return app.update_state(config, values, as_node)

    def bulk(self, app: Any, config: Config, supersteps: Any) -> Any:
        return app.bulk_update_state(config, supersteps)

    def batch(self, app: Any, inputs: list[Any], config: Any = None) -> list[Any]:
        return app.batch(inputs, config)


class OnLoop(Blocking):
    """Calls a compiled graph from a coroutine on a loop of its own."""

    def invoke(self, app: Any, given: Any, config: Config | None = None, **options: Any) -> Any:
        return asyncio.run(app.ainvoke(given, config, **options))

    def stream(
        self, app: Any, given: Any, config: Config | None = None, **options: Any
    ) -> list[Any]:
        return asyncio.run(_gathered(app.astream(given, config, **options)))

    def state(self, app: Any, config: Config) -> Any:
        return asyncio.run(app.aget_state(config))

    def history(self, app: Any, config: Config, **options: Any) -> list[Any]:
        return asyncio.run(_gathered(app.aget_state_history(config, **options)))

    def update(self, app: Any, config: Config, values: Any, as_node: str | None = None) -> Any:
        return asyncio.run(app.aupdate_state(config, values, as_node))

    def bulk(self, app: Any, config: Config, supersteps: Any) -> Any:
        return asyncio.run(app.abulk_update_state(config, supersteps))

    def batch(self, app: Any, inputs: list[Any], config: Any = None) -> list[Any]:
        return asyncio.run(app.abatch(inputs, config))


async def _gathered(stream: Any) -> list[Any]:
    return [item async for item in stream]


@pytest.fixture(params=[Blocking, OnLoop], ids=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Blocking:
    """A way of calling a graph."""
    return request.param()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteCheckpointer]:
    """One file for all tests: making one costs more than most tests."""
    path = tmp_path_factory.mktemp("contract") / "threads.db"
    with SqliteCheckpointer(path, synchronous="normal") as store:
        yield store


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty checkpointer."""
    if request.param == "memory":
        yield MemoryCheckpointer()
        return
    store = request.getfixturevalue("database")
    yield store
    for name in store.run(store.threads()):
        store.delete_thread(name)


@pytest.fixture
def thread() -> Config:
    """A config that names a thread."""
    return {"configurable": {"thread_id": "t"}}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the contract's graphs be odd: lint's advice has tests of its own."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.filterwarnings("ignore::graphflow.errors.GraphWarning"))
