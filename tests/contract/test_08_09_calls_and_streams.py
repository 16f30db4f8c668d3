"""Contract §8, §9 and §10: invoke and stream, exact chunks, version v2."""

import asyncio
import operator
import threading
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
import pytest
from typing_extensions import TypedDict

from graphflow import (
    START,
    Command,
    GraphOutput,
    Interrupt,
    StateGraph,
    get_stream_writer,
    interrupt,
)


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


def diamond() -> Any:
    """Return the graph `a` → (`b`, `c`)."""
    graph = StateGraph(State).add_node("a", lambda _: {"x": 1, "log": ["a"]})
    graph.add_node("b", lambda _: {"log": ["b"]}).add_node("c", lambda _: None)
    return graph.add_edge(START, "a").add_edge("a", "b").add_edge("a", "c")


def asking() -> Any:
    """Return a graph of which `q` asks while `b` finishes."""
    graph = StateGraph(State).add_node("q", lambda _: {"log": [interrupt("what?")]})
    graph.add_node("b", lambda _: {"log": ["b"]})
    return graph.add_edge(START, "q").add_edge(START, "b")


def single(node: Any, schema: Any = State) -> Any:
    return StateGraph(schema).add_node("n", node).add_edge(START, "n").compile()


def test_8_1_invoke_returns_the_last_state(call):
    assert call.invoke(diamond().compile(), {"log": ["i"]}) == {"x": 1, "log": ["i", "a", "b"]}


def test_8_1_interrupts_are_in_the_result_as_a_list(call, saver, thread):
    result = call.invoke(asking().compile(saver), {"log": []}, thread)
    assert result.keys() == {"log", "__interrupt__"}
    assert [question.value for question in result["__interrupt__"]] == ["what?"]
    assert type(result["__interrupt__"]) is list


def test_8_1_output_without_keys_gives_interrupts_alone(call, saver, thread):
    graph = StateGraph(int).add_node("n", lambda _: interrupt("?")).add_edge(START, "n")
    result = call.invoke(graph.compile(saver), 1, thread)
    assert result.keys() == {"__interrupt__"}


def test_8_1_static_breakpoint_gives_no_such_key(call, saver, thread):
    app = diamond().compile(saver, interrupt_after=["a"])
    assert call.invoke(app, {"log": []}, thread) == {"x": 1, "log": ["a"]}


@pytest.mark.parametrize("mode", ["updates", ["values"], ["updates", "values"]], ids=str)
def test_8_1_other_modes_return_the_list_of_chunks(call, mode):
    app = single(lambda _: {"x": 2})
    expected = call.stream(app, {"x": 1}, stream_mode=mode)
    assert call.invoke(app, {"x": 1}, stream_mode=mode) == expected


def test_8_1_output_keys_filter_the_result(call):
    assert call.invoke(diamond().compile(), {"log": []}, output_keys=["x"]) == {"x": 1}


def test_8_1_breakpoints_context_and_durability_are_arguments_of_a_call(call, saver, thread):
    seen = []
    graph = StateGraph(State).add_node("a", lambda _, runtime: seen.append(runtime.context))
    app = graph.add_node("b", lambda _: {"x": 1}).add_edge(START, "a").add_edge("a", "b")
    app = app.compile(saver)
    options = {"context": "c", "durability": "exit", "interrupt_after": ["a"]}
    call.invoke(app, {"log": []}, thread, **options)
    assert (seen, call.state(app, thread).next, len(call.history(app, thread))) == (
        ["c"],
        ("b",),
        1,
    )


def test_8_1_unknown_arguments_are_refused(call):
    with pytest.raises(TypeError, match="interrupt_befor"):
        call.invoke(single(lambda _: None), {"x": 1}, interrupt_befor=["n"])


