"""What filters meet in a release: the values of the columns they go by, and which concepts are left after each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from nbclip.errors import InvalidInput

from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.nearest import nearest
from kg_service.vocabulary.semantic_types import semantic_types_of

Bools = npt.NDArray[np.bool_]

_SUPPRESS_OF_THE_UMLS = ("E", "N", "O", "Y")


class Values:
    """The values of a column, gathered by several threads."""

    def __init__(self) -> None:
        self._met: set[str] = set()

    def among(self, column: pa.ChunkedArray, wanted: Collection[str]) -> Bools:
        """Which rows have one of the values `wanted`, in any case, [n]; all values of the column are noted."""
        encoded = column.combine_chunks().dictionary_encode()
        values = encoded.dictionary.to_pylist()
        self._met.update(values)
        folded = {value.casefold() for value in wanted}
        return np.asarray(np.array([value.casefold() in folded for value in values], np.bool_)[encoded.indices.to_numpy()])

    @property
    def met(self) -> frozenset[str]:
        """All values that were noted."""
        return frozenset(self._met)

    def spelt(self, wanted: Collection[str], what: str, also: Collection[str] = ()) -> tuple[str, ...]:
        """`wanted` as the column spells it, each once, in order; as it is if no row was read.

        Raises:
            InvalidInput: no row has one of them, and it is none of `also`; names the nearest that a row has.
        """
        if not self._met:
            return tuple(wanted)
        return tuple(dict.fromkeys(value for each in wanted for value in self._spelt(each, what, also)))

    def _spelt(self, wanted: str, what: str, also: Collection[str]) -> list[str]:
        there = sorted(self._met | set(also))
        if alike := [value for value in there if value.casefold() == wanted.casefold()]:
            return alike
        shown = [value for value in there if value]
        raise InvalidInput(
            f"no concept has the {what} {wanted!r:.80}", hint=nearest(wanted, dict(zip(shown, shown, strict=True)), shown)
        )


_STAGES = 4


def _nobody() -> Bools:
    return np.zeros(10**7, np.bool_)


@dataclass(frozen=True, slots=True)
class Census:
    """Gathered while a release is read, by several threads.

    Attributes:
        languages, suppress, sources: values of LAT, and of SUPPRESS and SAB, of MRREL too.
        relations: values of RELA; noted where relations are asked for.
        left: by CUI number, whether the concept has a named atom, one in these languages, one of those that is not suppressed,
            one of those that is of these sources, [10^7] each.
    """

    languages: Values = field(default_factory=Values)
    suppress: Values = field(default_factory=Values)
    sources: Values = field(default_factory=Values)
    relations: Values = field(default_factory=Values)
    left: tuple[Bools, ...] = field(default_factory=lambda: tuple(_nobody() for _ in range(_STAGES)))

    def choose(self, filters: VocabularyFilters, atoms: pa.Table, cui: npt.NDArray[np.int32], named: Bools) -> Bools:
        """Which atoms pass the filters, those of semantic types aside, [n].

        Args:
            filters: as they were given.
            atoms: rows of MRCONSO with LAT, SUPPRESS and SAB.
            cui: their CUI numbers, [n].
            named: which have a name, [n].
        """
        spoken = named & self.languages.among(atoms["LAT"], filters.languages)
        meant = spoken & ~self.suppress.among(atoms["SUPPRESS"], filters.suppress)
        trusted = meant & self.of_sources(filters, atoms["SAB"])
        for left, passed in zip(self.left, (named, spoken, meant, trusted), strict=True):
            left[cui[passed]] = True
        return trusted

    def of_sources(self, filters: VocabularyFilters, sabs: pa.ChunkedArray) -> Bools:
        """Which rows are of the sources that the filters name, [n]."""
        wanted = self.sources.among(sabs, filters.sources)
        return wanted if filters.sources else np.ones(len(sabs), np.bool_)

    def as_met(
        self, filters: VocabularyFilters, types: Mapping[str, str], inverses: Mapping[str, str], types_at: str
    ) -> VocabularyFilters:
        """The filters in the release's own words, semantic types as TUIs; once all of it is read.

        Args:
            filters: as they were given.
            types: the TUIs that there are, and what each is called; none: MRSTY has no good row, which is told elsewhere.
            inverses: of each RELA: a relation whose inverse was met is there too.
            types_at: what lists the types, for messages.

        Raises:
            InvalidInput: nothing has one of the values.
        """
        inverse = {inverses[value] for value in map(str.casefold, self.relations.met) if value in inverses}
        return replace(
            filters,
            relations=self.relations.spelt(filters.relations, "relation", inverse - {*map(str.casefold, self.relations.met)}),
            languages=self.languages.spelt(filters.languages, "language"),
            suppress=self.suppress.spelt(filters.suppress, "SUPPRESS value", _SUPPRESS_OF_THE_UMLS),
            sources=self.sources.spelt(filters.sources, "source"),
            semantic_types=semantic_types_of(filters.semantic_types, types, "the release", listed=types_at)
            if types
            else filters.semantic_types,
        )

    def left_out(self, filters: VocabularyFilters, kept: int) -> dict[str, int]:
        """How many concepts each filter left out that the ones before it had kept.

        Args:
            filters: those that were used.
            kept: concepts that passed all of them.
        """
        counts = [*(int(np.count_nonzero(left)) for left in self.left), kept]
        said = [("language", filters.languages), ("SUPPRESS", filters.suppress)]
        said += [("source", filters.sources), ("semantic type", filters.semantic_types)]
        lost = zip(said, pairwise(counts), strict=True)
        return {name: before - after for (name, values), (before, after) in lost if values}
