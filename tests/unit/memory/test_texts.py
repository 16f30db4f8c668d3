"""The texts of a value at a path."""

from __future__ import annotations

import pytest

from graphflow.memory.texts import texts_of

VALUE = {
    "text": "hello",
    "n": 3,
    "none": None,
    "blank": "  ",
    "user": {"name": "Ada"},
    "tags": ["x", "y", "x"],
    "notes": [{"text": "one"}, {"text": "two"}, {"other": 1}],
}


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("text", ["hello"]),
        ("n", ["3"]),
        ("user.name", ["Ada"]),
        ("$.user.name", ["Ada"]),
        ("user", ['{"name": "Ada"}']),
        ("tags[*]", ["x", "y"]),
        ("tags[1]", ["y"]),
        ("tags[-1]", ["x"]),
        ("tags[9]", []),
        ("notes[*].text", ["one", "two"]),
        ("notes[0].text", ["one"]),
        ("none", []),
        ("blank", []),
        ("absent", []),
        ("text.deeper", []),
        ("text[0]", []),
    ],
)
def test_a_path_leads_to_texts(path: str, texts: list[str]) -> None:
    assert texts_of(VALUE, [path]) == texts


def test_the_whole_value_is_one_text() -> None:
    assert texts_of({"a": "ü", "b": [1]}, ["$"]) == ['{"a": "ü", "b": [1]}']


def test_keys_that_json_has_not_are_told_somehow() -> None:
    assert texts_of({"a": {(1, 2): "x"}}, ["$"]) == ["{'a': {(1, 2): 'x'}}"]


def test_several_paths_give_each_text_once() -> None:
    assert texts_of(VALUE, ["text", "tags[*]", "text"]) == ["hello", "x", "y"]