@pytest.mark.parametrize(
    ("mode", "subgraphs", "chunk"),
    [
        ("updates", False, {"n": {"x": 2}}),
        (["updates"], False, ("updates", {"n": {"x": 2}})),
        ("updates", True, ((), {"n": {"x": 2}})),
        (["updates"], True, ((), "updates", {"n": {"x": 2}})),
    ],
)
def test_8_2_form_of_a_chunk_follows_from_the_call(call, mode, subgraphs, chunk):
    app = single(lambda _: {"x": 2})
    assert call.stream(app, {"x": 1}, stream_mode=mode, subgraphs=subgraphs) == [chunk]


def test_8_2_default_mode_is_updates(call):
    assert call.stream(single(lambda _: {"x": 2}), {"x": 1}) == [{"n": {"x": 2}}]


def test_8_2_stream_is_lazy():
    ran = []
    stream = single(lambda state: ran.append(state)).stream({"x": 1})
    assert ran == []
    list(stream)
    assert ran == [{"x": 1, "log": []}]


def test_8_3_batch_runs_its_inputs_in_order(call):
    app = single(lambda state: {"x": state["x"] * 2})
    results = call.batch(app, [{"x": 1}, {"x": 2}])
    assert [result["x"] for result in results] == [2, 4]


def test_8_3_batch_takes_a_config_for_each(call, saver):
    app = diamond().compile(saver)
    configs = [{"configurable": {"thread_id": name}} for name in "uv"]
    call.batch(app, [{"log": ["u"]}, {"log": ["v"]}], configs)
    assert [call.state(app, config).values["log"][0] for config in configs] == ["u", "v"]


def test_8_3_with_config_is_merged_under_the_calls_config(call, saver, thread):
    seen = []

    def n(_: State, config: Any) -> None:
        seen.append((config["configurable"]["k"], config["configurable"]["j"], config["tags"]))

    graph = StateGraph(State).add_node(n).add_edge(START, "n")
    mine = {"configurable": {"k": 1, "j": 1, **thread["configurable"]}, "tags": ["one"]}
    app = graph.compile(saver).with_config(mine)
    call.invoke(app, {"x": 5}, {"configurable": {"j": 2}, "tags": ["two"]})
    assert seen == [(1, 2, ["one", "two"])]
    assert call.state(app, {}).values["x"] == 5


def test_8_3_with_config_keeps_metadata_and_leaves_the_graph_as_it_was(call):
    seen = []

    def n(_: State, config: Any) -> None:
        seen.append({key: config["metadata"].get(key) for key in ("mine", "yours", "both")})

    app = single(n)
    mine = app.with_config({"metadata": {"mine": 1, "both": 1}})
    call.invoke(mine, {"x": 5}, {"metadata": {"yours": 2, "both": 2}})
    call.invoke(app, {"x": 5})
    assert seen == [
        {"mine": 1, "yours": 2, "both": 2},
        {"mine": None, "yours": None, "both": None},
    ]


def test_8_4_checkpointer_needs_a_thread(call, saver):
    with pytest.raises(ValueError, match="Checkpointer requires one or more of the following"):
        call.invoke(diamond().compile(saver), {"log": []})


def test_8_5_durability_without_checkpointer_only_warns(call):
    with pytest.warns(UserWarning, match="durability"):
        assert call.invoke(single(lambda _: {"x": 2}), {"x": 1}, durability="sync")["x"] == 2


def test_8_6_custom_chunks_arrive_while_the_node_runs():
    heard = threading.Event()

    def n(_: State, writer: Any) -> None:
        writer("early")
        assert heard.wait(5)

    stream = single(n).stream({"x": 1}, stream_mode="custom")
    assert next(stream) == "early"
    heard.set()
    assert list(stream) == []


def test_8_6_custom_chunks_arrive_while_the_async_node_runs():
    async def listen() -> list[Any]:
        heard, chunks = asyncio.Event(), []

        async def n(_: State, writer: Any) -> None:
            writer("early")
            await asyncio.wait_for(heard.wait(), 5)

        async for chunk in single(n).astream({"x": 1}, stream_mode="custom"):
            chunks.append(chunk)
            heard.set()
        return chunks

    assert asyncio.run(listen()) == ["early"]


