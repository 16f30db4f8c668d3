"""Entrypoints and tasks (contract §23)."""

import asyncio
from typing import Any

from .observations import by_task
from .programs import ASYNC, SYNC, THREAD, parity, parity_in, raised


@parity
def test_entrypoint_with_tasks(lib, call):
    @lib.task
    def double(number: int) -> int:
        return 2 * number

    @lib.entrypoint()
    def main(numbers: list[int]) -> Any:
        futures = [double(number) for number in numbers]
        return [future.result() for future in futures]

    return call.invoke(main, [1, 2, 3])


@parity
def test_streams_of_an_entrypoint(lib, call):
    @lib.task
    def one(x: int) -> int:
        return x + 1

    @lib.entrypoint(checkpointer=lib.InMemorySaver())
    def main(x: int) -> Any:
        return one(one(x).result()).result()

    modes = ["values", "updates", "tasks", "custom"]
    shown = {}
    for mode in modes:
        config = {"configurable": {"thread_id": mode}}
        shown[mode] = call.stream(main, 1, config, stream_mode=mode)
    return shown


@parity
def test_default_stream_of_an_entrypoint(lib, call):
    @lib.task(name="renamed")
    def one(x: int) -> int:
        return x + 1

    @lib.entrypoint()
    def main(x: int) -> Any:
        return one(x).result()

    return call.stream(main, 1), call.stream(main, 1, stream_mode=["updates", "values"])


@parity
def test_previous_result_of_a_thread(lib, call):
    @lib.entrypoint(checkpointer=lib.InMemorySaver())
    def main(x: int, *, previous: Any = None) -> Any:
        return x + (previous or 0)

    other = {"configurable": {"thread_id": "u"}}
    results = [
        call.invoke(main, 1, THREAD),
        call.invoke(main, 2, THREAD),
        call.invoke(main, 5, other),
    ]
    return results, call.state(main).values


@parity
def test_final_saves_another_value(lib, call):
    @lib.entrypoint(checkpointer=lib.InMemorySaver())
    def main(x: int, *, previous: Any = None) -> Any:
        return lib.entrypoint.final(value=previous, save=2 * x)

    return [call.invoke(main, x, THREAD) for x in (1, 2, 3)], call.state(main).values


@parity
def test_question_in_an_entrypoint_does_not_run_tasks_again(lib, call):
    ran = []

    @lib.task
    def write(topic: str) -> str:
        ran.append(topic)
        return f"essay on {topic}"

    @lib.entrypoint(checkpointer=lib.InMemorySaver())
    def main(topic: str) -> Any:
        essay = write(topic).result()
        return {"essay": essay, "verdict": lib.interrupt({"essay": essay})}

    first = call.invoke(main, "bees", THREAD)
    paused = call.state(main)
    last = call.invoke(main, lib.Command(resume="good"), THREAD)
    return first, paused.next, paused.interrupts, last, ran


@parity
def test_question_in_a_task(lib, call):
    @lib.task
    def ask(what: str) -> str:
        return f"{what}: {lib.interrupt(what)}"

    @lib.entrypoint(checkpointer=lib.InMemorySaver())
    def main(what: str) -> Any:
        return ask(what).result()

    first = call.invoke(main, "name", THREAD)
    return first, call.invoke(main, lib.Command(resume="ann"), THREAD)


@parity
def test_questions_of_parallel_tasks(lib, call):
    @lib.task
    def ask(what: str) -> str:
        return f"{what}: {lib.interrupt(what)}"

    @lib.entrypoint(checkpointer=lib.InMemorySaver())
    def main(names: list[str]) -> Any:
        futures = [ask(name) for name in names]
        return [future.result() for future in futures]

    result = call.invoke(main, ["p", "q"], THREAD)
    for _ in range(2):  # how many are asked at once depends on how fast they are
        if "__interrupt__" in result:
            answers = {question.id: question.value.upper() for question in result["__interrupt__"]}
            result = call.invoke(main, lib.Command(resume=answers), THREAD)
    return result


@parity
def test_exception_of_a_task_is_raised_where_its_result_is_taken(lib, call):
    @lib.task
    def fails(x: int) -> int:
        raise ValueError(f"no {x}")

    @lib.entrypoint()
    def main(x: int) -> Any:
        try:
            return fails(x).result()
        except ValueError as error:
            return f"caught {error}"

    @lib.entrypoint()
    def careless(x: int) -> Any:
        return fails(x).result()

    return call.invoke(main, 1), raised(lib, lambda: call.invoke(careless, 2), "no 2")


@parity
def test_failed_run_goes_on_with_finished_tasks(lib, call):
    ran = []

    @lib.task
    def step(name: str) -> str:
        ran.append(name)
        if name == "b" and ran.count("b") == 1:
            raise ValueError("boom")
        return name.upper()

    @lib.entrypoint(checkpointer=lib.InMemorySaver())
    def main(_: str) -> Any:
        return [step(name).result() for name in "abc"]

    refused = raised(lib, lambda: call.invoke(main, "go", THREAD))[0]
    return refused, call.invoke(main, None, THREAD), ran


