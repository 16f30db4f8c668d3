"""Messages, with the types of each library (contract §27)."""

import operator
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from .observations import plain
from .programs import SYNC, THREAD, chain, parity, parity_in, raised


def texts(messages: Any) -> Any:
    """Return what tells messages apart when their ids were made up."""
    return [{**seen, "id": None} for seen in plain(messages)]


@parity_in(SYNC)
def test_message_likes_become_messages(lib, call):
    likes: list[Any] = [
        "plain",
        ("user", "pair"),
        ("human", "human pair"),
        ("assistant", "ai"),
        ("ai", "ai pair"),
        ("system", "sys"),
        {"role": "user", "content": "dict"},
        {"role": "assistant", "content": "ai dict"},
        {"role": "system", "content": "sys dict"},
        lib.HumanMessage("object"),
    ]
    return [texts(lib.add_messages([], like)) for like in likes], lib.add_messages([], likes)


@parity_in(SYNC)
def test_ids_are_given_and_kept(lib, call):
    made = lib.add_messages([], ["a", "b"])
    kept = lib.add_messages([], lib.HumanMessage("c", id="own"))
    again = lib.add_messages(made, [])
    return [len(m.id) for m in made], made[0].id != made[1].id, kept, [m.id for m in again], made


@parity_in(SYNC)
def test_same_id_replaces_in_place(lib, call):
    left = [lib.HumanMessage(name, id=name) for name in "abc"]
    right = [lib.HumanMessage("B", id="b"), lib.AIMessage("new", id="d")]
    result = lib.add_messages(left, right)
    return result, left, result is left


@parity_in(SYNC)
def test_last_of_duplicates_wins(lib, call):
    right = [lib.HumanMessage("one", id="a"), lib.HumanMessage("two", id="a")]
    return lib.add_messages([], right), lib.add_messages([lib.HumanMessage("zero", id="a")], right)


@parity_in(SYNC)
def test_removing_messages(lib, call):
    left = [lib.HumanMessage(name, id=name) for name in "abc"]
    remove = lib.RemoveMessage
    unknown = "Attempting to delete a message with an ID that doesn't exist"
    return (
        lib.add_messages(left, remove(id="b")),
        lib.add_messages(left, [remove(id="b"), remove(id="b")]),
        lib.add_messages(left, [remove(id="b"), lib.HumanMessage("B", id="b")]),
        lib.add_messages(left, [lib.HumanMessage("B", id="b"), remove(id="b")]),
        lib.add_messages(left, [remove(id=lib.REMOVE_ALL_MESSAGES), lib.HumanMessage("x", id="x")]),
        lib.add_messages(left, [lib.HumanMessage("x", id="x"), remove(id="__remove_all__")]),
        raised(lib, lambda: lib.add_messages(left, remove(id="zzz")), unknown),
    )


@parity_in(SYNC)
def test_wrong_arguments_of_the_reducer(lib, call):
    return [
        raised(lib, lambda: lib.add_messages(None, ["a"]))[0],
        raised(lib, lambda: lib.add_messages(["a"], None))[0],
        raised(lib, lambda: lib.add_messages([], ["a"], format="xml"), "Unrecognized format"),
        raised(lib, lambda: lib.add_messages([], [{"content": "no role"}]))[0],
    ]


@parity
def test_messages_state_in_a_graph(lib, call):
    def answer(state: Any) -> Any:
        asked = state["messages"][-1].content
        return {"messages": [lib.AIMessage(f"you said {asked}", id="answer")]}

    app = chain(lib, lib.MessagesState, ("answer", answer)).compile(lib.InMemorySaver())
    first = call.invoke(app, {"messages": [lib.HumanMessage("hi", id="1")]}, THREAD)
    second = call.invoke(app, {"messages": [("user", "again")]}, THREAD)
    return first, texts(second["messages"]), texts(call.state(app).values["messages"])


@parity
def test_messages_state_with_more_keys(lib, call):
    class Chat(lib.MessagesState):
        summary: str

    def node(state: Chat) -> Any:
        return {"messages": "done", "summary": f"{len(state['messages'])} messages"}

    result = call.invoke(chain(lib, Chat, ("n", node)).compile(), {"messages": ["a", "b"]})
    return texts(result["messages"]), result["summary"]