def test_8_6_updates_arrive_as_each_task_finishes():
    heard = threading.Event()

    def slow(_: State) -> None:
        assert heard.wait(5)

    graph = StateGraph(State).add_node("slow", slow).add_node("fast", lambda _: {"x": 1})
    app = graph.add_edge(START, "slow").add_edge(START, "fast").compile()
    stream = app.stream({"x": 0})
    assert next(stream) == {"fast": {"x": 1}}
    heard.set()
    assert list(stream) == [{"slow": None}]


def test_8_6_updates_arrive_as_each_async_task_finishes():
    async def listen() -> list[Any]:
        heard, chunks = asyncio.Event(), []

        async def slow(_: State) -> None:
            await asyncio.wait_for(heard.wait(), 5)

        graph = StateGraph(State).add_node("slow", slow).add_node("fast", lambda _: {"x": 1})
        app = graph.add_edge(START, "slow").add_edge(START, "fast").compile()
        async for chunk in app.astream({"x": 0}):
            chunks.append(chunk)
            heard.set()
        return chunks

    assert asyncio.run(listen()) == [{"fast": {"x": 1}}, {"slow": None}]


def test_8_6_chunks_of_subgraphs_arrive_while_they_run():
    heard = threading.Event()

    def last(_: State) -> None:
        assert heard.wait(5)

    nodes = [("first", lambda _: {"x": 1}), ("last", last)]
    child = StateGraph(State).add_sequence(nodes).add_edge(START, "first").compile()
    stream = single(child).stream({"x": 0}, subgraphs=True)
    assert next(stream)[1] == {"first": {"x": 1}}
    heard.set()
    assert [chunk for _, chunk in stream] == [{"last": None}, {"n": {"x": 1, "log": []}}]


def test_8_7_leaving_a_stream_early_stops_the_run(saver, thread):
    ran = []
    graph = StateGraph(State).add_sequence([("a", lambda _: {"x": 1}), ("b", ran.append)])
    app = graph.add_edge(START, "a").compile(saver)
    for _ in app.stream({"x": 0}, thread):
        break
    assert ran == []
    assert app.get_state(thread).values["x"] in (0, 1)


def test_8_7_leaving_a_stream_early_cancels_async_nodes():
    cancelled = []

    async def slow(_: State) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append("slow")
            raise

    async def leave() -> None:
        graph = StateGraph(State).add_node("slow", slow).add_node("fast", lambda _: {"x": 1})
        app = graph.add_edge(START, "slow").add_edge(START, "fast").compile()
        stream = app.astream({"x": 0})
        await anext(stream)
        await stream.aclose()

    asyncio.run(leave())
    assert cancelled == ["slow"]


def test_9_b1_values_are_the_state_after_the_input_and_after_each_superstep(call):
    assert call.stream(diamond().compile(), {"log": ["i"]}, stream_mode="values") == [
        {"log": ["i"]},
        {"log": ["i", "a"], "x": 1},
        {"log": ["i", "a", "b"], "x": 1},
    ]


def test_9_b1_values_of_an_empty_input_come_first_after_the_first_node(call):
    chunks = call.stream(diamond().compile(), {}, stream_mode="values")
    assert chunks[0] == {"log": ["a"], "x": 1}


def test_9_b1_values_skip_supersteps_in_which_no_output_key_changed(call):
    app = diamond().compile()
    chunks = call.stream(app, {"log": []}, stream_mode="values", output_keys=["x"])
    assert chunks == [{"x": 1}]


def test_9_b1_values_of_a_resumed_run_begin_with_the_current_state(call, saver, thread):
    app = diamond().compile(saver, interrupt_after=["a"])
    call.invoke(app, {"log": []}, thread)
    assert call.stream(app, None, thread, stream_mode="values") == [
        {"log": ["a"], "x": 1},
        {"log": ["a", "b"], "x": 1},
    ]


