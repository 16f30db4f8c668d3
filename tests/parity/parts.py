"""What several programs are made of: a state, nodes that log or fail, graphs by letters."""

import operator
from typing import Annotated, Any

from typing_extensions import TypedDict


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


def named(name: str) -> Any:
    """Return a node that writes its name."""
    return lambda _: {"log": [name]}


class Flaky:
    """A node that fails a few times."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or ConnectionError("again")
        self.tries = 0

    def __call__(self, state: State) -> Any:
        self.tries += 1
        if self.tries <= self.failures:
            raise self.error
        return {"log": [self.tries]}


def fast(lib: Any, **options: Any) -> Any:
    """Return a retry policy that does not wait."""
    return lib.RetryPolicy(**{"initial_interval": 0.001, "jitter": False, **options})


def wired(lib: Any, names: str, *edges: tuple[Any, Any], **options: Any) -> Any:
    """Return a builder with one node per letter, `^` for START and `$` for END."""
    graph = lib.StateGraph(State)
    for name in names:
        graph.add_node(name, named(name), defer=name in options.get("defer", ""))
    ends = {"^": lib.START, "$": lib.END}
    for source, target in edges:
        graph.add_edge(ends.get(source, source) if isinstance(source, str) else source, target)
    return graph
