"""Contract §27: messages in the state and in streams."""

import asyncio
import operator
import re
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict, is_typeddict

from graphflow import (
    REMOVE_ALL_MESSAGES,
    START,
    AIMessage,
    CachePolicy,
    Command,
    HumanMessage,
    InMemoryCache,
    Message,
    MessageChunk,
    MessagesState,
    RemoveMessage,
    RetryPolicy,
    Send,
    StateGraph,
    add_messages,
    interrupt,
    push_message,
)
from graphflow.runtime import current
from graphflow_integrations.chat import ChatModel, ChatRequest

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
SAID = {"messages": [HumanMessage("hi", id="h")]}


class Words:
    """Speaks to no model: says the given words one after another."""

    def __init__(self, *words: str, between: Any = lambda: None) -> None:
        self.words = words
        self.between = between

    async def stream(self, request: ChatRequest) -> AsyncIterator[MessageChunk]:
        for word in self.words:
            yield MessageChunk(content=word)
            self.between()

    def describe(self, model: str) -> None:
        return None


def model(*words: str, **settings: Any) -> ChatModel:
    return ChatModel("script/words", provider=Words(*words), **settings)


def single(node: Any, schema: Any = MessagesState) -> Any:
    return StateGraph(schema).add_node("n", node).add_edge(START, "n")


def says(*messages: Any) -> Any:
    return lambda _: {"messages": list(messages)}


def after(call: Any, node: Any, left: Any = SAID) -> list[Any]:
    """Return what a node leaves of a conversation, as (id, text)."""
    messages = call.invoke(single(node).compile(), left)["messages"]
    return [(message.id, message.text) for message in messages]


def streamed(call: Any, graph: Any, given: Any = SAID, **options: Any) -> list[Any]:
    """Return the texts that a run streams in mode `messages`."""
    chunks = call.stream(graph.compile(), given, stream_mode="messages", **options)
    return [chunk.text for chunk, _ in chunks]


# --- the state ------------------------------------------------------------------------------------


def test_27_messages_state_is_a_typed_dict_to_be_extended(call):
    class More(MessagesState):
        seen: int

    assert is_typeddict(MessagesState)
    result = call.invoke(single(lambda _: {"messages": "yes", "seen": 1}, More).compile(), SAID)
    assert ([message.text for message in result["messages"]], result["seen"]) == (["hi", "yes"], 1)


@pytest.mark.parametrize(
    "given",
    [
        "yes",
        ["yes"],
        ("user", "yes"),
        [("human", "yes")],
        {"role": "user", "content": "yes"},
        [{"type": "human", "content": "yes"}],
        HumanMessage("yes"),
        [SimpleNamespace(type="human", content="yes", id=None)],
    ],
)
def test_27_a_write_may_be_one_message_like_value_or_many(call, given):
    (_, new) = call.invoke(single(lambda _: {"messages": given}).compile(), SAID)["messages"]
    assert (type(new), new.type, new.content) == (Message, "human", "yes")


def test_27_chunks_become_full_messages(call):
    pieces = MessageChunk(id="1", content="y") + MessageChunk(id="1", content="es")
    (_, new) = call.invoke(single(says(pieces)).compile(), SAID)["messages"]
    assert new == AIMessage("yes", id="1")


def test_27_missing_ids_get_a_uuid4_string(call):
    ids = [id for id, _ in after(call, says("a", "b"))]
    assert len(set(ids)) == 3
    assert all(UUID4.fullmatch(id) for id in ids[1:])


def test_27_same_id_replaces_in_place(call, saver, thread):
    app = single(says(HumanMessage("ho", id="h"), "new")).compile(saver)
    result = call.invoke(app, {"messages": [*SAID["messages"], AIMessage("x", id="x")]}, thread)
    assert [message.text for message in result["messages"]] == ["ho", "x", "new"]
    assert call.state(app, thread).values == result


def test_27_of_duplicates_in_one_write_the_last_wins(call):
    assert after(call, says(AIMessage("a", id="1"), AIMessage("b", id="1")))[1:] == [("1", "b")]


