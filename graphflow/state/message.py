"""One message of a conversation, and the order to remove one.

`Message` is plain frozen data in the shape of OpenAI's chat format: a reducer, a checkpoint codec,
a diff and a notebook all handle it without a model library. `to_openai` and `from_openai` lose
nothing that the wire format can say; the other fields (id, usage, model, finish, meta) are ours and
are never sent.

`HumanMessage`, `AIMessage`, `SystemMessage` and `ToolMessage` are the four roles under the names
LangChain users know: calling one makes a `Message`, and `isinstance(message, AIMessage)` asks for
its role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import urandom
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from graphflow.state.message_parts import Content, Part, ToolCall, Usage, text_of

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]

REMOVE_ALL_MESSAGES = "__remove_all__"

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "tool": "tool",
}
_TYPES = {
    "system": "system",
    "developer": "system",
    "user": "human",
    "assistant": "ai",
    "tool": "tool",
}
_WIRE_FIELDS = frozenset(("role", "content", "name", "tool_calls", "tool_call_id"))
_OWN_FIELDS = _WIRE_FIELDS | {"id", "status", "usage", "model", "finish", "meta"}


def new_message_id() -> str:
    """Returns a random id in the form of a UUID, version 4."""
    d = urandom(16).hex()
    return f"{d[:8]}-{d[8:12]}-4{d[13:16]}-{_VARIANT[d[16]]}{d[17:20]}-{d[20:]}"


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The two bits that every UUID of this kind has, put into a random digit."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Message:
    """One message; lists given as content or tool calls are kept as tuples."""

    role: Role
    """Who speaks; `"human"` and `"ai"` are read as `"user"` and `"assistant"`."""
    content: Content = ""
    """Text, or a tuple of parts in OpenAI's block form."""
    id: str | None = None
    """Identity for `add_messages`; None until it assigns one."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Calls that the assistant asks for."""
    tool_call_id: str | None = None
    """Of a tool message: the call that it answers."""
    name: str | None = None
    """Name of the speaker, or of the tool."""
    status: Literal["ok", "error"] = "ok"
    """Of a tool message: whether the tool failed."""
    usage: Usage | None = None
    """What making this message cost."""
    model: str | None = None
    """The model that wrote it."""
    finish: str | None = None
    """Why the model stopped: `"stop"`, `"length"`, `"tool_calls"`, ..."""
    meta: dict[str, Any] = field(default_factory=dict, hash=False)
    """Anything else; `meta["openai"]` holds wire keys without a field here, sent as they came."""

    def __post_init__(self) -> None:
        """Reads role aliases, lists, and tool calls given as mappings."""
        role = ROLES.get(self.role)
        if role is None:
            raise ValueError(f"Unknown message role {self.role!r}; use one of {sorted(ROLES)}")
        if role is not self.role:
            object.__setattr__(self, "role", role)
        if type(self.content) is not str:
            object.__setattr__(self, "content", _as_content(self.content))
        if self.tool_calls:
            object.__setattr__(self, "tool_calls", tuple(map(ToolCall.of, self.tool_calls)))

    @classmethod
    def user(cls, content: Sequence[Part | str] = "", **fields: Any) -> Message:
        """Makes a message of the person."""
        return cls(role="user", content=_as_content(content), **fields)

    @classmethod
    def assistant(cls, content: Sequence[Part | str] = "", **fields: Any) -> Message:
        """Makes a message of the model."""
        return cls(role="assistant", content=_as_content(content), **fields)

    @classmethod
    def system(cls, content: Sequence[Part | str] = "", **fields: Any) -> Message:
        """Makes an instruction."""
        return cls(role="system", content=_as_content(content), **fields)

    @classmethod
    def tool(
        cls, content: Sequence[Part | str] = "", *, tool_call_id: str, **fields: Any
    ) -> Message:
        """Makes the answer to a tool call."""
        return cls(role="tool", content=_as_content(content), tool_call_id=tool_call_id, **fields)

    @property
    def type(self) -> str:
        """LangChain's name of the role: `"human"`, `"ai"`, `"system"` or `"tool"`."""
        return _TYPES[self.role]

    @property
    def text(self) -> str:
        """The text of the content, other parts left out."""
        return text_of(self.content)

    def with_id(self, id: str) -> Message:
        """Returns the same message under another id."""
        if type(self) is not Message:
            return replace(self, id=id)
        return message_of(
            self.role, self.content, id, self.tool_calls, self.tool_call_id, self.name,
            self.status, self.usage, self.model, self.finish, self.meta,
        )  # fmt: skip

    def __repr__(self) -> str:
        """Shows the fields that say something."""
        fields = {name: getattr(self, name) for name in Message.__slots__}
        shown = {name: value for name, value in fields.items() if value and value != "ok"}
        return f"Message({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def to_openai(self) -> dict[str, Any]:
        """Returns the message as OpenAI's chat format says it; `content` is always there."""
        content = self.content
        wire: dict[str, Any] = {
            "role": self.role,
            "content": content if isinstance(content, str) else [dict(part) for part in content],
        }
        if self.name is not None:
            wire["name"] = self.name
        if self.tool_calls:
            wire["tool_calls"] = [call.to_openai() for call in self.tool_calls]
        if self.tool_call_id is not None:
            wire["tool_call_id"] = self.tool_call_id
        return {**wire, **self.meta.get("openai", {})}

    @classmethod
    def from_openai(cls, wire: Mapping[str, Any]) -> Message:
        """Reads OpenAI's chat format, or this class's own fields.

        What neither knows is kept in `meta["openai"]`, so that
        `Message.from_openai(wire).to_openai() == wire`.
        """
        fields = {key: wire[key] for key in wire if key in _OWN_FIELDS and wire[key] is not None}
        extra = {key: wire[key] for key in wire if _is_extra(key, wire[key])}
        if extra:
            fields["meta"] = {**fields.get("meta", {}), "openai": extra}
        return cls(**fields)

    def pretty_print(self) -> None:
        """Prints the message under a ruler with its role."""
        print(f"{f' {self.type} message ':=^80}\n\n{self._plain()}")

    def _plain(self) -> str:
        calls = [f"-> {call.name}({call.raw or call.args})" for call in self.tool_calls]
        return "\n".join(filter(None, [self.text, *calls]))

    def _repr_markdown_(self) -> str:
        failed = " (error)" if self.status == "error" else ""
        heading = f"**{self.name or self.role}**{failed}"
        calls = [f"- `{call.name}` `{call.raw or call.args}`" for call in self.tool_calls]
        return "\n\n".join(filter(None, [heading, self.text, "\n".join(calls)]))


