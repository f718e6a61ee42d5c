"""Ontologies in OBO, OWL and OBO graph JSON: what becomes a name, a parent or a type, and what is refused."""

import gzip
import socket
import sys

import pytest
from kg_service.errors import MissingExtra
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import InvalidInput
from support.ontologies import CONCEPTS, obo_text, owl_text, write

LUNG, PNEUMONIA, DISEASE = "TST:0000004", "TST:0000006", "TST:0000002"


@pytest.fixture
def build(tmp_path):
    def run(content, name="own.obo", filters=None):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        report = build_vocabulary(path, tmp_path / "out", filters or VocabularyFilters())
        return report, open_vocabulary(tmp_path / "out", verify=True)

    return run


def term(term_id, name="", *lines):
    return "\n".join(["", "[Term]", f"id: {term_id}", *([f"name: {name}"] if name else []), *lines]) + "\n"


def test_the_release_is_the_ontology_and_its_version(build):
    report, vocabulary = build(obo_text())
    assert report.release == "tiny releases/2026-01-01"
    assert report.what == "an ontology in OBO"
    assert vocabulary.source(LUNG) == "TST"
    report, _ = build(owl_text(), "own.owl")
    assert report.release == "tiny 2026-01-01"
    assert report.what == "an ontology in OWL (RDF/XML)"


def test_exact_and_narrow_synonyms_are_names_and_related_and_broad_ones_where_asked_for(build):
    synonyms = [f'synonym: "{scope.lower()} pneumonia" {scope} []' for scope in ("RELATED", "NARROW", "BROAD", "EXACT")]
    text = obo_text() + term("TST:0000009", "Own pneumonia", *synonyms)
    _, vocabulary = build(text)
    assert vocabulary.names("TST:0000009") == ["Own pneumonia", "exact pneumonia", "narrow pneumonia"]
    _, vocabulary = build(text, filters=VocabularyFilters(suppress=("O",)))
    assert set(vocabulary.names("TST:0000009")[2:]) == {"narrow pneumonia", "related pneumonia", "broad pneumonia"}
    assert {name.term_type for name in vocabulary.iter_names()} == {"PT", "SY", "NS", "RS", "BS"}


def test_obsolete_terms_are_left_out_and_counted_and_merged_ids_are_told(build):
    text = (
        obo_text()
        + term("TST:0000009", "obsolete thing", "is_obsolete: true")
        + term("TST:0000010", "kept", "alt_id: TST:0000011")
    )
    report, vocabulary = build(text)
    assert "TST:0000009" not in vocabulary
    assert "TST:0000011" not in vocabulary
    assert report.left_out["SUPPRESS"] == 1
    assert report.notes == ("alt_ids of merged terms that are not known: only the id of the term that has them is: 1",)


def test_edges_to_what_the_file_lacks_and_terms_without_a_name_are_counted(build):
    more = term("TST:0000009", "stray", "is_a: ZZ:1", "relationship: part_of ZZ:2") + term("TST:0000010", "", f"is_a: {LUNG}")
    report, vocabulary = build(obo_text() + more)
    assert "TST:0000010" not in vocabulary
    assert report.notes == (
        "terms left out without a name, such as those of another ontology: 1",
        "is_a edges left out that lead to a term the file lacks: 1",
        "other edges left out that lead to a term the file lacks: 1",
    )


def test_relations_are_called_by_their_names(build):
    text = obo_text().replace("relationship: part_of", "relationship: BFO:0000050")
    text += "\n[Typedef]\nid: BFO:0000050\nname: Part of\n"
    report, _ = build(text, filters=VocabularyFilters(relations=("has_part",)))
    assert report.relations == {"has_part": 1}


