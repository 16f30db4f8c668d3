"""What one `import` costs, counted by an interpreter that does nothing else."""

import json
import subprocess
import sys

from .case import Case, Figures, Group
from .library import Library

HEAVY = ("litellm", "openai", "networkx", "pydantic")
HOME = {"graphflow": "graphflow", "LangGraph": "langgraph.graph"}
PROBE = """
import sys, time
{statement}
cpu = time.process_time()
import json
status = open("/proc/self/status").read() if sys.platform == "linux" else "VmRSS: 0"
print(json.dumps([cpu, status.split("VmRSS:")[1].split()[0], sorted(sys.modules)]))
"""


def importing(lib: Library, _: int) -> Figures:
    """`import graphflow` against `import langgraph.graph`, the interpreter's own start included."""
    return probe(f"import {HOME[lib.name]}")


def importing_names(lib: Library, _: int) -> Figures:
    """The names that a first graph needs: graphflow loads a name when it is asked for."""
    names = "StateGraph, START, END, MessagesState, add_messages"
    return probe(f"from {HOME[lib.name]} import {names}")


def bare(_: int) -> Figures:
    """The interpreter alone."""
    return probe("")


def probe(statement: str) -> Figures:
    """Runs a statement in a new interpreter; the second of two, which finds compiled modules."""
    command = [sys.executable, "-c", PROBE.format(statement=statement)]
    for _ in range(2):
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, kilobytes, modules = json.loads(out)
    return {
        "ms CPU": seconds * 1000,
        "MB resident": int(kilobytes) / 1000,
        "modules": len(modules),
        f"of {', '.join(HEAVY)} loaded": len(set(HEAVY) & set(modules)),
    }


IMPORT = Group(
    "Import",
    (
        Case("import.package", importing, (1,), bare),
        Case("import.names", importing_names, (1,), bare),
    ),
)
