"""Abbreviations that a caption defines, by the algorithm of Schwartz and Hearst (Pacific Symposium on Biocomputing, 2003).

`long form (SF)`, `SF (long form)` and the legend forms `SF = long form`, `SF: long form`, `SF, long form` and `SF - long form`.
A short form in the plural (SFs) defines its singular too.
The characters of the short form must stand in the long form in order, the first of them at the beginning of a word.

scispacy's AbbreviationDetector, the same algorithm without legends and without a look at the short form's case, was compared on
8,180 captions of ROCO: it takes `(arrow)` for a short form, misses legends, and needs spaCy.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

_MAX_WORDS = 8
_NEAR, _FAR = 20, 200
"""Characters before a parenthesis in which a short form, and a long form, are looked for."""
_CAPITALS = re.compile(r"[A-Z][\w-]*[A-Z]")
_PARENTHESIS = re.compile(r"\(([^()\n]{2,120})\)")
_LEGEND = re.compile(r"([A-Z](?<![\w-].)[\w-]{1,9})(\s*[=:]|,\s|\s[–—-]\s)\s*([^\n.,;:=()]{3,100})")
_MARK = re.compile(r"\b(?:arrow|asterisk|star)", re.IGNORECASE)
_SHORT = re.compile(r"(?=[^\W\d_])[\w-]{2,10}")
_WORD = re.compile(r"\S+")
_TOKEN = re.compile(r"[\w-]+")
_SEPARATOR = re.compile(r"[,;]")
_PLURAL = re.compile(r"([A-Z][A-Z\d-]*[A-Z\d])s")


@dataclass(frozen=True, slots=True)
class Definition:
    """A short form and the span of its long form in the caption (code points, end exclusive)."""

    short: str
    start: int
    end: int


def find_definitions(caption: str) -> list[Definition]:
    """Abbreviations defined in `caption`, in order, the first definition of each short form."""
    found: dict[str, Definition] = {}
    if "(" in caption:
        for match in _PARENTHESIS.finditer(caption):
            # A short form has a capital, and most parentheses have none: (arrow).
            near = caption[max(0, match.start() - _NEAR) : match.end()]
            if near == near.lower():
                continue
            definition = _in_parentheses(caption, match) or _before_parentheses(caption, match)
            if definition:
                _add(found, definition)
    # Outside `SF = …` and `SF: …` the short form of a legend has two capitals.
    legends = _LEGEND.finditer(caption) if "=" in caption or ":" in caption or _CAPITALS.search(caption) else ()
    for match in legends:
        definition = _in_legend(caption, match)
        if definition:
            _add(found, definition)
    return list(found.values())


def _add(found: dict[str, Definition], definition: Definition) -> None:
    """Adds a definition, and of one in the plural that of the singular too."""
    for short in (definition.short, _singular(definition.short)):
        found.setdefault(short, replace(definition, short=short))


def _in_parentheses(caption: str, match: re.Match[str]) -> Definition | None:
    """`long form (SF)`: the content, up to a comma or semicolon, is the short form."""
    written = _SEPARATOR.split(match[1])[0].strip()
    short = _singular(written)
    if not _is_short_form(short):
        return None
    end = match.start()
    words = list(_WORD.finditer(caption, max(0, end - _FAR), end))[-min(len(short) + 5, 2 * len(short)) :]
    if not words:
        return None
    start = long_form_start(short, caption[words[0].start() : end])
    return None if start is None else Definition(written, words[0].start() + start, words[-1].end())


def _before_parentheses(caption: str, match: re.Match[str]) -> Definition | None:
    """`SF (long form)`: the word before is the short form."""
    before = _WORD.findall(caption, max(0, match.start() - _NEAR), match.start())
    if not before or not _is_short_form(before[-1]) or not _singular(before[-1]).isupper():
        return None
    return _forward(before[-1], caption, match.start(1), match.end(1))


def _in_legend(caption: str, match: re.Match[str]) -> Definition | None:
    # Prose has commas and dashes too: there the short form must be in capitals and follow another item or a sentence.
    if match[2].strip() not in {"=", ":"} and not (
        sum(map(str.isupper, match[1])) > 1
        and caption[max(0, match.start() - _NEAR) : match.start()].rstrip()[-1:] in set(".;:,()")
    ):
        return None
    return _forward(match[1], caption, *match.span(3))


def _forward(written: str, caption: str, start: int, end: int) -> Definition | None:
    """The long form that begins at `start`: up to `end` if that is near, else up to a word with the short form's last letter."""
    short = _singular(written)
    words = list(_WORD.finditer(caption, start, end))[:_MAX_WORDS]
    stops = [word.end() for word in words if word[0][0].casefold() == short[-1].casefold()]
    last = [word.end() for word in words[-1:]]
    for stop in [*last, *stops] if len(words) <= len(short) + 1 else [*stops, *last]:
        long_form = caption[start:stop].rstrip(" ,;.")
        if long_form_start(short, long_form) == 0 and not _MARK.search(long_form):
            return Definition(written, start, start + len(long_form))
    return None


def _singular(short: str) -> str:
    plural = _PLURAL.fullmatch(short)
    return plural[1] if plural else short


def _is_short_form(text: str) -> bool:
    return bool(_SHORT.fullmatch(text)) and any(map(str.isupper, text)) and 2 * sum(map(str.isalpha, text)) >= len(text)


def long_form_start(short: str, text: str) -> int | None:
    """Where the long form begins in `text`, which must end with it, or None: the matching step of the algorithm."""
    at = len(text)
    letters = [c for c in short.casefold() if c.isalnum()]
    folded = text.lower()
    if len(folded) != len(text):
        return None
    for position in range(len(letters) - 1, -1, -1):
        at -= 1
        while at >= 0 and (folded[at] != letters[position] or (position == 0 and at > 0 and folded[at - 1].isalnum())):
            at -= 1
        if at < 0:
            return None
    return at if len(text) - at > len(short) else None


def find_uses(caption: str, shorts: Collection[str]) -> list[tuple[int, int, str]]:
    """Where short forms, or their plurals, stand as words of their own: start, end (without the plural s) and short form."""
    uses: list[tuple[int, int, str]] = []
    for match in _TOKEN.finditer(caption):
        short = match[0] if match[0] in shorts else match[0].removesuffix("s")
        if short in shorts:
            uses.append((match.start(), match.start() + len(short), short))
    return uses
