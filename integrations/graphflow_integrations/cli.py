"""The command line: `graphflow COMMAND …`.

Each command is a module that adds its own parser; what it needs is imported when it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import cast

from graphflow import __version__
from graphflow_integrations.demo import command as demo
from graphflow_integrations.stores import command as stores


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="graphflow", description="Agents and workflows as state graphs."
    )
    parser.add_argument("--version", action="version", version=f"graphflow {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    demo.add_to(commands)
    stores.add_to(commands)
    options = parser.parse_args(arguments)
    try:
        return cast(int, options.run(options))
    except BrokenPipeError:  # `graphflow … | head`: stay silent, also when Python flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