def test_types_come_from_the_nearest_known_ancestor_then_namespace_then_prefix(build):
    lines = [
        term("UBERON:0000001", "strange organ"),
        term("ZZ:1", "of a namespace", "namespace: human_phenotype"),
        term("ZZ:2", "of nothing"),
        term("ZZ:3", "Procedure", f"is_a: {DISEASE}"),
        term("ZZ:4", "below a procedure", "is_a: ZZ:3"),
    ]
    _, vocabulary = build(obo_text() + "".join(lines))
    types = {cui: vocabulary.semantic_types(cui) for cui in ("UBERON:0000001", "ZZ:1", "ZZ:2", "ZZ:3", "ZZ:4", PNEUMONIA)}
    assert types == {
        "UBERON:0000001": ("T023",),
        "ZZ:1": ("T033",),
        "ZZ:2": (),
        "ZZ:3": ("T061",),
        "ZZ:4": ("T061",),
        PNEUMONIA: ("T047",),
    }
    _, vocabulary = build(obo_text(), filters=VocabularyFilters(semantic_types=("ANAT",)))
    assert {vocabulary.preferred_name(cui) for cui in vocabulary} == {"Anatomical structure", "Lung", "Thorax"}


def test_a_gzipped_file_is_the_same(build):
    plain = build(obo_text())[1].manifest
    packed = build(gzip.compress(obo_text().encode(), mtime=0), "own.obo.gz")[1].manifest
    assert packed["files"] == plain["files"]


RADLEX = """
<owl:Class rdf:about="http://www.radlex.org/RID/RID1301">
  <rdfs:label xml:lang="en">lung field</rdfs:label><rdfs:label xml:lang="de">Lungenfeld</rdfs:label>
  <RID:Synonym xml:lang="en">pulmonary field</RID:Synonym><RID:Acronym>PF</RID:Acronym><RID:Comment>not a name</RID:Comment>
  <rdfs:subClassOf rdf:resource="http://purl.obolibrary.org/obo/TST_0000001"/>
  <rdfs:subClassOf><owl:Restriction><owl:onProperty rdf:resource="http://www.radlex.org/RID/Part_Of"/>
    <owl:someValuesFrom rdf:resource="http://purl.obolibrary.org/obo/TST_0000008"/></owl:Restriction></rdfs:subClassOf>
</owl:Class>
<rdf:Description rdf:about="http://www.radlex.org/RID/RID1302">
  <rdf:type rdf:resource="http://www.w3.org/2002/07/owl#Class"/><rdfs:label xml:lang="en">old field</rdfs:label>
  <RID:Preferred_Name_for_Obsolete>lung field</RID:Preferred_Name_for_Obsolete>
</rdf:Description>
<owl:Class rdf:about="http://example.org/own#Airway"><rdfs:label>airway</rdfs:label><owl:deprecated>false</owl:deprecated></owl:Class>
<owl:Class rdf:about="http://example.org/own#Gone"><rdfs:label>gone</rdfs:label>
  <owl:deprecated rdf:datatype="http://www.w3.org/2001/XMLSchema#boolean">true</owl:deprecated></owl:Class>
"""


def test_owl_as_radlex_writes_it(build):
    report, vocabulary = build(owl_text(RADLEX), "radlex.owl", VocabularyFilters(relations=("part_of",)))
    assert vocabulary.names("RID1301") == ["lung field", "PF", "pulmonary field"]
    assert vocabulary.parents("RID1301") == ["TST:0000001"]
    assert vocabulary.semantic_types("RID1301") == ("T023",)
    assert vocabulary.source("RID1301") == "RADLEX"
    assert report.relations == {"part_of": 2}
    assert "RID1302" not in vocabulary
    assert vocabulary.names("tiny:Airway") == ["airway"]
    assert "tiny:Gone" not in vocabulary
    assert len(vocabulary) == len(CONCEPTS) + 2
    _, german = build(owl_text(RADLEX), "radlex.owl", VocabularyFilters(languages=("GER",)))
    assert german.names("RID1301") == ["Lungenfeld"]


def test_superclasses_that_are_no_edge_are_counted(build):
    strange = """<owl:Class rdf:about="http://purl.obolibrary.org/obo/TST_0000009"><rdfs:label>strange</rdfs:label>
      <rdfs:subClassOf><owl:Restriction><owl:onProperty rdf:resource="http://purl.obolibrary.org/obo/part_of"/>
      <owl:allValuesFrom rdf:resource="http://purl.obolibrary.org/obo/TST_0000001"/></owl:Restriction></rdfs:subClassOf></owl:Class>"""
    report, _ = build(owl_text(strange), "own.owl")
    assert report.notes == ("superclasses that are neither a class nor `some` of a property not read: 1",)