class _Open:
    """A message whose fields can still be set: the same slots, without the frozen `__setattr__`."""

    __slots__ = Message.__slots__


def message_of(
    role: Role,
    content: Content = "",
    id: str | None = None,
    tool_calls: tuple[ToolCall, ...] = (),
    tool_call_id: str | None = None,
    name: str | None = None,
    status: Literal["ok", "error"] = "ok",
    usage: Usage | None = None,
    model: str | None = None,
    finish: str | None = None,
    meta: dict[str, Any] | None = None,
) -> Message:
    """Returns the message of fields that a message had before, without reading them again.

    Several times faster than `Message(...)`, which sets each field past the frozen class; a
    conversation is read from a checkpoint message by message.
    """
    message: Any = _Open()
    message.role = role
    message.content = content
    message.id = id
    message.tool_calls = tool_calls
    message.tool_call_id = tool_call_id
    message.name = name
    message.status = status
    message.usage = usage
    message.model = model
    message.finish = finish
    message.meta = {} if meta is None else meta
    message.__class__ = Message
    return message  # type: ignore[no-any-return]  # it is one by now


def _is_extra(key: str, value: Any) -> bool:
    """Whether a wire key would be lost: it has no field, or says "nothing" where we say none."""
    return key not in _OWN_FIELDS or (key in _WIRE_FIELDS and value in (None, []))


def _as_content(content: Any) -> Content:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, Mapping):
        return (content,)
    return tuple(
        {"type": "text", "text": part} if isinstance(part, str) else part for part in content
    )


class _RoleType(type):
    """Makes a class stand for the messages of one role."""

    speaker: Role

    def __call__(cls, content: Any = "", **fields: Any) -> Any:
        return Message(role=cls.speaker, content=content, **fields)

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, Message) and value.role == cls.speaker


class _RoleMessage(Message, metaclass=_RoleType):
    __slots__ = ()
    if TYPE_CHECKING:

        def __init__(self, content: Sequence[Part | str] = "", **fields: Any) -> None: ...


class HumanMessage(_RoleMessage):
    """A message with role `"user"`."""

    __slots__ = ()
    speaker = "user"


class AIMessage(_RoleMessage):
    """A message with role `"assistant"`."""

    __slots__ = ()
    speaker = "assistant"


class SystemMessage(_RoleMessage):
    """A message with role `"system"`."""

    __slots__ = ()
    speaker = "system"


class ToolMessage(_RoleMessage):
    """A message with role `"tool"`; give it `tool_call_id`."""

    __slots__ = ()
    speaker = "tool"


@dataclass(frozen=True, slots=True)
class RemoveMessage:
    """An order to `add_messages`: take the message with this id out of the list."""

    id: str
    """Id of the message, or `REMOVE_ALL_MESSAGES` for everything before this order."""

    @property
    def type(self) -> str:
        """Always `"remove"`."""
        return "remove"
