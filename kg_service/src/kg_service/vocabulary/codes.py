"""Repeated texts, such as SABs and TTYs, as numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from nbclip.errors import InvalidInput

Int32s = npt.NDArray[np.int32]
_MOST = 1 << 16


class Codes:
    """Numbers texts in the order in which they are met; `sorted_codes` puts them into their own order once all are known."""

    def __init__(self, column: str, most: int = _MOST) -> None:
        self._column, self._most = column, most
        self._codes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._codes)

    def encode(self, texts: pa.ChunkedArray) -> Int32s:
        """The number of each text, int32, [n].

        Raises:
            InvalidInput: there are more distinct texts than `most`.
        """
        encoded = texts.combine_chunks().dictionary_encode()
        codes = [self._codes.setdefault(text, len(self._codes)) for text in encoded.dictionary.to_pylist()]
        if len(self._codes) > self._most:
            raise InvalidInput(
                f"column {self._column} has over {self._most} different values", hint="check that this is a file of the release"
            )
        return np.asarray(np.array(codes, np.int32)[encoded.indices.to_numpy()])

    def values(self) -> list[str]:
        """The texts, each at its number."""
        return list(self._codes)

    def positions_in(self, order: list[str]) -> npt.NDArray[np.int64]:
        """Where each text stands in `order`, which has them all; int64, by number."""
        place = {text: position for position, text in enumerate(order)}
        return np.array([place[text] for text in self._codes], np.int64)
