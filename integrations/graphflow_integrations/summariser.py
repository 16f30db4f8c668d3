"""A small extractive summariser: it quotes the sentences that say most, and invents nothing.

A sentence scores by how frequent its words are in the whole text (stop words aside) and by where it
stands; each pick lowers the worth of the words it used, so that the next pick says something else
(the idea of SumBasic). Picks are given back in the order of the text. The same text always gives
the same summary.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

STOP_WORDS: Final = frozenset(
    """a about above after again against all also am an and any are as at be because been before
    being below between both but by can cannot could did do does doing down during each even ever
    few for from further get had has have having he her here hers him his how however i if in into
    is it its itself just last like made make many may me might more most much must my never new no
    nor not now of off often on once one only or other our out over own per same see she should
    since so some still such than that the their them then there these they this those through thus
    to too two under until up upon us use used using very was way we well were what when where
    which while who whom why will with within without would you your""".split()  # noqa: SIM905
)
_ABBREVIATIONS: Final = frozenset(
    "dr mr mrs ms prof st vs etc e.g i.e eg ie fig no nos vol inc ltd co approx ca cf al jr".split()  # noqa: SIM905
)
_CONNECTIVE = re.compile(
    r"^(?:however|moreover|furthermore|therefore|thus|in addition|also|but|and|so|still|then"
    r"|besides|nevertheless|consequently|as a result|for example|for instance),?\s+(?=\w)",
    re.IGNORECASE,
)
_LEANS_BACK = re.compile(r"^(?:this|that|these|those|it|they|he|she|such)\b", re.IGNORECASE)
_END_OF_SENTENCE = re.compile(
    r"[.!?\u2026]+[\"')\]\u201d\u2019]*\s+(?=[\"'(\[\u201c\u2018]?[A-Z\u00c0-\u00de0-9])"
)
_LIST_ITEM = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a text."""

    text: str
    place: int
    """Number in the text, from 0."""
    opens: bool
    """Whether it is the first of its paragraph."""

    @property
    def words(self) -> list[str]:
        """The content words, in lower case and without a plural s."""
        return content_words(self.text)


def content_words(text: str) -> list[str]:
    """Returns the words that carry meaning, in lower case and without a plural s."""
    found = re.findall(r"[^\W\d_][\w'\u2019-]+|\d[\d.,%]*\d%?|\d", text.lower())
    return [_stem(word.rstrip("'\u2019-")) for word in found if word not in STOP_WORDS]


def _stem(word: str) -> str:
    word = word.removesuffix("'s").removesuffix("\u2019s")
    plural = len(word) > 4 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if plural else word


