"""The frontier: which tasks make up the next superstep.

A finished task triggers the targets of its static edges, of its conditional edges and of its
Commands. A node that is triggered several times in one superstep runs once; each `Send` is a task
of its own. A join lets its target through when the last of its sources arrives; a deferred node
waits until nothing else would run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from graphflow.checkpoint.records import Pending
from graphflow.engine.turn import Outcome, Target
from graphflow.graph.plan import Plan
from graphflow.types import END, Send


class Waiting:
    """What has arrived but may not run yet: open joins and deferred nodes."""

    __slots__ = ("arrived", "deferred", "plan")

    def __init__(
        self, plan: Plan, joins: Mapping[str, tuple[str, ...]], deferred: Sequence[str]
    ) -> None:
        self.plan = plan
        self.arrived: dict[int, dict[str, None]] = {}
        self.deferred: dict[str, None] = {}
        if joins:
            names = {join.name: index for index, join in enumerate(plan.joins)}
            self.arrived = {names[n]: dict.fromkeys(joins[n]) for n in joins if n in names}
        if deferred:
            self.deferred = {name: None for name in deferred if name in plan.nodes}

    def keep(self, names: Iterable[str]) -> None:
        """Let nodes wait on that were to run next by a join, or were held back until then."""
        for name in names:
            if name in self.plan.nodes and self.plan.nodes[name].defer:
                self.deferred[name] = None
            for index, join in enumerate(self.plan.joins):
                if join.target == name:
                    self.arrived[index] = dict.fromkeys(join.sources)

    def arrive(self, index: int, source: str) -> None:
        """Note for a join that `source` has finished."""
        self.arrived.setdefault(index, {})[source] = None

    def let_through(self) -> list[str]:
        """Return the targets of the joins that are complete, and begin these anew.

        Asked once a superstep: a source that finishes twice in it arrives once.
        """
        joins = self.plan.joins
        full = [
            index for index, seen in self.arrived.items() if len(seen) == len(joins[index].sources)
        ]
        for index in full:
            del self.arrived[index]
        return [joins[index].target for index in full]

    def hold_back(self, triggered: dict[str, None], others: bool) -> dict[str, None]:
        """Return what may run now of `triggered`; deferred nodes only when nothing else may."""
        nodes = self.plan.nodes
        ready = {name: None for name in triggered if not nodes[name].defer}
        self.deferred.update({name: None for name in triggered if nodes[name].defer})
        if ready or others:
            return ready
        ready, self.deferred = self.deferred, {}
        return ready

    def joins(self) -> dict[str, tuple[str, ...]]:
        """Return the open joins in their stored form."""
        return {self.plan.joins[index].name: tuple(seen) for index, seen in self.arrived.items()}


def next_frontier(plan: Plan, outcomes: Sequence[Outcome], waiting: Waiting) -> list[Pending]:
    """Return the tasks that these outcomes, in their fixed order, lead to."""
    if len(outcomes) == 1 and not (plan.defers or waiting.arrived):
        only = _only_target(outcomes[0])
        if only is not None:
            return [] if only == END else [plan.nodes[only].pending]
    triggered: dict[str, None] = {}
    sends: list[Pending] = []
    for outcome in outcomes:
        node = outcome.task.node
        for name in node.successors:
            if name != END:
                triggered[name] = None
        for index in node.joins:
            waiting.arrive(index, node.name)
        if outcome.targets:
            add_targets(outcome.targets, triggered, sends)
    if waiting.arrived:
        triggered.update({name: None for name in waiting.let_through() if name != END})
    if plan.defers:
        triggered = waiting.hold_back(triggered, bool(sends))
    return ordered(plan, triggered, sends)


def _only_target(outcome: Outcome) -> str | None:
    """Return the one node, or END, that a task leads to; None if there is more to think about."""
    node = outcome.task.node
    ways = len(node.successors) + len(outcome.targets)
    if ways != 1 or node.joins:
        return None
    target = node.successors[0] if node.successors else outcome.targets[0]
    return target if isinstance(target, str) else None


def add_targets(
    targets: Iterable[Target], triggered: dict[str, None], sends: list[Pending]
) -> None:
    """Sort targets into triggered nodes and Sends."""
    for target in targets:
        if isinstance(target, Send):
            sends.append(Pending(target.node, True, target.arg, target.timeout))
        elif target != END:
            triggered[target] = None


def ordered(plan: Plan, triggered: Iterable[str], sends: list[Pending]) -> list[Pending]:
    """Return Sends in their order, then nodes in the order of their declaration."""
    names = list(triggered)
    if len(names) > 1:
        names.sort(key=lambda name: plan.nodes[name].order)
    return [*sends, *[plan.nodes[name].pending for name in names]]