@parity
def test_reducer_in_an_own_schema(lib, call):
    class Chat(TypedDict, total=False):
        turns: Annotated[list[Any], lib.add_messages]
        log: Annotated[list[Any], operator.add]

    app = chain(lib, Chat, ("n", lambda s: {"turns": ("ai", "x"), "log": [len(s["turns"])]}))
    result = call.invoke(app.compile(), {"turns": "hi"})
    return texts(result["turns"]), result["log"]


@parity
def test_history_is_trimmed_by_removing(lib, call):
    def trim(state: Any) -> Any:
        return {"messages": [lib.RemoveMessage(id=m.id) for m in state["messages"][:-2]]}

    app = chain(lib, lib.MessagesState, ("trim", trim)).compile(lib.InMemorySaver())
    given = [lib.HumanMessage(str(n), id=str(n)) for n in range(5)]
    return call.invoke(app, {"messages": given}, THREAD), call.state(app).values


@parity
def test_ids_are_the_same_for_all_observers(lib, call):
    def answer(state: Any) -> Any:
        return {"messages": [lib.AIMessage("a")]}

    app = chain(lib, lib.MessagesState, ("answer", answer)).compile(lib.InMemorySaver())
    modes = ["updates", "values", "messages"]
    chunks = call.stream(app, {"messages": ["hi"]}, THREAD, stream_mode=modes)
    updated = next(data for mode, data in chunks if mode == "updates")["answer"]["messages"][0]
    streamed = next(data for mode, data in chunks if mode == "messages")[0]
    stored = call.state(app).values["messages"][-1]
    return updated.id == stored.id, streamed.id == stored.id, stored.id is not None


@parity
def test_messages_mode_shows_what_nodes_return(lib, call):
    def node(state: Any) -> Any:
        return {"messages": [lib.AIMessage("one", id="1"), lib.AIMessage("two", id="2")]}

    def command(state: Any) -> Any:
        return lib.Command(update={"messages": lib.AIMessage("three", id="3")})

    def echo(state: Any) -> Any:
        return {"messages": [state["messages"][0], lib.AIMessage("four", id="4")]}

    nodes = [("node", node), ("command", command), ("echo", echo)]
    app = chain(lib, lib.MessagesState, *nodes).compile()
    given = {"messages": [lib.HumanMessage("hi", id="0")]}
    chunks = call.stream(app, given, stream_mode="messages")
    places = ("langgraph_node", "langgraph_step", "langgraph_triggers", "langgraph_path")
    return [(message, {key: meta[key] for key in places}) for message, meta in chunks]


@parity
def test_messages_mode_with_metadata_and_configurable(lib, call):
    node = lambda _: {"messages": [lib.AIMessage("a", id="1")]}  # noqa: E731
    app = chain(lib, lib.MessagesState, ("n", node)).compile(lib.InMemorySaver())
    config = {
        "configurable": {"thread_id": "t", "user": "ann"},
        "metadata": {"team": "blue"},
    }
    ((_, metadata),) = call.stream(app, {"messages": []}, config, stream_mode="messages")
    return {key: metadata.get(key) for key in ("thread_id", "user", "team")}


@parity
def test_messages_mode_of_child_graphs(lib, call):
    node = lambda _: {"messages": [lib.AIMessage("child", id="1")]}  # noqa: E731
    child = chain(lib, lib.MessagesState, ("n", node)).compile()
    app = chain(lib, lib.MessagesState, ("child", child)).compile()
    given = {"messages": [lib.HumanMessage("hi", id="0")]}
    chunks = call.stream(app, given, stream_mode="messages")
    return [(message, metadata["langgraph_node"]) for message, metadata in chunks]


@parity
def test_message_of_a_child_is_shown_once(lib, call):
    node = lambda _: {"messages": [lib.AIMessage("child", id="1")]}  # noqa: E731
    child = chain(lib, lib.MessagesState, ("n", node)).compile()
    app = chain(lib, lib.MessagesState, ("child", child)).compile()
    given = {"messages": [lib.HumanMessage("hi", id="0")]}
    chunks = call.stream(app, given, stream_mode="messages", subgraphs=True)
    return [(ns, message, meta["langgraph_node"]) for ns, (message, meta) in chunks]


