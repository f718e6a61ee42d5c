"""Relations of MRREL beside is_a: which rows say one that was asked for, and in which direction.

Rows are read from right to left, CUI2 RELA CUI1, and each stands twice: once with the inverse RELA. Both give the same edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from nbclip.errors import InvalidInput

from kg_service.vocabulary.codes import Codes
from kg_service.vocabulary.files import ReleaseFiles
from kg_service.vocabulary.pairs import Distinct
from kg_service.vocabulary.rrf import cui_numbers, unpacked

IS_A = ("isa", "inverse_isa")
"""RELA of rows that say is_a."""
_TAKEN = ("is_a", "has_attribute")
"""The graph has edges of these names."""
_PAIRS = (
    ("part_of", "has_part"),
    ("regional_part_of", "has_regional_part"),
    ("constitutional_part_of", "has_constitutional_part"),
    ("has_finding_site", "finding_site_of"),
    ("has_location", "location_of"),
    ("disease_has_primary_anatomic_site", "is_primary_anatomic_site_of_disease"),
    ("disease_has_associated_anatomic_site", "is_associated_anatomic_site_of"),
    ("disease_has_normal_tissue_origin", "is_normal_tissue_origin_of_disease"),
    ("disease_has_finding", "is_finding_of_disease"),
    ("has_associated_morphology", "associated_morphology_of"),
    ("has_direct_procedure_site", "direct_procedure_site_of"),
    ("has_procedure_site", "procedure_site_of"),
    ("has_causative_agent", "causative_agent_of"),
    ("has_manifestation", "manifestation_of"),
    ("branch_of", "has_branch"),
    ("tributary_of", "has_tributary"),
    ("drains_into", "receives_drainage_from"),
)
_KEY, _VALUE, _TYPE, _EXPLANATION = range(4)  # of MRDOC


@dataclass(frozen=True, slots=True)
class Relations:
    """The relations that were asked for, gathered while MRREL is read.

    Attributes:
        inverses: the inverse of each RELA, in small letters.
        edges: by relation, in small letters: rows of subject and target (CUI numbers, of unknown concepts too), and code of SAB.
        sabs: of these rows.
        spelling: how the release spells each relation; known once all of it is read.
    """

    inverses: Mapping[str, str] = field(default_factory=dict)
    edges: dict[str, Distinct] = field(default_factory=dict)
    sabs: Codes = field(default_factory=partial(Codes, "SAB"))
    spelling: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.edges)

    def ask(self, names: Sequence[str]) -> None:
        """Asks for relations by their RELA, in any case.

        Raises:
            InvalidInput: one is is_a, or the inverse of another one.
        """
        folded = dict.fromkeys(name.casefold() for name in names)
        for name in folded:
            if name in (*IS_A, *_TAKEN):
                raise InvalidInput(
                    f"{name} is no relation to choose", hint="is_a is read in any case; --is-a says from which rows"
                )
            if self.inverses.get(name) in folded and self.inverses[name] != name:
                raise InvalidInput(
                    f"{name} is the inverse of {self.inverses[name]}", hint="name one of them: both give the same edges"
                )
        self.edges.update((name, Distinct()) for name in folded)

    def said(self, rela: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Which of the relations each row says, by position, -1 for none; and whether it says it by its inverse; [n] each."""
        encoded = rela.combine_chunks().dictionary_encode()
        place = {name: position for position, name in enumerate(self.edges)}
        values = [value.casefold() for value in encoded.dictionary.to_pylist()]
        backwards = [value not in place and self.inverses.get(value, "") in place for value in values]
        said = [place.get(self.inverses[value] if back else value, -1) for value, back in zip(values, backwards, strict=True)]
        at = encoded.indices.to_numpy()
        return np.array(said, np.int64)[at], np.array(backwards, np.bool_)[at]

    def take(self, rows: pa.Table) -> None:
        """Takes rows that `said` chose, with what it said of them as `relation` and `backwards`."""
        relation, backwards = rows["relation"].to_numpy(), rows["backwards"].to_numpy()
        one, two, sab = cui_numbers(rows["CUI1"]), cui_numbers(rows["CUI2"]), self.sabs.encode(rows["SAB"])
        subject, target = np.where(backwards, one, two), np.where(backwards, two, one)
        for code, edges in enumerate(self.edges.values()):
            chosen = relation == code
            edges.add(subject[chosen], target[chosen], sab[chosen])

    def named(self) -> Iterator[tuple[str, Distinct]]:
        """The rows of each relation, by its name as the release spells it, in alphabetical order."""
        return iter(sorted((self.spelling.get(name, name), edges) for name, edges in self.edges.items()))


def known_inverses() -> dict[str, str]:
    """The inverse of each RELA of a small table, in small letters."""
    return dict(pair for one, two in _PAIRS for pair in ((one, two), (two, one)))


def inverses_of(files: ReleaseFiles) -> dict[str, str]:
    """The inverse of each RELA, in small letters: as MRDOC names it where the release has that, else of the known ones.

    Raises:
        InvalidInput: MRDOC can't be read.
    """
    found = known_inverses()
    for line in b"".join(unpacked(files.look_for("MRDOC"))).decode(errors="replace").splitlines():
        row = line.casefold().split("|")
        if len(row) > _EXPLANATION and row[_KEY] == "rela" and row[_TYPE] == "rela_inverse":
            found[row[_VALUE]] = row[_EXPLANATION]
    return found
