"""Messages: the reducer's rules, what is message-like, OpenAI's format, streamed pieces."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphflow.state.message_merge import MessageOrRemoval
from graphflow.state.messages import (
    REMOVE_ALL_MESSAGES,
    AIMessage,
    HumanMessage,
    Message,
    MessageChunk,
    RemoveMessage,
    ToolCall,
    ToolCallChunk,
    ToolMessage,
    Usage,
    add_messages,
    coerce_messages,
    identify_messages,
    merge_messages,
)

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def said(*ids: str, by: str = "m") -> list[Message]:
    return [Message.user(f"{by}{id}", id=id) for id in ids]


def ids(messages: list[Message]) -> list[str | None]:
    return [message.id for message in messages]


# --- add_messages -----------------------------------------------------------------------------


def test_new_messages_are_appended_to_a_new_list() -> None:
    left = said("1")
    merged = add_messages(left, said("2"))
    assert (ids(merged), ids(left)) == (["1", "2"], ["1"])


def test_a_known_id_replaces_in_place() -> None:
    merged = add_messages(said("1", "2", "3"), Message.user("new", id="2"))
    assert [message.text for message in merged] == ["m1", "new", "m3"]


def test_of_duplicates_in_right_the_last_wins_at_the_first_place() -> None:
    right = [Message.user("a", id="1"), Message.user("b", id="2"), Message.user("c", id="1")]
    assert [message.text for message in add_messages([], right)] == ["c", "b"]


def test_missing_ids_become_distinct_uuid4_strings() -> None:
    given = [message.id or "" for message in add_messages(["a"], ["b", "c"])]
    assert len(set(given)) == 3
    assert all(UUID4.fullmatch(id) for id in given)


def test_remove_takes_a_message_out() -> None:
    assert ids(add_messages(said("1", "2", "3"), RemoveMessage("2"))) == ["1", "3"]


def test_removing_an_unknown_id_is_an_error() -> None:
    with pytest.raises(ValueError, match="Attempting to delete a message with an ID that doesn't"):
        add_messages(said("1"), RemoveMessage("9"))


def test_removing_twice_is_fine() -> None:
    assert ids(add_messages(said("1", "2"), [RemoveMessage("1"), RemoveMessage("1")])) == ["2"]


def test_remove_then_add_keeps_the_new_one() -> None:
    merged = add_messages(said("1", "2"), [RemoveMessage("1"), Message.user("new", id="1")])
    assert [message.text for message in merged] == ["new", "m2"]


def test_a_message_added_and_removed_in_one_write_is_gone() -> None:
    assert ids(add_messages(said("1"), [*said("2"), RemoveMessage("2"), RemoveMessage("2")])) == [
        "1"
    ]


def test_remove_all_drops_everything_before_it() -> None:
    right = [*said("2"), RemoveMessage(REMOVE_ALL_MESSAGES), *said("3")]
    assert ids(add_messages(said("1"), right)) == ["3"]


def test_after_remove_all_an_old_id_is_appended_anew() -> None:
    right = [RemoveMessage(REMOVE_ALL_MESSAGES), *said("3", "1")]
    assert ids(add_messages(said("1", "2"), right)) == ["3", "1"]


@pytest.mark.parametrize(("left", "right"), [(None, []), ([], None), (None, None)])
def test_none_on_a_side_is_an_error(left: Any, right: Any) -> None:
    with pytest.raises(ValueError, match="needs both sides"):
        add_messages(left, right)


def test_an_unknown_format_is_an_error() -> None:
    unknown: Any = "yaml"
    with pytest.raises(ValueError, match="Unrecognized format='yaml'"):
        add_messages([], [], format=unknown)


def test_the_openai_format_turns_blocks_of_other_makers_into_openai_blocks() -> None:
    reducer = add_messages(format="langchain-openai")
    source = {"type": "base64", "media_type": "image/jpeg", "data": "QUJD"}
    text = {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}}
    (message,) = reducer([], Message.user([text, {"type": "image", "source": source}]))
    assert message.content == (
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,QUJD"}},
    )


def test_the_openai_format_joins_blocks_of_nothing_but_text() -> None:
    (message,) = add_messages([], Message.user(["a", "b"]), format="langchain-openai")
    assert message.content == "a\nb"


def test_the_openai_format_keeps_calls_and_answers_beside_the_content() -> None:
    uses = [{"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}}]
    answers = [
        {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "4"}]},
        {"type": "tool_result", "tool_use_id": "d", "content": "no", "is_error": True},
        {"type": "text", "text": "go on"},
    ]
    said = [Message.assistant(uses, id="1"), Message.user(answers, id="2")]
    assert add_messages([], said, format="langchain-openai") == [
        AIMessage(id="1", tool_calls=[ToolCall(name="f", args={"x": 1}, id="c")]),
        ToolMessage("4", id="2", tool_call_id="c"),
        ToolMessage("no", id="2:1", tool_call_id="d", status="error"),
        HumanMessage("go on", id="2:2"),
    ]


def test_a_call_that_stands_in_the_content_too_is_one_call() -> None:
    call = ToolCall(name="f", id="c")
    said = AIMessage([{"type": "tool_use", "id": "c", "name": "f"}], id="1", tool_calls=[call])
    assert add_messages([], said, format="langchain-openai") == [
        AIMessage(id="1", tool_calls=[call])
    ]


def test_what_is_in_the_openai_format_stays_the_same_object() -> None:
    image = {"type": "image_url", "image_url": {"url": "x"}}
    said = [HumanMessage("hi", id="1"), HumanMessage([image], id="2")]
    formatted = add_messages([], said, format="langchain-openai")
    assert all(new is old for new, old in zip(formatted, said, strict=True))


# --- merge_messages ---------------------------------------------------------------------------

Step = tuple[str, str]
steps = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "clear"]), st.sampled_from("abcde")), max_size=8
)


def as_orders(plan: list[Step], known: set[str]) -> list[MessageOrRemoval]:
    orders: list[MessageOrRemoval] = []
    for number, (verb, id) in enumerate(plan):
        if verb == "put":
            known.add(id)
            orders.append(Message.user(f"{id}{number}", id=id))
        elif verb == "clear":
            orders.append(RemoveMessage(REMOVE_ALL_MESSAGES))
        elif id in known:
            orders.append(RemoveMessage(id))
    return orders


@given(start=st.sets(st.sampled_from("abcd")), plan=steps)
def test_the_changes_applied_to_the_old_list_give_the_new_list(
    start: set[str], plan: list[Step]
) -> None:
    left = said(*sorted(start))
    positions = {str(message.id): at for at, message in enumerate(left)}
    merged, positions, changes = merge_messages(left, positions, as_orders(plan, set(start)))
    rebuilt = list(left)
    for change in changes:
        if change[0] == "append":
            rebuilt += change[1]
        else:
            _, at, count, items = change
            rebuilt[at : at + count] = items
    assert rebuilt == merged
    assert positions == {message.id: at for at, message in enumerate(merged)}


def test_a_pure_append_is_recorded_as_just_the_new_messages() -> None:
    left = said("1")
    merged, positions, changes = merge_messages(left, {"1": 0}, said("2", "3"))
    assert changes == [("append", merged[1:])]
    assert positions == {"1": 0, "2": 1, "3": 2}


def test_returning_the_whole_conversation_records_only_what_is_new() -> None:
    left = said("1", "2")
    _, _, changes = merge_messages(left, {"1": 0, "2": 1}, [*left, *said("3")])
    assert changes == [("append", said("3"))]


def test_neighbours_are_removed_in_one_splice_last_first() -> None:
    left = said("1", "2", "3", "4", "5")
    positions = {str(message.id): at for at, message in enumerate(left)}
    removals = [RemoveMessage(id) for id in ("2", "5", "3")]
    assert merge_messages(left, positions, removals)[2] == [
        ("splice", 4, 1, []),
        ("splice", 1, 2, []),
    ]


def test_a_refused_merge_leaves_the_positions_alone() -> None:
    positions = {"1": 0}
    with pytest.raises(ValueError, match="delete a message"):
        merge_messages(said("1"), positions, [*said("2"), RemoveMessage("9")])
    assert positions == {"1": 0}


# --- what is message-like ---------------------------------------------------------------------


@dataclass
class ForeignMessage:
    """Shaped like a LangChain message."""

    type: str
    content: Any
    id: str | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    tool_call_id: str | None = None
    response_metadata: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    "value",
    [
        "hi",
        ("user", "hi"),
        ("human", "hi"),
        ["hi"],
        [["user", "hi"]],
        {"role": "user", "content": "hi"},
        {"type": "human", "content": "hi"},
        ForeignMessage("human", "hi"),
        Message.user("hi"),
        (Message.user("hi"),),
        iter(["hi"]),
    ],
)
def test_all_message_like_values_mean_the_same_message(value: Any) -> None:
    assert coerce_messages(value) == [Message(role="user", content="hi")]


def test_a_foreign_message_keeps_its_tool_calls_and_metadata() -> None:
    call = {"name": "f", "args": {"x": 1}, "id": "c1", "type": "tool_call"}
    foreign = ForeignMessage("ai", "", id="m1", tool_calls=[call], response_metadata={"k": 1})
    assert coerce_messages(foreign) == [
        AIMessage(
            "", id="m1", tool_calls=[ToolCall(name="f", args={"x": 1}, id="c1")], meta={"k": 1}
        )
    ]


@pytest.mark.parametrize(
    "removal", [{"type": "remove", "id": "1"}, SimpleNamespace(type="remove", id="1")]
)
def test_foreign_removals_are_removals(removal: Any) -> None:
    assert coerce_messages(removal) == [RemoveMessage("1")]


def test_a_chunk_becomes_a_full_message() -> None:
    assert coerce_messages(MessageChunk(content="hi", id="1")) == [AIMessage("hi", id="1")]


@pytest.mark.parametrize("value", [3, object(), [3], [None], SimpleNamespace(type="human")])
def test_what_is_not_message_like_is_refused_by_type(value: Any) -> None:
    with pytest.raises(TypeError, match="is not message-like"):
        coerce_messages(value)


@pytest.mark.parametrize(
    "value", [{"content": "hi"}, {"role": "boss", "content": ""}, ["a", ("b", "c")]]
)
def test_an_unknown_role_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="needs a 'role'"):
        coerce_messages(value)


def test_identified_messages_are_left_as_they_are() -> None:
    messages = said("1", "2")
    assert all(new is old for new, old in zip(identify_messages(messages), messages, strict=True))


# --- Message ----------------------------------------------------------------------------------


def test_role_names_of_langchain_are_types_to_ask_for() -> None:
    assert isinstance(Message.assistant("x"), AIMessage)
    assert not isinstance(Message.assistant("x"), HumanMessage)
    assert type(HumanMessage("x")) is Message


@pytest.mark.parametrize(
    ("message", "type_"),
    [
        (Message.user(), "human"),
        (Message.assistant(), "ai"),
        (Message.system(), "system"),
        (Message.tool(tool_call_id="1"), "tool"),
        (RemoveMessage("1"), "remove"),
    ],
)
def test_type_is_langchains_word(message: MessageOrRemoval, type_: str) -> None:
    assert message.type == type_


def test_a_message_with_an_unknown_role_cannot_be_made() -> None:
    role: Any = "boss"
    with pytest.raises(ValueError, match="Unknown message role 'boss'"):
        Message(role=role)


def test_a_message_is_hashable_and_its_repr_shows_what_it_says() -> None:
    message = Message.user("hi", id="1")
    assert len({message, message.with_id("1")}) == 1
    assert repr(message) == "Message(role='user', content='hi', id='1')"


def test_text_leaves_other_parts_out() -> None:
    image = {"type": "image_url", "image_url": {"url": "x"}}
    assert Message.user(["a", image, "b"]).text == "ab"


def test_a_notebook_shows_speaker_text_and_calls() -> None:
    message = AIMessage("on it", tool_calls=[ToolCall(name="look", args={"x": 1}, id="c")])
    assert message._repr_markdown_() == "**assistant**\n\non it\n\n- `look` `{'x': 1}`"


WIRE: list[dict[str, Any]] = [
    {"role": "user", "content": "hi", "name": "ana"},
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x", "k": 1}}]},
    {"role": "assistant", "content": "no", "refusal": None, "annotations": []},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{ "x":1}'}},
        {"id": "d", "type": "function", "function": {"name": "f", "arguments": "{oops"}},
        {"id": "e", "type": "function", "function": {"name": "f", "arguments": "{}"}, "signed": 1},
    ]},
    {"role": "tool", "content": "42", "tool_call_id": "c"},
]  # fmt: skip


@pytest.mark.parametrize("wire", WIRE)
def test_openais_format_comes_back_unchanged(wire: dict[str, Any]) -> None:
    assert Message.from_openai(wire).to_openai() == wire


def test_our_own_fields_are_never_sent() -> None:
    message = AIMessage("x", id="1", usage=Usage(calls=1), model="m", finish="stop", meta={"a": 1})
    assert message.to_openai() == {"role": "assistant", "content": "x"}


# --- tool calls and usage -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "error"), [("{oops", "arguments are not JSON"), ("[1]", "a JSON list, not an object")]
)
def test_bad_arguments_are_data(raw: str, error: str) -> None:
    call = ToolCall.parse(name="f", raw=raw, id="c")
    assert call.args is None
    assert error in (call.error or "")
    assert call.to_openai()["function"]["arguments"] == raw


def test_a_tool_call_reads_like_a_dict() -> None:
    call = ToolCall(name="f", args={"x": 1}, id="c")
    assert (call["name"], call["args"], call["id"], call["type"]) == (
        "f",
        {"x": 1},
        "c",
        "tool_call",
    )
    with pytest.raises(KeyError):
        call["function"]


def test_usage_adds_up() -> None:
    total = Usage(input=1, output=2, cost=0.5, calls=1) + Usage(
        input=3, reasoning=1, cost=0.25, calls=1
    )
    assert total == Usage(input=4, output=2, reasoning=1, cost=0.75, calls=2)
    assert total.total == 6


def test_one_unpriced_call_makes_the_sum_unpriced() -> None:
    assert (Usage(cost=0.5, calls=1) + Usage(calls=1)).cost is None
    assert (Usage(cost=0.5, calls=1) + Usage()).cost == 0.5


# --- streamed pieces ----------------------------------------------------------------------------


def pieces() -> list[MessageChunk]:
    first = ToolCallChunk(index=0, id="c", name="f")
    return [
        MessageChunk(id="1", index=0, content="He"),
        MessageChunk(id="1", index=1, content="llo", thinking="hm"),
        MessageChunk(id="1", index=2, tool_calls=(first,)),
        MessageChunk(id="1", index=3, tool_calls=(ToolCallChunk(index=0, args='{"x"'),)),
        MessageChunk(id="1", index=4, tool_calls=(ToolCallChunk(index=0, args=": 1}"),)),
        MessageChunk(id="1", index=5, finish="stop", usage=Usage(input=1, calls=1), model="m"),
    ]


def test_pieces_add_up_to_the_message() -> None:
    first, *rest = pieces()
    total = first
    for piece in rest:
        total += piece
    assert total.to_message() == AIMessage(
        "Hello",
        id="1",
        tool_calls=[ToolCall(name="f", args={"x": 1}, id="c")],
        usage=Usage(input=1, calls=1),
        model="m",
        finish="stop",
        meta={"thinking": "hm"},
    )


@given(cut=st.integers(1, 5))
def test_the_sum_does_not_depend_on_how_pieces_are_grouped(cut: int) -> None:
    parts = pieces()
    whole = sum(parts[1:], start=parts[0])
    left = sum(parts[1:cut], start=parts[0])
    right = sum(parts[cut + 1 :], start=parts[cut])
    assert left + right == whole


def test_parallel_calls_under_one_number_are_told_apart_by_id() -> None:
    calls = tuple(ToolCallChunk(index=0, id=id, name="f", args="{}") for id in ("c", "d"))
    message = MessageChunk(id="1", tool_calls=calls).to_message()
    assert [call.id for call in message.tool_calls] == ["c", "d"]


def test_a_call_without_an_id_gets_one() -> None:
    message = MessageChunk(id="1", tool_calls=(ToolCallChunk(name="f", args="{}"),)).to_message()
    assert message.tool_calls[0].id == "call_1_0"


def test_signed_thinking_is_kept_for_the_way_back() -> None:
    blocks = [
        {"type": "thinking", "thinking": "a", "signature": ""},
        {"type": "thinking", "thinking": "b", "signature": "sig"},
        {"type": "redacted_thinking", "data": "z"},
    ]
    chunks = [MessageChunk(id="1", thinking_blocks=(block,)) for block in blocks]
    message = sum(chunks[1:], start=chunks[0]).to_message()
    assert message.to_openai()["thinking_blocks"] == [
        {"type": "thinking", "thinking": "ab", "signature": "sig"},
        {"type": "redacted_thinking", "data": "z"},
    ]


def test_a_tool_message_names_the_call_it_answers() -> None:
    assert ToolMessage("42", tool_call_id="c").to_openai() == {
        "role": "tool",
        "content": "42",
        "tool_call_id": "c",
    }
