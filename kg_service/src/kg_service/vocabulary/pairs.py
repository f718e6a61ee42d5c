"""Semantic types and is_a of a release while it is read, packed into distinct 64-bit numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kg_service.vocabulary.codes import Codes

Int32s = npt.NDArray[np.int32]
Uint64s = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.integer[Any]]

_ENOUGH = 1 << 21
"""Numbers that are added before repeated ones are left out."""
_HIGH, _LOW = np.uint64(40), np.uint64(16)
_CUI_MASK, _CODE_MASK = np.uint64((1 << 24) - 1), np.uint64((1 << 16) - 1)


class Distinct:
    """Rows of three small numbers, each kept once: two below 2^24 (CUI numbers) and one below 2^16 (`Codes`), or less."""

    def __init__(self) -> None:
        self._kept = np.zeros(0, np.uint64)
        self._new: list[Uint64s] = []

    def add(self, first: Ints, second: Ints, third: Ints) -> None:
        """Takes rows, in any order."""
        self._new.append(pack(first, second, third))
        if sum(map(len, self._new)) > _ENOUGH + len(self._kept):
            self._settle()

    def _settle(self) -> None:
        self._kept, self._new = np.unique(np.concatenate((self._kept, *self._new))), []

    def rows(self) -> tuple[Int32s, Int32s, Int32s]:
        """All rows in ascending order, int32, [n] each."""
        self._settle()
        return unpack(self._kept)


def pack(first: Ints | int, second: Ints | int, third: Ints | int) -> Uint64s:
    """One number a row, in the order of the rows; a single number stands for a column of it."""
    wide = [np.asarray(column).astype(np.uint64) for column in (first, second, third)]
    return np.asarray((wide[0] << _HIGH) | (wide[1] << _LOW) | wide[2], np.uint64)


def unpack(packed: Uint64s) -> tuple[Int32s, Int32s, Int32s]:
    """The three columns."""
    return (
        (packed >> _HIGH).astype(np.int32),
        (packed >> _LOW & _CUI_MASK).astype(np.int32),
        (packed & _CODE_MASK).astype(np.int32),
    )


def recoded(first: Int32s, second: Int32s, code: Int32s, codes: Codes) -> tuple[Int32s, Int32s, Int32s, list[str]]:
    """Rows with each code's place in sorted order, in ascending order again; and the texts, sorted."""
    texts = sorted(codes.values())
    packed = pack(first, second, codes.positions_in(texts)[code]) if texts else pack(first, second, code)
    packed.sort()
    return *unpack(packed), texts
