"""Tasks and entrypoints as objects: what decorators make of functions."""

import functools
import inspect
from dataclasses import dataclass
from typing import Any

import pytest

from graphflow import CompiledStateGraph, RetryPolicy, TimeoutPolicy, entrypoint, task
from graphflow.checkpoint.registry import registry
from graphflow.graph.tasks import task_spec


def plain(x: int, y: int = 1) -> int:
    """Add."""
    return x + y


async def asynchronous(x: int) -> int:
    return x


def test_task_looks_like_its_function():
    made = task(plain)
    assert (made.__name__, made.__doc__, made.__wrapped__) == ("plain", "Add.", plain)
    assert inspect.signature(made) == inspect.signature(plain)
    assert repr(made) == "<task 'plain'>"


def test_name_of_a_task_may_be_given():
    made = task(name="other")(plain)
    assert (made.name, made.__name__, made.spec.name) == ("other", "other", "other")


def test_task_of_a_task_is_its_function_on_other_terms():
    policy = RetryPolicy(max_attempts=7)
    made = task(name="again", retry_policy=policy)(task(plain))
    assert (made.func, made.spec.retry, made.name) == (plain, (policy,), "again")


def test_attributes_of_a_callable_object_do_not_replace_those_of_the_task():
    class Tool:
        def __init__(self) -> None:
            self.spec = self.func = "an attribute"
            self.name = "of the tool"

        def __call__(self, x: int) -> int:
            return x

    tool = Tool()
    made = task(tool)
    assert (made.func, made.name, made.spec.name) == (tool, "of the tool", "of the tool")


def test_task_in_a_class_is_bound_as_a_method():
    class Tool:
        method = task(plain)

    tool = Tool()
    assert Tool.method.func is plain
    assert tool.method.args == (tool,)


def test_what_cannot_be_called_is_no_task():
    with pytest.raises(TypeError):
        task(7)  # type: ignore[call-overload]


@pytest.mark.parametrize("timeout", [5, TimeoutPolicy(run_timeout=5)])
def test_timeout_of_a_task_becomes_a_policy(timeout):
    made = task(timeout=timeout)(asynchronous)
    assert made.spec.timeout == TimeoutPolicy(run_timeout=5)


SIGNATURES = [
    (lambda config: 0, 0, (), ("config",)),
    (lambda config: 0, 1, (), ()),
    (lambda x, config, store: 0, 1, (), ("config", "store")),
    (lambda x, config, store: 0, 2, (), ("store",)),
    (lambda x, config, store: 0, 1, ("config",), ("store",)),
    (lambda x, *, runtime: 0, 1, (), ("runtime",)),
    (lambda *x, runtime: 0, 9, (), ("runtime",)),
    (lambda *x, runtime: 0, 9, ("runtime",), ()),
    (lambda x, error: 0, 1, (), ()),
    (lambda x, **rest: 0, 1, (), ()),
    (functools.partial(lambda x, config: 0, 1), 0, (), ("config",)),
    (max, 2, (), ()),
]


@pytest.mark.parametrize(("function", "given", "named", "missing"), SIGNATURES)
def test_run_fills_in_what_the_caller_does_not_give(function, given, named, missing):
    assert task_spec(function, "t", (), None, None).missing(given, named) == missing


def test_entrypoint_is_a_compiled_graph_named_after_its_function():
    @entrypoint()
    def workflow(x: int) -> int:
        return x

    assert isinstance(workflow, CompiledStateGraph)
    assert workflow.name == "workflow"


def test_input_may_have_any_name_and_a_default():
    assert entrypoint()(lambda anything=3: anything).invoke(5) == 5


@pytest.mark.parametrize("function", [lambda: 0, lambda *, config: 0], ids=["none", "injected"])
def test_function_that_takes_no_input_is_no_entrypoint(function):
    with pytest.raises(ValueError, match="at least one parameter"):
        entrypoint()(function)


@dataclass
class Given:
    """Comes in."""


@dataclass
class Returned:
    """Goes out."""


@dataclass
class Saved:
    """Is saved."""


def test_classes_that_signatures_name_can_be_stored():
    @task
    def first(x: Given) -> "list[Returned]":
        return [Returned()]

    @entrypoint()
    def workflow(x: Given) -> entrypoint.final[int, Saved]:
        return entrypoint.final(value=1, save=Saved())

    assert all(kind in registry for kind in (Given, Returned, Saved))


def test_signature_with_names_that_are_not_there_is_no_obstacle():
    def first(x: "Nowhere") -> Any:  # type: ignore[name-defined]  # noqa: F821
        return x

    assert task(first).name == "first"
    assert entrypoint()(first).invoke(1) == 1
