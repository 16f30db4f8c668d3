"""Whole programs of the kinds that people build: agents, reviews, pipelines, loops."""

import asyncio
import operator
import threading
from typing import Annotated, Any, Literal

from typing_extensions import TypedDict

from .observations import by_task, plain
from .programs import ASYNC, SYNC, THREAD, chain, parallel, parity, parity_in, raised


class State(TypedDict, total=False):
    x: Any
    log: Annotated[list[Any], operator.add]


@parity
def test_model_and_tools_in_a_loop(lib, call):
    class Turn(TypedDict, total=False):
        steps: Annotated[list[dict[str, Any]], operator.add]

    script = [
        {"call": "add", "args": [2, 3]},
        {"call": "double", "args": [5]},
        {"say": "ten"},
    ]
    tools = {"add": lambda a, b: a + b, "double": lambda a: 2 * a}

    def model(turn: Turn) -> Any:
        done = sum("call" in step for step in turn["steps"])
        return {"steps": [script[done]]}

    def use(turn: Turn) -> Any:
        step = turn["steps"][-1]
        return {"steps": [{"result": tools[step["call"]](*step["args"])}]}

    def decide(turn: Turn) -> Literal["use", "__end__"]:
        return "use" if "call" in turn["steps"][-1] else "__end__"

    graph = lib.StateGraph(Turn).add_node("model", model).add_node("use", use)
    graph.add_edge(lib.START, "model").add_conditional_edges("model", decide)
    app = graph.add_edge("use", "model").compile(lib.InMemorySaver())
    chunks = call.stream(app, {"steps": [{"ask": "2*(2+3)"}]}, THREAD)
    return chunks, call.state(app).values


@parity
def test_agents_that_hand_over_to_each_other(lib, call):
    def agent(name: str, to: str) -> Any:
        def work(state: State) -> Any:
            if len(state["log"]) >= 4:
                return lib.Command(goto=lib.END, update={"log": [f"{name} ends"]})
            return lib.Command(goto=to, update={"log": [name]})

        return work

    graph = lib.StateGraph(State).add_node("ann", agent("ann", "bob"))
    graph.add_node("bob", agent("bob", "ann"), destinations=("ann", lib.END))
    return call.stream(graph.add_edge(lib.START, "ann").compile(), {"log": []})


@parity
def test_supervisor_over_child_graphs(lib, call):
    def worker(name: str) -> Any:
        def finish(state: State) -> Any:
            return lib.Command(
                graph=lib.Command.PARENT, goto="boss", update={"log": [f"{name} did {state['x']}"]}
            )

        return chain(lib, State, ("think", lambda _: None), ("finish", finish)).compile()

    def boss(state: State) -> Any:
        plan = ["research", "write"]
        done = len(state["log"])
        if done == len(plan):
            return lib.Command(goto=lib.END)
        return lib.Command(goto=plan[done], update={"x": f"task {done}"})

    graph = lib.StateGraph(State).add_node("boss", boss).add_edge(lib.START, "boss")
    for name in ("research", "write"):
        graph.add_node(name, worker(name))
    app = graph.compile(lib.InMemorySaver())
    return call.stream(app, {"log": []}, THREAD, subgraphs=True), call.state(app).values


@parity
def test_plan_workers_and_a_deferred_report(lib, call):
    def plan(state: State) -> Any:
        return [lib.Send("section", {"title": title}) for title in state["x"]]

    graph = lib.StateGraph(State)
    graph.add_node("section", lambda given: {"log": [given["title"].upper()]})
    graph.add_node("check", lambda state: {"log": ["checked"]})
    graph.add_node("report", lambda state: {"x": " ".join(state["log"])}, defer=True)
    graph.add_conditional_edges(lib.START, plan, ["section"])
    graph.add_edge("section", "report").add_edge("section", "check").add_edge("check", "report")
    return call.invoke(graph.compile(), {"x": ["one", "two"], "log": []})


