"""Tools that a model calls: the node that runs them and what it streams (contract §28)."""

from typing import Annotated, Any

import pytest

from .observations import by_task
from .programs import ASYNC, THREAD, chain, parity, parity_in, raised


def add(x: int, y: int = 1) -> int:
    """Add two numbers."""
    return x + y


def broken(x: int) -> int:
    """Fail."""
    raise RuntimeError(f"no {x}")


def calling(lib: Any, *calls: tuple[str, Any]) -> Any:
    """Return a conversation whose last message calls tools c0, c1, …"""
    made = [{"name": name, "args": args, "id": f"c{n}"} for n, (name, args) in enumerate(calls)]
    ask = lib.HumanMessage("hi", id="h")
    return {"messages": [ask, lib.AIMessage("", id="a", tool_calls=made)]}


def answers(result: Any) -> Any:
    """Return what the tool messages of a result say."""
    return [
        (message.content, message.tool_call_id, message.name)
        for message in result["messages"]
        if getattr(message, "tool_call_id", None)
    ]


def tools(lib: Any, *given: Any, **options: Any) -> Any:
    """Return a compiled graph of one node that runs tools."""
    node = lib.ToolNode([lib.tool(one) for one in given], **options)
    graph = lib.StateGraph(lib.MessagesState).add_node("tools", node).add_edge(lib.START, "tools")
    return graph.compile(lib.InMemorySaver(), store=lib.InMemoryStore())


@parity
def test_calls_are_answered_in_their_order(lib, call):
    given = calling(lib, ("add", {"x": 1}), ("add", {"x": 2, "y": 3}))
    return answers(call.invoke(tools(lib, add), given, THREAD))


@parity
def test_model_and_tools_by_the_ready_made_condition(lib, call):
    def model(state: Any) -> Any:
        if len(state["messages"]) == 1:
            return {"messages": calling(lib, ("add", {"x": 1}))["messages"][-1:]}
        return {"messages": [lib.AIMessage("done: " + str(state["messages"][-1].content), id="z")]}

    graph = lib.StateGraph(lib.MessagesState).add_node("model", model)
    graph.add_node("tools", lib.ToolNode([lib.tool(add)])).add_edge(lib.START, "model")
    graph.add_conditional_edges("model", lib.tools_condition).add_edge("tools", "model")
    result = call.invoke(graph.compile(), {"messages": [lib.HumanMessage("hi", id="0")]})
    return [message.content for message in result["messages"]]


@parity
def test_events_of_tools(lib, call):
    given = calling(lib, ("add", {"x": 1}))
    chunks = call.stream(tools(lib, add), given, THREAD, stream_mode="tools")
    return [{key: chunk[key] for key in ("event", "tool_call_id")} for chunk in chunks]


@parity
def test_events_of_a_failing_tool(lib, call):
    given = calling(lib, ("broken", {"x": 1}))
    seen = []

    def collect() -> None:
        app = tools(lib, broken, handle_tool_errors=False)
        for chunk in app.stream(given, THREAD, stream_mode="tools"):
            seen.append((chunk["event"], chunk["tool_call_id"]))  # noqa: PERF401  # it may raise

    return raised(lib, collect)[0], seen


@parity
def test_deltas_of_a_tool(lib, call):
    def speak(text: str, runtime: lib.ToolRuntime) -> str:
        """Say it in pieces."""
        for word in text.split():
            runtime.emit_output_delta(word)
        return text

    given = calling(lib, ("speak", {"text": "one two"}))
    chunks = call.stream(tools(lib, speak), given, THREAD, stream_mode="tools")
    return [(chunk["event"], chunk["tool_call_id"], chunk.get("delta")) for chunk in chunks]


@parity
def test_errors_that_are_told_to_the_model(lib, call):
    app = tools(lib, broken, handle_tool_errors=True)
    result = call.invoke(app, calling(lib, ("broken", {"x": 7})), THREAD)
    said = tools(lib, broken, handle_tool_errors="went wrong")
    other = call.invoke(said, calling(lib, ("broken", {"x": 7})), THREAD)
    return "no 7" in answers(result)[0][0], answers(other)


