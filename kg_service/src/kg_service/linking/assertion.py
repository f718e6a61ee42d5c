"""Whether a caption says that a finding is there: rules after NegEx (Chapman et al., 2001) and ConText (Harkema et al., 2009).

A trigger (`data/triggers.tsv`) rules the mentions after or before it, up to the end of the sentence or a word that ends the
scope. A prepositional phrase stays outside: `no lesion in the liver` does not deny the liver. Absent outweighs uncertain.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from nbclip_shared.schemas import Assertion

from kg_service.linking.normaliser import read_table

Side = Literal["after", "before"]
Span = tuple[int, int]

# A full stop ends a sentence before white space or a capital; a panel label such as (b) begins one.
_SENTENCE_END = re.compile(r"[.!?](?=\s|$|[A-Z])|[;\n]|\([A-Za-z]\)\s")
_NEGATORS = frozenset({"no", "not", "without"})
_RULING: tuple[Assertion, ...] = ("absent", "uncertain")
_PHRASE_OUTSIDE = re.compile(
    r"\b(?:in|within|inside|at|on|along|around|near|from|behind|between|of (?:the|his|her|its|either|both))\s"
    r".*?(?=[,;]|\b(?:or|nor)\b|$)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Scope:
    start: int
    end: int
    side: Side
    assertion: Assertion


@cache
def _triggers() -> tuple[re.Pattern[str], dict[str, tuple[str, Side]]]:
    rows = read_table("triggers.tsv")
    meaning: dict[str, tuple[str, Side]] = {
        phrase: (kind, "before" if side == "before" else "after") for phrase, kind, side in rows
    }
    longest_first = sorted(meaning, key=lambda phrase: (-len(phrase), phrase))
    alternatives = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in longest_first)
    return re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-])", re.IGNORECASE), meaning


@cache
def _telling_words() -> re.Pattern[str]:
    """Finds the rarest word of each trigger, as far as its form tells: a caption without any of them has no trigger."""
    _, meaning = _triggers()
    phrases = [phrase.split() for phrase, (kind, _) in meaning.items() if kind in _RULING]
    words = {next((word for word in phrase if word in _NEGATORS), max(phrase, key=len)) for phrase in phrases}
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(words)))})\b", re.IGNORECASE)


def assess(caption: str, spans: Sequence[Span]) -> list[Assertion]:
    """What the caption says of each span (code points, end exclusive): present, absent or uncertain."""
    if not spans or not _telling_words().search(caption):
        return ["present"] * len(spans)
    scopes = [scope for start, end in _sentences(caption) for scope in _scopes(caption, start, end)]
    return [_assertion(span, scopes) for span in spans]


def _assertion(span: Span, scopes: list[_Scope]) -> Assertion:
    ruled = {scope.assertion for scope in scopes if _is_inside(span, scope)}
    return "absent" if "absent" in ruled else "uncertain" if "uncertain" in ruled else "present"


def _is_inside(span: Span, scope: _Scope) -> bool:
    anchor = span[0] if scope.side == "after" else span[1] - 1
    return scope.start <= anchor < scope.end


def _sentences(caption: str) -> list[Span]:
    ends = [match.start() + 1 for match in _SENTENCE_END.finditer(caption)]
    return [(start, end) for start, end in zip([0, *ends], [*ends, len(caption)], strict=True) if start < end]


def _scopes(caption: str, start: int, end: int) -> list[_Scope]:
    """The scopes of one sentence, each cut where a prepositional phrase lies."""
    pattern, meaning = _triggers()
    triggers = [
        (match.span(), *meaning[" ".join(match[0].casefold().split())]) for match in pattern.finditer(caption, start, end)
    ]
    scopes: list[_Scope] = []
    for assertion in _RULING:
        # A second trigger of the same kind takes over from the first.
        bounds = [span for span, kind, _ in triggers if kind in {"stop", assertion}]
        before, after = [start, *(span[1] for span in bounds)], [*(span[0] for span in bounds), end]
        for span, kind, side in triggers:
            if kind == assertion:
                first = span[1] if side == "after" else before[bisect_right(before, span[0]) - 1]
                last = span[0] if side == "before" else after[bisect_left(after, span[1])]
                scopes += (_Scope(*piece, side, assertion) for piece in _outside_phrases(caption, first, last))
    return scopes


def _outside_phrases(caption: str, start: int, end: int) -> list[Span]:
    """What `start` to `end` leaves when its prepositional phrases are taken out; one that opens it stays."""
    pieces: list[Span] = []
    for match in _PHRASE_OUTSIDE.finditer(caption, start, end):
        if caption[start : match.start()].strip():
            pieces.append((start, match.start()))
            start = match.end()
    return [*pieces, (start, end)]
