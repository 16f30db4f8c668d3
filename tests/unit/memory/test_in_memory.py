"""The store in memory does not keep what is gone, and costs an import of graphflow nothing."""

from __future__ import annotations

import subprocess
import sys

from graphflow.memory import InMemoryStore


def test_what_is_gone_does_not_pile_up() -> None:
    minutes = [0.0]
    store = InMemoryStore(clock=lambda: minutes[0] * 60)
    for number in range(1000):
        store.put(("a",), str(number), {}, ttl=10)
        minutes[0] += 1
    assert len(store._shelf._rows[("a",)]) < 50  # type: ignore[attr-defined]  # looked at from inside


def test_importing_graphflow_loads_no_memory_and_memory_no_numpy() -> None:
    code = (
        "import sys, graphflow; assert 'graphflow.memory' not in sys.modules;"
        "import graphflow.memory, graphflow.cache; assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