@parity
def test_writer_and_critic_until_good_enough(lib, call):
    def write(state: State) -> Any:
        return {"x": {"draft": f"v{len(state['log']) + 1}"}}

    def judge(state: State) -> Any:
        return {"log": ["bad" if len(state["log"]) < 2 else "good"]}

    graph = chain(lib, State, ("write", write), ("judge", judge))
    graph.add_conditional_edges("judge", lambda s: s["log"][-1], {"bad": "write", "good": lib.END})
    return call.invoke(graph.compile(), {"log": []}), call.stream(graph.compile(), {"log": []})


@parity
def test_person_is_asked_until_the_answer_makes_sense(lib, call):
    def age(_: State) -> Any:
        question = "How old are you?"
        while True:
            answer = lib.interrupt(question)
            if isinstance(answer, int) and answer > 0:
                return {"x": answer}
            question = f"{answer!r} is no age. How old are you?"

    app = chain(lib, State, ("age", age)).compile(lib.InMemorySaver())
    steps: list[Any] = [{"log": []}, *(lib.Command(resume=a) for a in ("old", -3, 41))]
    return [call.invoke(app, step, THREAD) for step in steps]


@parity
def test_review_that_approves_edits_or_sends_back(lib, call):
    def review(state: State) -> Any:
        verdict = lib.interrupt({"draft": state["x"]})
        if verdict["action"] == "edit":
            return lib.Command(goto="publish", update={"x": verdict["text"]})
        return lib.Command(goto="publish" if verdict["action"] == "approve" else "write")

    graph = lib.StateGraph(State)
    graph.add_node("write", lambda state: {"x": f"draft {len(state['log'])}", "log": ["w"]})
    graph.add_node("review", review).add_node("publish", lambda s: {"log": ["out: " + s["x"]]})
    graph.add_edge(lib.START, "write").add_edge("write", "review")
    shown = []
    for answers in (["approve"], ["reject", "approve"], ["reject", "edit"]):
        app = graph.compile(lib.InMemorySaver())
        results = [call.invoke(app, {"log": []}, THREAD)]
        for action in answers:
            command = lib.Command(resume={"action": action, "text": "by hand"})
            results.append(call.invoke(app, command, THREAD))
        shown.append(plain(results))
    return shown


@parity
def test_approval_of_each_of_several_tool_calls(lib, call):
    def tool(given: Any) -> Any:
        approved = lib.interrupt({"tool": given["name"]})
        return {"log": [f"{given['name']}: {'done' if approved else 'refused'}"]}

    graph = lib.StateGraph(State).add_node("tool", tool)
    names = ["mail", "pay", "print"]
    sends = [lib.Send("tool", {"name": name}) for name in names]
    graph.add_conditional_edges(lib.START, lambda _: sends, ["tool"])
    graph.add_node("end", lambda _: {"log": ["end"]}).add_edge("tool", "end")
    app = graph.compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    ids = {question.value["tool"]: question.id for question in first["__interrupt__"]}
    answers = {ids[name]: name != "pay" for name in names}
    return by_task(first["__interrupt__"]), call.invoke(app, lib.Command(resume=answers), THREAD)


@parity
def test_children_that_ask_reached_by_sends(lib, call):
    class Job(TypedDict, total=False):
        name: str
        log: list[Any]

    child = chain(lib, Job, ("ask", lambda s: {"log": [lib.interrupt(s["name"])]})).compile()
    graph = lib.StateGraph(State).add_node("child", child)
    sends = [lib.Send("child", {"name": name}) for name in "pq"]
    graph.add_conditional_edges(lib.START, lambda _: sends, ["child"])
    app = graph.compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    ids = {question.value: question.id for question in first["__interrupt__"]}
    second = call.invoke(app, lib.Command(resume={ids["q"]: "Q"}), THREAD)
    return second["log"], call.invoke(app, lib.Command(resume="P"), THREAD)


