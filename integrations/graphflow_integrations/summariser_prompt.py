"""What the local summariser is asked for, read out of a chat.

It understands plain instructions, anywhere in a system message or in the first paragraph of a user
message:

- `in 2 sentences`, `at most 60 words`, `as 4 bullets`: the budget and the form;
- `brief`, together with several `## Section` headings: one brief over all sections;
- `Reviewer feedback: shorter`, `… longer`, `… mention "caching"`, `… leave out prices`,
  `… as bullets`, `… as a paragraph`: how to write it differently. A user message that follows an
  answer is feedback, too. Feedback adds up, in order.

A line `Topic: …` names the subject, `Previous draft:` starts a part that is not material, and
`Text:` or `Sections:` starts material again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphflow_integrations.summariser import (
    Sentence,
    content_words,
    pick_sentences,
    split_sentences,
    summarise,
)

_NUMBERS = {
    name: number
    for number, name in enumerate("one two three four five six seven eight nine ten".split(), 1)  # noqa: SIM905
}
_BUDGET = re.compile(
    rf"\b(\d+|{'|'.join(_NUMBERS)})[\s-]+(?:\w+\s+)?(sentence|word|bullet|point)", re.IGNORECASE
)
_INSTRUCTION = re.compile(
    r"\b(summari[sz]e|summary|brief|shorten|condense|sentences?|words|bullets?|write|rewrite|revise"
    r"|combine|compose|tl;?dr)\b",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^\s*(?:#+\s*)?(?:\*\*)?(?:(?P<feedback>(?:reviewer(?:'s)?\s+)?(?:feedback|comments?))"
    r"|(?P<draft>(?:previous|current|earlier|last|first|your)\s+(?:draft|brief|version|summary))"
    r"|(?P<topic>topic|title|subject)"
    r"|(?P<material>text|document|article|sources?|notes|material|sections|(?:section\s+)?summaries))"
    r"(?:\*\*)?\s*:(?:\*\*)?\s*(?P<rest>.*)$",
    re.IGNORECASE,
)
_HEADING = re.compile(r"^#{1,6}\s+(?P<title>.+?)\s*#*$")
_SHORTER = re.compile(
    r"\b(shorter|shorten|concise|briefer|tighter|tighten|too long|cut it|trim)\b", re.IGNORECASE
)
_LONGER = re.compile(r"\b(longer|more detail(?:s|ed)?|expand|elaborate|too short)\b", re.IGNORECASE)
_LEAVE_OUT = re.compile(
    r"\b(?:leave out|omit|remove|drop|skip|without|less about|(?:do not|don't) mention)\s+"
    r"(?:the\s+)?([^.,;!\n]+)",
    re.IGNORECASE,
)
_MENTION = re.compile(
    r"\b(?:mention|include|add|focus on|emphasi[sz]e|stress|highlight|(?:more|something) about)\s+"
    r"(?:the\s+)?([^.,;!\n]+)",
    re.IGNORECASE,
)
_QUOTES = "\"'`\u201c\u201d\u2018\u2019"
_QUOTED = re.compile(rf"[{_QUOTES}]([^{_QUOTES}]{{2,40}})[{_QUOTES}]")
NOTHING = "There is nothing to summarise yet: send the text after the instruction."


@dataclass(slots=True)
class Wish:
    """What is asked for, as far as it was read."""

    instruction: str = ""
    material: list[str] = field(default_factory=list)
    """Lines of the text to summarise."""
    draft: list[str] = field(default_factory=list)
    """Lines of an earlier answer; material only when there is nothing else."""
    topic: str = ""
    feedback: list[str] = field(default_factory=list)
    """Lines of criticism, oldest first."""

    @property
    def text(self) -> str:
        """The text to summarise."""
        own = "\n".join(self.material).strip()
        return own or "\n".join(self.draft).strip()


def read_wish(messages: Sequence[Mapping[str, Any]]) -> Wish:
    """Reads a chat in OpenAI's format."""
    wish = Wish()
    answered = False
    for message in messages:
        text = _text_of(message.get("content"))
        if message.get("role") in ("system", "developer"):
            wish.instruction += text + "\n"
        elif message.get("role") == "assistant":
            wish.draft += text.splitlines()
            answered = answered or bool(text)
        elif answered and wish.material:
            wish.feedback.append(text)
        else:
            _read_user_text(text, wish)
    return wish


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or () if isinstance(part, Mapping))


def _read_user_text(text: str, wish: Wish) -> None:
    instruction, rest = _split_instruction(text)
    wish.instruction += instruction + "\n"
    into = wish.material
    for line in rest.splitlines():
        label = _LABEL.match(line)
        if label is None:
            into.append(line)
            if into is wish.feedback and not line.strip():
                into = wish.material
            continue
        if label["topic"]:
            wish.topic = label["rest"].strip().strip("*\"'")
            continue
        into = (
            wish.feedback if label["feedback"] else wish.draft if label["draft"] else wish.material
        )
        into.append(label["rest"])


def _split_instruction(text: str) -> tuple[str, str]:
    """Splits off a leading instruction: the first paragraph, or what stands before its colon."""
    lines = text.strip().splitlines()
    length = next((at for at, line in enumerate(lines) if _ends_instruction(line)), len(lines))
    if lines and lines[0].rstrip().endswith(":"):
        length = min(length, 1)
    head, rest = " ".join(lines[:length]), "\n".join(lines[length:])
    if not _INSTRUCTION.search(head):
        return "", text
    if rest.strip():
        return head, rest
    before, colon, after = text.partition(":")
    return (before, after) if colon and _INSTRUCTION.search(before) else ("", text)


