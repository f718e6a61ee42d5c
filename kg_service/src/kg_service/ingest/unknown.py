"""CUIs that images are given and the vocabulary lacks: they are stored, without a name and without ancestors."""

from __future__ import annotations

from collections.abc import Container, Iterable

from nbclip.schemas.images import ImageItem

from kg_service.ingest.readers import Row

FIRST_UNKNOWN = 5


def unknown_cuis(items: Iterable[ImageItem], vocabulary: Container[str]) -> dict[str, ImageItem]:
    """The CUIs given that the vocabulary lacks, each with the first item that has it."""
    found: dict[str, ImageItem] = {}
    for item in items:
        for cui in item.cuis or ():
            if cui not in vocabulary:
                found.setdefault(cui, item)
    return found


class UnknownCuis:
    """The same, counted over any number of rows.

    Attributes:
        first: the first of them, at most `FIRST_UNKNOWN`, and in which row each was met first.
    """

    def __init__(self, vocabulary: Container[str]) -> None:
        self.first: list[tuple[str, Row]] = []
        self._vocabulary = vocabulary
        self._found: set[str] = set()

    def __len__(self) -> int:
        return len(self._found)

    def add(self, row: Row) -> None:
        """Counts those of a row."""
        new = [cui for cui in unknown_cuis([row.item], self._vocabulary) if cui not in self._found]
        self._found.update(new)
        self.first += [(cui, row) for cui in new[: FIRST_UNKNOWN - len(self.first)]]