@pytest.mark.simulated
def test_9_b1_values_show_an_interrupt_and_then_what_siblings_wrote(call, saver, thread):
    chunks = call.stream(asking().compile(saver), {"log": ["i"]}, thread, stream_mode="values")
    assert chunks[0] == {"log": ["i"]}
    asked = next(chunk for chunk in chunks if "__interrupt__" in chunk)
    assert asked["log"] == ["i"]
    assert [question.value for question in asked["__interrupt__"]] == ["what?"]
    assert type(asked["__interrupt__"]) is tuple
    assert chunks[-1] == {"log": ["i", "b"]}


@pytest.mark.simulated
def test_9_b1_values_tell_of_each_interrupt_after_its_update(call, saver, thread):
    graph = asking().add_node("r", lambda _: interrupt("who?")).add_edge(START, "r")
    modes = ["values", "updates"]
    chunks = call.stream(graph.compile(saver), {"log": ["i"]}, thread, stream_mode=modes)
    asked = [(mode, data) for mode, data in chunks if "__interrupt__" in data]
    assert [mode for mode, _ in asked] == ["updates", "values"] * 2
    for (_, update), (_, values) in zip(asked[::2], asked[1::2], strict=True):
        assert values == {"log": ["i"], **update}


def test_9_b1_values_of_a_root_state_show_an_interrupt_alone(call, saver, thread):
    graph = StateGraph(int).add_node("n", lambda _: interrupt("?")).add_edge(START, "n")
    chunks = call.stream(graph.compile(saver), 1, thread, stream_mode="values")
    assert chunks[0] == 1
    assert chunks[1].keys() == {"__interrupt__"}


@pytest.mark.simulated
def test_9_b2_updates_are_one_chunk_per_finished_task(call):
    chunks = call.stream(diamond().compile(), {"log": ["i"]})
    assert chunks[0] == {"a": {"x": 1, "log": ["a"]}}
    assert sorted(chunks[1:], key=str) == [{"b": {"log": ["b"]}}, {"c": None}]


def test_9_b2_updates_hold_state_keys_only(call):
    assert call.stream(single(lambda _: {"x": 1, "z": 2}), {"x": 0}) == [{"n": {"x": 1}}]


def test_9_b2_updates_are_a_list_where_a_key_was_written_more_than_once(call):
    twice = Command(update=[("log", [1]), ("log", [2])])
    assert call.stream(single(lambda _: twice), {"log": []}) == [
        {"n": [{"log": [1]}, {"log": [2]}]}
    ]


def test_9_b2_updates_of_a_root_state_are_the_value(call):
    assert call.stream(single(lambda value: value + 1, int), 1) == [{"n": 2}]


@pytest.mark.simulated
def test_9_b2_updates_show_interrupts_one_chunk_a_task(call, saver, thread):
    graph = asking().add_node("r", lambda _: interrupt("who?")).add_edge(START, "r")
    chunks = call.stream(graph.compile(saver), {"log": []}, thread)
    asked = [chunk["__interrupt__"] for chunk in chunks if "__interrupt__" in chunk]
    assert sorted(questions[0].value for questions in asked) == ["what?", "who?"]
    assert all(type(questions) is tuple and len(questions) == 1 for questions in asked)


@pytest.mark.simulated
def test_9_b2_updates_mark_what_was_restored(call, saver, thread):
    app = asking().compile(saver)
    call.invoke(app, {"log": []}, thread)
    assert call.stream(app, Command(resume="that"), thread) == [
        {"b": {"log": ["b"]}, "__metadata__": {"cached": True}},
        {"q": {"log": ["that"]}},
    ]