def _ends_instruction(line: str) -> bool:
    return bool(not line.strip() or _LABEL.match(line) or _HEADING.match(line))


@dataclass(frozen=True, slots=True)
class Style:
    """How long and in which form to write."""

    sentences: int | None = None
    words: int | None = None
    bullets: bool | None = None
    """None: whatever fits the kind of text."""
    step: int = 0
    """How many times longer (+) or shorter (-) was asked for."""
    mentioned: tuple[str, ...] = ()
    """Phrases to bring in."""
    boosted: frozenset[str] = frozenset()
    avoided: frozenset[str] = frozenset()

    def count(self, usual: int) -> int:
        """Returns the number of sentences to write where `usual` would be normal."""
        count = self.sentences or usual
        return max(1, count + self.step * max(1, count // 3))


def read_style(wish: Wish) -> Style:
    """Reads budget, form and feedback."""
    remarks = [remark for remark in wish.feedback if remark.strip()]
    said = "\n".join([wish.instruction, *remarks])
    budget = {unit.lower(): _number(number) for number, unit in _BUDGET.findall(said)}
    words = content_words(" ".join(_LEAVE_OUT.sub("", remark) for remark in remarks))
    avoided = content_words(" ".join(m for remark in remarks for m in _LEAVE_OUT.findall(remark)))
    steps = [bool(_LONGER.search(r)) - bool(_SHORTER.search(r)) for r in remarks]
    return Style(
        sentences=budget.get("sentence") or budget.get("bullet") or budget.get("point"),
        words=budget.get("word"),
        bullets=_form(said),
        step=sum(steps),
        mentioned=_phrases(remarks),
        boosted=frozenset(words) - frozenset(avoided),
        avoided=frozenset(avoided),
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else _NUMBERS[text.lower()]


def _form(said: str) -> bool | None:
    """Whether the last form that was named is a list."""
    forms = re.findall(r"\b(bullets?|bullet points?|list|paragraphs?|prose)\b", said.lower())
    refused = re.search(r"\b(?:no|without) bullets?\b", said.lower())
    if not forms or refused:
        return False if refused else None
    return not forms[-1].startswith(("paragraph", "prose"))


def _phrases(remarks: list[str]) -> tuple[str, ...]:
    kept = [_LEAVE_OUT.sub("", remark) for remark in remarks]
    found = [m for r in kept for m in [*_QUOTED.findall(r), *_MENTION.findall(r)]]
    phrases = dict.fromkeys(phrase.strip(_QUOTES + " ") for phrase in found)
    return tuple(phrase for phrase in phrases if content_words(phrase))


def answer(messages: Sequence[Mapping[str, Any]]) -> str:
    """Returns the summariser's answer to a chat in OpenAI's format."""
    wish = read_wish(messages)
    style = read_style(wish)
    if not wish.text:
        return NOTHING
    sections = _sections(wish.text)
    wants_brief = re.search(r"\bbrief(?:ing)?\b", wish.instruction, re.IGNORECASE)
    if wants_brief and len(sections) > 1:
        return _brief(wish, style, sections)
    return _summary(wish.text, style)


def _sections(text: str) -> list[tuple[str, str]]:
    """Returns `(title, text)` of the parts under headings."""
    sections: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        heading = _HEADING.match(line)
        if heading:
            sections.append((heading["title"].strip("*"), []))
        elif sections:
            sections[-1][1].append(line)
    return [(title, "\n".join(lines)) for title, lines in sections if "".join(lines).strip()]


def _summary(text: str, style: Style) -> str:
    usual = min(3, max(1, len(split_sentences(text)) // 4))
    if style.words and not style.sentences:
        usual = max(usual, style.words // 10)
    lines = _pick(text, style, style.count(usual), style.words)
    body = _list(lines) if style.bullets else " ".join(lines)
    return "\n\n".join([body, *_missing(text, style)])


def _brief(wish: Wish, style: Style, sections: list[tuple[str, str]]) -> str:
    each = max(1, (style.sentences or 0) // len(sections), 1 + style.step)
    words = style.words // len(sections) if style.words else None
    parts = [(title, " ".join(_pick(text, style, each, words))) for title, text in sections]
    kept = _weightiest(parts, style)
    prose = " ".join(text for _, text in kept)
    body = prose if style.bullets is False else _titled_list(kept)
    title = wish.topic or ", ".join(title for title, _ in sections[:3])
    return "\n\n".join([f"# Brief: {title}", body, *_missing(wish.text, style)])


def _weightiest(parts: list[tuple[str, str]], style: Style) -> list[tuple[str, str]]:
    """Returns the parts that a shorter brief keeps: a third less for each time it was asked for."""
    count = max(1, len(parts) + min(0, style.step) * max(1, len(parts) // 3))
    whole = [Sentence(text, place, opens=True) for place, (_, text) in enumerate(parts)]
    picked = pick_sentences(whole, count, boosted=style.boosted, avoided=style.avoided)
    return [parts[sentence.place] for sentence in picked]


def _pick(text: str, style: Style, count: int, words: int | None) -> list[str]:
    return summarise(
        text, sentences=count, words=words, boosted=style.boosted, avoided=style.avoided
    )


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _titled_list(parts: list[tuple[str, str]]) -> str:
    return "\n".join(f"- **{title}**: {text}" for title, text in parts)


def _missing(text: str, style: Style) -> list[str]:
    """Says which wished-for phrases the text gives no ground for."""
    known = set(content_words(text))
    absent = [p for p in style.mentioned if not set(content_words(p)) & known]
    return [f"(The text says nothing about {', '.join(map(repr, absent))}.)"] if absent else []
