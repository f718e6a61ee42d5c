"""Tells the formats of releases apart, by what is there rather than by what it is called."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nbclip.errors import InvalidInput

from kg_service.vocabulary.files import Part, find_release
from kg_service.vocabulary.formats.obo import is_obo, is_obo_graph, read_obo, read_obo_graph
from kg_service.vocabulary.formats.opening import start_of
from kg_service.vocabulary.formats.owl import is_owl, read_owl
from kg_service.vocabulary.formats.rf2 import Rf2
from kg_service.vocabulary.formats.rf2_files import rf2_files
from kg_service.vocabulary.formats.terms import Ontology, Terms
from kg_service.vocabulary.formats.umls import Umls
from kg_service.vocabulary.release import Source

_ENDINGS = (".obo", ".owl", ".rdf", ".json")
_ARCHIVE = ".zip"


@dataclass(frozen=True, slots=True)
class _OntologyFormat:
    what: str
    starts: Callable[[bytes], bool]
    read: Callable[[Part], Ontology]


_ONTOLOGIES = (
    _OntologyFormat("an ontology in OBO", is_obo, read_obo),
    _OntologyFormat("an ontology in OWL (RDF/XML)", is_owl, read_owl),
    _OntologyFormat("an ontology as OBO graph (JSON)", is_obo_graph, read_obo_graph),
)
LOOKED_FOR = "MRCONSO.RRF (UMLS), sct2_Concept_Snapshot….txt (SNOMED CT RF2), or a file in OBO, OWL as RDF/XML or OBO graph JSON"


def find_source(given: Path) -> Source:
    """The release in a folder, an archive or a file.

    Raises:
        InvalidInput: nothing is there, or nothing of a known format, or several.
    """
    if given.is_file() and not zipfile.is_zipfile(given):
        return _ontology(given)
    release = find_release(given)
    snomed, is_umls = _snomed(given), bool(release.parts)
    if snomed and is_umls:
        raise InvalidInput(f"{given} holds a UMLS release and one of SNOMED CT", hint="give the folder of one of them")
    if snomed:
        return snomed
    if not is_umls and (found := _files(given)):
        if len(found) > 1:
            raise InvalidInput(f"{given} holds {', '.join(path.name for path in found)}", hint="give one of these files")
        return _ontology(found[0])
    return Umls(release)


def _snomed(given: Path) -> Rf2 | None:
    found = rf2_files(given)
    archives = sorted(path for path in given.glob(f"*{_ARCHIVE}") if zipfile.is_zipfile(path)) if given.is_dir() else []
    packed = [files for path in archives if (files := rf2_files(path))] if found is None else []
    if len(packed) > 1:
        raise InvalidInput(
            f"{given} holds several releases: {', '.join(files.given.name for files in packed)}", hint="give one of them"
        )
    files = found or next(iter(packed), None)
    return Rf2(files) if files else None


def _files(folder: Path) -> list[Path]:
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in paths if path.is_file() and _is_named_so(path.name.casefold()))


def _is_named_so(name: str) -> bool:
    return name.removesuffix(".gz").endswith(_ENDINGS)


def _ontology(path: Path) -> Terms:
    part = Part(path.name, path.stat().st_size, path)
    start = start_of(part)
    for known in _ONTOLOGIES:
        if known.starts(start):
            return Terms(known.what, part, known.read)
    raise InvalidInput(
        f"{path} is neither a folder nor a zip archive, nor of a known format",
        hint=f"looked for {LOOKED_FOR}; of a release, give its folder: {path.parent}",
    )
