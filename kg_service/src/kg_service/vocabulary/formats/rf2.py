"""SNOMED CT releases in RF2, one or several editions together, read as rows of the UMLS.

The snapshot's active rows count; inactive ones are obsolete (SUPPRESS O). Fully specified names lose their semantic tag, which
becomes a semantic type. Which synonym is preferred, and which are acceptable at all, language reference sets say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kg_service.vocabulary.files import Part
from kg_service.vocabulary.formats.rf2_files import CONCEPT, DESCRIPTION, LANGUAGE, RELATIONSHIP, Rf2Files
from kg_service.vocabulary.formats.snomed_ids import are_sctids
from kg_service.vocabulary.formats.tags import types_of
from kg_service.vocabulary.relations import known_inverses
from kg_service.vocabulary.rrf import MRCONSO, MRREL, MRSTY, BadRows, Layout, OnBytes, Select, read_rrf

Int64s = npt.NDArray[np.int64]

SAB = "SNOMEDCT"
LANGUAGES = {
    "cs": "CZE", "da": "DAN", "de": "GER", "en": "ENG", "es": "SPA", "et": "EST", "fi": "FIN", "fr": "FRE", "it": "ITA",
    "nl": "DUT", "no": "NOR", "nb": "NOR", "nn": "NOR", "pl": "POL", "pt": "POR", "ru": "RUS", "sv": "SWE", "tr": "TUR",
    "ja": "JPN", "ko": "KOR", "zh": "CHI", "hu": "HUN", "el": "GRE", "hr": "SCR", "lv": "LAV", "eu": "BAQ", "he": "HEB",
}  # fmt: skip
"""Values of LAT by ISO 639-1."""

_COMMON = "id effectiveTime active moduleId"
_LAYOUTS = {
    CONCEPT: (f"{_COMMON} definitionStatusId", (0,)),
    DESCRIPTION: (f"{_COMMON} conceptId languageCode typeId term caseSignificanceId", (0, 4, 6)),
    RELATIONSHIP: (
        f"{_COMMON} sourceId destinationId relationshipGroup typeId characteristicTypeId modifierId",
        (0, 4, 5, 7),
    ),
    LANGUAGE: (f"{_COMMON} refsetId referencedComponentId acceptabilityId", (4, 5, 6)),
}
_FULLY_SPECIFIED, _SYNONYM = 900000000000003001, 900000000000013009
_IS_A = 116680003
_PREFERRED, _ACCEPTABLE = 900000000000548007, 900000000000549004
_OF_THE_US, _BRITISH = 900000000000509007, 900000000000508004
_UNLISTED = 8
_INTERNATIONAL = "INT"
_LOST = "{} of concepts that the release lacks"
_UNTYPED = "concepts of the semantic tag {!r}, which stands for no semantic type"
_TAG = re.compile(r"\(([^()]*)\)\s*$")
_TAG_PATTERN = r"\s*\([^()]*\)\s*$"
_NO_WORD = re.compile(r"[^a-z0-9]+")
_CALLED = {
    116676008: "has_associated_morphology",
    123005000: "part_of",
    246075003: "has_causative_agent",
    255234002: "occurs_after",
    272741003: "has_laterality",
    363698007: "has_finding_site",
    363704007: "has_procedure_site",
    405813007: "has_direct_procedure_site",
    405814001: "has_indirect_procedure_site",
    42752001: "due_to",
    47429007: "associated_with",
    733928003: "all_or_part_of",
    733930001: "regional_part_of",
    733931002: "constitutional_part_of",
    733932009: "systemic_part_of",
    733933004: "lateral_half_of",
    774081006: "proper_part_of",
}
"""RELA of attributes as the UMLS has it. Others are called `has_` and their name."""


class Rf2:
    """A `Source` of the files of a snapshot."""

    what = "a SNOMED CT release in RF2"
    is_a_at = "the active rows of sct2_Relationship_Snapshot with the typeId 116680003, and --is-a: rel finds none"
    types_at = "semantic tags of its full names stand for them"

    def __init__(self, files: Rf2Files) -> None:
        self.given: Path = files.given
        self.inverses: Mapping[str, str] = known_inverses()
        self.ids: pa.Array | None = None
        self.parts: Sequence[Part] = ()
        self._files = files
        self._bad_rows = BadRows(0)
        self._progress: OnBytes | None = None
        self._concepts = _Concepts(np.zeros(0, np.int64), np.zeros(0, np.bool_))
        self._ranks = _Ranks(np.zeros(0, np.int64), np.zeros(0, np.int8))
        self._types: list[pa.Table] = []
        self._relas: dict[int, str] = {_IS_A: "isa"}
        self._strays: list[tuple[str, int]] = []  # appended to by several threads

    def prepare(self, layouts: Sequence[Layout], bad_rows: BadRows, progress: OnBytes | None) -> None:
        """As `Source.prepare`; reads concepts and language reference sets."""
        self._bad_rows, self._progress = bad_rows, progress
        found = [self._files.find(kind) for kind in (CONCEPT, DESCRIPTION, RELATIONSHIP)]
        self.parts = [part for parts in (*found, self._files.parts.get(LANGUAGE, ())) for part in parts]
        concepts = _joined(self._read(CONCEPT, "id effectiveTime active"), "id effectiveTime active")
        concepts = concepts.sort_by([("effectiveTime", "descending")])  # of several editions, the newest row of each counts
        self._concepts = _Concepts(_integers(concepts["id"]), _is_active(concepts))
        self.ids = self._concepts.texts
        members = _joined(
            self._read(LANGUAGE, "active refsetId referencedComponentId acceptabilityId", _active_rows),
            "refsetId referencedComponentId acceptabilityId",
        )
        self._ranks = _ranks_of(members)

    def _read(self, kind: str, columns: str, select: Select = lambda rows: rows) -> Iterator[pa.Table]:
        header, id_columns = _LAYOUTS[kind]
        for part in self._files.parts.get(kind, ()):
            layout = Layout(part.name, header, id_columns, are_sctids, "SNOMED CT identifier", has_header=True, delimiter="\t")
            yield from read_rrf((part,), layout, tuple(columns.split()), self._bad_rows, self._progress, select)

    def rows(self, layout: Layout, columns: tuple[str, ...], select: Select) -> Iterator[pa.Table]:
        """As `Source.rows`; those of MRCONSO first, as names say what the others need."""
        if layout is MRCONSO:
            yield from self._read(DESCRIPTION, "active conceptId id languageCode typeId term", partial(self._names, select))
        elif layout is MRSTY:
            yield from (select(rows) for rows in self._types)
        elif layout is MRREL:
            yield from self._read(RELATIONSHIP, "active sourceId destinationId typeId", partial(self._edges, select))

    def _names(self, select: Select, rows: pa.Table) -> pa.Table:
        """Descriptions as rows of MRCONSO; notes semantic tags, and what attributes are called."""
        kind = _integers(rows["typeId"])
        number = self._concepts.numbers(_integers(rows["conceptId"]))
        self._strays.append((_LOST.format("descriptions"), int((number < 0).sum())))
        kept = ((kind == _FULLY_SPECIFIED) | (kind == _SYNONYM)) & (number >= 0)
        rows, kind, number = rows.filter(pa.array(kept)), kind[kept], number[kept]
        full, active = kind == _FULLY_SPECIFIED, _is_active(rows)
        rank = self._ranks.of(_integers(rows["id"]))
        self._note_tags(rows.filter(pa.array(full & active)), number[full & active])
        term = pc.if_else(pa.array(full), pc.replace_substring_regex(rows["term"], _TAG_PATTERN, ""), rows["term"])
        listed = bool(self._ranks)
        weight = np.where(full, 7 if listed else 0, np.where(rank == _UNLISTED, 4, rank))
        suppress = np.where(listed & ~full & (rank == _UNLISTED), "Y", "N")
        suppress = np.where(active & self._concepts.active_at(number), suppress, "O")
        texts = {
            "LAT": pa.array(_languages(rows["languageCode"])),
            "TS": pa.array(np.where(weight & 4, "S", "P")),
            "STT": pa.array(np.where(weight & 2, "VO", "PF")),
            "ISPREF": pa.array(np.where(weight & 1, "N", "Y")),
            "SAB": pa.array(np.full(len(rows), SAB)),
            "TTY": pa.array(np.where(full, "FN", np.where(rank < 4, "PT", "SY"))),
            "SUPPRESS": pa.array(suppress),
        }
        columns = {"CUI": pa.array(number), **{name: text.cast(pa.string()) for name, text in texts.items()}, "STR": term}
        return select(pa.table(columns))

    def _note_tags(self, names: pa.Table, number: npt.NDArray[np.int32]) -> None:
        types = types_of("tag")
        found: list[tuple[int, str, str]] = []
        for at, sctid, text in zip(number.tolist(), names["conceptId"].to_pylist(), names["term"].to_pylist(), strict=True):
            match = _TAG.search(text)
            tag = match[1].casefold() if match else ""
            if tag in types:
                found.append((at, *types[tag]))
            elif tag:
                self._strays.append((_UNTYPED.format(tag), 1))
            if tag == "attribute":
                self._relas.setdefault(int(sctid), _CALLED.get(int(sctid)) or _called(text))
        number_of, tui, called = zip(*found, strict=True) if found else ((), (), ())
        texts = {name: pa.array(values, pa.string()) for name, values in (("TUI", tui), ("STY", called))}
        self._types.append(pa.table({"CUI": pa.array(number_of, pa.int32()), **texts}))

    def _edges(self, select: Select, rows: pa.Table) -> pa.Table:
        """Relationships as rows of MRREL: CUI2 RELA CUI1."""
        source, target = (self._concepts.numbers(_integers(rows[name])) for name in ("sourceId", "destinationId"))
        self._strays.append((_LOST.format("relationships"), int(((source < 0) | (target < 0)).sum())))
        kept = (source >= 0) & (target >= 0)
        rows, source, target = rows.filter(pa.array(kept)), source[kept], target[kept]
        kinds, at = np.unique(_integers(rows["typeId"]), return_inverse=True)
        rela = np.array([self._relas.get(kind) or _CALLED.get(kind, "") for kind in kinds.tolist()], object)[at]
        columns = {
            "CUI1": pa.array(target),
            "REL": pa.array(np.where(rela == "isa", "CHD", "RO")).cast(pa.string()),
            "CUI2": pa.array(source),
            "RELA": pa.array(rela, pa.string()),
            "SAB": pa.array(np.full(len(rows), SAB)).cast(pa.string()),
            "SUPPRESS": pa.array(np.where(_is_active(rows), "N", "O")).cast(pa.string()),
        }
        return select(pa.table(columns))

    def release_name(self) -> str:
        """As `Source.release_name`: the edition and date of the files' names."""
        return self._files.name

    def notes(self) -> tuple[str, ...]:
        """What has no concept, tags without a semantic type, whether names can be told preferred, what an extension lacks."""
        found = [] if self._ranks else ["no language reference set was found: fully specified names are the preferred ones"]
        strays: Counter[str] = Counter()
        for what, count in self._strays:
            strays[what] += count
        if strays[_LOST.format("relationships")] and _INTERNATIONAL not in self._files.editions:
            found.append("an extension needs the International Edition: put both releases into one folder, and give that")
        return (*found, *(f"{what}: {count:,}" for what, count in sorted(strays.items()) if count))


