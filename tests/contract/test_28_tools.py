"""Contract §28: what tools do, streamed in mode `tools`, and the node that runs them."""

import asyncio
import datetime
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Annotated, Any

import pydantic
import pytest
from typing_extensions import TypedDict

from graphflow import (
    START,
    AIMessage,
    Command,
    DriftError,
    GraphDrained,
    HeadMoved,
    HumanMessage,
    InMemoryStore,
    Message,
    MessagesState,
    RunControl,
    Send,
    StateGraph,
    SwallowedInterruptError,
    ToolCall,
    ToolMessage,
    add_messages,
    interrupt,
    is_invalid_resume,
    push_message,
    task,
)
from graphflow.runtime import current
from graphflow_integrations.tools import (
    InjectedState,
    InjectedStore,
    InjectedToolCallId,
    InvalidToolArguments,
    ToolNode,
    ToolRuntime,
    tool,
    tools_condition,
)


def add(x: int, y: int = 1) -> int:
    """Add two numbers."""
    return x + y


async def aadd(x: int) -> int:
    """Add one."""
    return x + 1


def broken(x: int) -> int:
    """Fail."""
    raise RuntimeError(f"no {x}")


def ask(what: str) -> str:
    """Ask a person."""
    return f"{what} {interrupt(what)}"


def calling(*calls: tuple[str, Any]) -> dict[str, Any]:
    """Return a conversation whose last message calls tools; the calls are named c0, c1, …"""
    made = [ToolCall(name=name, args=args, id=f"c{n}") for n, (name, args) in enumerate(calls)]
    return {"messages": [HumanMessage("hi", id="h"), AIMessage("", id="a", tool_calls=made)]}


def tools(*given: Any, schema: Any = MessagesState, **options: Any) -> Any:
    graph = StateGraph(schema).add_node("tools", ToolNode(given, **options))
    return graph.add_edge(START, "tools")


def events(call: Any, app: Any, given: Any, config: Any = None) -> list[tuple[Any, ...]]:
    """Return the events of mode `tools`, each as its last word, its call and the rest."""
    return [told(chunk) for chunk in call.stream(app, given, config, stream_mode="tools")]


def told(chunk: dict[str, Any]) -> tuple[Any, ...]:
    event, identity, *rest = chunk.values()
    rest = [one.text if isinstance(one, Message) else one for one in rest]
    return (event.removeprefix("tool-"), identity, *rest)


def answers(result: dict[str, Any]) -> list[str]:
    return [message.text for message in result["messages"] if message.role == "tool"]


# --- stream_mode="tools" --------------------------------------------------------------------------


@pytest.mark.parametrize("function", [add, aadd])
def test_28_a_call_is_told_when_it_starts_and_when_it_is_finished(call, function):
    chunks = call.stream(
        tools(function).compile(), calling((function.__name__, {"x": 1})), stream_mode="tools"
    )
    started, finished = chunks
    assert started == {
        "event": "tool-started",
        "tool_call_id": "c0",
        "tool_name": function.__name__,
        "input": {"x": 1},
    }
    output = finished.pop("output")
    assert finished == {"event": "tool-finished", "tool_call_id": "c0"}
    assert (output.role, output.content, output.name, output.tool_call_id) == (
        "tool", "2", function.__name__, "c0"
    )  # fmt: skip


def test_28_the_output_is_the_message_that_comes_into_the_state(call):
    modes = ["tools", "values"]
    chunks = call.stream(tools(add).compile(), calling(("add", {"x": 1})), stream_mode=modes)
    (output,) = [data["output"] for mode, data in chunks if mode == "tools" and "output" in data]
    assert chunks[-1][1]["messages"][-1] is output


def test_28_a_failure_is_told_with_its_message(call):
    app = tools(broken).compile()
    assert events(call, app, calling(("broken", {"x": 1}))) == [
        ("started", "c0", "broken", {"x": 1}),
        ("error", "c0", "no 1"),
    ]


def test_28_deltas_are_told_while_the_tool_runs():
    heard = threading.Event()

    def slow(runtime: ToolRuntime) -> str:
        runtime.emit_output_delta({"half": 1})
        assert heard.wait(10)
        return "done"

    seen = []
    for chunk in tools(slow).compile().stream(calling(("slow", {})), stream_mode="tools"):
        seen.append(told(chunk))
        if chunk["event"] == "tool-output-delta":
            heard.set()
    assert seen == [
        ("started", "c0", "slow", {}),
        ("output-delta", "c0", {"half": 1}),
        ("finished", "c0", "done"),
    ]


