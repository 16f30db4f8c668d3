"""Documents cut into sections, each small enough to be summarised by itself.

A heading of the first or second level starts a section; a text without headings is cut between
paragraphs. What has too little prose to summarise (a title, a table, a block of code) stays with
the section before it. The same documents always give the same sections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from graphflow_integrations.summariser import split_sentences

LEAST_WORDS = 25
"""Words of prose below which a part is no section of its own."""
MOST_WORDS = 800
"""Words above which a part is cut."""
_HEADING = re.compile(r"^#{1,2}\s+(?P<title>.+?)\s*#*\s*$")
_UNDERLINE = re.compile(r"^(?:={3,}|-{3,})\s*$")
_FENCE = re.compile(r"^\s*(?:```|~~~)")


class UnreadableDocumentError(Exception):
    """A file that the demo cannot use; the text says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text with a name to call it by."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a document."""

    place: int
    """Number among all sections, from 0."""
    document: str
    """Name of the document."""
    title: str
    text: str

    @property
    def label(self) -> str:
        """What people see: document and title."""
        return self.document if self.title == self.document else f"{self.document} > {self.title}"


@dataclass(frozen=True, slots=True)
class _Part:
    title: str
    text: str

    @property
    def words(self) -> int:
        return sum(len(sentence.text.split()) for sentence in split_sentences(self.text))

    def with_more(self, text: str) -> _Part:
        return _Part(self.title, f"{self.text}\n\n{text}")


def read_documents(paths: Sequence[Path]) -> list[Document]:
    """Read text files; a name that two of them share is replaced by the whole path.

    Raises:
        UnreadableDocumentError: A file is missing, a folder, or no UTF-8 text.
    """
    names = [path.name for path in paths]
    return [
        Document(str(path) if names.count(path.name) > 1 else path.name, _read(path))
        for path in dict.fromkeys(paths)
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except IsADirectoryError:
        raise UnreadableDocumentError(
            f"{path} is a folder. Name the files in it: graphflow demo {path}/*.md"
        ) from None
    except UnicodeDecodeError:
        raise UnreadableDocumentError(
            f"{path} is not UTF-8 text. The demo reads text and Markdown files."
        ) from None
    except OSError as error:
        raise UnreadableDocumentError(f"Cannot read {path}: {error.strerror}.") from None


_OWN = ("README.md", "docs/architecture.md", "docs/people.md", "docs/time.md")


def project_paths() -> list[Path]:
    """Return some of graphflow's own docs: those in the wheel, else those of the repository."""
    packed = Path(__file__).with_name("project_docs")
    root = packed if packed.is_dir() else Path(__file__).parents[3]
    return [root / name for name in _OWN if (root / name).is_file()]


def split_sections(documents: Iterable[Document]) -> list[Section]:
    """Return the sections of all documents, in order; a document without prose has none."""
    places = count()
    return [
        Section(next(places), document.name, part.title, part.text.strip())
        for document in documents
        for whole in _worth_reading(_parts(document))
        for part in _cut(whole)
    ]


def _parts(document: Document) -> Iterator[_Part]:
    """Yield what stands under each heading; headings inside code blocks are none."""
    title, lines, in_code = document.name, list[str](), False
    for line in document.text.splitlines():
        in_code ^= bool(_FENCE.match(line))
        heading = None if in_code else _heading(line, lines)
        if heading is None:
            lines.append(line)
        else:
            yield _Part(title, "\n".join(lines))
            title, lines = heading, []
    yield _Part(title, "\n".join(lines))


def _heading(line: str, before: list[str]) -> str | None:
    """Return the title that a line makes; an underline takes the title from the line before it."""
    if found := _HEADING.match(line):
        return found["title"].strip("*_`")
    stands_alone = len(before) == 1 or (len(before) > 1 and not before[-2].strip())
    if _UNDERLINE.match(line) and stands_alone and before[-1].strip():
        return before.pop().strip()
    return None


def _worth_reading(parts: Iterable[_Part]) -> list[_Part]:
    """Return the parts with the thin ones joined to the part before them, or to the first."""
    kept: list[_Part] = []
    thin: list[_Part] = []
    for part in parts:
        if part.words >= LEAST_WORDS:
            kept.append(part)
        elif kept:
            kept[-1] = kept[-1].with_more(part.text)
        else:
            thin.append(part)
    if kept:
        opening = "\n\n".join(part.text for part in thin)
        return [_Part(kept[0].title, f"{opening}\n\n{kept[0].text}"), *kept[1:]]
    whole = _Part(thin[-1].title, "\n\n".join(part.text for part in thin))
    return [whole] if whole.words else []


def _cut(part: _Part) -> list[_Part]:
    if len(part.text.split()) <= MOST_WORDS:
        return [part]
    pieces = _gathered(_breakable(part.text))
    return [
        _Part(f"{part.title} ({number} of {len(pieces)})", piece)
        for number, piece in enumerate(pieces, 1)
    ]


def _breakable(text: str) -> Iterator[str]:
    """Yield the paragraphs with their ends; one that is too long comes line by line."""
    for paragraph in re.split(r"(?<=\n)\s*\n", text):
        is_long = len(paragraph.split()) > MOST_WORDS
        yield from paragraph.splitlines(keepends=True) if is_long else (paragraph,)
        yield "\n"


def _gathered(texts: Iterable[str]) -> list[str]:
    pieces = [""]
    room = MOST_WORDS
    for text in texts:
        size = len(text.split())
        if size > room and pieces[-1]:
            pieces.append("")
            room = MOST_WORDS
        pieces[-1] += text
        room -= size
    return pieces
