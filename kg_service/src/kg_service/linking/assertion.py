"""Whether a caption says that a finding is there: rules after NegEx (Chapman et al., 2001) and ConText (Harkema et al., 2009).

A trigger (`data/triggers*.tsv`) rules the mentions on one side of it, as far as its sentence, its parenthesis and its list go, or
up to a word that ends its scope. A prepositional phrase stays outside: `no lesion in the liver` does not deny the liver.
Of several assertions the first of absent, uncertain, family and history counts.

A caption is read in one language (`triggers.table_for`). The time grows with its length, whatever it holds (`scopes.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from nbclip.schemas.linking import Assertion

from kg_service.linking.plain_text import read_plain
from kg_service.linking.scopes import Sentence
from kg_service.linking.sentences import sentences
from kg_service.linking.triggers import RULING, table_for, triggers_in

Span = tuple[int, int]


def assess(caption: str, spans: Sequence[Span], languages: Sequence[str] = ("ENG",)) -> list[Assertion]:
    """What the caption says of each span (code points, end exclusive): present, absent, uncertain, family or history.

    `languages`, of `grammar.GRAMMARS`: the caption is read in that which it has most words of, the first of equal ones.
    """
    plain = read_plain(caption)
    return assess_plain(plain.text, [plain.inner(*span) for span in spans], languages)


def assess_plain(text: str, spans: Sequence[Span], languages: Sequence[str]) -> list[Assertion]:
    """As `assess`, of a text that is plain already (`plain_text.py`)."""
    known = table_for(text, languages)
    found: dict[tuple[Assertion, str], list[Span]] = {}
    for start, end in sentences(text) if spans else ():
        if triggers := triggers_in(text, start, end, known):
            for scope in Sentence(text, start, end, triggers, known).scopes():
                found.setdefault((scope.assertion, scope.side), []).append((scope.start, scope.end))
    ruled = [
        (kind, side, *_united(found[kind, side])) for kind in RULING for side in ("after", "before") if (kind, side) in found
    ]
    return [_assertion(span, ruled) for span in spans] if ruled else ["present"] * len(spans)


def _assertion(span: Span, ruled: Sequence[tuple[Assertion, str, list[int], list[int]]]) -> Assertion:
    for kind, side, starts, ends in ruled:
        place = span[0] if side == "after" else span[1] - 1
        at = bisect_right(starts, place) - 1
        if at >= 0 and place < ends[at]:
            return kind
    return "present"


def _united(spans: Iterable[Span]) -> tuple[list[int], list[int]]:
    """Starts and ends, ascending, of what the spans cover together."""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(spans):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends
