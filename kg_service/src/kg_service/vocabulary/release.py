"""Reads the files of a release: what passes the filters, in the form that `builder` compiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg_service.vocabulary.atoms import AtomFiles, atom_batch
from kg_service.vocabulary.codes import Codes
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.pairs import Distinct
from kg_service.vocabulary.rrf import (
    MRCONSO,
    MRRANK,
    MRREL,
    MRSTY,
    BadRows,
    Layout,
    Progress,
    Select,
    cui_numbers,
    find_rrf,
    look_for_rrf,
    read_rrf,
)


@dataclass(frozen=True, slots=True)
class Release:
    """What was read.

    Attributes:
        atoms: atoms that pass the filters, those of semantic types aside.
        sabs, ttys: of these atoms.
        types: rows of CUI number, code of the TUI, code of its name.
        tuis, type_names: of these rows.
        is_a: rows of child and parent (CUI numbers, of unknown concepts too), and code of the SAB.
        is_a_sabs: of these rows.
        ranks: MRRANK's rank of each SAB and TTY.
    """

    atoms: AtomFiles
    sabs: Codes = field(default_factory=partial(Codes, "SAB"))
    ttys: Codes = field(default_factory=partial(Codes, "TTY"))
    types: Distinct = field(default_factory=Distinct)
    tuis: Codes = field(default_factory=partial(Codes, "TUI"))
    type_names: Codes = field(default_factory=partial(Codes, "STY"))
    is_a: Distinct = field(default_factory=Distinct)
    is_a_sabs: Codes = field(default_factory=partial(Codes, "SAB"))
    ranks: dict[tuple[str, str], int] = field(default_factory=dict)


_Take = Callable[[Release, pa.Table], None]

_PART_OF = ("part_of", "regional_part_of", "constitutional_part_of")
_HAS_PART = ("has_part", "has_regional_part", "has_constitutional_part")


def read_release(
    release: Release, directory: Path, filters: VocabularyFilters, bad_rows: BadRows, progress: Progress | None
) -> list[Path]:
    """Streams the files of `directory` into `release` and returns their paths.

    MRRANK, which says which source's term types go before others', counts where it is there and the filters name no order.

    Raises:
        InvalidInput: a file is missing or unreadable.
    """
    steps: list[tuple[Layout, str, Select, _Take]] = [
        (MRCONSO, "CUI LAT TS STT ISPREF SAB TTY STR SUPPRESS", partial(_select_atoms, filters), _take_atoms),
        (MRSTY, "CUI TUI STY", lambda rows: rows, _take_types),
        (MRREL, "CUI1 REL CUI2 RELA SAB SUPPRESS", partial(_select_is_a, filters), _take_is_a),
    ]
    paths = [find_rrf(directory, layout) for layout, *_ in steps]
    if not filters.sources and (path := look_for_rrf(directory, MRRANK)):
        paths.append(path)
        steps.append((MRRANK, "RANK SAB TTY", lambda rows: rows, _take_ranks))
    for path, (layout, columns, select, take) in zip(paths, steps, strict=True):
        for rows in read_rrf(path, layout, tuple(columns.split()), bad_rows, progress, select):
            take(release, rows)
    return paths


def _select_atoms(filters: VocabularyFilters, rows: pa.Table) -> pa.Table:
    named = pc.not_equal(pc.utf8_trim(rows["STR"], characters=" "), "")
    return rows.filter(pc.and_(pc.and_(_one_of(rows["LAT"], filters.languages), named), _allowed(filters, rows)))


def _take_atoms(release: Release, rows: pa.Table) -> None:
    worse = ((4, "TS", "P"), (2, "STT", "PF"), (1, "ISPREF", "Y"))
    rank = sum(weight * pc.not_equal(rows[column], best).to_numpy().astype(np.int8) for weight, column, best in worse)
    sab, tty = release.sabs.encode(rows["SAB"]), release.ttys.encode(rows["TTY"])
    if len(rows):
        text = rows["STR"].combine_chunks()
        release.atoms.add(atom_batch(cui_numbers(rows["CUI"]), np.asarray(rank, np.int8), sab, tty, text))


def _take_types(release: Release, rows: pa.Table) -> None:
    release.types.add(cui_numbers(rows["CUI"]), release.tuis.encode(rows["TUI"]), release.type_names.encode(rows["STY"]))


def _select_is_a(filters: VocabularyFilters, rows: pa.Table) -> pa.Table:
    """Rows that say is_a, with `down`: whether CUI2 is the child; and `said by`: the SAB, marked where it says part_of.

    Rows are read from right to left: REL and RELA say what CUI2 is to CUI1.
    """
    rela, plain = rows["RELA"], pc.equal(rows["RELA"], "")
    by_rela = _one_of(rela, ("isa", "inverse_isa") if "rela" in filters.is_a else ())
    by_rel = pc.and_(plain, _one_of(rows["REL"], ("PAR", "CHD") if "rel" in filters.is_a else ()))
    by_part = _one_of(rela, (*_PART_OF, *_HAS_PART) if "part_of" in filters.is_a else ())
    chosen = pc.or_(pc.or_(by_rela, by_rel), by_part)
    chosen = pc.and_(pc.and_(chosen, pc.not_equal(rows["CUI1"], rows["CUI2"])), _allowed(filters, rows))
    down = pc.or_(_one_of(rela, ("isa", *_PART_OF)), pc.and_(plain, pc.equal(rows["REL"], "CHD")))
    said_by = pc.binary_join_element_wise(rows["SAB"], pc.if_else(by_part, ":part_of", ""), "")
    return rows.append_column("down", down).append_column("said by", said_by).filter(chosen)


def _take_is_a(release: Release, rows: pa.Table) -> None:
    one, two, down = cui_numbers(rows["CUI1"]), cui_numbers(rows["CUI2"]), rows["down"].to_numpy()
    release.is_a.add(np.where(down, two, one), np.where(down, one, two), release.is_a_sabs.encode(rows["said by"]))


def _take_ranks(release: Release, rows: pa.Table) -> None:
    for rank, sab, tty in zip(*(rows[column].to_pylist() for column in ("RANK", "SAB", "TTY")), strict=True):
        if rank.isdecimal():
            release.ranks[sab, tty] = max(int(rank), release.ranks.get((sab, tty), 0))


def _allowed(filters: VocabularyFilters, rows: pa.Table) -> pa.ChunkedArray:
    kept = pc.invert(_one_of(rows["SUPPRESS"], filters.suppress))
    return pc.and_(kept, _one_of(rows["SAB"], filters.sources)) if filters.sources else kept


def _one_of(column: pa.ChunkedArray, values: tuple[str, ...]) -> pa.ChunkedArray:
    return pc.is_in(column, pa.array(values, pa.string()))
