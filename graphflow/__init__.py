"""graphflow: agents and workflows as state graphs.

    from graphflow import StateGraph, START, END

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphflow.checkpoint.checkpointer import Checkpointer as Checkpointer
    from graphflow.checkpoint.memory import MemoryCheckpointer as MemoryCheckpointer
    from graphflow.checkpoint.registry import storable as storable
    from graphflow.checkpoint.registry import upcast as upcast
    from graphflow.compiled import CompiledStateGraph as CompiledStateGraph
    from graphflow.errors import *  # noqa: F403  # re-exported below by name
    from graphflow.functional import entrypoint as entrypoint
    from graphflow.functional import task as task
    from graphflow.injection import ExecutionInfo as ExecutionInfo
    from graphflow.injection import Runtime as Runtime
    from graphflow.injection import get_runtime as get_runtime
    from graphflow.pushing import push_message as push_message
    from graphflow.runtime import RunControl as RunControl
    from graphflow.runtime import get_config as get_config
    from graphflow.runtime import get_store as get_store
    from graphflow.runtime import get_stream_writer as get_stream_writer
    from graphflow.runtime import interrupt as interrupt
    from graphflow.state.channels import EphemeralValue as EphemeralValue
    from graphflow.state.channels import UntrackedValue as UntrackedValue
    from graphflow.state.messages import *  # noqa: F403  # re-exported below by name
    from graphflow.state.schema import IsLastStep as IsLastStep
    from graphflow.state.schema import RemainingSteps as RemainingSteps
    from graphflow.state_graph import StateGraph as StateGraph
    from graphflow.types import *  # noqa: F403  # re-exported below by name
    from graphflow.upgrading import Upgrade as Upgrade

__version__ = "0.1.0"

_HOMES = {
    "graphflow.state_graph": "StateGraph",
    "graphflow.compiled": "CompiledStateGraph",
    "graphflow.types": (
        "START END Command Send Interrupt Overwrite RetryPolicy TimeoutPolicy StateSnapshot "
        "StateUpdate PregelTask GraphOutput NodeError StreamMode StreamWriter Durability "
        "RunnableConfig"
    ),
    "graphflow.functional": "entrypoint task",
    "graphflow.runtime": "interrupt RunControl get_config get_store get_stream_writer",
    "graphflow.injection": "Runtime ExecutionInfo get_runtime",
    "graphflow.state.messages": (
        "Message MessageChunk HumanMessage AIMessage SystemMessage ToolMessage ToolCall Usage "
        "AnyMessage RemoveMessage REMOVE_ALL_MESSAGES MessagesState add_messages"
    ),
    "graphflow.pushing": "push_message",
    "graphflow.state.schema": "IsLastStep RemainingSteps",
    "graphflow.state.channels": "UntrackedValue EphemeralValue",
    "graphflow.checkpoint.memory": "MemoryCheckpointer InMemorySaver MemorySaver",
    "graphflow.thread": "Thread RunResult",
    "graphflow.upgrading": "Upgrade",
    "graphflow.memory": "BaseStore InMemoryStore Item SearchItem InvalidNamespaceError",
    "graphflow.cache": "BaseCache InMemoryCache CachePolicy",
    "graphflow.checkpoint.checkpointer": "Checkpointer",
    "graphflow.checkpoint.registry": "storable upcast",
    "graphflow.checkpoint.codec_errors": "CodecError NotStorable UnknownType CorruptData",
    "graphflow.errors": (
        "InvalidUpdateError GraphRecursionError EmptyInputError GraphWarning NodeCancelledError "
        "NodeTimeoutError DriftError "
        "SwallowedInterruptError CheckpointError CorruptCheckpointError ForeignDatabaseError "
        "StoreTooNewError StoreFullError StoreUnavailableError StoreUnsafeError "
        "UnknownCheckpointError CheckpointConflict HeadMoved ThreadBusy Fenced "
        "AlreadyAnswered UnknownInterruptError GraphSignal GraphInterrupt GraphDrained "
        "ParentCommand is_invalid_resume"
    ),
}
_WHERE = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'graphflow' has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
