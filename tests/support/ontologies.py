"""One tiny ontology, made up, written as UMLS RRF, SNOMED CT RF2, OBO, OWL and OBO graph.

anatomical structure ◁─ lung, thorax      lung part_of thorax
disease ◁─ lung disease ◁─ pneumonia      lung disease has_finding_site lung      (◁─ is "parent of")
first ◁─ second ◁─ first: a cycle
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

DATE = "20260101"


@dataclass(frozen=True)
class Concept:
    name: str
    synonyms: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    relations: tuple[tuple[str, str], ...] = ()
    tag: str = "disorder"
    tui: str = "T047"


ANATOMY = {"tag": "body structure", "tui": "T023"}
CONCEPTS = {
    "anatomy": Concept("Anatomical structure", **ANATOMY),
    "disease": Concept("Disease"),
    "first": Concept("First of two", parents=("second", "disease")),
    "lung": Concept("Lung", ("Pulmo",), ("anatomy",), (("part_of", "thorax"),), **ANATOMY),
    "lung_disease": Concept("Lung disease", (), ("disease",), (("has_finding_site", "lung"),)),
    "pneumonia": Concept("Pneumonia", ("Inflammation of lung", "Lung inflammation"), ("lung_disease",)),
    "second": Concept("Second of two", parents=("first",)),
    "thorax": Concept("Thorax", ("Chest",), ("anatomy",), **ANATOMY),
}
FINDING_SITE, PART_OF, IS_A = "363698007", "123005000", "116680003"
US_ENGLISH, PREFERRED, ACCEPTABLE = "900000000000509007", "900000000000548007", "900000000000549004"
FULL_NAME, SYNONYM = "900000000000003001", "900000000000013009"
MODULE = "900000000000207008"
CONCEPT_COLUMNS = "id effectiveTime active moduleId definitionStatusId"
DESCRIPTION_COLUMNS = "id effectiveTime active moduleId conceptId languageCode typeId term caseSignificanceId"
RELATIONSHIP_COLUMNS = (
    "id effectiveTime active moduleId sourceId destinationId relationshipGroup typeId characteristicTypeId modifierId"
)
LANGUAGE_COLUMNS = "id effectiveTime active moduleId refsetId referencedComponentId acceptabilityId"

_TIMES = (
    *("0123456789", "1234067895", "2340178956", "3401289567", "4012395678"),
    *("5987604321", "6598710432", "7659821043", "8765932104", "9876543210"),
)
_TURNS = ["0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258"]


def sctid(item: int, partition: str = "10") -> str:
    """An identifier of SNOMED CT's form in a made-up namespace, with its check digit by the published tables of Verhoeff."""
    digits = f"{item}1000999{partition}"
    return next(f"{digits}{last}" for last in "0123456789" if is_checked(f"{digits}{last}"))


def is_checked(digits: str) -> bool:
    """Whether the last digit checks the others."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = int(_TIMES[check][int(_TURNS[place % 8][int(digit)])])
    return check == 0


CUIS = {key: f"C000000{at}" for at, key in enumerate(CONCEPTS, 1)}
SCTIDS = {key: sctid(100 + at) for at, key in enumerate(CONCEPTS, 1)}
TERM_IDS = {key: f"TST:000000{at}" for at, key in enumerate(CONCEPTS, 1)}
IDS = {"rrf": CUIS, "rf2": SCTIDS, "zip": SCTIDS, "obo": TERM_IDS, "owl": TERM_IDS, "json": TERM_IDS}


def write(kind: str, folder: Path) -> Path:
    """Writes the ontology in a format of `IDS` into a folder that is made; returns what `vocabulary build` is given."""
    folder.mkdir(parents=True, exist_ok=True)
    return {"rrf": _rrf, "rf2": write_rf2, "zip": _zipped, "obo": _obo, "owl": _owl, "json": _graph}[kind](folder)


def _rrf(folder: Path) -> Path:
    atoms, edges, types = [], [], []
    for key, concept in CONCEPTS.items():
        cui = CUIS[key]
        for text in (concept.name, *concept.synonyms):
            ts, tty = ("P", "PT") if text == concept.name else ("S", "SY")
            atoms.append(f"{cui}|ENG|{ts}|L|PF|S|Y|A||||OWN|{tty}|X|{text}|0|N||")
        edges += [f"{CUIS[parent]}|A|AUI|CHD|{cui}|A|AUI|isa|R||OWN|OWN|||N||" for parent in concept.parents]
        edges += [f"{CUIS[target]}|A|AUI|RO|{cui}|A|AUI|{rela}|R||OWN|OWN|||N||" for rela, target in concept.relations]
        types.append(f"{cui}|{concept.tui}|A|{concept.tui}|AT||")
    for stem, rows in (("MRCONSO", atoms), ("MRREL", edges), ("MRSTY", types)):
        (folder / f"{stem}.RRF").write_text("".join(f"{row}\n" for row in rows))
    return folder


def rf2_rows() -> dict[str, list[list[str]]]:
    """Rows of the four files of a snapshot, headers first."""
    concepts, names, edges, members = ([columns.split()] for columns in (
        CONCEPT_COLUMNS, DESCRIPTION_COLUMNS, RELATIONSHIP_COLUMNS, LANGUAGE_COLUMNS,
    ))  # fmt: skip
    kinds = {"has_finding_site": FINDING_SITE, "part_of": PART_OF}
    for key, concept in CONCEPTS.items():
        own = SCTIDS[key]
        concepts.append([own, DATE, "1", MODULE, "900000000000074008"])
        texts = [(f"{concept.name} ({concept.tag})", FULL_NAME), *((text, SYNONYM) for text in (concept.name, *concept.synonyms))]
        for text, kind in texts:
            name = sctid(1000 + len(names), "11")
            names.append([name, DATE, "1", MODULE, own, "en", kind, text, "900000000000448009"])
            acceptable = ACCEPTABLE if text in concept.synonyms else PREFERRED
            members.append([f"u-{len(members)}", DATE, "1", MODULE, US_ENGLISH, name, acceptable])
        for kind, target in [*((IS_A, parent) for parent in concept.parents), *((kinds[of], to) for of, to in concept.relations)]:
            edge = sctid(5000 + len(edges), "12")
            edges.append([edge, DATE, "1", MODULE, own, SCTIDS[target], "0", kind, "900000000000011006", "900000000000451002"])
    return {"concepts": concepts, "names": names, "edges": edges, "members": members}


def write_rf2(folder: Path, rows: dict[str, list[list[str]]] | None = None, edition: str = "INT") -> Path:
    """Writes the snapshot of a release, with other rows if given, and of another edition."""
    places = {
        "concepts": f"Snapshot/Terminology/sct2_Concept_Snapshot_{edition}_{DATE}.txt",
        "names": f"Snapshot/Terminology/sct2_Description_Snapshot-en_{edition}_{DATE}.txt",
        "edges": f"Snapshot/Terminology/sct2_Relationship_Snapshot_{edition}_{DATE}.txt",
        "members": f"Snapshot/Refset/Language/der2_cRefset_LanguageSnapshot-en_{edition}_{DATE}.txt",
    }
    for name, content in (rows or rf2_rows()).items():
        path = folder / "SnomedCT_Made_Up" / places[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join("\t".join(row) + "\r\n" for row in content).encode())
    return folder


def _zipped(folder: Path) -> Path:
    inside = write_rf2(folder / "inside")
    with zipfile.ZipFile(folder / "release.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(inside.rglob("*.txt")):
            archive.write(path, path.relative_to(inside))
    return folder / "release.zip"


def obo_text() -> str:
    """The ontology in OBO."""
    lines = ["format-version: 1.2", "data-version: releases/2026-01-01", "ontology: tiny"]
    for key, concept in CONCEPTS.items():
        lines += ["", "[Term]", f"id: {TERM_IDS[key]}", f"name: {concept.name}"]
        lines += [f'synonym: "{text}" EXACT []' for text in concept.synonyms]
        lines += [f"is_a: {TERM_IDS[parent]} ! {CONCEPTS[parent].name}" for parent in concept.parents]
        lines += [f"relationship: {rela} {TERM_IDS[target]}" for rela, target in concept.relations]
    for rela in ("has_finding_site", "part_of"):
        lines += ["", "[Typedef]", f"id: {rela}", f"name: {rela.replace('_', ' ')}"]
    return "\n".join(lines) + "\n"


def _obo(folder: Path) -> Path:
    (folder / "tiny.obo").write_text(obo_text())
    return folder / "tiny.obo"


def _iri(term_id: str) -> str:
    return f"http://purl.obolibrary.org/obo/{term_id.replace(':', '_')}"


def _restriction(rela: str, target: str) -> str:
    return f"""<rdfs:subClassOf><owl:Restriction><owl:onProperty rdf:resource="{_iri(rela)}"/>
  <owl:someValuesFrom rdf:resource="{_iri(TERM_IDS[target])}"/></owl:Restriction></rdfs:subClassOf>"""


def owl_text(more: str = "") -> str:
    """The ontology in OWL, with more classes if given."""
    classes = []
    for key, concept in CONCEPTS.items():
        inside = [f'<rdfs:label xml:lang="en">{concept.name}</rdfs:label>']
        inside += [f"<oboInOwl:hasExactSynonym>{text}</oboInOwl:hasExactSynonym>" for text in concept.synonyms]
        inside += [f'<rdfs:subClassOf rdf:resource="{_iri(TERM_IDS[parent])}"/>' for parent in concept.parents]
        inside += [_restriction(rela, target) for rela, target in concept.relations]
        classes.append(f'<owl:Class rdf:about="{_iri(TERM_IDS[key])}">{"".join(inside)}</owl:Class>')
    properties = [
        f'<owl:ObjectProperty rdf:about="{_iri(rela)}"><rdfs:label>{rela.replace("_", " ")}</rdfs:label></owl:ObjectProperty>'
        for rela in ("has_finding_site", "part_of")
    ]
    return f"""<?xml version="1.0"?>
