"""What the hash of a thread says.

    thread               [format, microseconds since the epoch, id]; absent: no branch is made yet
    made                 how many branches were made; who removes a thread looks whether it changed
    next:SCOPE           the next free ordinal
    branch:[SCOPE,NAME]  ordinal: given to a branch that is about to be made
                         [ordinal, number, parent's number, parent_seq]: a branch
    NUMBER               the head of a branch
    NUMBER+              there when its open superstep has rows
    tag:…, was:…         see `redis_tags`

Texts are JSON in ASCII, so that any text is a name. Numbers of branches are hexadecimal.
"""

from __future__ import annotations

import json
from typing import Any, Final

from graphflow.checkpoint.protocol import Branch
from graphflow.errors import StoreTooNewError
from graphflow_checkpointers.redis_entries import Fields
from graphflow_checkpointers.redis_names import field_of, numbered_branch

FORMAT: Final = 1
"""Version of what is kept, here and elsewhere."""
_BRANCH: Final = b"branch:"


def branch_field(scope: str, name: str) -> bytes:
    """Return where a branch stands."""
    return _BRANCH + _written([scope, name])


def next_field(scope: str) -> bytes:
    """Return where the next ordinal of a scope stands."""
    return b"next:" + _written(scope)


def record_of(branch: Branch) -> bytes:
    """Return what stands there of a branch; its head stands elsewhere."""
    number = field_of(branch.id).decode()
    parent = None if branch.parent is None else field_of(branch.parent).decode()
    return _written([branch.ordinal, number, parent, branch.parent_seq])


def cut_off(fields: Fields, branch: int) -> tuple[bytes, bytes]:
    """Return where a branch stands, and what stands there when it continues no other any more.

    Two empty texts if there is no such branch.
    """
    number = field_of(branch).decode()
    for field, record in fields.items():
        if field.startswith(_BRANCH) and record.startswith(b"["):
            ordinal, known, *_ = json.loads(record)
            if known == number:
                return field, _written([ordinal, number, None, -1])
    return b"", b""


def written_name(thread: str) -> bytes:
    """Return a thread's id as it stands in `thread`."""
    return _written(thread)


def name_and_birth(fact: bytes, address: str) -> tuple[str, int]:
    """Return a thread's id, and when it was made, from what stands in `thread`.

    Raises:
        StoreTooNewError: A newer graphflow made it.
    """
    version, *known = json.loads(fact)
    if version > FORMAT:
        raise StoreTooNewError(
            f"{address} has threads in format {version}, this graphflow knows up to {FORMAT}. "
            "Nothing was written to them; upgrade graphflow."
        )
    born, name = known
    return name, born


def branches_in(fields: Fields, tag: int, scope: str, address: str) -> list[Branch]:
    """Return the branches of a scope by ordinal.

    Raises:
        StoreTooNewError: A newer graphflow made the thread.
    """
    if b"thread" in fields:
        name_and_birth(fields[b"thread"], address)
    found = []
    for field, record in fields.items():
        if field.startswith(_BRANCH) and record.startswith(b"["):
            of, name = json.loads(field[len(_BRANCH) :])
            if of == scope:
                found.append(_branch(fields, tag, name, *json.loads(record)))
    return sorted(found, key=lambda branch: branch.ordinal)


def scopes_in(fields: Fields) -> list[str]:
    """Return the scopes that have branches, sorted."""
    return sorted(
        {
            json.loads(field[len(_BRANCH) :])[0]
            for field, record in fields.items()
            if field.startswith(_BRANCH) and record.startswith(b"[")
        }
    )


def _branch(
    fields: Fields, tag: int, name: str, ordinal: int, number: str, parent: Any, parent_seq: int
) -> Branch:
    origin = None if parent is None else numbered_branch(tag, int(parent, 16))
    identity = numbered_branch(tag, int(number, 16))
    return Branch(identity, ordinal, name, origin, parent_seq, int(fields[number.encode()]))


def all_numbers(fields: Fields, tag: int) -> list[int]:
    """Return the numbers of the branches of all scopes."""
    return [
        numbered_branch(tag, int(json.loads(record)[1], 16))
        for field, record in fields.items()
        if field.startswith(_BRANCH) and record.startswith(b"[")
    ]


def has_rows(fields: Fields, branch: int) -> bool:
    """Tell whether the open superstep of a branch has rows."""
    return field_of(branch) + b"+" in fields


def _written(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
