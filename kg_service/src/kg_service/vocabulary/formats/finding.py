"""Tells the formats of releases apart, by what is there rather than by what it is called."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nbclip.errors import InvalidInput
from nbclip.files.foreign import START, foreign_kind

from kg_service.vocabulary.files import AGAIN, Part, find_release
from kg_service.vocabulary.formats.obo import is_obo, is_obo_graph, read_obo, read_obo_graph
from kg_service.vocabulary.formats.opening import start_of
from kg_service.vocabulary.formats.owl import is_owl, read_owl
from kg_service.vocabulary.formats.rf2 import Rf2
from kg_service.vocabulary.formats.rf2_files import Rf2Files, rf2_files, together
from kg_service.vocabulary.formats.terms import Ontology, Terms
from kg_service.vocabulary.formats.umls import Umls
from kg_service.vocabulary.release import Source

_ENDINGS = (".obo", ".owl", ".rdf", ".json")
_ARCHIVE = ".zip"


@dataclass(frozen=True, slots=True)
class _OntologyFormat:
    what: str
    is_a_at: str
    starts: Callable[[bytes], bool]
    read: Callable[[Part], Ontology]


_ONTOLOGIES = (
    _OntologyFormat("an ontology in OBO", "the `is_a:` lines of its terms", is_obo, read_obo),
    _OntologyFormat("an ontology in OWL (RDF/XML)", "rdfs:subClassOf of its classes", is_owl, read_owl),
    _OntologyFormat("an ontology as OBO graph (JSON)", 'its edges with the pred "is_a"', is_obo_graph, read_obo_graph),
)
_GIVE = "give the ontology itself, as a file in OBO, OWL as RDF/XML or OBO graph JSON"
_WITH_A_WAY_OUT = ("a web page", "a pointer of Git LFS instead of the file", "packed, and not with gzip")
_WIDE = (
    (re.compile(rb"\xff\xfe\0\0|\0\0\xfe\xff"), "UTF-32"),
    (re.compile(rb"\xff\xfe|\xfe\xff"), "UTF-16"),
    (re.compile(rb"[^\0]\0[^\0]\0"), "UTF-16LE"),
    (re.compile(rb"\0[^\0]\0[^\0]"), "UTF-16BE"),
)
"""Encodings of several bytes a character, by how files in them begin."""
_ROBOT = "save it as RDF/XML or OBO, in Protégé or by ROBOT: robot convert --input FILE --output NEW.obo"
_OTHERS = (
    (re.compile(rb"(?s)\s*[{\[]"), 'JSON without "graphs": no OBO graph', _GIVE),
    (re.compile(rb"(?s)\s*(#[^\n]*\s+)*(@prefix|@base|PREFIX\b)"), "an ontology in Turtle", _ROBOT),
    (re.compile(rb"\s*Prefix\("), "OWL in functional syntax", _ROBOT),
    (re.compile(rb"\s*(Prefix|Ontology):"), "OWL in Manchester syntax", _ROBOT),
    (re.compile(rb"(?s)\s*<.*<Ontology\b|\s*<Ontology\b"), "OWL in OWL/XML", _ROBOT),
    (re.compile(rb"\s*<"), "XML, but no OWL as RDF/XML", _GIVE),
)
"""By how they begin: what is no ontology that is read, and the way out."""
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
    if not is_umls and (packed := _packed(given)):
        raise InvalidInput(f"{given} is a zip archive that holds {packed}", hint=f"unpack it, and give {packed}")
    return Umls(release)


def _packed(given: Path) -> str:
    """The first file of an ontology in a zip archive; empty if it is none, or holds none."""
    if given.is_dir():
        return ""
    with zipfile.ZipFile(given) as archive:
        return next((name for name in archive.namelist() if _is_named_so(name.casefold())), "")


def _snomed(given: Path) -> Rf2 | None:
    """What lies there unpacked, and archives of other files than these, as one release."""
    unpacked = rf2_files(given)
    archives = sorted(path for path in given.glob(f"*{_ARCHIVE}") if zipfile.is_zipfile(path)) if given.is_dir() else []
    packed = [files for path in archives if (files := rf2_files(path)) and not (unpacked and _has_all(unpacked, files))]
    files = together(given, [*([unpacked] if unpacked else []), *packed])
    return Rf2(files) if files else None


def _has_all(unpacked: Rf2Files, packed: Rf2Files) -> bool:
    return set(packed.name.split()) <= set(unpacked.name.split())


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
            return Terms(known.what, known.is_a_at, part, known.read)
    what, hint = _unknown(path, start)
    raise InvalidInput(f"{path} is {what}", hint=hint)


def _unknown(path: Path, start: bytes) -> tuple[str, str]:
    """What a file of no known format is, and the way out."""
    if not start.strip():
        return "empty", AGAIN
    if encoding := next((name for mark, name in _WIDE if mark.match(start)), ""):
        return f"in {encoding}, not UTF-8", f"convert it: iconv -f {encoding} -t UTF-8 {path.name} > NEW, and give NEW"
    if foreign := foreign_kind(start[:START]):
        return foreign.what, foreign.hint if foreign.what in _WITH_A_WAY_OUT else _GIVE
    otherwise = f"looked for {LOOKED_FOR}; of a release, give its folder: {path.parent}"
    found = ((what, hint) for begins, what, hint in _OTHERS if begins.match(start))
    return next(found, ("neither a folder nor a zip archive, nor of a known format", otherwise))
