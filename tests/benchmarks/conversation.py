"""The conversation that the message and storage cases share: one message more per superstep."""

from collections.abc import Callable
from time import process_time
from typing import Any

from .library import Library

TEXT = ("All happy families are alike; each unhappy one is unhappy in its own way. " * 7)[:500]
"""500 bytes."""


class Pace:
    """CPU clock readings that a node takes when it reaches given steps."""

    def __init__(self, *steps: int) -> None:
        self._readings = dict.fromkeys(steps, 0.0)

    def reach(self, step: int) -> None:
        """Reads the clock if this step is one of those asked for."""
        if step in self._readings:
            self._readings[step] = process_time()

    def between(self, first: int, last: int) -> float:
        """Seconds of CPU from one step to another."""
        return self._readings[last] - self._readings[first]


def pace_of_tenths(steps: int) -> Pace:
    """A pace that reads the clock where the first tenth of a run ends and the last one starts."""
    tenth = steps // 10
    return Pace(0, tenth, steps - 1 - tenth, steps - 1)


def slowdown(pace: Pace, steps: int) -> float:
    """CPU of a run's last tenth divided by that of its first: 1 where history costs nothing."""
    tenth = steps // 10
    return pace.between(steps - 1 - tenth, steps - 1) / pace.between(0, tenth)


def talk_schema(lib: Library) -> Any:
    """The library's own messages state, and the counter that ends the loop."""

    class Talk(lib.messages_state):  # type: ignore[name-defined,misc]
        n: int

    return Talk


def talk_node(lib: Library, steps: int, pace: Pace) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A node that adds one message of 500 bytes; they are made beforehand, as a model would."""
    messages = [lib.message(TEXT) for _ in range(steps + 1)]

    def talk(state: dict[str, Any]) -> dict[str, Any]:
        pace.reach(state["n"])
        return {"messages": [messages[state["n"]]], "n": state["n"] + 1}

    return talk


def conversation(lib: Library, steps: int, pace: Pace | None = None) -> Any:
    """START → talk ⟲ → finish → END; the caller compiles it."""
    graph = lib.graph(talk_schema(lib))
    graph.add_node("talk", talk_node(lib, steps, pace or Pace()))
    graph.add_node("finish", lambda state: {"n": 0})
    graph.add_edge("__start__", "talk")
    graph.add_conditional_edges(
        "talk",
        lambda state: "finish" if state["n"] >= steps else "talk",
        ["talk", "finish"],
    )
    graph.add_edge("finish", "__end__")
    return graph