def test_28_an_interrupt_is_no_error_and_the_call_starts_again(call, saver, thread):
    app = tools(ask).compile(saver)
    first = events(call, app, calling(("ask", {"what": "really?"})), thread)
    then = events(call, app, Command(resume="yes"), thread)
    started = ("started", "c0", "ask", {"what": "really?"})
    assert (first, then) == ([started], [started, ("finished", "c0", "really? yes")])


def test_28_a_drain_is_no_error_and_the_call_starts_again(saver, thread):
    control = RunControl()
    child = StateGraph(MessagesState).add_node("a", lambda _: control.request_drain())
    child.add_node("b", lambda _: {"messages": AIMessage("end")}).add_edge(START, "a")
    child = child.add_edge("a", "b").compile()

    def inside() -> str:
        """Run a graph."""
        return child.invoke({"messages": "go"})["messages"][-1].text

    seen: list[Any] = []
    app = tools(inside).compile(saver)

    def run(given: Any, **options: Any) -> list[Any]:
        seen.extend(map(told, app.stream(given, thread, stream_mode="tools", **options)))
        return seen

    with pytest.raises(GraphDrained):
        run(calling(("inside", {})), control=control)
    assert seen == [("started", "c0", "inside", {})]
    assert run(None)[1:] == [("started", "c0", "inside", {}), ("finished", "c0", "end")]


def test_28_events_of_a_graph_inside_come_only_with_subgraphs_and_with_its_namespace(call):
    graph = StateGraph(MessagesState).add_node("kid", tools(add).compile()).add_edge(START, "kid")
    app, given = graph.compile(), calling(("add", {"x": 1}))
    assert call.stream(app, given, stream_mode="tools") == []
    chunks = call.stream(app, given, stream_mode="tools", subgraphs=True)
    assert [(ns[0][:4], told(data)[0]) for ns, data in chunks] == [
        ("kid:", "started"),
        ("kid:", "finished"),
    ]


def test_28_version_v2_gives_the_events_as_data(call):
    app, given = tools(add).compile(), calling(("add", {"x": 1}))
    parts = call.stream(app, given, stream_mode="tools", version="v2")
    assert [(part["type"], part["ns"], told(part["data"])[0]) for part in parts] == [
        ("tools", (), "started"),
        ("tools", (), "finished"),
    ]


# --- the node: answers ----------------------------------------------------------------------------


def test_28_answers_come_in_the_order_of_the_calls(call):
    given = calling(("add", {"x": 1}), ("aadd", {"x": 5}), ("add", {"x": 2, "y": 2}))
    result = call.invoke(tools(add, aadd).compile(), given)
    assert answers(result) == ["2", "6", "4"]
    assert [message.tool_call_id for message in result["messages"][2:]] == ["c0", "c1", "c2"]


@pytest.mark.parametrize("is_async", [False, True])
def test_28_calls_of_a_message_run_side_by_side(call, is_async):
    meeting = asyncio.Barrier(2) if is_async else threading.Barrier(2)

    def wait() -> str:
        meeting.wait(10)
        return "met"

    async def await_() -> str:
        await asyncio.wait_for(meeting.wait(), 10)
        return "met"

    met = tool("meet")(await_ if is_async else wait)
    given = calling(("meet", {}), ("meet", {}))
    assert answers(call.invoke(tools(met).compile(), given)) == ["met", "met"]


def test_28_max_concurrency_bounds_the_calls_too(call):
    running, most = [], []

    def count() -> str:
        running.append(1)
        most.append(len(running))
        threading.Event().wait(0.01)
        running.pop()
        return ""

    given = calling(*[("count", {})] * 4)
    call.invoke(tools(count).compile(), given, {"max_concurrency": 1})
    assert max(most) == 1


class Opaque:
    def __str__(self) -> str:
        return "opaque"


