"""The journal: a line of JSON for everything the demo did that cost something or left a trace.

    {"event": "asked", "node": "summarise", "what": "3 README.md > Install"}
    {"event": "kept",  "node": "summarise", "what": "3 README.md > Install"}
    {"event": "wrote", "node": "publish",   "what": "graphflow-demo/brief.md"}

`asked` stands before a model call, `kept` after its result was committed (with durability `sync`),
`wrote` after a file was put in its place. A line is appended whole by one system call, so that a
kill cannot tear it; after a kill, `asked` without `kept` is what was in flight.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

Happening = Literal["asked", "kept", "wrote"]


class Journal:
    """Appends to a file.

    Args:
        path: The file; made with its folder if there is none.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

    def note(self, event: Happening, node: str, what: str) -> None:
        """Append one line; the operating system has it when this returns."""
        line = json.dumps({"event": event, "node": node, "what": what}, ensure_ascii=False) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)


def write_once(path: Path, text: str) -> bool:
    """Put a file in its place in one move; one that reads so already is left alone.

    Returns:
        Whether anything was written.
    """
    content = text.encode()
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    return True