def test_27_remove_message_deletes(call, saver, thread):
    app = single(says(RemoveMessage("h"), "new")).compile(saver)
    result = call.invoke(app, SAID, thread)
    assert [message.text for message in result["messages"]] == ["new"]
    assert call.state(app, thread).values == result


def test_27_removing_an_unknown_id_is_an_error(call):
    with pytest.raises(ValueError, match="Attempting to delete a message with an ID that doesn't"):
        after(call, says(RemoveMessage("unknown")))


def test_27_removing_twice_is_fine(call):
    assert after(call, says(RemoveMessage("h"), RemoveMessage("h"))) == []


def test_27_remove_then_add_keeps_the_last(call):
    assert after(call, says(RemoveMessage("h"), AIMessage("back", id="h"))) == [("h", "back")]


def test_27_remove_all_drops_everything_before_it(call):
    node = says("a", RemoveMessage(id=REMOVE_ALL_MESSAGES), AIMessage("b", id="b"))
    assert REMOVE_ALL_MESSAGES == "__remove_all__"
    assert after(call, node) == [("b", "b")]


def test_27_the_result_is_a_new_list():
    left = [HumanMessage("hi", id="h")]
    assert add_messages(left, []) == left
    assert add_messages(left, []) is not left


def test_27_format_langchain_openai_converts_contents_to_openai_blocks(call):
    class Talk(TypedDict):
        messages: Annotated[list[Message], add_messages(format="langchain-openai")]

    source = {"type": "base64", "media_type": "image/jpeg", "data": "QUJD"}
    image = HumanMessage([{"type": "image", "source": source}])
    (_, new) = call.invoke(single(says(image), Talk).compile(), SAID)["messages"]
    assert new.content == (
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,QUJD"}},
    )


def test_27_with_a_format_all_observers_see_the_same_id_too(call, saver, thread):
    class Talk(TypedDict):
        messages: Annotated[list[Message], add_messages(format="langchain-openai")]

    app = single(lambda _: {"messages": [{"role": "ai", "content": "yes"}]}, Talk).compile(saver)
    chunks = call.stream(app, SAID, thread, stream_mode=["updates", "messages"])
    ((said, _),) = [data for mode, data in chunks if mode == "messages"]
    (told,) = [data["n"]["messages"] for mode, data in chunks if mode == "updates"]
    assert told == [said] == call.state(app, thread).values["messages"][1:]


def test_27_another_format_is_an_error():
    with pytest.raises(ValueError, match="Unrecognized format="):
        add_messages([], [], format="yaml")


@pytest.mark.parametrize(("left", "right"), [(None, []), ([], None)])
def test_27_none_on_a_side_is_an_error(left, right):
    with pytest.raises(ValueError, match="both sides"):
        add_messages(left, right)


def test_27_all_observers_see_the_same_id(call, saver, thread):
    app = single(lambda _: {"messages": "yes"}).compile(saver)
    modes = ["messages", "updates", "tasks", "values"]
    seen = set()
    for mode, data in call.stream(app, SAID, thread, stream_mode=modes):
        if mode == "messages":
            seen.add(data[0].id)
        elif mode == "updates":
            seen.add(data["n"]["messages"][-1].id)
        elif mode == "tasks" and "result" in data:
            seen.add(data["result"]["messages"][-1].id)
        elif mode == "values" and len(data["messages"]) == 2:
            seen.add(data["messages"][-1].id)
    seen.add(call.state(app, thread).values["messages"][-1].id)
    assert len(seen) == 1


def test_27_a_finished_tasks_message_keeps_its_id_while_a_sibling_asks(call, saver, thread):
    graph = single(lambda _: {"messages": "yes"})
    graph.add_node("q", lambda _: {"messages": interrupt("?")}).add_edge(START, "q")
    app = graph.compile(saver)
    call.invoke(app, SAID, thread)
    waiting = {task.name: task.result for task in call.state(app, thread).tasks}
    result = call.invoke(app, Command(resume="answer"), thread)
    assert waiting["n"]["messages"][0] in result["messages"]


