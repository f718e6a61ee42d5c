"""One ontology in every format compiles to the same names, types, is_a and relations, but for its ids."""

import pytest
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.ids import check_cui
from support.ontologies import CONCEPTS, IDS, write

WITH_RELATIONS = VocabularyFilters(relations=("has_finding_site", "part_of"))


@pytest.fixture
def compiled(tmp_path):
    def build(kind, filters=WITH_RELATIONS):
        report = build_vocabulary(write(kind, tmp_path / kind), tmp_path / "out", filters)
        return report, open_vocabulary(tmp_path / "out", verify=True)

    return build


def content(vocabulary, ids):
    """Everything a vocabulary says, with names of concepts for their ids."""
    key_of = {concept_id: key for key, concept_id in ids.items()}
    around = vocabulary.surroundings(vocabulary)
    return {
        "names": {key_of[cui]: vocabulary.names(cui) for cui in vocabulary},
        "types": {key_of[cui]: vocabulary.semantic_types(cui) for cui in vocabulary},
        "parents": {key_of[cui]: {key_of[parent] for parent in vocabulary.parents(cui)} for cui in vocabulary},
        "children": {key_of[cui]: {key_of[child] for child in vocabulary.children(cui)} for cui in vocabulary},
        "ancestors": {key_of[cui]: [(key_of[a.cui], a.distance) for a in vocabulary.ancestors(cui)] for cui in vocabulary},
        "relations": {(key_of[edge.subject], edge.relation, key_of[edge.target]) for edge in around.relations},
    }


@pytest.mark.parametrize("kind", ["rf2", "zip", "obo", "owl", "json"])
def test_a_format_says_what_rrf_says(compiled, kind):
    report, found = compiled("rrf")
    expected, cut = content(found, IDS["rrf"]), report.cut_edges
    report, found = compiled(kind)
    assert content(found, IDS[kind]) == expected
    assert report.bad_row_count == 0
    assert report.notes == ()
    assert [(edge.child, edge.parent) for edge in report.cut_edges] == [(IDS[kind]["second"], IDS[kind]["first"])]
    assert len(cut) == 1


def test_the_written_ontology_is_what_rrf_says(compiled):
    _, found = compiled("rrf")
    said = content(found, IDS["rrf"])
    assert said["names"] == {key: [concept.name, *concept.synonyms] for key, concept in CONCEPTS.items()}
    assert said["types"] == {key: (concept.tui,) for key, concept in CONCEPTS.items()}
    assert said["relations"] == {("lung", "part_of", "thorax"), ("lung_disease", "has_finding_site", "lung")}
    assert said["parents"] == {
        key: {*concept.parents} - ({"first"} if key == "second" else set()) for key, concept in CONCEPTS.items()
    }


@pytest.mark.parametrize("kind", IDS)
def test_ids_are_found_and_others_are_not(compiled, kind):
    _, found = compiled(kind, VocabularyFilters())
    ids = sorted(IDS[kind].values())
    assert list(found) == ids
    assert [found.index(cui) for cui in ids] == list(range(len(ids)))
    assert [found.cui(at) for at in range(len(ids))] == ids
    assert [found.number(cui) for cui in ids] == found.concept_cui.tolist()
    assert all(check_cui(cui) in found for cui in ids)
    absent = ["C9999999", "999999", "ZZ:1", "A:0", "RID1301", "", "x" * 200]
    assert not any(cui in found for cui in absent)
    assert all(found.number(cui) >= 2**30 for cui in ("ZZ:1", "RID1301"))
    assert found.relations == {}


def test_the_same_input_gives_the_same_bytes(compiled, tmp_path):
    for kind in ("zip", "obo"):
        compiled(kind)
        first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        compiled(kind)
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first
