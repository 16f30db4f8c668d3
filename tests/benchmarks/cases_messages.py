"""Runs that carry a history of messages, and runs that somebody listens to; no checkpointer."""

from typing import Any

from .case import Case, Figures, Group
from .cases_supersteps import count, limit, looping, plain_loop
from .conversation import TEXT, Pace, conversation, pace_of_tenths, slowdown
from .library import Library
from .stopwatch import MICRO, cpu

PER_SUPERSTEP = "µs CPU per superstep"
ADDED = 100


def from_nothing(lib: Library, steps: int) -> Figures:
    """A loop that adds one message per superstep to a history that starts empty."""
    conversation(lib, 20).compile().invoke({"messages": [], "n": 0}, limit(20))
    pace = pace_of_tenths(steps)
    app = conversation(lib, steps, pace).compile()
    seconds = cpu(lambda: app.invoke({"messages": [], "n": 0}, limit(steps)))
    return {
        PER_SUPERSTEP: seconds * MICRO / steps,
        "last tenth ÷ first tenth": slowdown(pace, steps),
    }


def from_history(lib: Library, history: int) -> Figures:
    """A hundred supersteps that each add one message to a history that is already this long."""
    conversation(lib, 20).compile().invoke({"messages": [], "n": 0}, limit(20))
    pace = Pace(0, ADDED - 1)
    app = conversation(lib, ADDED, pace).compile()
    messages = [lib.message(TEXT) for _ in range(history)]
    app.invoke({"messages": messages, "n": 0}, limit(ADDED))
    return {PER_SUPERSTEP: pace.between(0, ADDED - 1) * MICRO / (ADDED - 1)}


def plain_append(steps: int) -> Figures:
    """The same messages appended to a list in a `while`."""
    messages = [{"role": "user", "content": TEXT} for _ in range(steps)]
    state: dict[str, Any] = {"messages": [], "n": 0}

    def work() -> None:
        while state["n"] < steps:
            state["messages"].append(messages[state["n"]])
            state["n"] += 1

    return {PER_SUPERSTEP: cpu(work) * MICRO / steps}


def listening(lib: Library, steps: int) -> Figures:
    """The loop of one sync node, streamed with `stream_mode=["values", "updates"]` and read."""
    app = looping(lib, count, steps=steps)

    def work(n: int = 0) -> None:
        for _ in app.stream({"n": n}, limit(steps), stream_mode=["values", "updates"]):
            pass

    work(steps - 20)
    return {PER_SUPERSTEP: cpu(work) * MICRO / steps}


MESSAGES = Group(
    "Messages and streams",
    (
        Case("messages.from_nothing", from_nothing, (100, 1000), plain_append),
        Case("messages.from_history", from_history, (100, 1000), lambda _: plain_append(ADDED)),
        Case("stream.values_updates", listening, (1000,), plain_loop),
    ),
)