@pytest.mark.parametrize("when", ["interrupt_before", "interrupt_after"])
def test_9_b2_updates_show_a_static_breakpoint(call, saver, thread, when):
    node = {"interrupt_before": "b", "interrupt_after": "a"}[when]
    app = diamond().compile(saver, **{when: [node]})
    assert call.stream(app, {"log": []}, thread)[-1] == {"__interrupt__": ()}


def test_9_b2_updates_give_no_chunk_for_an_error():
    def bad(_: State) -> None:
        raise LookupError("bad")

    graph = StateGraph(State).add_sequence([("a", lambda _: {"x": 1}), bad]).add_edge(START, "a")
    stream = graph.compile().stream({"x": 0})
    assert next(stream) == {"a": {"x": 1}}
    with pytest.raises(LookupError):
        next(stream)


def test_9_b3_custom_chunks_come_from_writer_and_get_stream_writer(call):
    def n(_: State, writer: Any) -> None:
        writer({"by": "writer"})
        get_stream_writer()("by function")

    assert call.stream(single(n), {"x": 1}, stream_mode="custom") == [
        {"by": "writer"},
        "by function",
    ]


def test_9_b3_custom_chunks_come_from_path_functions(call):
    def path(_: State, writer: Any) -> list[str]:
        writer("from the path")
        return []

    graph = StateGraph(State).add_node("n", lambda _: None).add_edge(START, "n")
    app = graph.add_conditional_edges("n", path).compile()
    assert call.stream(app, {"x": 1}, stream_mode="custom") == ["from the path"]


def test_9_b3_writer_does_nothing_where_nobody_asked(call):
    def n(_: State, writer: Any) -> None:
        writer("unheard")

    assert call.stream(single(n), {"x": 1}, stream_mode="updates") == [{"n": None}]


def test_9_b8_order_of_modes_within_a_superstep(call):
    def n(_: State, writer: Any) -> State:
        writer("c")
        return {"x": 2}

    app = single(n)
    chunks = call.stream(app, {"x": 1}, stream_mode=["values", "updates", "custom"])
    assert [mode for mode, _ in chunks] == ["values", "custom", "updates", "values"]


def test_9_b9_print_mode_prints_and_does_not_change_the_output(call, capsys):
    app = single(lambda _: {"x": 2})
    assert call.stream(app, {"x": 1}, print_mode="values") == [{"n": {"x": 2}}]
    assert "'x': 2" in capsys.readouterr().out


def test_9_b9_debug_prints_and_does_not_change_the_output(call, capsys):
    app = single(lambda _: {"x": 2})
    assert call.stream(app, {"x": 1}, debug=True) == [{"n": {"x": 2}}]
    assert "'x': 2" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["updates", ["updates"]], ids=str)
@pytest.mark.parametrize("subgraphs", [False, True])
def test_10_b1_parts_have_one_form_whatever_was_asked_for(call, mode, subgraphs):
    app = single(lambda _: {"x": 2})
    options = {"stream_mode": mode, "subgraphs": subgraphs, "version": "v2"}
    assert call.stream(app, {"x": 1}, **options) == [
        {"type": "updates", "ns": (), "data": {"n": {"x": 2}}}
    ]


def test_10_b1_values_parts_carry_interrupts_beside_the_data(call, saver, thread):
    app = asking().compile(saver)
    parts = call.stream(app, {"log": []}, thread, stream_mode="values", version="v2")
    assert all("__interrupt__" not in part["data"] for part in parts)
    asked = [question.value for part in parts for question in part["interrupts"]]
    assert asked == ["what?"]
    assert type(parts[0]["interrupts"]) is tuple


class Model(pydantic.BaseModel):
    x: int


@dataclass
class Record:
    x: int


@pytest.mark.parametrize("schema", [Model, Record])
def test_10_b2_values_are_coerced_to_the_output_schema(call, schema):
    app = single(lambda _: {"x": 2}, schema)
    parts = call.stream(app, {"x": 1}, stream_mode="values", version="v2")
    assert [part["data"] for part in parts] == [schema(x=1), schema(x=2)]


