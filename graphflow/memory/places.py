"""Where an item is: a namespace, that is a path of labels, and a key in it.

Labels hold no dot, so that a path can be written, compared and searched as one text.
"""

from __future__ import annotations

from typing import Any

Namespace = tuple[str, ...]
"""`("users", "42", "facts")`."""
WILDCARD = "*"
"""Stands for any one label where namespaces are listed."""


class InvalidNamespaceError(ValueError):
    """A namespace is not a tuple of labels."""


def check_place(namespace: Any, key: Any) -> None:
    """Refuse what no item can be stored under.

    Raises:
        InvalidNamespaceError: The namespace is no tuple of labels, or empty.
        TypeError: The key is no text.
        ValueError: The key is no valid Unicode.
    """
    check_labels(namespace)
    if not namespace:
        raise InvalidNamespaceError("A namespace has at least one label, like ('memories',).")
    if not isinstance(key, str):
        raise TypeError(f"A key is a str, not {key!r} in namespace {namespace!r}.")
    if not _is_unicode(key):
        raise ValueError(f"The key {key!r} has surrogates that no text file can hold.")


def check_labels(namespace: Any) -> None:
    """Refuse a path, perhaps an empty one, that is no tuple of labels.

    Raises:
        InvalidNamespaceError: It is none.
    """
    if not isinstance(namespace, tuple):
        fix = f"({namespace!r},)" if isinstance(namespace, str) else "a tuple of str"
        raise InvalidNamespaceError(f"{namespace!r} is no namespace: write {fix}.")
    for label in namespace:
        if problem := _problem(label):
            raise InvalidNamespaceError(f"Label {label!r} of namespace {namespace!r} {problem}.")


def _problem(label: Any) -> str | None:
    if not isinstance(label, str):
        return "is not a str"
    if not label:
        return "is empty"
    if "." in label:
        return "has a dot; dots separate labels where a namespace is written as one text"
    return None if _is_unicode(label) else "has surrogates that no text file can hold"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fits(namespace: Namespace, kind: str, path: Namespace) -> bool:
    """Tell whether a namespace begins (`kind` "prefix") or ends ("suffix") with a path."""
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if kind == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in (WILDCARD, label) for wanted, label in zip(path, part, strict=True))