@parity
def test_retried_task(lib, call):
    tries = []
    policy = lib.RetryPolicy(initial_interval=0.001, jitter=False)

    @lib.task(retry_policy=policy)
    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("again")
        return len(tries)

    @lib.entrypoint()
    def main(_: Any) -> Any:
        return flaky().result()

    return call.invoke(main, 0)


@parity
def test_cached_task(lib, call):
    ran = []

    @lib.task(cache_policy=lib.CachePolicy())
    def slow(x: int) -> int:
        ran.append(x)
        return x + 1

    @lib.entrypoint(cache=lib.InMemoryCache())
    def main(x: int) -> Any:
        return slow(x).result()

    return [call.invoke(main, x) for x in (1, 1, 2)], ran


@parity
def test_injected_parameters_of_an_entrypoint(lib, call):
    @lib.entrypoint(checkpointer=lib.InMemorySaver(), store=lib.InMemoryStore())
    def main(
        x: int, *, config: lib.RunnableConfig, store: lib.BaseStore, writer, runtime: lib.Runtime
    ) -> Any:
        writer("written")
        store.put(("n",), "k", {"x": x})
        return [config["configurable"]["user"], store.get(("n",), "k").value, runtime.context]

    config = {"configurable": {"thread_id": "t", "user": "ann"}}
    return call.stream(main, 1, config, stream_mode=["custom", "values"], context={"c": 1})


@parity
def test_update_of_an_entrypoints_thread(lib, call):
    @lib.entrypoint(checkpointer=lib.InMemorySaver())
    def main(x: int, *, previous: Any = None) -> Any:
        return [previous, x]

    call.invoke(main, 1, THREAD)
    call.update(main, THREAD, "edited")
    values = call.state(main).values
    return values, call.invoke(main, 2, THREAD)


@parity
def test_entrypoints_and_graphs_call_each_other(lib, call):
    @lib.task
    def double(x: int) -> int:
        return 2 * x

    @lib.entrypoint()
    def inner(x: int) -> Any:
        return double(x).result()

    def node(x: int) -> int:
        return inner.invoke(x) + double(x).result()

    graph = lib.StateGraph(int).add_node("n", node).add_edge(lib.START, "n").compile()

    @lib.entrypoint(checkpointer=lib.InMemorySaver())
    def main(x: int) -> Any:
        return [graph.invoke(x), inner.invoke(x)]

    return call.invoke(main, 3, THREAD)


@parity_in(SYNC)
def test_wrong_entrypoints_and_tasks(lib, call):
    def generator(x: int) -> Any:
        yield x

    @lib.task
    def one(x: int) -> int:
        return x

    return [
        raised(lib, lambda: lib.entrypoint()(lambda: None))[0],
        raised(lib, lambda: lib.entrypoint()(generator))[0],
        raised(lib, lambda: one(1))[0],
    ]


@parity_in(ASYNC)
def test_async_entrypoint_and_tasks(lib, call):
    @lib.task
    async def fetch(name: str) -> str:
        await asyncio.sleep(0.001)
        return name.upper()

    @lib.entrypoint()
    async def main(names: list[str]) -> Any:
        return await asyncio.gather(*(fetch(name) for name in names))

    chunks = call.stream(main, ["a", "b"])
    return by_task(chunks[:-1]), chunks[-1], call.invoke(main, ["c"])


@parity
def test_history_of_an_entrypoint(lib, call):
    @lib.task
    def double(x: int) -> int:
        return 2 * x

    @lib.entrypoint(checkpointer=lib.InMemorySaver())
    def main(x: int) -> Any:
        return double(x).result()

    call.invoke(main, 2, THREAD)
    return [(s.values, s.next, s.metadata) for s in call.history(main)]


@parity
def test_results_that_are_none_or_false_are_kept(lib, call):
    ran = []

    @lib.task
    def give(value: Any) -> Any:
        ran.append(value)
        return value

    @lib.entrypoint(checkpointer=lib.InMemorySaver())
    def main(_: Any) -> Any:
        given = [give(value).result() for value in (None, False, 0, "")]
        return [given, lib.interrupt("?")]

    call.invoke(main, "go", THREAD)
    return call.invoke(main, lib.Command(resume="r"), THREAD), ran


@parity
def test_names_and_arguments_of_tasks(lib, call):
    class Tool:
        def method(self, x: int, *, y: int = 1) -> int:
            return x + y

    method = lib.task(Tool().method)

    @lib.entrypoint()
    def main(_: Any) -> Any:
        return method(1, y=5).result()

    return call.stream(main, 0), call.stream(main, 0, stream_mode="tasks")
