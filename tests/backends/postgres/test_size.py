"""What 10,000 supersteps take up in PostgreSQL."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from graphflow import START, AIMessage, MessagesState, StateGraph
from graphflow_checkpointers.postgres import PostgresCheckpointer

STEPS = 2_000


class Talk(MessagesState):
    count: int


def test_a_superstep_with_a_message_of_500_bytes_takes_800_bytes(
    dsn: str, sql: Callable[..., list[Any]]
) -> None:
    letters = random.Random(1)

    def talk(state: Talk) -> Any:
        text = "".join(letters.choices("abcdefghijklmnopqrstuvwxyz    ", k=500))
        return {"messages": [AIMessage(text)], "count": state["count"] + 1}

    graph: StateGraph[Talk] = StateGraph(Talk)
    graph.add_node("talk", talk).add_edge(START, "talk")
    targets = {"again": "talk", "stop": "__end__"}
    graph.add_conditional_edges(
        "talk", lambda state: "again" if state["count"] < STEPS else "stop", targets
    )
    sql("DROP SCHEMA IF EXISTS size CASCADE")
    with PostgresCheckpointer(dsn, schema="size", prepare_threshold=5) as store:
        app = graph.compile(checkpointer=store)
        config = {"configurable": {"thread_id": "t"}, "recursion_limit": STEPS + 9}
        app.invoke({"messages": [], "count": 0}, config)
        assert len(app.get_state(config).values["messages"]) == STEPS
    size = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname = ANY(%s)"
    found = sql(
        f"{size} AND relnamespace = 'size'::regnamespace",
        [f"graphflow_{name}" for name in ("thread", "branch", "frame", "row", "snapshot")],
    )
    sql("DROP SCHEMA size CASCADE")
    assert found[0][0] < STEPS * 800
