"""Ontologies in OBO, OWL and OBO graph JSON: what becomes a name, a parent or a type, and what is refused."""

import gzip
import json
import re
import socket
import sys
import zipfile

import pytest
from kg_service.errors import MissingExtra
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.formats.obo_words import obo_expectation
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import InvalidInput
from support.ontologies import CONCEPTS, TERM_IDS, obo_text, owl_text, write

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
    assert report.notes == (
        "ids that terms had before they were merged (alt_id) are not read: 1. Captions need today's id, such as TST:0000010 "
        "instead of TST:0000011",
    )


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


LAUGH = "ha" * 500
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else LAUGH}">' for n in range(9)).join(("<!DOCTYPE rdf:RDF [", "]>"))


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
        ("own.json", '{"graphs": []}', "holds no graph"),
        ("own.json", '{"graphs": [\n{"nodes": [{"lbl": 1}]}]}', r"own\.json:2: no OBO graph: .*missing field `id`"),
        (
            "own.json",
            '{"graphs": [{"id": "x", "nodes": [{"id": "a b", "type": "CLASS"}], "edges": []}]}',
            r"own\.json: 'a b' can't be an id",
        ),
        ("own.json", b'{"graphs": [\n"\xff"]}', r"own\.json:2: not UTF-8: byte 0xff at byte 2"),
        ("own.owl", owl_text('<owl:Class rdf:ID="a b"/>'), r"own\.owl:\d+: rdf:ID value is not"),
        ("own.obo.gz", gzip.compress(obo_text().encode(), mtime=0)[:60], "can't be read"),
        ("own.obo.gz", gzip.compress(obo_text().encode() + b"!" * 10**7, mtime=0), "unpacks to over 200 times its size"),
        ("own.owl", owl_text().replace("<rdf:RDF", f"{LAUGHS}\n<rdf:RDF", 1).replace("Disease", "&l8;"), r"own\.owl:\d+: "),
    ],
)
def test_a_file_that_can_not_be_used_is_refused(build, name, content, message):
    with pytest.raises(InvalidInput, match=message) as refused:
        build(content, name)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        ('"Pulmo" EXACT', '"Pulmo EXACT', "a text in double quotes"),
        ('"Pulmo" EXACT', '"Pulmo" EXAKT', "a second double quote, then EXACT, NARROW, BROAD or RELATED"),
        ("name: Lung\n", "name Lung\n", "`tag: value` with a tag that terms have"),
        ("id: TST:0000004\n", "", r"the line `id: …` of the frame, found 'name: Lung'"),
        ("id: TST:0000004\n", "id: TST:0000004 right\n", "the end of the line"),
        ("name: Lung\n", "is_a:\n", "an id, such as UBERON:0002048, found 'is_a:'"),
        ("name: Lung\n", "is_obsolete: yes\n", "true or false, found 'is_obsolete: yes'"),
        ("name: Lung\n", "creation_date: now\n", "a date such as 2024-12-25"),
        ("[Term]\nid: TST:0000004", "[Trem]\nid: TST:0000004", r"\[Term\], \[Typedef\] or \[Instance\], found '\[Trem\]'"),
        ("ontology: tiny", "ontology", "`tag: value`, found 'ontology'"),
    ],
)
def test_a_line_of_obo_that_can_not_be_read_is_told_in_plain_words(build, was, now, expected):
    text = obo_text()
    assert was in text
    with pytest.raises(InvalidInput, match=rf"own\.obo:\d+: expected {expected}") as refused:
        build(text.replace(was, now, 1))
    assert "Clause" not in str(refused.value)
    assert "EOI" not in str(refused.value)


def test_a_rule_without_words_of_its_own_is_called_by_its_name():
    assert obo_expectation("expected EOI, NamespaceIdRule, or DisjointFromTag") == "namespace id rule or disjoint from tag"
    assert obo_expectation("expected EOI") == "the end of the file"
    assert obo_expectation("remaining input") == "something else"


TURTLE = "# own\n@prefix owl: <http://www.w3.org/2002/07/owl#> .\n"
OWL_XML = '<?xml version="1.0"?>\n<Ontology xmlns="http://www.w3.org/2002/07/owl#"/>'