<rdf:RDF xmlns:owl="http://www.w3.org/2002/07/owl#" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
  xmlns:rdfs="http://www.w3.org/2000/01/rdf-schema#" xmlns:oboInOwl="http://www.geneontology.org/formats/oboInOwl#"
  xmlns:RID="http://www.radlex.org/RID/">
<owl:Ontology rdf:about="{_iri("tiny.owl")}"><owl:versionInfo>2026-01-01</owl:versionInfo></owl:Ontology>
{"".join(f"{each}" + chr(10) for each in (*properties, *classes))}{more}
</rdf:RDF>
"""


def _owl(folder: Path) -> Path:
    (folder / "tiny.owl").write_text(owl_text())
    return folder / "tiny.owl"


def _graph(folder: Path) -> Path:
    nodes: list[dict[str, object]] = [
        {"id": _iri(rela), "lbl": rela.replace("_", " "), "type": "PROPERTY"} for rela in ("has_finding_site", "part_of")
    ]
    edges = []
    for key, concept in CONCEPTS.items():
        synonyms = [{"pred": "hasExactSynonym", "val": text} for text in concept.synonyms]
        nodes.append({"id": _iri(TERM_IDS[key]), "lbl": concept.name, "type": "CLASS", "meta": {"synonyms": synonyms}})
        edges += [{"sub": _iri(TERM_IDS[key]), "pred": "is_a", "obj": _iri(TERM_IDS[parent])} for parent in concept.parents]
        edges += [
            {"sub": _iri(TERM_IDS[key]), "pred": _iri(rela), "obj": _iri(TERM_IDS[target])} for rela, target in concept.relations
        ]
    graph = {"id": _iri("tiny.json"), "nodes": nodes, "edges": edges}
    (folder / "tiny.json").write_text(json.dumps({"graphs": [graph]}))
    return folder / "tiny.json"