def test_imports_and_outer_entities_are_not_fetched(build, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("something was fetched")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    (tmp_path / "secret").write_text("a secret")
    more = '<owl:Class rdf:about="http://example.org/own#Leak"><rdfs:label>leak &file;</rdfs:label></owl:Class>'
    text = owl_text(more).replace("<rdf:RDF", f'<!DOCTYPE rdf:RDF [<!ENTITY file SYSTEM "{tmp_path}/secret">]>\n<rdf:RDF')
    text = text.replace("<owl:versionInfo>", '<owl:imports rdf:resource="http://example.org/other.owl"/><owl:versionInfo>')
    _, vocabulary = build(text, "own.owl")
    assert vocabulary.names("tiny:Leak") == ["leak"]
    build(obo_text().replace("ontology: tiny", "ontology: tiny\nimport: http://example.org/other.obo"))


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha"}">' for n in range(10)).join(("<!DOCTYPE rdf:RDF [", "]>"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.obo", obo_text().replace('"Pulmo" EXACT', '"Pulmo EXACT'), r"own\.obo:22: "),
        ("own.obo", obo_text().encode().replace(b"Pulmo", b"Pulm\xff"), r"own\.obo:22: .*UTF-8"),
        ("own.obo", "format-version: 1.2\nontology: none\n", r"own\.obo has no term"),
        ("own.owl", owl_text().replace("</rdfs:label>", "</rdfs:lable>", 1), r"own\.owl:6: "),
        ("own.owl", owl_text()[:900], r"own\.owl:\d+: "),
        ("own.json", '{"graphs": [{"nodes": [', r"own\.json"),
        ("own.txt", "lung, thorax\n", "neither a folder nor a zip archive, nor of a known format"),
        ("own.obo", "", "nor of a known format"),
        ("own.obo.gz", gzip.compress(obo_text().encode(), mtime=0)[:60], "can't be read"),
        ("own.obo.gz", gzip.compress(obo_text().encode() + b"!" * 10**7, mtime=0), "unpacks to over 200 times its size"),
        ("own.owl", owl_text().replace("<rdf:RDF", f"{LAUGHS}\n<rdf:RDF", 1).replace("Disease", "&l9;"), r"own\.owl:\d+: "),
    ],
)
def test_a_file_that_can_not_be_used_is_refused(build, name, content, message):
    with pytest.raises(InvalidInput, match=message) as refused:
        build(content, name)
    assert refused.value.hint


def test_an_id_that_can_not_be_a_concepts_is_a_bad_row(build):
    report, vocabulary = build(obo_text() + term("all", "everything"))
    line = len(obo_text().splitlines()) + 3
    assert [str(bad) for bad in report.bad_rows] == [f"own.obo:{line}: 'all' can't be the id of a concept"]
    assert len(vocabulary) == len(CONCEPTS)


@pytest.mark.parametrize(("kind", "package"), [("obo", "fastobo"), ("json", "fastobo"), ("owl", "rdflib")])
def test_the_extra_of_a_missing_parser_is_named(tmp_path, monkeypatch, kind, package):
    path = write(kind, tmp_path / kind)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match="reading an ontology needs") as refused:
        build_vocabulary(path, tmp_path / "out")
    assert "nbclip-kg-service[ontologies]" in refused.value.hint


def test_what_holds_several_things_is_refused(tmp_path):
    write("obo", tmp_path / "several")
    assert build_vocabulary(tmp_path / "several", tmp_path / "out").concepts == len(CONCEPTS)
    write("owl", tmp_path / "several")
    with pytest.raises(InvalidInput, match=r"holds tiny\.obo, tiny\.owl"):
        build_vocabulary(tmp_path / "several", tmp_path / "out")
    write("rrf", tmp_path / "both")
    write("rf2", tmp_path / "both")
    with pytest.raises(InvalidInput, match="holds a UMLS release and one of SNOMED CT"):
        build_vocabulary(tmp_path / "both", tmp_path / "out")


def test_where_nothing_is_found_what_was_looked_for_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match=r"no MRCONSO\.RRF") as refused:
        build_vocabulary(tmp_path / "empty", tmp_path / "out")
    assert "MRCONSO" in refused.value.hint
    assert "RF2" in refused.value.hint
    assert ".obo, .owl, .json" in refused.value.hint