@parity
def test_question_three_graphs_deep(lib, call):
    ran: list[str] = []

    def around(name: str, inner: Any) -> Any:
        nodes = [
            (f"before {name}", lambda _: ran.append(f"before {name}")),
            (name, inner),
            (f"after {name}", lambda _: ran.append(f"after {name}")),
        ]
        return chain(lib, State, *nodes)

    ask = chain(lib, State, ("ask", lambda _: {"x": lib.interrupt("deep?")})).compile()
    middle = around("ask", ask).compile()
    app = around("middle", middle).compile(lib.InMemorySaver())
    first = call.invoke(app, {"log": []}, THREAD)
    paused = call.state(app, subgraphs=True)
    depth = [paused.next, paused.tasks[0].state.next, paused.tasks[0].state.tasks[0].state.next]
    return first, depth, call.invoke(app, lib.Command(resume="yes"), THREAD), ran


@parity
def test_node_that_returns_the_state_it_was_given(lib, call):
    class Plain(TypedDict, total=False):
        x: int
        y: int

    def change(state: Plain) -> Any:
        state["x"] = state["x"] + 1
        return state

    app = chain(lib, Plain, ("a", change), ("b", change)).compile(lib.InMemorySaver())
    first = call.invoke(app, {"x": 1, "y": 5}, THREAD)
    return first, call.stream(app, {"x": 7}, THREAD), [s.values for s in call.history(app)]


@parity
def test_node_that_returns_a_changed_list_doubles_it(lib, call):
    def change(state: State) -> Any:
        state["log"].append("changed")
        return {"log": state["log"]}

    return call.invoke(chain(lib, State, ("n", change)).compile(), {"log": ["in"]})


@parity
def test_state_mutated_in_place_without_a_return(lib, call):
    def change(state: State) -> None:
        state["log"].append("sneaked in")

    app = chain(lib, State, ("n", change), ("m", lambda s: {"x": len(s["log"])}))
    return call.invoke(app.compile(), {"log": ["in"]})


@parity
def test_counter_over_many_turns(lib, call):
    app = chain(lib, State, ("n", lambda s: {"x": s.get("x", 0) + 1})).compile(lib.InMemorySaver())
    results = [call.invoke(app, {"log": [turn]}, THREAD) for turn in range(5)]
    return results, [s.metadata["step"] for s in call.history(app)]


@parity_in(SYNC)
def test_one_graph_from_many_threads_at_once(lib, call):
    app = chain(lib, State, ("a", lambda s: {"x": s["x"] * 2}), ("b", lambda s: {"log": [s["x"]]}))
    app = app.compile(lib.InMemorySaver())
    results: dict[int, Any] = {}

    def run(number: int) -> None:
        config = {"configurable": {"thread_id": str(number)}}
        results[number] = app.invoke({"x": number, "log": []}, config)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return [results[number] for number in range(8)]


@parity_in(ASYNC)
def test_many_runs_on_one_loop(lib, call):
    async def node(state: State) -> Any:
        await asyncio.sleep(0.001)
        return {"log": [state["x"]]}

    app = chain(lib, State, ("n", node)).compile(lib.InMemorySaver())

    async def main() -> Any:
        configs = [{"configurable": {"thread_id": str(n)}} for n in range(8)]
        runs = [app.ainvoke({"x": n, "log": []}, config) for n, config in enumerate(configs)]
        return await asyncio.gather(*runs)

    return asyncio.run(main())


@parity
def test_config_keys_of_other_tools_are_taken(lib, call):
    app = chain(lib, State, ("n", lambda _: {"x": 1})).compile()
    config = {"run_name": "mine", "callbacks": [], "tags": [], "metadata": {}, "configurable": {}}
    return call.invoke(app, {"log": []}, config)


@parity
def test_branches_of_different_length_with_a_join(lib, call):
    graph = lib.StateGraph(State)
    for name in ("fetch", "clean", "embed", "index", "title", "store"):
        graph.add_node(name, lambda _, name=name: {"log": [name]})
    graph.add_edge(lib.START, "fetch").add_edge("fetch", "clean").add_edge("fetch", "title")
    graph.add_edge("clean", "embed").add_edge("embed", "index")
    graph.add_edge(["index", "title"], "store").add_edge("store", lib.END)
    return call.invoke(graph.compile(lib.InMemorySaver()), {"log": []}, THREAD)


