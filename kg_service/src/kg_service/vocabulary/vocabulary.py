"""The compiled vocabulary: names, semantic types and is_a of every concept, memory-mapped and read-only."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
from nbclip.errors import BrokenArtefact, NotFound
from nbclip.ids import check_cui

from kg_service.storage.artefact import Artefact, open_artefact
from kg_service.storage.strings import Strings
from kg_service.vocabulary.format import (
    CODE_MASK,
    FORMAT,
    KIND,
    RANK_SHIFT,
    SOURCE_SHIFT,
    WITH_IDS,
    WITHOUT_RELATIONS,
    cui_number,
    cui_text,
    is_umls_cui,
)
from kg_service.vocabulary.model import TRANSITIVE, Ancestor, Concept, Edge, Name, Relation, Surroundings
from kg_service.vocabulary.relation_index import RelationIndex, reached
from kg_service.vocabulary.search import WordIndex

_HINT = "build one: kg-service vocabulary build RRF_DIR"
_NAME_BATCH = 1 << 16
_UNKNOWN_NUMBERS = 1 << 30
_ARRAYS = (
    "concept_cui concept_names name_concept name_key concept_types types parents_of parents edge_source children_of children"
)


def open_vocabulary(directory: Path, *, verify: bool = False) -> Vocabulary:
    """Maps the artefact in `directory` into memory; with `verify`, checks every file's SHA-256 first.

    Raises:
        NotFound: there is none.
        BrokenArtefact: it is damaged or of another format.
    """
    # All is opened here: a vocabulary built anew in this folder later must not mix with this one.
    artefact = open_artefact(directory, KIND, FORMAT, WITHOUT_RELATIONS, WITH_IDS, hint=_HINT, verify=verify)
    try:
        return Vocabulary(artefact)
    except KeyError as error:
        raise BrokenArtefact(f"the manifest in {directory} lacks {error}", hint=_HINT) from error


class Vocabulary:
    """Concepts by CUI, or by the id that another vocabulary than the UMLS gives them.

    Holds memory-mapped arrays (`format.py`); answers are in the vocabulary's own order, so always the same.

    Every method that takes a CUI raises NotFound where the vocabulary does not have it, and InvalidId where it is none.
    """

    def __init__(self, artefact: Artefact) -> None:
        self.directory = artefact.folder
        self.manifest = manifest = artefact.manifest
        self.sha256 = artefact.sha256
        self.sources: tuple[str, ...] = tuple(manifest["sources"])
        self.term_types: tuple[str, ...] = tuple(manifest["term_types"])
        self.semantic_type_names: dict[str, str] = dict(manifest["semantic_types"])
        self._tuis = tuple(self.semantic_type_names)
        self._edge_sources: list[str] = manifest["edge_sources"]
        self._arrays: dict[str, npt.NDArray[Any]] = {name: artefact.array(name) for name in _ARRAYS.split()}
        self._ids = _strings(artefact, "concept_id") if manifest["format"] == WITH_IDS else None
        self._relations = RelationIndex(artefact)
        self._names = _strings(artefact, "name")
        self._words = WordIndex(_strings(artefact, "word"), artefact.array("word_names"), artefact.array("postings"))

    @property
    def relations(self) -> Mapping[str, int]:
        """The relations that it was built with beside is_a, in alphabetical order, and how many edges each has."""
        return self._relations.counts

    @property
    def release(self) -> str:
        """The release's name, or `unknown`."""
        return str(self.manifest["release"])

    def describe(self) -> dict[str, str]:
        """Release, licence and SHA-256, as snapshots record them."""
        return {"release": self.release, "licence": str(self.manifest["licence"]), "sha256": self.sha256}

    def __len__(self) -> int:
        return len(self._arrays["concept_cui"])

    def __contains__(self, cui: object) -> bool:
        return isinstance(cui, str) and self._find(cui) is not None

    def __iter__(self) -> Iterator[str]:
        """All CUIs, ascending."""
        return iter(self._ids) if self._ids is not None else map(cui_text, self._arrays["concept_cui"].tolist())

    def _find(self, cui: str) -> int | None:
        if self._ids is not None:
            position = bisect_left(self._ids, cui)
            return position if position < len(self) and self._ids[position] == cui else None
        if not is_umls_cui(cui):
            return None
        position = int(np.searchsorted(self._arrays["concept_cui"], np.int32(cui[1:])))
        found = position < len(self) and int(self._arrays["concept_cui"][position]) == int(cui[1:])
        return position if found else None

    def index(self, cui: str) -> int:
        """The concept's position in ascending order of CUIs."""
        position = self._find(cui)
        if position is None:
            check_cui(cui)
            raise NotFound(
                f"concept {cui} is not in the vocabulary", hint=f"the vocabulary is {self.release} in {self.directory}"
            )
        return position

    def cui(self, index: int) -> str:
        """The CUI at a position."""
        return self._ids[index] if self._ids is not None else cui_text(int(self._arrays["concept_cui"][index]))

    def _row(self, pointers: str, values: str, index: int) -> list[int]:
        start, stop = self._arrays[pointers][index : index + 2]
        return list(self._arrays[values][start:stop].tolist())

    def preferred_name(self, cui: str) -> str:
        """The name with the best TS, STT and ISPREF; ties go to the source's order, the term type, the text."""
        return self.name_at(self.index(cui))

    def name_at(self, index: int) -> str:
        """The preferred name of the concept at a position."""
        return self._names[int(self._arrays["concept_names"][index])]

    def names(self, cui: str) -> list[str]:
        """All names, the preferred one first."""
        start, stop = self._arrays["concept_names"][self.index(cui) :][:2]
        return self._names[int(start) : int(stop)]

    def evidence_at(self, index: int) -> int:
        """Names and is_a edges of the concept at a position: much for a central concept, little for a stray duplicate."""
        pointers = (self._arrays[name] for name in ("concept_names", "parents_of", "children_of"))
        return sum(int(row[index + 1] - row[index]) for row in pointers)

    @property
    def evidence(self) -> npt.NDArray[np.int64]:
        """What `evidence_at` says of each concept, int64, [N]."""
        pointers = (self._arrays[name] for name in ("concept_names", "parents_of", "children_of"))
        return np.asarray(sum(np.diff(row) for row in pointers), np.int64)

    @property
    def type_rows(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Row pointers of the concepts, int64, [N + 1], and positions of their TUIs in `semantic_type_names`."""
        return self._arrays["concept_types"], self._arrays["types"]

    @property
    def concept_cui(self) -> npt.NDArray[np.int32]:
        """`number` of each concept, int32, [N], ascending."""
        return self._arrays["concept_cui"]

    def number(self, cui: str) -> int:
        """The concept's number in [0, 10^7): of a CUI its digits, of another id its position. An unknown id has one from 2^30 on.

        Raises:
            InvalidId: it has not the form of a concept's id.
        """
        if self._ids is None and is_umls_cui(cui):
            return cui_number(cui)
        position = self._find(check_cui(cui))
        return _UNKNOWN_NUMBERS + crc32(cui.encode()) % _UNKNOWN_NUMBERS if position is None else position

    def semantic_types(self, cui: str) -> tuple[str, ...]:
        """TUIs, ascending."""
        return self.semantic_types_at(self.index(cui))

    def semantic_types_at(self, index: int) -> tuple[str, ...]:
        """TUIs of the concept at a position, ascending."""
        return tuple(self._tuis[code] for code in self._row("concept_types", "types", index))

    def source(self, cui: str) -> str:
        """SAB of the preferred name."""
        key = int(self._arrays["name_key"][self._arrays["concept_names"][self.index(cui)]])
        return self.sources[key >> SOURCE_SHIFT & CODE_MASK]

    def concept(self, cui: str) -> Concept:
        """Name, semantic types and source at once."""
        return Concept(cui, self.preferred_name(cui), self.semantic_types(cui), self.source(cui))

    def parents(self, cui: str) -> list[str]:
        """Concepts that this one is_a, by CUI."""
        return [self.cui(parent) for parent in self._row("parents_of", "parents", self.index(cui))]

    def children(self, cui: str) -> list[str]:
        """Concepts that are this one, by CUI."""
        return [self.cui(child) for child in self._row("children_of", "children", self.index(cui))]

    def ancestors(self, cui: str) -> list[Ancestor]:
        """All concepts above, nearest first, then by CUI; without the concept itself."""
        distance = {self.index(cui): 0}
        level = list(distance)
        while level:
            above = {parent for node in level for parent in self._row("parents_of", "parents", node)} - distance.keys()
            level = sorted(above)
            distance |= dict.fromkeys(level, distance[next(reversed(distance))] + 1)
        return [Ancestor(self.cui(node), steps) for node, steps in distance.items() if steps]

    def is_a_closure(self, cuis: Iterable[str]) -> tuple[list[Concept], list[Edge]]:
        """The concepts with every ancestor, and all is_a edges among them; both ordered by CUI."""
        nodes = sorted(reached({self.index(cui) for cui in cuis}, self._parents))
        return [self.concept(self.cui(node)) for node in nodes], [edge for node in nodes for edge in self._edges(node)]

    def surroundings(self, cuis: Iterable[str]) -> Surroundings:
        """What the graph needs of the vocabulary for these concepts.

        Which concepts: these and their ancestors by is_a; those that a typed edge of one of them leads to; and, above the latter,
        all that is_a and transitive relations (`TRANSITIVE`) lead to. Which edges: all is_a among them; all typed edges of the
        given concepts and their ancestors; of the others the transitive ones. What several calls give adds up to what one gives.
        """
        about = reached({self.index(cui) for cui in cuis}, self._parents)
        targets = {target for node in about for target in self._relations.targets(node, self.relations)}
        above = reached(targets, lambda node: [*self._parents(node), *self._relations.targets(node, TRANSITIVE)])
        nodes = sorted(about | above)
        return Surroundings(
            concepts=[self.concept(self.cui(node)) for node in nodes],
            is_a=[edge for node in nodes for edge in self._edges(node)],
            relations=[
                Relation(self.cui(node), relation, self.cui(target), source)
                for node in nodes
                for relation, target, source in self._relations.edges(node)
                if node in about or relation in TRANSITIVE
            ],
        )

    def _parents(self, index: int) -> list[int]:
        return self._row("parents_of", "parents", index)

    def _edges(self, child: int) -> Iterator[Edge]:
        sources = self._row("parents_of", "edge_source", child)
        for parent, source in zip(self._row("parents_of", "parents", child), sources, strict=True):
            yield Edge(self.cui(child), self.cui(parent), self._edge_sources[source])

    def search(self, query: str, limit: int = 20) -> list[Concept]:
        """Concepts with a name in which every word of `query` begins a word; shortest name first, then by CUI.

        An exact name is therefore found first. Case does not matter.
        """
        names = self._words.find(query)
        lengths = self._names.offsets[names + 1] - self._names.offsets[names]
        concepts = self._arrays["name_concept"][names]
        found: dict[int, None] = {}
        for concept in concepts[np.lexsort((concepts, lengths))].tolist():
            if len(found) == limit:
                break
            found[concept] = None
        return [self.concept(self.cui(index)) for index in found]

    @property
    def words(self) -> WordIndex:
        """The lower-case words of all names, sorted, each with the names that have it."""
        return self._words

    @property
    def name_count(self) -> int:
        """M: names of all concepts together."""
        return len(self._names)

    def name_texts(self, start: int, stop: int) -> list[str]:
        """The text of names `start` to `stop`, in the order of concepts."""
        return self._names[start:stop]

    def name_text(self, position: int) -> str:
        """The text of one name."""
        return self._names[position]

    @property
    def name_concept(self) -> npt.NDArray[np.int32]:
        """Concept position of each name, int32, [M], ascending."""
        return self._arrays["name_concept"]

    @property
    def name_key(self) -> npt.NDArray[np.int64]:
        """What orders the names of a concept, lowest first (rank, source, term type), int64, [M]."""
        return self._arrays["name_key"]

    def iter_names(self) -> Iterator[Name]:
        """Every name of every concept, ordered by CUI, the preferred name first."""
        for start in range(0, self.name_count, _NAME_BATCH):
            stop = min(start + _NAME_BATCH, self.name_count)
            concepts, keys = self.name_concept[start:stop].tolist(), self.name_key[start:stop].tolist()
            for offset, text in enumerate(self.name_texts(start, stop)):
                preferred = int(self._arrays["concept_names"][concepts[offset]]) == start + offset
                yield self._name(concepts[offset], keys[offset], text, preferred)

    def _name(self, concept: int, key: int, text: str, preferred: bool) -> Name:
        source, term_type = self.sources[key >> SOURCE_SHIFT & CODE_MASK], self.term_types[key & CODE_MASK]
        return Name(self.cui(concept), text, source, term_type, key >> RANK_SHIFT, preferred)


def _strings(artefact: Artefact, stem: str) -> Strings:
    return Strings(artefact.array(f"{stem}_offsets"), artefact.array(f"{stem}_data"))
