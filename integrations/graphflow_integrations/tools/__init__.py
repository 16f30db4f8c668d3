"""Tools: functions that a model may ask for, and the node that runs them."""

from graphflow_integrations.tools.calls import tools_condition
from graphflow_integrations.tools.errors import InvalidToolArguments
from graphflow_integrations.tools.injected import (
    InjectedState,
    InjectedStore,
    InjectedToolCallId,
    ToolRuntime,
)
from graphflow_integrations.tools.node import ToolNode
from graphflow_integrations.tools.schema import tool_schema
from graphflow_integrations.tools.tool import Tool, tool

__all__ = [
    "InjectedState",
    "InjectedStore",
    "InjectedToolCallId",
    "InvalidToolArguments",
    "Tool",
    "ToolNode",
    "ToolRuntime",
    "tool",
    "tool_schema",
    "tools_condition",
]
