"""The command that removes checkpoints and threads that nobody wants any more."""

from __future__ import annotations

import argparse
from time import time

from graphflow.checkpoint.checkpointer import Checkpointer
from graphflow.checkpoint.retention import DAY, Keep, Pruned, prune, prune_all
from graphflow.errors import UnknownCheckpointError
from graphflow_integrations.stores.printing import counted, progress, say, say_json


def prune_(store: Checkpointer, options: argparse.Namespace) -> int:
    """Prune some threads, or all of them."""
    keep = Keep(options.last, _seconds(options.days), options.interrupts, None)
    limit = _seconds(options.threads_days)
    if keep == Keep() and limit is None:
        raise ValueError("Say what is kept: --last, --days, --interrupts or --threads-days.")
    if keep == Keep():
        keep = Keep(age=float("inf"))
    total = Pruned()
    if options.threads:
        _check_known(store, options.threads)
        for name in progress(options.threads, "Pruning"):
            total = total.plus(store.run(prune(store, name, keep, time())))
    else:
        total = store.run(prune_all(store, keep, time(), threads_older_than=limit))
    if options.json:
        say_json(total._asdict())
    else:
        removed = [counted(total.checkpoints, "checkpoint")]
        if total.threads:
            removed.append(counted(total.threads, "thread"))
        say(f"{' and '.join(removed)} removed, {counted(total.bytes, 'byte')} less in what is left")
    return 0


def _seconds(days: float | None) -> float | None:
    return None if days is None else days * DAY


def _check_known(store: Checkpointer, names: list[str]) -> None:
    for name in names:
        if not store.run(store.scopes(name)):
            raise UnknownCheckpointError(f"The store has no thread {name!r}; nothing was removed.")