@parity
def test_messages_of_a_thread_are_not_shown_again(lib, call):
    node = lambda s: {"messages": [*s["messages"], lib.AIMessage("new")]}  # noqa: E731
    app = chain(lib, lib.MessagesState, ("n", node)).compile(lib.InMemorySaver())
    shown = []
    for text in ("one", "two"):
        given = {"messages": [("user", text)]}
        chunks = call.stream(app, given, THREAD, stream_mode="messages")
        shown.append([message.content for message, _ in chunks])
    return shown


@parity
def test_tool_calls_and_answers_survive_a_checkpoint(lib, call):
    called = [{"name": "look", "args": {"q": "x"}, "id": "c1"}]

    def model(state: Any) -> Any:
        if lib.name == "LangGraph":
            return {"messages": [lib.AIMessage("", id="1", tool_calls=called)]}
        return {"messages": [{"role": "assistant", "content": "", "id": "1", "tool_calls": called}]}

    def tool(state: Any) -> Any:
        (one,) = state["messages"][-1].tool_calls
        identity = one["id"] if isinstance(one, dict) else one.id
        return {"messages": [lib.ToolMessage("found", tool_call_id=identity, id="2")]}

    app = chain(lib, lib.MessagesState, ("model", model), ("tool", tool))
    app = app.compile(lib.InMemorySaver())
    return call.invoke(app, {"messages": [lib.HumanMessage("hi", id="0")]}, THREAD)


@parity
def test_update_of_messages(lib, call):
    app = chain(lib, lib.MessagesState, ("n", lambda _: None)).compile(lib.InMemorySaver())
    call.invoke(app, {"messages": [lib.HumanMessage("hi", id="0")]}, THREAD)
    call.update(app, THREAD, {"messages": [lib.HumanMessage("changed", id="0")]})
    call.update(app, THREAD, {"messages": lib.AIMessage("more", id="1")})
    return call.state(app).values


@parity
def test_messages_with_parallel_nodes(lib, call):
    graph = lib.StateGraph(lib.MessagesState)
    for name in "ba":
        node = lambda _, name=name: {"messages": [lib.AIMessage(name, id=name)]}  # noqa: E731
        graph.add_node(name, node).add_edge(lib.START, name)
    return call.invoke(graph.compile(), {"messages": [lib.HumanMessage("hi", id="0")]})


@parity
def test_pushed_messages_are_streamed_and_kept(lib, call):
    def node(state: Any) -> Any:
        lib.push_message(lib.AIMessage("pushed", id="1"))
        return {"messages": [lib.AIMessage("returned", id="2")]}

    app = chain(lib, lib.MessagesState, ("n", node)).compile()
    given = {"messages": [lib.HumanMessage("hi", id="0")]}
    chunks = call.stream(app, given, stream_mode="messages")
    return [message for message, _ in chunks], call.invoke(app, given)


@pytest.mark.xfail(strict=True, reason="a pushed message is shown as a list in the updates")
@parity
def test_pushed_message_in_the_updates(lib, call):
    def node(_: Any) -> None:
        lib.push_message(lib.AIMessage("pushed", id="1"))

    return call.stream(chain(lib, lib.MessagesState, ("n", node)).compile(), {"messages": []})


@parity
def test_pushed_message_without_an_id_or_a_key(lib, call):
    def node(state: Any) -> Any:
        lib.push_message(lib.AIMessage("aside", id="1"), state_key=None)
        says = "Message ID is required"
        refused = raised(lib, lambda: lib.push_message(_unnamed(lib)), says)
        return {"messages": [lib.AIMessage(str(refused[0]), id="2")]}

    app = chain(lib, lib.MessagesState, ("n", node)).compile()
    chunks = call.stream(app, {"messages": []}, stream_mode="messages")
    return [message for message, _ in chunks], call.invoke(app, {"messages": []})


def _unnamed(lib: Any) -> Any:
    """Return a message without an id: graphflow's constructors give one."""
    return {"role": "assistant", "content": "x"} if lib.name == "graphflow" else lib.AIMessage("x")
