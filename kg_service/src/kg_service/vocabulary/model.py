"""The vocabulary's filters, build report, and the small rows it answers with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

IsASource = Literal["rela", "rel", "part_of"]
TRANSITIVE = ("part_of", "regional_part_of", "constitutional_part_of", "anatomic_structure_is_physical_part_of")
"""Relations that are followed from part to whole to whole, as is_a is."""


@dataclass(frozen=True, slots=True)
class VocabularyFilters:
    """Which rows of a release go into the vocabulary. Values are taken in any case; one that nothing has is an error.

    Attributes:
        languages: values of LAT to keep.
        suppress: values of SUPPRESS to drop (O obsolete, E editor, Y suppressible).
        sources: SABs to keep, most trusted first (the order breaks ties); empty: all, in MRRANK's order where the release has
            it, else in alphabetical order.
        semantic_types: TUIs, names or groups (`semantic_types_of`); a concept stays if it has one of them; empty: all.
        is_a: where is_a comes from: `rela` is RELA isa / inverse_isa, `rel` is REL PAR / CHD of rows without a RELA;
            `part_of` takes RELA part_of / has_part, and FMA's finer ones, for a step up too: a lung is part of the thorax.
        relations: RELA names of relations to have beside is_a, as typed edges: CUI2 RELA CUI1.
    """

    languages: tuple[str, ...] = ("ENG",)
    suppress: tuple[str, ...] = ("O", "E", "Y")
    sources: tuple[str, ...] = ()
    semantic_types: tuple[str, ...] = ()
    is_a: tuple[IsASource, ...] = ("rela", "rel")
    relations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was skipped; `line` counts from 1."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept; `source` is the SAB of its preferred name, `semantic_types` are TUIs."""

    cui: str
    name: str
    semantic_types: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Edge:
    """`child` is_a `parent`, said by `source`: SABs in alphabetical order, joined by commas.

    A part_of that was taken for is_a has `UBERON:part_of` as its source.
    """

    child: str
    parent: str
    source: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A typed edge: `subject` `relation` `target`, such as Pneumonia has_finding_site Lung; `source` as `Edge` has it."""

    subject: str
    relation: str
    target: str
    source: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around concepts (`Vocabulary.surroundings`): concepts by CUI, and the edges among them."""

    concepts: list[Concept]
    is_a: list[Edge]
    relations: list[Relation]


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A concept that is reached over is_a, and in how many steps at least."""

    cui: str
    distance: int


@dataclass(frozen=True, slots=True)
class Name:
    """One name of a concept.

    Attributes:
        cui: the concept.
        text: the name, as the release has it.
        source: SAB of its best atom.
        term_type: TTY of its best atom.
        rank: 0 (TS P, STT PF, ISPREF Y) to 7: TS weighs 4, STT 2, ISPREF 1.
        preferred: whether it is the concept's preferred name.
    """

    cui: str
    text: str
    source: str
    term_type: str
    rank: int
    preferred: bool


@dataclass(frozen=True, slots=True)
class BuildReport:
    """The result of a build.

    Attributes:
        release: the release's name.
        concepts: concepts kept.
        names: distinct names kept, over all concepts.
        is_a: is_a edges kept.
        bad_row_count: rows skipped because they are damaged.
        bad_rows: the first of them, by file and line.
        cut_edges: is_a edges left out because they closed a cycle.
        notes: what was left out or could not be checked, a sentence each.
        left_out: concepts that each filter left out of those that the ones before it had kept.
        relations: typed edges kept, by relation.
        what: what was found and read, such as `UMLS RRF files`.
        is_a_at: what says is_a in it, for messages.
    """

    release: str
    concepts: int
    names: int
    is_a: int
    bad_row_count: int
    bad_rows: tuple[BadRow, ...]
    cut_edges: tuple[Edge, ...]
    notes: tuple[str, ...]
    left_out: dict[str, int]
    relations: dict[str, int] = field(default_factory=dict)
    what: str = ""
    is_a_at: str = ""
