"""The command that tells which threads could not go on with a new version of their program."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import Any

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.compiled import CompiledStateGraph
from graphflow.reading import Reader
from graphflow.upgrading import Difference, differences
from graphflow_integrations.stores.printing import counted, progress, say, say_json, say_table

DONE, FAILED = 0, 1


def check_upgrade(store: Checkpointer, options: argparse.Namespace) -> int:
    """Compare every thread with a graph; no node runs."""
    app = graph_named(options.graph)
    reader = Reader(app.plan, store, app.codec)
    names = options.threads or store.run(store.threads())
    found: list[Difference] = []
    for name in progress(names, "Comparing"):

        def plan_of(scope: str) -> Any:
            return reader.declared(scope) if scope else app.plan

        found += store.run(differences(plan_of, store, app.codec, name))
    problems = [difference for difference in found if difference.is_problem]
    if options.json:
        say_json([difference._asdict() for difference in found])
    else:
        shown = found if options.all else problems
        if shown:
            say_table(
                ("thread", "scope", "branch", "difference"),
                [(each.thread, each.scope, each.branch, each.what) for each in shown],
            )
        say(f"{counted(len(names), 'thread')} compared, {counted(len(problems), 'problem')}")
    return FAILED if problems else DONE


def graph_named(place: str) -> CompiledStateGraph:
    """Return the compiled graph that `module:name` names; modules of this folder are found.

    Raises:
        ValueError: There is no such module or name, or it is no compiled graph.
    """
    module, _, name = place.partition(":")
    if not name:
        raise ValueError(f"{place!r} names no graph: write module:name, as in shop.flows:app.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{place!r} names no graph: {error}.") from error
    if not isinstance(found, CompiledStateGraph):
        raise ValueError(f"{place!r} is a {type(found).__name__}, not a compiled graph.")
    found.register_types()
    return found
