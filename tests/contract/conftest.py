"""What the contract's tests share: each is written once and runs blocking and on an event loop.

`call` is the way of calling (`invoke`, `stream`, … or their a-forms), `saver` the place threads are
kept in. Tests marked `simulated` run under the simulation driver too, with several seeds: whatever
they claim holds in any order in which tasks may end. In a module that is marked as a whole,
`simulated(False)` leaves out a test that needs threads, a loop or something else that is real.

The tests of a section are named after its statements: `test_2_6_...` holds §2, number 6, and
`test_19_b3_...` the third point of §19, whose points have no numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from graphflow import MemoryCheckpointer
from graphflow.testing.simulation import Simulation
from graphflow_checkpointers.sqlite import SqliteCheckpointer

Config = dict[str, Any]
SEEDS = 3


class Blocking:
    """Calls a compiled graph from plain code."""

    def invoke(self, app: Any, given: Any, config: Config | None = None, **options: Any) -> Any:
        return app.invoke(given, config, **options)

    def stream(
        self, app: Any, given: Any, config: Config | None = None, **options: Any
    ) -> list[Any]:
        return list(app.stream(given, config, **options))

    def until_error(
        self, app: Any, given: Any, config: Config | None = None, **options: Any
    ) -> tuple[list[Any], Exception]:
        """Return the chunks of a run that fails, and what it raised."""
        chunks: list[Any] = []
        with pytest.raises(Exception) as raised:
            chunks.extend(app.stream(given, config, **options))
        return chunks, raised.value

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

    def until_error(
        self, app: Any, given: Any, config: Config | None = None, **options: Any
    ) -> tuple[list[Any], Exception]:
        chunks: list[Any] = []

        async def listen() -> None:
            async for chunk in app.astream(given, config, **options):
                chunks.append(chunk)  # noqa: PERF401  # what came before the error is to be kept

        with pytest.raises(Exception) as raised:
            asyncio.run(listen())
        return chunks, raised.value

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


class Simulated(Blocking):
    """Runs a compiled graph under the simulation driver; each run draws from the next seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def _simulation(self, app: Any) -> Simulation:
        self.seed += SEEDS
        return Simulation(app, self.seed)

    def invoke(self, app: Any, given: Any, config: Config | None = None, **options: Any) -> Any:
        return self._simulation(app).invoke(given, config, **options)

    def stream(
        self, app: Any, given: Any, config: Config | None = None, **options: Any
    ) -> list[Any]:
        modes = options.pop("stream_mode", "updates")
        subgraphs = options.get("subgraphs", False)
        simulation = self._simulation(app)
        simulation.invoke(given, config, **options)
        events = [event for event in simulation.events if subgraphs or not event.ns]
        return [_chunk(event, modes, subgraphs) for event in events if event.mode in modes]


def _chunk(event: Any, modes: Any, subgraphs: bool) -> Any:
    """Return an event as `stream` yields it (contract §8.2)."""
    told = (*[event.ns] * subgraphs, *[event.mode] * isinstance(modes, list), event.data)
    return told if len(told) > 1 else event.data


WAYS = {
    "sync": Blocking,
    "async": OnLoop,
    **{f"simulated-{seed}": partial(Simulated, seed) for seed in range(SEEDS)},
}


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", "simulated(yes=True): run under the simulation driver too")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is claimed in each way that the claim is about."""
    if "call" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("simulated")
        is_simulated = mark is not None and False not in mark.args
        ways = list(WAYS) if is_simulated else ["sync", "async"]
        metafunc.parametrize("call", ways, indirect=True)


@pytest.fixture
def call(request: pytest.FixtureRequest) -> Blocking:
    """A way of calling a graph."""
    return WAYS[request.param]()


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
        store = MemoryCheckpointer()
        store.heads.short = -1  # here it keeps the states of short threads, too
        yield store
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
