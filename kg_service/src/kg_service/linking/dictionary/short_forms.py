"""Which meaning a short form has that captions leave undefined (`data/radiology.tsv`), by the words near it.

A meaning may name words of which one must be near: parts of words in lower case (`ventric`), other short forms as they are
written (`LV`). The sentence is looked at before the whole caption; a meaning that names none is for where nothing is near.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from kg_service.linking.sentences import sentences

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


class Surroundings:
    """The sentences of a caption. Whether a context holds in one of them, or in all, is looked at once."""

    def __init__(self, caption: str) -> None:
        self._caption = caption
        self._known: dict[tuple[Context, int | None], bool] = {}

    def choose(self, meanings: Sequence[tuple[Context, _Meant]], start: int) -> _Meant | None:
        """What the short form at `start` means: the first meaning that holds in its sentence, else in the caption, else any."""
        if any(not context.is_any for context, _ in meanings):
            for sentence in (bisect_right(self._starts, start) - 1, None):
                for context, meant in meanings:
                    if self._holds(context, sentence):
                        return meant
        return next((meant for context, meant in meanings if context.is_any), None)

    def _holds(self, context: Context, sentence: int | None) -> bool:
        asked = context, sentence
        if asked not in self._known:
            span = (0, len(self._caption)) if sentence is None else self._sentences[sentence]
            self._known[asked] = context.holds(self._caption[slice(*span)])
        return self._known[asked]

    @cached_property
    def _sentences(self) -> list[tuple[int, int]]:
        return sentences(self._caption)

    @cached_property
    def _starts(self) -> list[int]:
        return [start for start, _ in self._sentences]