@pytest.mark.parametrize("mode", ["checkpoints", "debug"])
@pytest.mark.parametrize("schema", [Model, Record])
def test_10_b2_values_of_checkpoints_are_coerced_to_the_state_schema(
    call, saver, thread, mode, schema
):
    graph = StateGraph(schema).add_node("n", lambda _: {"x": 2}).add_edge(START, "n")
    parts = call.stream(graph.compile(saver), {"x": 1}, thread, stream_mode=mode, version="v2")
    told = [part["data"].get("payload", part["data"]) for part in parts]
    values = [data["values"] for data in told if "values" in data]
    assert values == [{}, schema(x=1), schema(x=2)]


def test_10_b2_values_of_a_subgraph_are_coerced_to_its_own_schema(call):
    child = single(lambda _: {"x": 2}, Record)
    options = {"stream_mode": "values", "version": "v2", "subgraphs": True}
    parts = call.stream(single(child, Model), {"x": 1}, **options)
    assert [part["data"] for part in parts] == [Model(x=1), Record(1), Record(2), Model(x=2)]


def test_10_b2_updates_are_not_coerced(call):
    parts = call.stream(single(lambda _: {"x": 2}, Model), {"x": 1}, version="v2")
    assert parts[0]["data"] == {"n": {"x": 2}}


def test_10_b3_invoke_returns_a_graph_output(call, saver, thread):
    output = call.invoke(asking().compile(saver), {"log": []}, thread, version="v2")
    assert type(output) is GraphOutput
    assert output.value == {"log": ["b"]}
    assert [type(question) for question in output.interrupts] == [Interrupt]


def test_10_b3_invoke_with_another_mode_returns_parts(call):
    app = single(lambda _: {"x": 2})
    assert call.invoke(app, {"x": 1}, stream_mode="updates", version="v2") == [
        {"type": "updates", "ns": (), "data": {"n": {"x": 2}}}
    ]


def test_10_b3_graph_output_reads_like_a_dict_with_a_warning(call):
    output = call.invoke(single(lambda _: {"x": 2}), {"x": 1}, version="v2")
    with pytest.warns(DeprecationWarning, match="GraphOutput"):
        assert output["x"] == 2
    with pytest.warns(DeprecationWarning, match="GraphOutput"):
        assert "x" in output


def test_10_b3_graph_output_shows_interrupts_as_a_key_with_a_warning(call, saver, thread):
    output = call.invoke(asking().compile(saver), {"log": []}, thread, version="v2")
    with pytest.warns(DeprecationWarning, match="GraphOutput"):
        assert output["__interrupt__"] == list(output.interrupts)


def test_10_b4_default_is_version_one_everywhere(call, saver, thread):
    app = asking().compile(saver)
    chunks = call.stream(app, {"log": []}, thread, stream_mode="values")
    assert all("log" in chunk for chunk in chunks)
    assert call.invoke(app, None, thread).keys() == {"log", "__interrupt__"}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_10_b4_invalid_pydantic_input_is_refused_in_every_version(call, version):
    with pytest.raises(pydantic.ValidationError):
        call.invoke(single(lambda _: None, Model), {"x": "no"}, version=version)


def test_8_7_cancelling_the_reader_of_a_stream_cancels_async_nodes():
    cancelled = []

    async def slow(_: State) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append("slow")
            raise

    async def main() -> None:
        heard = asyncio.Event()

        async def read() -> None:
            graph = StateGraph(State).add_node("slow", slow).add_node("fast", lambda _: {"x": 1})
            app = graph.add_edge(START, "slow").add_edge(START, "fast").compile()
            async for _ in app.astream({"x": 0}):
                heard.set()

        reading = asyncio.ensure_future(read())
        await asyncio.wait_for(heard.wait(), 5)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(reading, 5)

    asyncio.run(main())
    assert cancelled == ["slow"]
