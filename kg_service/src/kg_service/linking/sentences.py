"""Where the sentences of a caption end."""

from __future__ import annotations

import re
from itertools import groupby

Span = tuple[int, int]

# Short forms that stand before what they belong to, whatever its case; these may end a sentence, unless a small letter follows.
_BEFORE_A_NAME = "sig signif assoc poss prob susp def evid eval approx vs"
_BEFORE_A_SMALL_LETTER = "ant post lat sup inf bilat unilat abn abnl mod sev prev incl resp"


def _unless_behind(words: str) -> str:
    """A part of a pattern: no word of these, in any case, and a full stop are right before."""
    by_length = groupby(sorted(words.split(), key=len), len)
    return "".join(rf"(?<!\b(?i:{'|'.join(same)})\.)" for _, same in by_length)


# A full stop ends a sentence before white space or a capital; a panel label such as (b) begins one, and so does a list's item,
# but no dash that leads to an answer (effusion - No). `?` before a word (? pneumonia) ends none.
# It begins with a set of characters, without which it would be several times as slow.
_SENTENCE_END = re.compile(
    r"[.!?;\n(•◦▪‣●■►|*·-](?:"
    r"(?<=[.!])(?=\s|$|[A-Z])(?!(?<=\bno\.)\s?\d)(?!(?:(?<=\b[Nn]eg\.)|(?<=negative\.))\sfor\b)(?<!\b(?:e\.g|i\.e)\.)"
    r"(?:(?<!\b[qv]\.)|(?<=\.[qv]\.))(?!\s(?:or|nor|and)\s)"
    rf"{_unless_behind(_BEFORE_A_NAME)}(?:(?!\s[a-z])|{_unless_behind(_BEFORE_A_SMALL_LETTER)})"
    r"|(?<=[\w)]\?)(?=\s|$|[A-Z])|(?<=[;\n•◦▪‣●■►|])|(?<=\()(?=[A-Za-z]\)\s)|(?<=[*·])(?<!\S.)(?=\s)"
    r"|(?<=-)(?<!\S.)(?=\s?[A-Z])(?!\s?(?:Not\b|(?:No|None|Nil|Absent|Negative|Yes|Present|Positive)\s*(?:[.,;\n]|$))))"
)


def sentences(caption: str) -> list[Span]:
    """The sentences of a caption, end to end."""
    ends = [match.end() for match in _SENTENCE_END.finditer(caption)]
    return [(start, end) for start, end in zip([0, *ends], [*ends, len(caption)], strict=True) if start < end]