@pytest.mark.parametrize(
    ("output", "content"),
    [
        ("text", "text"),
        (None, "null"),
        ({"a": [1, "é"]}, '{"a": [1, "é"]}'),
        ([1, 2], "[1, 2]"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ({"a": Opaque()}, '{"a": "opaque"}'),
        ([{"type": "text", "text": "x"}], ({"type": "text", "text": "x"},)),
    ],
)
def test_28_what_a_tool_returns_becomes_text(call, output, content):
    app = tools(tool("give")(lambda: output)).compile()
    assert call.invoke(app, calling(("give", {})))["messages"][-1].content == content


def test_28_a_pydantic_model_is_answered_as_json(call):
    class Place(pydantic.BaseModel):
        name: str

    app = tools(tool("give")(lambda: [Place(name="Ulm")])).compile()
    assert answers(call.invoke(app, calling(("give", {})))) == ['[{"name": "Ulm"}]']


def test_28_a_message_is_taken_as_the_answer(call):
    app = tools(tool("give")(lambda: ToolMessage("x", status="error", id="m"))).compile()
    answer = call.invoke(app, calling(("give", {})))["messages"][-1]
    assert answer == ToolMessage("x", status="error", id="m", tool_call_id="c0", name="give")


def test_28_calls_that_have_an_answer_are_left_out(call):
    given = calling(("add", {"x": 1}), ("add", {"x": 2}))
    given["messages"].append(ToolMessage("mine", tool_call_id="c0"))
    assert answers(call.invoke(tools(add).compile(), given)) == ["mine", "3"]


def test_28_a_message_without_calls_is_answered_with_nothing(call):
    given = {"messages": [HumanMessage("hi", id="h"), AIMessage("bye", id="a")]}
    assert call.invoke(tools(add).compile(), given) == given


def test_28_a_conversation_without_a_model_is_an_error(call):
    with pytest.raises(ValueError, match="no assistant message under 'messages'"):
        call.invoke(tools(add).compile(), {"messages": "hi"})


def test_28_a_state_that_is_a_list_of_messages_gets_a_list(call):
    app = tools(add, schema=Annotated[list[Message], add_messages]).compile()
    assert call.invoke(app, calling(("add", {"x": 1}))["messages"])[-1].text == "2"


def test_28_messages_may_stand_under_another_key(call):
    class State(TypedDict):
        talk: Annotated[list[Message], add_messages]

    app = tools(add, schema=State, messages_key="talk").compile()
    result = call.invoke(app, {"talk": calling(("add", {"x": 1}))["messages"]})
    assert result["talk"][-1].text == "2"


def test_28_calls_may_be_sent_one_by_one(call):
    graph = StateGraph(MessagesState).add_node("tools", ToolNode([add]))
    graph.add_conditional_edges(
        START, lambda s: [Send("tools", [c]) for c in s["messages"][-1].tool_calls], ["tools"]
    )
    result = call.invoke(graph.compile(), calling(("add", {"x": 1}), ("add", {"x": 2})))
    assert answers(result) == ["2", "3"]


def test_28_the_node_can_be_called_by_itself():
    update = asyncio.run(ToolNode([add, aadd])(calling(("add", {"x": 1}), ("aadd", {"x": 2}))))
    assert [message.text for message in update["messages"]] == ["2", "3"]


def test_28_two_tools_of_one_name_are_refused():
    with pytest.raises(ValueError, match="Two tools are called 'add'"):
        ToolNode([add, tool("add")(aadd)])


@pytest.mark.parametrize("given", [3, {"name": "add"}, partial(add, 1)])
def test_28_what_cannot_be_run_under_a_name_is_refused(given):
    with pytest.raises(TypeError, match="is no tool that can be run"):
        ToolNode([given])


def test_28_tools_condition_leads_to_the_tools_while_the_model_calls_them():
    assert tools_condition(calling(("add", {}))) == "tools"
    assert tools_condition({"messages": [AIMessage("x")]}) == "__end__"
    assert tools_condition([("user", "x")]) == "__end__"
    assert tools_condition({"talk": calling(("add", {}))["messages"]}, "talk") == "tools"


# --- errors ---------------------------------------------------------------------------------------


def test_28_an_error_is_answered_with_status_error(call):
    answer = call.invoke(tools(broken).compile(), calling(("broken", {"x": 1})))["messages"][-1]
    assert (answer.status, answer.tool_call_id, answer.name) == ("error", "c0", "broken")
    assert answer.text.startswith("Error: RuntimeError: no 1")


def test_28_an_unknown_tool_is_answered_with_the_known_ones_and_no_events(call):
    app, given = tools(add, aadd).compile(), calling(("typo", {}))
    answer = call.invoke(app, given)["messages"][-1]
    assert answer.status == "error"
    assert answer.text == "Error: there is no tool 'typo'. Known tools: add, aadd."
    assert events(call, app, given) == []


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ({"x": "many"}, "x: Input should be a valid integer"),
        ({}, "x: Field required"),
        ({"x": 1, "z": 2}, "z: Extra inputs are not permitted"),
    ],
)
def test_28_arguments_that_do_not_fit_are_answered_with_what_is_wrong(call, args, problem):
    app, given = tools(add).compile(), calling(("add", args))
    answer = call.invoke(app, given)["messages"][-1]
    assert answer.status == "error"
    assert f"Invalid arguments for tool 'add': {problem}" in answer.text
    assert [event[0] for event in events(call, app, given)] == ["started", "error"]


def test_28_arguments_that_are_no_json_are_answered(call):
    cut = ToolCall.parse(name="add", raw='{"x": ', id="c0")
    given = {"messages": [AIMessage("", tool_calls=[cut])]}
    assert "arguments are not JSON" in answers(call.invoke(tools(add).compile(), given))[0]


def test_28_arguments_come_as_the_types_that_the_tool_declares(call):
    def weekday(day: datetime.date) -> str:
        return f"{day:%A}"

    app = tools(weekday).compile()
    assert answers(call.invoke(app, calling(("weekday", {"day": "2026-01-01"})))) == ["Thursday"]


def only_values(error: ValueError) -> str:
    return f"about {error}"


def any_error(error):
    return f"oh, {error}"


@pytest.mark.parametrize(
    ("handle", "text"),
    [
        ("sorry", "sorry"),
        (any_error, "oh, no 1"),
        (RuntimeError, "Error: RuntimeError: no 1"),
        ((OSError, RuntimeError), "Error: RuntimeError: no 1"),
    ],
)
def test_28_handle_tool_errors_says_what_is_answered(call, handle, text):
    app = tools(broken, handle_tool_errors=handle).compile()
    (answer,) = answers(call.invoke(app, calling(("broken", {"x": 1}))))
    assert answer.splitlines()[0] == text


@pytest.mark.parametrize("handle", [False, OSError, (OSError,), only_values])
def test_28_errors_that_are_not_handled_fail_the_run(call, handle):
    app = tools(broken, handle_tool_errors=handle).compile()
    with pytest.raises(RuntimeError, match="no 1"):
        call.invoke(app, calling(("broken", {"x": 1})))


def test_28_arguments_that_do_not_fit_fail_the_run_if_nothing_is_handled(call):
    app = tools(add, handle_tool_errors=False).compile()
    with pytest.raises(InvalidToolArguments, match="x: Field required"):
        call.invoke(app, calling(("add", {})))


def test_28_handle_tool_errors_must_be_something_that_it_can_be():
    with pytest.raises(TypeError, match="handle_tool_errors takes"):
        ToolNode([add], handle_tool_errors=3)


def test_28_a_failing_run_cancels_the_other_async_tools(call):
    ended = []

    async def endless() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("no")

    app = tools(endless, fails, handle_tool_errors=False).compile()
    with pytest.raises(RuntimeError, match="no"):
        call.invoke(app, calling(("endless", {}), ("fails", {})))
    assert ended == ["cancelled"]


def bounded(work: Callable[..., Any], *given: Any) -> Any:
    """Return what `work` returns, or raise what it raises; that it hangs is a failure, too."""
    ended: SimpleQueue[Any] = SimpleQueue()

    def run() -> None:
        try:
            ended.put((work(*given), None))
        except BaseException as error:  # raised below
            ended.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    result, error = ended.get(timeout=30)
    if error is not None:
        raise error
    return result


@pytest.mark.parametrize("error", [StopIteration, KeyError("x")])
def test_28_no_exception_of_a_blocking_tool_hangs_the_run(call, error):
    def fails() -> None:
        raise error

    app = tools(fails).compile()
    assert "Error: " in answers(bounded(call.invoke, app, calling(("fails", {}))))[0]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_28_an_exit_ends_the_run_and_leaves_the_next_one_able_to_run(kind):
    def leave() -> None:
        raise kind

    app = tools(leave, aadd).compile()
    with pytest.raises(kind):
        bounded(app.invoke, calling(("leave", {})))
    assert answers(bounded(app.invoke, calling(("aadd", {"x": 1})))) == ["2"]


# --- injection ------------------------------------------------------------------------------------


def test_28_a_tool_gets_the_runtime_it_asks_for(call, saver, thread):
    seen = []

    def look(runtime: ToolRuntime[str, MessagesState]) -> str:
        seen.append(runtime)
        return "ok"

    store = InMemoryStore()
    app = tools(look).compile(saver, store=store)
    call.invoke(app, calling(("look", {})), thread, context="blue")
    (runtime,) = seen
    assert (runtime.context, runtime.tool_call_id) == ("blue", "c0")
    assert runtime.store is store
    assert [message.id for message in runtime.state["messages"]] == ["h", "a"]
    assert runtime.config["configurable"]["thread_id"] == "t"
    assert runtime.execution_info.checkpoint_ns.startswith("tools:")