@pytest.mark.parametrize("name", ["own.obo", "own.owl", "own.json"])
@pytest.mark.parametrize(
    ("content", "what", "way_out"),
    [
        (b"", "empty", "again"),
        (b" \n\n", "empty", "again"),
        (gzip.compress(b"", mtime=0), "empty", "again"),
        (obo_text().encode("utf-16"), "in UTF-16, not UTF-8", "iconv -f UTF-16 -t UTF-8 own"),
        (obo_text().encode("utf-16-be"), "in UTF-16BE, not UTF-8", "iconv -f UTF-16BE"),
        (b"<!DOCTYPE html>\n<html>", "a web page", "download it again"),
        (gzip.compress(b"<html>", mtime=0), "a web page", "download it again"),
        (b"\xfd7zXZ\0", "packed, and not with gzip", "unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS", "git lfs pull"),
        (b"%PDF-1.7", "a PDF", "give the ontology itself"),
        (b'{"nodes": []}', "JSON without", "give the ontology itself"),
        (TURTLE.encode(), "an ontology in Turtle", "robot convert"),
        (b"Prefix(:=<http://example.org/>)\nOntology()", "OWL in functional syntax", "robot convert"),
        (b"Prefix: : <http://example.org/>\n", "OWL in Manchester syntax", "robot convert"),
        (OWL_XML.encode(), "OWL in OWL/XML", "robot convert"),
        (b"<rss/>", "XML, but no OWL", "give the ontology itself"),
    ],
)
def test_a_file_that_is_something_else_is_called_by_what_it_is(build, name, content, what, way_out):
    with pytest.raises(InvalidInput, match=rf"{re.escape(name)} is {what}") as refused:
        build(content, name)
    assert way_out in refused.value.hint


def test_what_is_packed_under_a_wrong_name_is_read_or_named(build, tmp_path):
    assert build(gzip.compress(obo_text().encode(), mtime=0), "own.obo")[0].concepts == len(CONCEPTS)
    assert build(owl_text().encode("utf-16"), "own.owl")[0].concepts == len(CONCEPTS)
    with zipfile.ZipFile(tmp_path / "packed.obo", "w") as archive:
        archive.writestr("inside/tiny.obo", obo_text())
    with pytest.raises(InvalidInput, match=r"packed\.obo is a zip archive that holds inside/tiny\.obo") as refused:
        build_vocabulary(tmp_path / "packed.obo", tmp_path / "out")
    assert "unpack it, and give inside/tiny.obo" in refused.value.hint


def test_a_second_term_of_an_id_is_a_bad_row_that_names_both_lines(build):
    first, second = obo_text().splitlines().index(f"id: {LUNG}") + 1, len(obo_text().splitlines()) + 3
    text = obo_text() + term(LUNG, "Bellows", 'synonym: "blower" EXACT []')
    for content, name in ((text, "own.obo"), (gzip.compress(text.encode(), mtime=0), "own.obo.gz")):
        report, vocabulary = build(content, name)
        assert [str(bad) for bad in report.bad_rows] == [
            f"{name}:{second}: the id {LUNG} is that of the term in line {first} already"
        ]
        assert vocabulary.names(LUNG) == ["Lung", "Pulmo"]


def test_a_second_node_of_an_id_is_a_bad_row_too(build, tmp_path):
    graph = json.loads(write("json", tmp_path / "json").read_text())
    nodes = graph["graphs"][0]["nodes"]
    nodes.append({**nodes[-1], "lbl": "Bellows"})
    report, _ = build(json.dumps(graph, indent=1), "own.json")
    (bad,) = report.bad_rows
    assert re.fullmatch(rf"own\.json:\d+: the id {TERM_IDS['thorax']} is that of the term in line \d+ already", str(bad))


@pytest.mark.parametrize(("kind", "place"), [("obo", "`is_a:` lines"), ("owl", "rdfs:subClassOf"), ("json", 'the pred "is_a"')])
def test_hints_are_of_the_format(tmp_path, kind, place):
    given = write(kind, tmp_path / kind)
    report = build_vocabulary(given, tmp_path / "out", VocabularyFilters(is_a=("rel",)))
    assert report.is_a == 0
    assert place in report.is_a_at
    assert "MRREL" not in report.is_a_at
    with pytest.raises(InvalidInput, match="semantic type 'T999'") as refused:
        build_vocabulary(given, tmp_path / "out", VocabularyFilters(semantic_types=("T999",)))
    assert "MRSTY" not in refused.value.hint


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