def test_27_an_updates_message_has_its_id_in_the_state_and_in_the_history(call, saver, thread):
    app = single(says()).compile(saver)
    call.update(app, thread, {"messages": "yes"}, "n")
    (stored,) = call.state(app, thread).values["messages"]
    assert UUID4.fullmatch(stored.id)
    assert call.history(app, thread)[0].values["messages"] == [stored]


# --- stream_mode="messages" -----------------------------------------------------------------------


def test_27_tokens_come_while_the_model_speaks():
    heard, waited = threading.Event(), []
    words = Words("one ", "two", between=lambda: waited.append(heard.wait(10)))
    app = single(ChatModel("script/words", provider=words)).compile()
    for _ in app.stream(SAID, stream_mode="messages"):
        heard.set()
    assert waited == [True, True]


def test_27_tokens_come_while_the_model_speaks_on_a_loop():
    heard = asyncio.Event()

    class Patient(Words):
        async def stream(self, request: ChatRequest) -> AsyncIterator[MessageChunk]:
            yield MessageChunk(content="one ")
            await asyncio.wait_for(heard.wait(), 10)
            yield MessageChunk(content="two")

    async def listen() -> list[str]:
        texts = []
        app = single(ChatModel("script/words", provider=Patient())).compile()
        async for chunk, _ in app.astream(SAID, stream_mode="messages"):
            texts.append(chunk.text)
            heard.set()
        return texts

    assert asyncio.run(listen()) == ["one ", "two"]


def test_27_a_message_that_was_streamed_in_tokens_is_not_streamed_again(call):
    assert streamed(call, single(model("one ", "two"))) == ["one ", "two"]


def test_27_a_model_called_in_a_node_is_streamed(call):
    async def node(_):
        return {"messages": await model("one ", "two").acomplete("hi")}

    assert streamed(call, single(node)) == ["one ", "two"]


@pytest.mark.parametrize(
    "answer",
    [
        {"messages": AIMessage("yes")},
        {"messages": [AIMessage("yes")]},
        {"messages": ("ai", "yes")},
        {"other": AIMessage("yes")},
        {"other": [AIMessage("yes")]},
        Command(update={"messages": [AIMessage("yes")]}),
        Command(update=[("messages", AIMessage("yes"))]),
        [Command(update={"messages": [AIMessage("yes")]}), {"other": 1}],
    ],
)
def test_27_messages_that_a_node_returns_are_streamed(call, answer):
    class State(MessagesState):
        other: Any

    assert streamed(call, single(lambda _: answer, State)) == ["yes"]


def test_27_each_id_is_streamed_once(call):
    graph = single(says(AIMessage("a", id="1"), AIMessage("b", id="2"), AIMessage("c", id="1")))
    graph.add_node("m", says(AIMessage("d", id="2"))).add_edge("n", "m")
    assert streamed(call, graph) == ["a", "b"]


def test_27_messages_without_ids_are_all_streamed(call):
    graph = single(
        lambda _: {"log": [AIMessage("a"), AIMessage("b")]},
        TypedDict("Log", {"log": Annotated[list[Any], operator.add]}),
    )
    assert streamed(call, graph, {"log": [HumanMessage("hi")]}) == ["a", "b"]


@dataclass
class Record:
    messages: Annotated[list[Message], add_messages]


Root = Annotated[list[Message], add_messages]


@pytest.mark.parametrize(
    ("schema", "given", "node"),
    [
        (MessagesState, SAID, lambda state: {"messages": [*state["messages"], "new"]}),
        (Record, SAID, lambda state: {"messages": [*state.messages, "new"]}),
        (Root, SAID["messages"], lambda state: [*state, "new"]),
    ],
    ids=["keys", "dataclass", "root"],
)
def test_27_messages_of_the_nodes_input_are_not_streamed_again(call, schema, given, node):
    assert streamed(call, single(node, schema), given) == ["new"]


def test_27_messages_that_were_sent_to_the_node_are_not_streamed_again(call):
    graph = StateGraph(MessagesState).add_node("n", lambda told: {"messages": [told, "new"]})
    graph.add_conditional_edges(START, lambda state: Send("n", state["messages"][0]), ["n"])
    assert streamed(call, graph) == ["new"]