def strip_markdown(text: str) -> str:
    """Returns the plain prose of a markdown text: no code blocks, tables, marks or addresses."""
    text = re.sub(r"^(```|~~~).*?^\1[^\n]*$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^\s*\|.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"<[^>\s][^>]*>", "", text)
    text = re.sub(r"(\*\*|__|`)(.+?)\1", r"\2", text)
    text = re.sub(r"(?<!\w)[*_]([^*_\n]+)[*_](?!\w)", r"\1", text)
    return re.sub(r"^\s*>\s?", "", text, flags=re.MULTILINE)


def split_sentences(text: str) -> list[Sentence]:
    """Returns the sentences of a markdown or plain text; headings are left out."""
    sentences: list[Sentence] = []
    for paragraph in _paragraphs(strip_markdown(text)):
        for number, part in enumerate(_split_paragraph(paragraph)):
            sentences.append(Sentence(part, len(sentences), opens=number == 0))
    return sentences


def _paragraphs(text: str) -> Iterable[str]:
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        ends = not line.strip() or line.startswith("#") or _LIST_ITEM.match(line)
        if ends and lines:
            yield " ".join(lines)
            lines = []
        if line.strip() and not line.startswith("#"):
            lines.append(_LIST_ITEM.sub("", line).strip())


def _split_paragraph(paragraph: str) -> Iterable[str]:
    start = 0
    for end in _END_OF_SENTENCE.finditer(paragraph):
        before = paragraph[start : end.start()].rsplit(None, 1)[-1:] or [""]
        word = before[0].lower().lstrip("(\"'")
        initial = len(word) == 1 and word.isalpha()
        if paragraph[end.start()] != "." or not (word in _ABBREVIATIONS or initial):
            yield paragraph[start : end.end()].strip()
            start = end.end()
    if paragraph[start:].strip():
        yield paragraph[start:].strip()


def pick_sentences(
    sentences: list[Sentence],
    count: int,
    *,
    words: int | None = None,
    boosted: Collection[str] = (),
    avoided: Collection[str] = (),
) -> list[Sentence]:
    """Returns the sentences that say most, in the order of the text.

    Args:
        sentences: All sentences of one text.
        count: How many to pick at most.
        words: How many words the picks may have together.
        boosted: Content words that make a sentence worth three times as much.
        avoided: Content words that rule a sentence out, unless nothing else is left.
    """
    allowed = [s for s in sentences if not set(s.words) & set(avoided)] or sentences
    room = sum(map(_size, allowed)) if words is None else words
    worth = _word_worth(sentences)
    picked: list[Sentence] = []
    while len(picked) < count and (fitting := [s for s in allowed if _size(s) <= room]):
        best = max(fitting, key=lambda s: (_score(s, worth, boosted), -s.place))
        allowed = [sentence for sentence in fitting if sentence is not best]
        room -= _size(best)
        picked.append(best)
        worth.update({word: worth[word] ** 2 for word in best.words})
    return sorted(picked, key=lambda sentence: sentence.place)


def _size(sentence: Sentence) -> int:
    return len(sentence.text.split())


def _word_worth(sentences: list[Sentence]) -> dict[str, float]:
    counts = Counter(word for sentence in sentences for word in sentence.words)
    most = max(counts.values(), default=1)
    return {word: 0.2 + 0.7 * count / most for word, count in counts.items()}


def _score(sentence: Sentence, worth: dict[str, float], boosted: Collection[str]) -> float:
    words = set(sentence.words)
    if not words:
        return 0.0
    score: float = sum(worth[word] for word in words) / (len(words) + 4) ** 0.6
    score *= 1.5 if sentence.place == 0 else 1.15 if sentence.opens else 1.0
    score *= 0.75 if _LEANS_BACK.match(sentence.text) else 1.0
    score *= 0.5 if sentence.text.endswith(("?", ":")) else 1.0
    return score * 3 if words & set(boosted) else score


def quote(picked: list[Sentence]) -> list[str]:
    """Returns the sentences as text; a connective that has lost what it connects to is cut."""
    chosen = {sentence.place for sentence in picked}
    return [
        sentence.text if sentence.place - 1 in chosen else _without_connective(sentence.text)
        for sentence in picked
    ]


def _without_connective(text: str) -> str:
    rest = _CONNECTIVE.sub("", text)
    return text if rest == text else rest[:1].upper() + rest[1:]


def summarise(
    text: str,
    *,
    sentences: int = 3,
    words: int | None = None,
    boosted: Collection[str] = (),
    avoided: Collection[str] = (),
) -> list[str]:
    """Returns the sentences of `text` that say most, within a budget of sentences and words.

    When not even one sentence fits into `words`, the best one is cut and ends with `…`.
    """
    found = split_sentences(text)
    picked = pick_sentences(found, sentences, words=words, boosted=boosted, avoided=avoided)
    if picked:
        return quote(picked)
    best = pick_sentences(found, 1, boosted=boosted, avoided=avoided)
    return [_cut(text, words or 1) for text in quote(best)]


def _cut(text: str, words: int) -> str:
    return " ".join(text.split()[:words]).rstrip(",;:.") + "…"
