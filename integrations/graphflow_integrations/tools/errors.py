"""What goes wrong in a tool call before the tool runs."""

from __future__ import annotations


class InvalidToolArguments(ValueError):
    """The model gave a tool arguments that do not fit its parameters; the text says which."""

    def __init__(self, tool: str, problems: str) -> None:
        super().__init__(f"Invalid arguments for tool '{tool}': {problems}")
        self.tool = tool