def test_27_metadata_tell_where_a_message_comes_from(call, saver, thread):
    config = {
        "configurable": {
            **thread["configurable"], "run_id": "r", "assistant_id": "a", "graph_id": "g", "user": 1
        },
        "tags": ["blue"],
        "metadata": {"asked_by": "ana"},
    }  # fmt: skip
    app = single(says("yes")).compile(saver)
    ((_, told),) = call.stream(app, SAID, config, stream_mode="messages")
    assert re.fullmatch("n:.+", told.pop("langgraph_checkpoint_ns"))
    assert told == {
        "langgraph_step": 1,
        "langgraph_node": "n",
        "langgraph_triggers": ("branch:to:n",),
        "langgraph_path": ("__pregel_pull", "n"),
        "ls_integration": "graphflow",
        "thread_id": "t",
        "run_id": "r",
        "assistant_id": "a",
        "graph_id": "g",
        "tags": ["blue"],
        "asked_by": "ana",
    }


def test_27_metadata_of_tokens_name_the_tasks_namespace_and_the_models_tags(call):
    app = single(model("yes", tags=["red"])).compile()
    ((_, told),) = call.stream(app, SAID, {"tags": ["blue"]}, stream_mode="messages")
    assert told["checkpoint_ns"] == told["langgraph_checkpoint_ns"]
    assert (told["tags"], told["model"]) == (["blue", "red"], "script/words")


def test_27_nostream_keeps_a_models_tokens_back(call):
    async def node(_):
        await model("a", "b", tags=["nostream"]).acomplete("hi")

    assert streamed(call, single(node)) == []


def test_27_messages_of_a_graph_inside_come_under_its_namespace(call):
    graph = single(single(model("yes")).compile())
    (first, *_) = call.stream(graph.compile(), SAID, stream_mode="messages", subgraphs=True)
    ns, (chunk, told) = first
    assert (ns[0][:2], len(ns), chunk.text) == ("n:", 1, "yes")
    assert told["langgraph_checkpoint_ns"].startswith(f"{ns[0]}|n:")


def test_27_what_a_graph_inside_said_is_not_said_again_by_the_node_around_it(call):
    graph = single(single(model("a", "b")).compile())
    chunks = call.stream(graph.compile(), SAID, stream_mode="messages", subgraphs=True)
    assert [(len(ns), chunk.text) for ns, (chunk, _) in chunks] == [(1, "a"), (1, "b")]


def test_27_without_subgraphs_the_node_around_streams_what_its_graph_said(call):
    chunks = call.stream(single(single(model("a", "b")).compile()).compile(), SAID,
                         stream_mode=["messages"])  # fmt: skip
    assert [(data[0].text, data[1]["langgraph_node"]) for _, data in chunks] == [("ab", "n")]


def test_27_tokens_show_that_the_node_goes_on(call):
    signs: list[bool] = []

    async def node(_):
        current().progress = signs.append
        await model("one ", "two").acomplete("hi")

    call.invoke(single(node).compile(), SAID)
    assert signs == [False, False]


# --- push_message ---------------------------------------------------------------------------------


def test_27_push_message_streams_now():
    heard = threading.Event()

    def node(_):
        push_message(AIMessage("yes", id="1"))
        assert heard.wait(10)

    for chunk, _ in single(node).compile().stream(SAID, stream_mode="messages"):
        assert chunk == AIMessage("yes", id="1")
        heard.set()
    assert heard.is_set()


def test_27_push_message_writes_to_messages_before_what_the_node_returns(call, saver, thread):
    def node(_):
        push_message(AIMessage("first", id="1"))
        push_message({"role": "ai", "content": "second", "id": "2"})
        return {"messages": AIMessage("third", id="3")}

    app = single(node).compile(saver)
    chunks = call.stream(app, SAID, thread, stream_mode=["messages", "updates"])
    assert [data[0].text for mode, data in chunks if mode == "messages"] == [
        "first", "second", "third"
    ]  # fmt: skip
    (told,) = [data["n"] for mode, data in chunks if mode == "updates"]
    assert [update["messages"][0].id for update in told] == ["1", "2", "3"]
    stored = call.state(app, thread).values["messages"]
    assert [message.text for message in stored] == ["hi", "first", "second", "third"]


