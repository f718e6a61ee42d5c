"""Reads a release, whatever its format: what passes the filters, in the form that `builder` compiles.

A `Source` gives the rows of a release as a UMLS release has them in MRCONSO, MRSTY and MRREL; its concepts are CUIs or, in the
columns that hold a CUI, their positions in its own list of ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg_service.vocabulary.atoms import AtomFiles, atom_batch
from kg_service.vocabulary.census import Census
from kg_service.vocabulary.codes import Codes, Int32s
from kg_service.vocabulary.files import Part
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.pairs import Distinct, pack, unpack
from kg_service.vocabulary.relations import IS_A, Relations
from kg_service.vocabulary.rrf import (
    MRCONSO,
    MRRANK,
    MRREL,
    MRSTY,
    BadRows,
    Layout,
    OnBytes,
    Select,
    cui_numbers,
    is_count,
)


@dataclass(frozen=True, slots=True)
class Release:
    """What was read.

    Attributes:
        atoms: atoms that pass the filters, those of semantic types aside.
        census: what the filters met.
        sabs, ttys: of these atoms.
        types: rows of CUI number, code of the TUI, code of its name.
        tuis, type_names: of these rows.
        is_a: rows of child and parent (CUI numbers, of unknown concepts too), and code of the SAB.
        is_a_sabs: of these rows.
        ranks: MRRANK's rank of each SAB and TTY.
        relations: the relations beside is_a that the filters ask for.
    """

    atoms: AtomFiles
    census: Census = field(default_factory=Census)
    sabs: Codes = field(default_factory=partial(Codes, "SAB"))
    ttys: Codes = field(default_factory=partial(Codes, "TTY"))
    types: Distinct = field(default_factory=Distinct)
    tuis: Codes = field(default_factory=partial(Codes, "TUI"))
    type_names: Codes = field(default_factory=partial(Codes, "STY"))
    is_a: Distinct = field(default_factory=Distinct)
    is_a_sabs: Codes = field(default_factory=partial(Codes, "SAB"))
    ranks: dict[tuple[str, str], int] = field(default_factory=dict)
    relations: Relations = field(default_factory=Relations)

    def called(self, tui: Int32s, name: Int32s) -> dict[str, str]:
        """What each TUI of rows of `types` is called; the first name in alphabetical order if there are several."""
        tuis, names = self.tuis.values(), self.type_names.values()
        found: dict[str, str] = {}
        for tui_code, name_code in zip(*(column.tolist() for column in unpack(np.unique(pack(0, tui, name)))[1:]), strict=True):
            text, of = tuis[tui_code], names[name_code]
            found[text] = min(of, found.get(text, of))
        return found


class Source(Protocol):
    """A release, in some format.

    Attributes:
        what: what it is, for messages, such as `UMLS RRF files`.
        given: the folder or file that was given.
        parts: the files that were read, in order; known after `prepare`.
        ids: the ids of its concepts, strings, ascending; None: CUIs. Known after `prepare`.
        inverses: the inverse of each relation, in small letters.
        is_a_at: what says is_a in it, for messages.
        types_at: what says semantic types in it, for messages.
    """

    @property
    def what(self) -> str: ...  # noqa: D102
    @property
    def given(self) -> Path: ...  # noqa: D102
    @property
    def parts(self) -> Sequence[Part]: ...  # noqa: D102
    @property
    def ids(self) -> pa.Array | None: ...  # noqa: D102
    @property
    def inverses(self) -> Mapping[str, str]: ...  # noqa: D102

    @property
    def is_a_at(self) -> str: ...  # noqa: D102
    @property
    def types_at(self) -> str: ...  # noqa: D102

    def prepare(self, layouts: Sequence[Layout], bad_rows: BadRows, progress: OnBytes | None) -> None:
        """Finds what it needs for these files of the UMLS, and reads what must be known before rows.

        Raises:
            InvalidInput: a file is missing or unreadable.
        """

    def rows(self, layout: Layout, columns: tuple[str, ...], select: Select) -> Iterator[pa.Table]:
        """What `select` makes of these columns of a file of the UMLS; columns of CUIs as `cui_numbers` takes them."""

    def release_name(self) -> str:
        """What the release calls itself; empty if it does not."""

    def notes(self) -> tuple[str, ...]:
        """What was left out or could not be checked, a sentence each; once all is read."""


_Take = Callable[[Release, pa.Table], None]

_PART_OF = ("part_of", "regional_part_of", "constitutional_part_of")
_HAS_PART = ("has_part", "has_regional_part", "has_constitutional_part")


def read_release(
    release: Release, source: Source, filters: VocabularyFilters, bad_rows: BadRows, progress: OnBytes | None
) -> VocabularyFilters:
    """Streams the rows into `release`; returns the filters in the release's own words.

    MRRANK, which says which source's term types go before others', counts where it is there and the filters name no order.

    Raises:
        InvalidInput: a file is missing or unreadable, or nothing has a value that the filters name.
    """
    release.relations.ask(filters.relations)
    steps: list[tuple[Layout, str, Select, _Take]] = [
        (MRCONSO, "CUI LAT TS STT ISPREF SAB TTY STR SUPPRESS", partial(_select_atoms, filters, release.census), _take_atoms),
        (MRSTY, "CUI TUI STY", lambda rows: rows, _take_types),
        (MRREL, "CUI1 REL CUI2 RELA SAB SUPPRESS", partial(_select_edges, filters, release), _take_edges),
    ]
    if not filters.sources:
        steps.append((MRRANK, "RANK SAB TTY", lambda rows: rows, _take_ranks))
    source.prepare([layout for layout, *_ in steps], bad_rows, progress)
    for layout, columns, select, take in steps:
        for rows in source.rows(layout, tuple(columns.split()), select):
            take(release, rows)
    types = release.called(*release.types.rows()[1:])
    filters = release.census.as_met(filters, types, release.relations.inverses, source.types_at)
    release.relations.spelling.update((name.casefold(), name) for name in filters.relations)
    return filters


def _select_atoms(filters: VocabularyFilters, census: Census, rows: pa.Table) -> pa.Table:
    named = pc.not_equal(pc.utf8_trim(rows["STR"], characters=" "), "").to_numpy()
    return rows.filter(pa.array(census.choose(filters, rows, cui_numbers(rows["CUI"]), named)))


def _take_atoms(release: Release, rows: pa.Table) -> None:
    worse = ((4, "TS", "P"), (2, "STT", "PF"), (1, "ISPREF", "Y"))
    rank = sum(weight * pc.not_equal(rows[column], best).to_numpy().astype(np.int8) for weight, column, best in worse)
    sab, tty = release.sabs.encode(rows["SAB"]), release.ttys.encode(rows["TTY"])
    if len(rows):
        text = rows["STR"].combine_chunks()
        release.atoms.add(atom_batch(cui_numbers(rows["CUI"]), np.asarray(rank, np.int8), sab, tty, text))


def _take_types(release: Release, rows: pa.Table) -> None:
    release.types.add(cui_numbers(rows["CUI"]), release.tuis.encode(rows["TUI"]), release.type_names.encode(rows["STY"]))


def _select_edges(filters: VocabularyFilters, release: Release, rows: pa.Table) -> pa.Table:
    """Rows between two concepts that say is_a or one of the relations, with what the two functions below add.

    With `is_a`, whether they say that, and with `relation` and `backwards`, what `Relations.said` says of them.
    """
    census = release.census
    kept = ~census.suppress.among(rows["SUPPRESS"], filters.suppress) & census.of_sources(filters, rows["SAB"])
    kept &= pc.not_equal(rows["CUI1"], rows["CUI2"]).to_numpy()
    rows = _with_is_a(filters, rows)
    chosen = rows["is_a"].to_numpy()
    if release.relations:
        census.relations.among(rows["RELA"], ())
        relation, backwards = release.relations.said(rows["RELA"])
        chosen = chosen | (relation >= 0)
        rows = rows.append_column("relation", pa.array(relation)).append_column("backwards", pa.array(backwards))
    return rows.filter(pa.array(chosen & kept))


def _with_is_a(filters: VocabularyFilters, rows: pa.Table) -> pa.Table:
    """Adds `is_a`; `down`: whether CUI2 is the child; and `said by`: the SAB, marked where it says part_of.

    Rows are read from right to left: REL and RELA say what CUI2 is to CUI1.
    """
    rela, plain = rows["RELA"], pc.equal(rows["RELA"], "")
    by_rela = _one_of(rela, IS_A if "rela" in filters.is_a else ())
    by_rel = pc.and_(plain, _one_of(rows["REL"], ("PAR", "CHD") if "rel" in filters.is_a else ()))
    by_part = _one_of(rela, (*_PART_OF, *_HAS_PART) if "part_of" in filters.is_a else ())
    down = pc.or_(_one_of(rela, ("isa", *_PART_OF)), pc.and_(plain, pc.equal(rows["REL"], "CHD")))
    said_by = pc.binary_join_element_wise(rows["SAB"], pc.if_else(by_part, ":part_of", ""), "")
    is_a = pc.or_(pc.or_(by_rela, by_rel), by_part)
    return rows.append_column("is_a", is_a).append_column("down", down).append_column("said by", said_by)


def _take_edges(release: Release, rows: pa.Table) -> None:
    if release.relations:
        release.relations.take(rows.filter(pc.greater_equal(rows["relation"], 0)))
    rows = rows.filter(rows["is_a"])
    one, two, down = cui_numbers(rows["CUI1"]), cui_numbers(rows["CUI2"]), rows["down"].to_numpy()
    release.is_a.add(np.where(down, two, one), np.where(down, one, two), release.is_a_sabs.encode(rows["said by"]))


def _take_ranks(release: Release, rows: pa.Table) -> None:
    for rank, sab, tty in zip(*(rows[column].to_pylist() for column in ("RANK", "SAB", "TTY")), strict=True):
        if is_count(rank):
            release.ranks[sab, tty] = max(int(rank), release.ranks.get((sab, tty), 0))


def _one_of(column: pa.ChunkedArray, values: tuple[str, ...]) -> pa.ChunkedArray:
    return pc.is_in(column, pa.array(values, pa.string()))
