"""Finds names by the beginnings of their words."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kg_service.storage.strings import Strings

_WORD = re.compile(r"[^\W_]+")
_LAST = chr(0x10FFFF)


@dataclass(frozen=True, slots=True)
class WordIndex:
    """W words, sorted, and the names that have each: name positions at pointers[w] to pointers[w + 1] of `postings`."""

    words: Strings
    pointers: npt.NDArray[np.int64]
    postings: npt.NDArray[np.int32]

    def find(self, query: str) -> npt.NDArray[np.int32]:
        """Positions of the names in which every word of `query` begins a word, int32, ascending; none without words."""
        ranges = sorted((self._range(word) for word in set(_WORD.findall(query.lower()))), key=lambda span: span[1] - span[0])
        if not ranges:
            return np.zeros(0, np.int32)
        found = np.unique(self.postings[slice(*ranges[0])])
        for start, stop in ranges[1:]:
            found = found[np.isin(found, self.postings[start:stop])]
        return np.asarray(found)

    def _range(self, prefix: str) -> tuple[int, int]:
        first = bisect_left(self.words, prefix)
        last = bisect_left(self.words, prefix + _LAST)
        return int(self.pointers[first]), int(self.pointers[last])