@parity
def test_error_of_a_child_is_caught_by_the_node_that_calls_it(lib, call):
    def fails(_: State) -> Any:
        raise ValueError("inner")

    child = chain(lib, State, ("fails", fails)).compile()

    def calls(_: State) -> Any:
        return {"log": [raised(lib, lambda: child.invoke({"log": []}), "inner")[0], "rescued"]}

    app = chain(lib, State, ("calls", calls), ("z", lambda _: {"log": ["z"]}))
    return call.invoke(app.compile(lib.InMemorySaver()), {"log": []}, THREAD)


@parity
def test_recursion_limit_of_a_child_is_caught(lib, call):
    graph = chain(lib, State, ("n", lambda _: None))
    child = graph.add_conditional_edges("n", lambda _: "n", ["n"]).compile()

    def calls(_: State) -> Any:
        config = {"recursion_limit": 5}
        return {"log": [raised(lib, lambda: child.invoke({"log": []}, config))[0]]}

    return call.invoke(chain(lib, State, ("calls", calls)).compile(), {"log": []})


@parity
def test_two_lambdas_as_paths_of_one_node(lib, call):
    def build() -> Any:
        graph = chain(lib, State, ("a", lambda _: None)).add_node("b", lambda _: {"log": ["b"]})
        graph.add_conditional_edges("a", lambda _: "b", ["b"])
        graph.add_conditional_edges("a", lambda _: lib.END, [lib.END])
        return call.invoke(graph.compile(), {"log": []})

    return raised(lib, build)


@parity
def test_node_named_like_a_state_key(lib, call):
    app = chain(lib, State, ("x", lambda _: {"log": ["n"]})).compile()
    return call.invoke(app, {"x": 1, "log": []})


@parity
def test_edge_that_is_added_twice(lib, call):
    graph = chain(lib, State, ("a", lambda _: {"log": ["a"]}), ("b", lambda _: {"log": ["b"]}))
    graph.add_edge("a", "b").add_edge(lib.START, "a")
    return call.invoke(graph.compile(), {"log": []})


@parity
def test_reducer_that_raises(lib, call):
    def positive(left: int, right: int) -> int:
        if right < 0:
            raise ValueError("negative")
        return left + right

    class Count(TypedDict, total=False):
        n: Annotated[int, positive]

    app = chain(lib, Count, ("a", lambda _: {"n": 1}), ("b", lambda _: {"n": -1}))
    app = app.compile(lib.InMemorySaver())
    refused = raised(lib, lambda: call.invoke(app, {"n": 1}, THREAD), "negative")
    raised(lib, lambda: call.invoke(app, {"n": -5}, {"configurable": {"thread_id": "u"}}))
    return refused, call.history(app)[0].values


@parity
def test_reducer_that_changes_its_left_side(lib, call):
    def update(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
        left.update(right)
        return left

    class Table(TypedDict, total=False):
        rows: Annotated[dict[str, int], update]

    nodes = [(name, lambda _, name=name: {"rows": {name: 1}}) for name in "ab"]
    app = chain(lib, Table, *nodes).compile(lib.InMemorySaver())
    return call.invoke(app, {"rows": {"in": 0}}, THREAD), [s.values for s in call.history(app)]


@parity
def test_context_reaches_nodes_started_by_sends(lib, call):
    def node(given: Any, runtime: lib.Runtime, config: lib.RunnableConfig) -> Any:
        return {"log": [(given, runtime.context["c"], config["configurable"]["user"])]}

    graph = lib.StateGraph(State).add_node("w", node)
    graph.add_conditional_edges(lib.START, lambda _: [lib.Send("w", n) for n in (1, 2)], ["w"])
    config = {"configurable": {"user": "ann"}}
    return call.invoke(graph.compile(), {"log": []}, config, context={"c": 3})


@parity
def test_output_keys_of_an_interrupted_run(lib, call):
    app = parallel(lib, State, ("n", lambda _: {"x": lib.interrupt("?")}))
    app = app.compile(lib.InMemorySaver())
    return call.invoke(app, {"x": 1, "log": [1]}, THREAD, output_keys=["log"])
