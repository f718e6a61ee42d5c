"""Ontologies as lists of terms, and their terms as rows of the UMLS."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
from nbclip.errors import InvalidId, InvalidInput
from nbclip.ids import check_cui

from kg_service.vocabulary.files import Part
from kg_service.vocabulary.formats.opening import opened
from kg_service.vocabulary.formats.tags import types_of
from kg_service.vocabulary.relations import known_inverses
from kg_service.vocabulary.rrf import MRCONSO, MRREL, MRSTY, BadRows, Layout, OnBytes, Select

Scope = Literal["PREFERRED", "EXACT", "NARROW", "RELATED", "BROAD"]

_MOST_TERMS = 10**7
_KINDS: Mapping[Scope, tuple[str, str, str, str, str]] = {
    "PREFERRED": ("P", "PF", "Y", "PT", "N"),
    "EXACT": ("S", "PF", "Y", "SY", "N"),
    "NARROW": ("S", "VO", "N", "NS", "N"),
    "RELATED": ("S", "VO", "N", "RS", "Y"),
    "BROAD": ("S", "VO", "N", "BS", "Y"),
}
"""TS, STT, ISPREF, TTY and SUPPRESS of names by their scope."""
_SOURCES = {"RID": "RADLEX"}
_NO_WORD = re.compile(r"[^a-z0-9]+")
_ID = re.compile(rb"""(?:^id:\s*|\babout=["']|"id"\s*:\s*")([^\s"']+)""")
"""An id where a term begins, in OBO, OWL and OBO graph JSON."""
_LETTERS = re.compile(r"[A-Za-z]*")


@dataclass(slots=True)
class Term:
    """A term of an ontology.

    Attributes:
        id: its id.
        names: text, scope and language (a LAT) of each name.
        parents: terms that it is_a.
        relations: id of the relation, and term, of the others.
        obsolete: whether it is marked so.
        namespace: of the ontology's, or empty.
        alt_ids: ids of terms that were merged into it.
    """

    id: str
    names: list[tuple[str, Scope, str]] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    relations: list[tuple[str, str]] = field(default_factory=list)
    obsolete: bool = False
    namespace: str = ""
    alt_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Ontology:
    """What a file says.

    Attributes:
        name: of the ontology, such as `uberon`; may be empty.
        version: may be empty.
        terms: in the file's order; several may have one id, of which `Terms` takes the first.
        relation_names: what each relation is called, by its id.
        unread: statements that a reader can't make edges of, by what they are.
    """

    name: str = ""
    version: str = ""
    terms: list[Term] = field(default_factory=list)
    relation_names: dict[str, str] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)


class Terms:
    """A `Source` of the terms of an ontology.

    Args:
        what: as `Source.what`.
        is_a_at: as `Source.is_a_at`.
        part: the file.
        read: reads it.
    """

    types_at = "its roots, namespace and prefix stand for them"

    def __init__(self, what: str, is_a_at: str, part: Part, read: Callable[[Part], Ontology]) -> None:
        self.what = what
        self.is_a_at = f"{is_a_at}, and --is-a: rel finds none"
        self.given: Path = part.path
        self.parts: Sequence[Part] = (part,)
        self.inverses: Mapping[str, str] = known_inverses()
        self.ids: pa.Array | None = None
        self._read = read
        self._ontology = Ontology()
        self._number: dict[str, int] = {}
        self._lost: Counter[str] = Counter()

    def prepare(self, layouts: Sequence[Layout], bad_rows: BadRows, progress: OnBytes | None) -> None:
        """As `Source.prepare`; reads all of the file."""
        (part,) = self.parts
        if progress:
            progress(part.name, 0, part.size)
        self._ontology = ontology = self._read(part)
        if progress:
            progress(part.name, part.size, part.size)
        good = _with_usable_ids(ontology.terms, part, bad_rows)
        ids = sorted({term.id for term in good})
        if not ids:
            raise InvalidInput(f"{part.place} has no term", hint=f"it was read as {self.what}: [Term] frames, or owl:Class")
        if len(ids) > _MOST_TERMS:
            raise InvalidInput(f"{part.place} has over {_MOST_TERMS:,} terms", hint="give a part of it")
        ontology.terms = good
        self._number = {term_id: number for number, term_id in enumerate(ids)}
        self.ids = pa.array(ids, pa.string())

    def rows(self, layout: Layout, columns: tuple[str, ...], select: Select) -> Iterator[pa.Table]:
        """As `Source.rows`."""
        makers = {MRCONSO: self._names, MRSTY: self._types, MRREL: self._edges}
        if layout in makers:
            yield select(_table(columns, makers[layout]()))

    def _names(self) -> Iterator[dict[str, str | int]]:
        for term in self._ontology.terms:
            for text, scope, language in term.names:
                ts, stt, is_preferred, tty, suppress = _KINDS[scope]
                yield {
                    "CUI": self._number[term.id],
                    "LAT": language,
                    "TS": ts,
                    "STT": stt,
                    "ISPREF": is_preferred,
                    "SAB": self._source(term.id),
                    "TTY": tty,
                    "STR": " ".join(text.split()),
                    "SUPPRESS": "O" if term.obsolete else suppress,
                }

    def _types(self) -> Iterator[dict[str, str | int]]:
        found = _types_of_terms(self._ontology.terms)
        for term_id, (tui, name) in found.items():
            yield {"CUI": self._number[term_id], "TUI": tui, "STY": name}

    def _edges(self) -> Iterator[dict[str, str | int]]:
        called = {one: _slug(name) for one, name in self._ontology.relation_names.items()}
        for term in self._ontology.terms:
            edges = [(parent, "CHD", "isa") for parent in term.parents]
            edges += [(target, "RO", called.get(relation) or _slug(relation)) for relation, target in term.relations]
            for target, rel, rela in edges:
                if target not in self._number:
                    self._lost["is_a edges" if rela == "isa" else "other edges"] += 1
                    continue
                yield {
                    "CUI1": self._number[target],
                    "REL": rel,
                    "CUI2": self._number[term.id],
                    "RELA": rela,
                    "SAB": self._source(term.id),
                    "SUPPRESS": "O" if term.obsolete else "N",
                }

    def _source(self, term_id: str) -> str:
        """The SAB of a term: the prefix of its id, or the letters at its beginning."""
        prefix = term_id.partition(":")[0] if ":" in term_id else _LETTERS.match(term_id)[0]  # type: ignore[index]
        return _SOURCES.get(prefix, prefix or "OWN").upper()

    def release_name(self) -> str:
        """As `Source.release_name`: the ontology's name and version."""
        return " ".join(filter(None, (self._ontology.name, self._ontology.version)))

    def notes(self) -> tuple[str, ...]:
        """What is not kept."""
        terms = self._ontology.terms
        said = [
            ("terms left out without a name, such as those of another ontology", sum(not t.names for t in terms)),
            *((f"{what} left out that lead to a term the file lacks", count) for what, count in sorted(self._lost.items())),
            *((f"{what} not read", count) for what, count in sorted(self._ontology.unread.items())),
        ]
        return (*_merged(terms), *(f"{what}: {count:,}" for what, count in said if count))


def _merged(terms: Sequence[Term]) -> Iterator[str]:
    count = sum(len(term.alt_ids) for term in terms)
    if count:
        term = next(term for term in terms if term.alt_ids)
        yield (
            f"ids that terms had before they were merged (alt_id) are not read: {count:,}. Captions need today's id, such as "
            f"{term.id} instead of {term.alt_ids[0]}"
        )


def _table(columns: tuple[str, ...], rows: Iterable[Mapping[str, str | int]]) -> pa.Table:
    values: dict[str, list[str | int]] = {name: [] for name in columns}
    for row in rows:
        for name, column in values.items():
            column.append(row[name])
    kinds = {name: pa.int32() if name.startswith("CUI") else pa.string() for name in columns}
    return pa.table({name: pa.chunked_array([pa.array(column, kinds[name])]) for name, column in values.items()})


def _with_usable_ids(terms: Sequence[Term], part: Part, bad_rows: BadRows) -> list[Term]:
    """Those whose id can be a concept's and is no earlier term's; the others are bad rows."""
    good: dict[str, Term] = {}
    bad: list[tuple[str, int]] = []
    met: Counter[str] = Counter()
    for term in terms:
        met[term.id] += 1
        if not _is_usable(term.id) or good.setdefault(term.id, term) is not term:
            bad.append((term.id, met[term.id]))
    lines = _lines_of_ids(part) if bad else {}
    for term_id, nth in bad:
        at = lines.get(_bare(term_id), [1])
        if term_id in good:
            bad_rows.add(part.name, at[min(nth, len(at)) - 1], f"the id {term_id} is that of the term in line {at[0]} already")
        else:
            bad_rows.add(part.name, at[0], f"{term_id!r:.80} can't be the id of a concept")
    return list(good.values())


def _is_usable(term_id: str) -> bool:
    try:
        check_cui(term_id)
    except InvalidId:
        return False
    return True


def _lines_of_ids(part: Part) -> dict[str, list[int]]:
    """The lines that begin terms, by the terms' ids as `_bare` has them."""
    found: dict[str, list[int]] = {}
    with opened(part) as stream:
        for number, line in enumerate(stream, 1):
            for text in _ID.findall(line):
                found.setdefault(_bare(text.decode(errors="replace")), []).append(number)
    return found


def _bare(text: str) -> str:
    """TST_1 for TST:1 and for an IRI that ends in it: as all formats have it."""
    return re.split("[/#]", text)[-1].replace(":", "_")


def _slug(name: str) -> str:
    return _NO_WORD.sub("_", name.casefold()).strip("_")


def _types_of_terms(terms: Sequence[Term]) -> dict[str, tuple[str, str]]:
    """TUI and its name by id: of the nearest ancestor whose name the table of roots has, else of namespace or prefix."""
    roots, namespaces = types_of("root"), types_of("namespace")
    found: dict[str, tuple[str, str]] = {}
    children: dict[str, list[str]] = {}
    for term in terms:
        for parent in term.parents:
            children.setdefault(parent, []).append(term.id)
        named = (roots.get(text.casefold()) for text, scope, _ in term.names if scope == "PREFERRED")
        if own := next(filter(None, named), None):
            found.setdefault(term.id, own)
    level = list(found)
    while level:
        below = [(child, found[parent]) for parent in level for child in children.get(parent, ()) if child not in found]
        found |= dict(reversed(below))
        level = list(dict.fromkeys(child for child, _ in below))
    for term in terms:
        keys = (term.namespace.casefold(), term.id.partition(":")[0].casefold())
        if term.id not in found and (own := next((namespaces[key] for key in keys if key in namespaces), None)):
            found[term.id] = own
    return found
