"""Where the sentences of a caption end."""

from __future__ import annotations

import re

Span = tuple[int, int]

# A full stop ends a sentence before white space or a capital; a panel label such as (b) begins one, and so does a list's item,
# but no dash that leads to an answer (effusion - No). `?` before a word (? pneumonia) ends none.
# It begins with a set of characters, without which it would be several times as slow.
_SENTENCE_END = re.compile(
    r"[.!?;\n(•◦▪‣●■►*·-](?:"
    r"(?<=[.!])(?=\s|$|[A-Z])(?!(?<=\bno\.)\s?\d)(?!(?:(?<=\b[Nn]eg\.)|(?<=negative\.))\sfor\b)(?<!\b[Vv]s\.)(?<!\b(?:e\.g|i\.e)\.)"
    r"|(?<=[\w)]\?)(?=\s|$|[A-Z])|(?<=[;\n•◦▪‣●■►])|(?<=\()(?=[A-Za-z]\)\s)|(?<=[*·])(?<!\S.)(?=\s)"
    r"|(?<=-)(?<!\S.)(?=\s?[A-Z])(?!\s?(?:Not\b|(?:No|None|Nil|Absent|Negative|Yes|Present|Positive)\s*(?:[.,;\n]|$))))"
)


def sentences(caption: str) -> list[Span]:
    """The sentences of a caption, end to end."""
    ends = [match.end() for match in _SENTENCE_END.finditer(caption)]
    return [(start, end) for start, end in zip([0, *ends], [*ends, len(caption)], strict=True) if start < end]