def test_28_a_parameter_named_runtime_of_another_type_is_an_argument(call):
    def wait(runtime: int) -> str:
        return f"{runtime} minutes"

    assert answers(call.invoke(tools(wait).compile(), calling(("wait", {"runtime": 3})))) == [
        "3 minutes"
    ]


class Owned(MessagesState):
    owner: str


def test_28_a_tool_gets_what_it_marks(call):
    def mine(
        what: str,
        whole: Annotated[dict[str, Any], InjectedState],
        owner: Annotated[str, InjectedState("owner")],
        identity: Annotated[str, InjectedToolCallId],
        store: Annotated[Any, InjectedStore()],
    ) -> str:
        return f"{what} {len(whole['messages'])} {owner} {identity} {store is not None}"

    app = tools(mine, schema=Owned).compile(store=InMemoryStore())
    given = {**calling(("mine", {"what": "x"})), "owner": "ana"}
    assert answers(call.invoke(app, given)) == ["x 2 ana c0 True"]


def test_28_a_model_cannot_give_what_is_injected(call):
    def mine(owner: Annotated[str, InjectedState("owner")]) -> str:
        return owner

    app = tools(mine, schema=Owned).compile()
    given = {**calling(("mine", {"owner": "eve"})), "owner": "ana"}
    assert "owner: Extra inputs are not permitted" in answers(call.invoke(app, given))[0]


def test_28_a_store_that_is_not_there_fails_the_run(call):
    def mine(store: Annotated[Any, InjectedStore]) -> str:
        return ""

    with pytest.raises(LookupError, match="compile the graph with store="):
        call.invoke(tools(mine).compile(), calling(("mine", {})))


# --- commands -------------------------------------------------------------------------------------


def test_28_a_tool_may_return_a_command(call):
    def rename(name: str, runtime: ToolRuntime) -> Command[Any]:
        done = ToolMessage("done", tool_call_id=runtime.tool_call_id)
        return Command(update={"owner": name, "messages": [done]}, goto="after")

    graph = tools(rename, add, schema=Owned)
    graph.add_node("after", lambda state: {"messages": AIMessage(f"for {state['owner']}")})
    given = calling(("rename", {"name": "ana"}), ("add", {"x": 1}))
    result = call.invoke(graph.compile(), given)
    assert [message.text for message in result["messages"][2:]] == ["done", "2", "for ana"]


def test_28_a_command_must_answer_its_call(call):
    app = tools(tool("go")(lambda: Command(goto="tools"))).compile()
    with pytest.raises(ValueError, match="'go' returned a Command that leaves its call unanswered"):
        call.invoke(app, calling(("go", {})))


def test_28_a_command_for_the_graph_around_needs_no_answer(call):
    leave = tool("leave")(lambda: Command(graph=Command.PARENT, goto="after"))
    graph = StateGraph(MessagesState).add_node("kid", tools(leave).compile()).add_edge(START, "kid")
    graph.add_node("after", lambda _: {"messages": AIMessage("here")})
    assert call.invoke(graph.compile(), calling(("leave", {})))["messages"][-1].text == "here"


# --- questions ------------------------------------------------------------------------------------


def resume(answer: Any) -> Command[Any]:
    return Command(resume=answer)


def test_28_tools_that_ask_side_by_side_each_get_their_own_answer(call, saver, thread):
    """Whichever thread comes to its question first."""
    later = threading.Event()

    def one() -> str:
        later.wait(0.05)  # in the first run only
        later.set()
        return f"one {interrupt('one?')} {interrupt('one again?')}"

    def two() -> str:
        return f"two {interrupt('two?')}"

    app = tools(one, two).compile(saver)
    inputs = [calling(("one", {}), ("two", {})), *map(resume, ("1", "11", "2"))]
    *waiting, ended = [call.invoke(app, given, thread) for given in inputs]
    questions = [state["__interrupt__"][0].value for state in waiting]
    assert questions == ["one?", "one again?", "two?"]
    assert answers(ended) == ["one 1 11", "two 2"]


def test_28_a_question_of_a_tool_in_a_graph_inside_is_answered_from_outside(call, saver, thread):
    graph = StateGraph(MessagesState).add_node("kid", tools(ask).compile()).add_edge(START, "kid")
    app = graph.compile(saver)
    given = calling(("ask", {"what": "a?"}), ("ask", {"what": "b?"}))
    asked = call.invoke(app, given, thread)["__interrupt__"]
    assert [question.value for question in asked] == ["a?"]
    call.invoke(app, Command(resume={asked[0].id: "A"}), thread)
    assert answers(call.invoke(app, Command(resume="B"), thread)) == ["a? A", "b? B"]


def test_28_graphs_that_tools_call_side_by_side_keep_their_own_checkpoints(call, saver, thread):
    def node(state: MessagesState) -> Any:
        said = state["messages"][-1].text
        return {"messages": AIMessage(f"{said}: {interrupt(said)}")}

    child = StateGraph(MessagesState).add_node("n", node).add_edge(START, "n").compile()
    later = threading.Event()

    def first(what: str) -> str:
        later.wait(0.05)  # in the first run only
        later.set()
        return child.invoke({"messages": what})["messages"][-1].text

    def second(what: str) -> str:
        return child.invoke({"messages": what})["messages"][-1].text

    app = tools(first, second).compile(saver)
    call.invoke(app, calling(("first", {"what": "a"}), ("second", {"what": "b"})), thread)
    call.invoke(app, Command(resume="A"), thread)
    assert answers(call.invoke(app, Command(resume="B"), thread)) == ["a: A", "b: B"]


def test_28_an_answer_that_does_not_fit_is_no_failure_of_the_tool(call, saver, thread):
    def ask_number() -> int:
        return interrupt("how many?", response_schema=Count)["count"]

    app = tools(ask_number).compile(saver)
    call.invoke(app, calling(("ask_number", {})), thread)
    with pytest.raises(ValueError, match="count") as caught:
        call.invoke(app, Command(resume={"count": "many"}), thread)
    assert is_invalid_resume(caught.value)
    assert answers(call.invoke(app, Command(resume={"count": 3}), thread)) == ["3"]


class Count(TypedDict):
    count: int


def test_28_a_tool_that_swallows_its_question_fails_the_run(call, saver, thread):
    def swallow() -> str:
        try:
            return interrupt("?")
        except BaseException:
            return "never mind"

    with pytest.raises(SwallowedInterruptError):
        call.invoke(tools(swallow).compile(saver), calling(("swallow", {})), thread)


@pytest.mark.parametrize("kind", [HeadMoved, DriftError])
def test_28_what_the_run_may_not_go_on_with_is_no_failure_of_the_tool(call, saver, thread, kind):
    def lose() -> str:
        raise kind("somebody else was first")

    with pytest.raises(kind):
        call.invoke(tools(lose).compile(saver), calling(("lose", {})), thread)


def test_28_other_tools_end_while_one_asks(call, saver, thread):
    done = []

    def note() -> str:
        done.append(1)
        return "noted"

    app = tools(ask, note).compile(saver)
    call.invoke(app, calling(("ask", {"what": "?"}), ("note", {})), thread)
    assert done == [1]


def test_28_a_tool_may_push_messages(call):
    def say() -> str:
        push_message(AIMessage("working", id="w"))
        return "done"

    result = call.invoke(tools(say).compile(), calling(("say", {})))
    assert [message.text for message in result["messages"][2:]] == ["working", "done"]


def test_28_a_task_that_a_tool_called_is_not_run_again_after_a_question(call, saver, thread):
    paid = []

    @task
    def pay(amount: int) -> str:
        paid.append(amount)
        return f"paid {amount}"

    def buy(amount: int) -> str:
        return pay(amount).result()

    app = tools(buy, ask, buy_too := tool("buy_too")(buy)).compile(saver)
    given = calling(("buy", {"amount": 5}), ("ask", {"what": "?"}), (buy_too.name, {"amount": 6}))
    call.invoke(app, given, thread)
    assert answers(call.invoke(app, Command(resume="yes"), thread)) == ["paid 5", "? yes", "paid 6"]
    assert sorted(paid) == [5, 6]


def test_28_what_a_tool_tells_shows_that_its_node_goes_on(call):
    signs: list[bool] = []

    def work(runtime: ToolRuntime) -> str:
        current().root.progress = signs.append
        runtime.emit_output_delta("half")
        runtime.heartbeat()
        runtime.stream_writer("whole")
        return "done"

    call.invoke(tools(work).compile(), calling(("work", {})))
    assert signs == [False, True, False, False]
