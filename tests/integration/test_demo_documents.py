"""The demo's documents: how texts become sections."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphflow_integrations.demo.documents import (
    MOST_WORDS,
    Document,
    UnreadableDocumentError,
    project_paths,
    read_documents,
    split_sections,
)

PROSE = "The tide rises and falls twice a day because the moon pulls at the sea. " * 2


def titles(text: str) -> list[str]:
    return [section.title for section in split_sections([Document("notes.md", text)])]


def test_headings_of_the_first_two_levels_start_sections() -> None:
    text = f"# One\n{PROSE}\n## Two\n{PROSE}\n### Deeper\n{PROSE}\n## Three ##\n{PROSE}"
    assert titles(text) == ["One", "Two", "Three"]


def test_underlined_headings_start_sections() -> None:
    assert titles(f"One\n===\n\n{PROSE}\n\nTwo\n---\n\n{PROSE}") == ["One", "Two"]


def test_a_rule_under_a_paragraph_is_no_heading() -> None:
    assert titles(f"# One\n\n{PROSE}\nlast line\n---\n\n{PROSE}") == ["One"]


def test_a_comment_in_a_code_block_is_no_heading() -> None:
    assert titles(f"# One\n{PROSE}\n```sh\n# install it\n```\n{PROSE}") == ["One"]


def test_a_section_without_enough_prose_joins_the_one_before() -> None:
    sections = split_sections(
        [Document("a", f"# One\n{PROSE}\n## Table\n| x | y |\n## Two\n{PROSE}")]
    )
    assert [section.title for section in sections] == ["One", "Two"]
    assert "| x | y |" in sections[0].text


def test_a_thin_opening_joins_the_first_section() -> None:
    sections = split_sections([Document("a", f"# Title\nA tagline.\n## One\n{PROSE}")])
    assert [section.title for section in sections] == ["One"]
    assert sections[0].text.startswith("A tagline.")


def test_a_short_document_is_one_section() -> None:
    assert titles("# Note\n\nBuy oranges.") == ["Note"]


def test_a_document_without_prose_has_no_sections() -> None:
    assert titles("# Code\n\n```\nx = 1\n```\n") == []


def test_a_long_text_without_headings_is_cut_between_paragraphs() -> None:
    text = "\n\n".join([PROSE] * 60)
    sections = split_sections([Document("book.txt", text)])
    assert [section.title for section in sections] == [
        f"book.txt ({number} of 3)" for number in (1, 2, 3)
    ]
    assert max(len(section.text.split()) for section in sections) <= MOST_WORDS
    assert "".join("".join(s.text for s in sections).split()) == "".join(text.split())


def test_sections_are_numbered_over_all_documents() -> None:
    sections = split_sections([Document("a", PROSE), Document("b", PROSE)])
    assert [(section.place, section.label) for section in sections] == [(0, "a"), (1, "b")]


def test_files_that_share_a_name_are_called_by_their_path(tmp_path: Path) -> None:
    paths = [tmp_path / "x" / "notes.md", tmp_path / "y" / "notes.md", tmp_path / "other.md"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(PROSE)
    names = [document.name for document in read_documents([*paths, paths[0]])]
    assert names == [str(paths[0]), str(paths[1]), "other.md"]


def test_a_folder_is_refused_with_the_command_to_use(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocumentError, match=r"is a folder.*\*\.md"):
        read_documents([tmp_path])


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    with pytest.raises(UnreadableDocumentError, match="not UTF-8 text"):
        read_documents([tmp_path / "picture.png"])


def test_the_project_brings_documents_of_its_own() -> None:
    assert "README.md" in {path.name for path in project_paths()}