@parity
def test_errors_that_fail_the_run(lib, call):
    app = tools(lib, broken, handle_tool_errors=False)
    return raised(lib, lambda: call.invoke(app, calling(lib, ("broken", {"x": 7})), THREAD), "no 7")


@pytest.mark.xfail(strict=True, reason="by default a tool's error is told to the model")
@parity
def test_errors_by_default(lib, call):
    app = tools(lib, broken)
    return raised(
        lib, lambda: answers(call.invoke(app, calling(lib, ("broken", {"x": 7})), THREAD))
    )


@parity
def test_unknown_tool_is_told_to_the_model(lib, call):
    result = call.invoke(tools(lib, add), calling(lib, ("sub", {"x": 7})), THREAD)
    ((content, tool_call_id, _),) = answers(result)
    return "sub" in content, "add" in content, tool_call_id


@parity
def test_tool_that_asks_a_person(lib, call):
    def pay(amount: int) -> str:
        """Pay, if a person agrees."""
        return f"paid {amount}: {lib.interrupt({'pay': amount})}"

    app = tools(lib, pay, add)
    given = calling(lib, ("pay", {"amount": 5}), ("add", {"x": 1}))
    first = call.invoke(app, given, THREAD)
    asked = [question.value for question in first["__interrupt__"]]
    return asked, answers(call.invoke(app, lib.Command(resume="yes"), THREAD))


@parity
def test_tool_that_updates_the_state(lib, call):
    class Chat(lib.MessagesState):
        user: str

    def rename(name: str, tool_call_id: Annotated[str, lib.InjectedToolCallId]) -> Any:
        """Change the user's name."""
        said = lib.ToolMessage("renamed", tool_call_id=tool_call_id, id="t")
        return lib.Command(update={"user": name, "messages": [said]})

    graph = lib.StateGraph(Chat).add_node("tools", lib.ToolNode([lib.tool(rename)]))
    app = graph.add_edge(lib.START, "tools").compile()
    result = call.invoke(app, calling(lib, ("rename", {"name": "ann"})))
    return result["user"], result["messages"][-1].content


@parity
def test_injected_state_and_store(lib, call):
    def look(
        key: str,
        state: Annotated[Any, lib.InjectedState],
        store: Annotated[Any, lib.InjectedStore()],
    ) -> str:
        """Look it up."""
        store.put(("n",), key, {"v": len(state["messages"])})
        return str(store.get(("n",), key).value)

    return answers(call.invoke(tools(lib, look), calling(lib, ("look", {"key": "k"})), THREAD))


@parity_in(ASYNC)
def test_async_tools(lib, call):
    async def fetch(url: str) -> str:
        """Fetch a page."""
        return f"page of {url}"

    given = calling(lib, ("fetch", {"url": "u"}))
    return answers(call.invoke(tools(lib, fetch), given, THREAD))


@parity
def test_events_of_tools_side_by_side(lib, call):
    given = calling(lib, ("add", {"x": 1}), ("add", {"x": 2}))
    chunks = call.stream(tools(lib, add), given, THREAD, stream_mode="tools")
    return by_task((chunk["event"], chunk["tool_call_id"]) for chunk in chunks)


@parity
def test_results_that_are_no_text(lib, call):
    def table(n: int) -> Any:
        """Return a table."""
        return {"rows": [1, 2], "n": n}

    return answers(call.invoke(tools(lib, table), calling(lib, ("table", {"n": 1})), THREAD))


@parity
def test_wrong_arguments_are_told_to_the_model(lib, call):
    result = call.invoke(tools(lib, add), calling(lib, ("add", {"x": "many"})), THREAD)
    ((content, tool_call_id, name),) = answers(result)
    return "x" in content, tool_call_id, name


@parity
def test_tools_in_a_child_graph_stream_under_its_namespace(lib, call):
    child = chain(lib, lib.MessagesState, ("tools", lib.ToolNode([lib.tool(add)]))).compile()
    app = chain(lib, lib.MessagesState, ("child", child)).compile()
    given = calling(lib, ("add", {"x": 1}))
    chunks = call.stream(app, given, stream_mode="tools", subgraphs=True)
    return [(ns, chunk["event"]) for ns, chunk in chunks]