def test_27_what_was_pushed_and_returned_is_streamed_once(call):
    def node(_):
        return {"messages": [push_message(AIMessage("yes", id="1")), "new"]}

    assert streamed(call, single(node)) == ["yes", "new"]


def test_27_push_message_writes_to_another_key(call):
    class State(MessagesState):
        notes: Annotated[list[Message], add_messages]

    def node(_):
        push_message(AIMessage("note", id="1"), state_key="notes")

    result = call.invoke(single(node, State).compile(), SAID)
    assert [message.text for message in (*result["messages"], *result["notes"])] == ["hi", "note"]


def test_27_with_state_key_none_push_message_only_streams(call):
    def node(_):
        push_message(AIMessage("yes", id="1"), state_key=None)

    assert streamed(call, single(node)) == ["yes"]
    assert after(call, node) == [("h", "hi")]


def test_27_push_message_without_an_id_is_an_error(call):
    with pytest.raises(ValueError, match="Message ID is required"):
        call.invoke(single(lambda _: push_message(AIMessage("yes"))).compile(), SAID)


def test_27_push_message_outside_of_a_graph_is_an_error():
    with pytest.raises(RuntimeError, match="Called push_message outside"):
        push_message(AIMessage("yes", id="1"))


def test_27_what_a_failed_attempt_pushed_is_not_written(call):
    attempts = []

    def node(_):
        attempts.append(1)
        push_message(AIMessage("yes", id=str(len(attempts))))
        if len(attempts) == 1:
            raise ConnectionError("again")

    graph = StateGraph(MessagesState).add_edge(START, "n")
    graph.add_node("n", node, retry_policy=RetryPolicy(initial_interval=0.0, jitter=False))
    result = call.invoke(graph.compile(), SAID)
    assert [message.id for message in result["messages"]] == ["h", "2"]


def test_27_what_is_pushed_before_a_question_is_written_once_when_it_is_answered(
    call, saver, thread
):
    def node(_):
        push_message(AIMessage("yes", id="1"))
        return {"messages": AIMessage(interrupt("?"), id="2")}

    app = single(node).compile(saver)
    assert [m.id for m in call.invoke(app, SAID, thread)["messages"]] == ["h"]
    result = call.invoke(app, Command(resume="answer"), thread)
    assert [message.id for message in result["messages"]] == ["h", "1", "2"]


def test_27_a_finished_tasks_push_is_kept_while_a_sibling_asks(call, saver, thread):
    pushes = []

    def node(_):
        pushes.append(1)
        push_message(AIMessage("yes", id="1"))

    graph = single(node).add_node("q", lambda _: {"messages": interrupt("?")}).add_edge(START, "q")
    app = graph.compile(saver)
    call.invoke(app, SAID, thread)
    result = call.invoke(app, Command(resume="answer"), thread)
    assert [message.text for message in result["messages"]] == ["hi", "yes", "answer"]
    assert pushes == [1]


def test_27_a_cached_node_writes_what_it_pushed(call):
    def node(_):
        push_message(AIMessage("yes", id="1"))

    graph = StateGraph(MessagesState).add_node("n", node, cache_policy=CachePolicy())
    app = graph.add_edge(START, "n").compile(cache=InMemoryCache())
    first, second = (call.invoke(app, SAID)["messages"] for _ in range(2))
    assert [message.id for message in second] == ["h", "1"]
    assert first == second


def test_27_a_path_function_may_push(call):
    def path(_):
        push_message(AIMessage("yes", id="1"))
        return "__end__"

    graph = single(lambda _: None).add_conditional_edges("n", path, ["__end__"])
    assert [m.id for m in call.invoke(graph.compile(), SAID)["messages"]] == ["h", "1"]