class _Concepts:
    """Concepts by id; a concept's number is its place among the ids as texts."""

    def __init__(self, ids: Int64s, active: npt.NDArray[np.bool_]) -> None:
        self._values, first = np.unique(ids, return_index=True)
        order = np.argsort(self._values.astype("S18"), kind="stable")
        self._number = np.empty(len(order), np.int32)
        self._number[order] = np.arange(len(order), dtype=np.int32)
        self._active = active[first][order]
        self.texts = pa.array(self._values[order]).cast(pa.string())

    def numbers(self, ids: Int64s) -> npt.NDArray[np.int32]:
        """The number of each id, int32, [n]; -1 where there is no such concept."""
        if not len(self._values):
            return np.full(len(ids), -1, np.int32)
        place = np.searchsorted(self._values, ids).clip(max=len(self._values) - 1)
        return np.where(self._values[place] == ids, self._number[place], np.int32(-1))

    def active_at(self, numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Whether the concepts of these numbers are active, [n]."""
        return np.asarray(self._active[numbers])


class _Ranks:
    """How descriptions rank by language reference sets: 0 preferred, 4 acceptable, `_UNLISTED` in none."""

    def __init__(self, ids: Int64s, rank: npt.NDArray[np.int8]) -> None:
        order = np.lexsort((rank, ids))
        ids, rank = ids[order], rank[order]
        first = np.flatnonzero(np.diff(ids, prepend=-1))
        self._ids, self._rank = ids[first], rank[first]

    def __bool__(self) -> bool:
        return len(self._ids) > 0

    def of(self, ids: Int64s) -> npt.NDArray[np.int8]:
        """The rank of each description, int8, [n]."""
        if not self:
            return np.full(len(ids), _UNLISTED, np.int8)
        place = np.searchsorted(self._ids, ids).clip(max=len(self._ids) - 1)
        return np.where(self._ids[place] == ids, self._rank[place], np.int8(_UNLISTED))


def _ranks_of(members: pa.Table) -> _Ranks:
    """Preferred by an edition's own reference set goes before that of US English, and that before British English."""
    refset, component, acceptability = (_integers(members[name]) for name in members.column_names)
    preferred = np.select([refset == _OF_THE_US, refset == _BRITISH], [1, 2], 0)
    rank = np.select([acceptability == _PREFERRED, acceptability == _ACCEPTABLE], [preferred, 4], _UNLISTED)
    return _Ranks(component, rank.astype(np.int8))


def _integers(column: pa.ChunkedArray) -> Int64s:
    return np.asarray(column.cast(pa.int64()).to_numpy(), np.int64)


def _is_active(rows: pa.Table) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.equal(rows["active"], "1").to_numpy(), np.bool_)


def _active_rows(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.equal(rows["active"], "1")).drop_columns(["active"])


def _joined(tables: Iterator[pa.Table], columns: str) -> pa.Table:
    return pa.concat_tables([pa.table({name: pa.array([], pa.string()) for name in columns.split()}), *tables])


def _languages(codes: pa.ChunkedArray) -> Any:
    encoded = codes.combine_chunks().dictionary_encode()
    names = [LANGUAGES.get(code[:2].casefold(), code.upper()) for code in encoded.dictionary.to_pylist()]
    return np.array([*names, ""])[encoded.indices.to_numpy()]


def _called(name: str) -> str:
    """`has_finding_site` for Finding site (attribute)."""
    slug = _NO_WORD.sub("_", _TAG.sub("", name).casefold()).strip("_")
    return slug if slug.startswith(("has_", "is_")) else f"has_{slug}"
