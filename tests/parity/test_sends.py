"""Send: the same node many times, each with an input of its own (contract §4.7)."""

from dataclasses import dataclass
from typing import Any

from .parts import State, wired
from .programs import SYNC, THREAD, chain, parity, parity_in


@parity
def test_map_reduce_with_sends(lib, call):
    graph = lib.StateGraph(State).add_node("plan", lambda _: {"x": [1, 2, 3]})
    graph.add_node("work", lambda given: {"log": [given["n"] * 10]})
    graph.add_node("sum", lambda state: {"x": sum(state["log"])})
    graph.add_edge(lib.START, "plan").add_edge("work", "sum")
    sends = lambda state: [lib.Send("work", {"n": n}) for n in state["x"]]  # noqa: E731
    graph.add_conditional_edges("plan", sends, ["work"])
    return call.stream(graph.compile(), {"log": []}), call.invoke(graph.compile(), {"log": []})


@parity
def test_send_gives_its_argument_as_it_is(lib, call):
    seen = []
    graph = wired(lib, "a", "^a").add_node("n", lambda given: seen.append(given))
    given = [7, "text", None, {"other": 1}, ("t", 1), {"x": 1, "log": [1]}]
    graph.add_conditional_edges("a", lambda _: [lib.Send("n", one) for one in given], ["n"])
    return call.invoke(graph.compile(), {"log": []}), sorted(seen, key=str)


@parity
def test_send_to_a_node_with_a_model_as_its_input(lib, call):
    @dataclass
    class Job:
        number: int

    seen = []

    def node(job: Job) -> Any:
        seen.append(job if isinstance(job, dict) else job.number)
        return {"log": [1]}

    graph = wired(lib, "a", "^a").add_node("n", node)
    graph.add_conditional_edges(
        "a", lambda _: [lib.Send("n", Job(1)), lib.Send("n", {"number": 2})]
    )
    return call.invoke(graph.compile(), {"log": []}), sorted(seen, key=str)


@parity
def test_node_reached_by_sends_triggers_its_edges_once(lib, call):
    graph = wired(lib, "abc", "^a", "bc")
    graph.add_conditional_edges("a", lambda _: [lib.Send("b", n) for n in range(3)], ["b"])
    return call.invoke(graph.compile(), {"log": []})


@parity
def test_sends_from_start(lib, call):
    graph = wired(lib, "b")
    graph.add_conditional_edges(lib.START, lambda s: [lib.Send("b", n) for n in range(s["x"])])
    return call.invoke(graph.compile(), {"x": 2, "log": []}), call.invoke(graph.compile(), {"x": 0})


@parity
def test_sends_and_edges_into_one_node_in_one_superstep(lib, call):
    graph = wired(lib, "ab", "^a", "ab")
    graph.add_conditional_edges("a", lambda _: [lib.Send("b", 1), lib.Send("b", 2)])
    return call.invoke(graph.compile(), {"log": []})


@parity
def test_sends_of_parallel_tasks_run_in_the_order_of_their_tasks(lib, call):
    graph = wired(lib, "ab", "^b", "^a").add_node("n", lambda given: {"log": [given]})
    for name in "ba":
        graph.add_conditional_edges(
            name, lambda _, name=name: [lib.Send("n", name + "1"), lib.Send("n", name + "2")], ["n"]
        )
    return call.invoke(graph.compile(), {"log": []})


@parity_in(SYNC)
def test_sends_are_equal_by_node_and_argument(lib, call):
    one = lib.Send("a", (1,))
    others = [lib.Send("a", (1,)), lib.Send("b", (1,)), lib.Send("a", (2,))]
    return [(one == other, hash(one) == hash(other)) for other in others]


@parity
def test_command_to_the_parent_with_sends_and_a_list_of_pairs(lib, call):
    def hands_over(_: State) -> Any:
        sends = [lib.Send("w", 1), lib.Send("w", 2)]
        return lib.Command(graph=lib.Command.PARENT, update=[("log", ["c"])], goto=sends)

    child = chain(lib, State, ("over", hands_over)).compile()
    graph = lib.StateGraph(State).add_node("child", child)
    graph.add_node("w", lambda n: {"log": [n]}).add_edge(lib.START, "child")
    return call.invoke(graph.compile(lib.InMemorySaver()), {"log": []}, THREAD)
