"""Which meaning a short form has that captions leave undefined (`data/radiology.tsv`), by the words near it.

A meaning may name words of which one must be near: parts of words in lower case (`ventric`), other short forms as they are
written (`LV`). The sentence is looked at before the whole caption; a meaning that names none is for where nothing is near.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from kg_service.linking.assertion import sentences

_Meant = TypeVar("_Meant")
_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Context:
    """Of which one must be near: `parts` of words in lower case, or `shorts`; both empty: nothing need be."""

    parts: tuple[str, ...] = ()
    shorts: frozenset[str] = frozenset()

    @property
    def is_any(self) -> bool:
        """Whether it holds everywhere."""
        return not self.parts and not self.shorts

    def holds(self, text: str) -> bool:
        """Whether one of its words is in `text`."""
        folded = text.casefold()
        return any(part in folded for part in self.parts) or not self.shorts.isdisjoint(_WORD.findall(text))


def read_context(words: str) -> Context:
    """The context of a row of the table."""
    parts = tuple(word for word in words.split() if word == word.casefold())
    return Context(parts, frozenset(words.split()).difference(parts))


def choose_meaning(meanings: Sequence[tuple[Context, _Meant]], caption: str, start: int) -> _Meant | None:
    """What the short form at `start` means: the first meaning that holds in its sentence, then in the caption, then anywhere."""
    if any(not context.is_any for context, _ in meanings):
        for text in (_sentence_at(caption, start), caption):
            for context, meant in meanings:
                if context.holds(text):
                    return meant
    return next((meant for context, meant in meanings if context.is_any), None)


def _sentence_at(caption: str, start: int) -> str:
    first, end = next(span for span in sentences(caption) if start < span[1])
    return caption[first:end]
