"""Typed relations of a release: C0000001 pneumonia is_a C0000003 lung disease; C0000005 lung part_of C0000007 anatomy."""

import json
import re

import pytest
from kg_service.storage.artefact import sha256_of
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import InvalidInput

ROWS = (
    ("C0000005", "RO", "C0000001", "has_finding_site", "NCI"),
    ("C0000001", "RO", "C0000005", "finding_site_of", "NCI"),
    ("C0000001", "RO", "C0000005", "finding_site_of", "HPO"),
    ("C0000006", "RO", "C0000003", "has_finding_site", "HPO"),
    ("C0000007", "RO", "C0000005", "part_of", "UBERON"),
    ("C0000005", "RO", "C0000006", "part_of", "UBERON"),
    ("C0000006", "RO", "C0000007", "has_finding_site", "HPO"),
    ("C0000002", "RO", "C0000002", "has_finding_site", "HPO"),
    ("C0000009", "RO", "C0000002", "has_finding_site", "HPO"),
    ("C0000003", "CHD", "C0000001", "isa", "MSH"),
)


@pytest.fixture
def release(write_release, row_of):
    return write_release(MRREL=[row_of["MRREL"](*cells[:4], sab=cells[4]) for cells in ROWS])


@pytest.fixture
def built(release, tmp_path):
    def build(*relations, folder=release, **filters):
        report = build_vocabulary(folder, tmp_path / "out", VocabularyFilters(relations=relations, **filters))
        return report, open_vocabulary(tmp_path / "out", verify=True)

    return build


def relations_of(vocabulary, cuis):
    edges = vocabulary.surroundings(cuis).relations
    return [(edge.subject, edge.relation, edge.target, edge.source) for edge in edges]


def test_rows_are_read_from_right_to_left_and_inverse_rows_give_the_same_edge(built):
    report, vocabulary = built("has_finding_site", "part_of")
    assert relations_of(vocabulary, vocabulary) == [
        ("C0000001", "has_finding_site", "C0000005", "HPO,NCI"),
        ("C0000003", "has_finding_site", "C0000006", "HPO"),
        ("C0000005", "part_of", "C0000007", "UBERON"),
        ("C0000006", "part_of", "C0000005", "UBERON"),
        ("C0000007", "has_finding_site", "C0000006", "HPO"),
    ]
    assert report.relations == vocabulary.relations == {"has_finding_site": 3, "part_of": 2}
    assert report.is_a == 1


def test_the_inverse_can_be_asked_for_instead(built):
    _, vocabulary = built("finding_site_of")
    assert relations_of(vocabulary, ["C0000005"]) == [("C0000005", "finding_site_of", "C0000001", "HPO,NCI")]


def test_a_relation_of_which_only_inverse_rows_are_there(built, write_release, row_of):
    folder = write_release(MRREL=[row_of["MRREL"]("C0000001", "RO", "C0000005", "finding_site_of")])
    _, vocabulary = built("Has_Finding_Site", folder=folder)
    assert relations_of(vocabulary, vocabulary) == [("C0000001", "has_finding_site", "C0000005", "MSH")]


def test_mrdoc_names_the_inverse(built, write_release, row_of):
    folder = write_release(MRREL=[row_of["MRREL"]("C0000001", "RO", "C0000005", "afflicted_with")])
    (folder / "MRDOC.RRF").write_text("RELA|afflicts|rela_inverse|afflicted_with|\nRELA|afflicted_with|rela_inverse|afflicts|\n")
    _, vocabulary = built("afflicts", folder=folder)
    assert relations_of(vocabulary, vocabulary) == [("C0000001", "afflicts", "C0000005", "MSH")]


@pytest.mark.parametrize(
    ("relations", "message", "hint"),
    [
        (("has_finding_sight",), "has_finding_sight", "the nearest are has_finding_site"),
        (("nothing_like_it",), "nothing_like_it", "there are .*finding_site_of.*part_of"),
        (("isa",), "isa is no relation", "--is-a"),
        (("IS_A",), "is_a is no relation", "--is-a"),
        (("part_of", "has_part"), "inverse", "name one"),
    ],
)
def test_a_name_that_can_not_be_meant_is_refused(built, relations, message, hint):
    with pytest.raises(InvalidInput, match=message) as refused:
        built(*relations)
    assert re.search(hint, refused.value.hint)


def test_filters_of_sources_hold_for_relations_too(built):
    _, vocabulary = built("has_finding_site", sources=("MSH", "NCI"))
    assert relations_of(vocabulary, vocabulary) == [("C0000001", "has_finding_site", "C0000005", "NCI")]


def test_without_relations_the_bytes_are_as_before_there_were_any(built, tmp_path):
    _, plain = built()
    assert plain.manifest["format"] == 2
    assert "relations" not in plain.manifest
    assert "relations" not in plain.manifest["filters"]
    files = {path.name: sha256_of(path) for path in (tmp_path / "out").iterdir()}
    _, typed = built("part_of")
    assert typed.manifest["format"] == 3
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["filters"]["relations"] == ["part_of"]
    others = {path.name: sha256_of(path) for path in (tmp_path / "out").iterdir()}
    del files["manifest.json"]
    assert files.items() <= others.items()
    assert plain.relations == {}


def test_surroundings_go_up_from_sites_over_is_a_and_part_of(built):
    _, vocabulary = built("has_finding_site", "part_of")
    around = vocabulary.surroundings(["C0000001"])
    assert [concept.cui for concept in around.concepts] == [f"C000000{i}" for i in (1, 3, 5, 6, 7)]
    # The site's site is not of it: has_finding_site is followed from what was linked, and from above that, alone.
    assert [(edge.subject, edge.relation) for edge in around.relations] == [
        ("C0000001", "has_finding_site"),
        ("C0000003", "has_finding_site"),
        ("C0000005", "part_of"),
        ("C0000006", "part_of"),
    ]
    assert vocabulary.surroundings(["C0000002"]).relations == []


def test_surroundings_of_several_concepts_are_those_of_each_together(built):
    _, vocabulary = built("has_finding_site", "part_of")
    cuis = list(vocabulary)
    for one in cuis:
        for two in cuis:
            both, each = vocabulary.surroundings([one, two]), [vocabulary.surroundings([cui]) for cui in (one, two)]
            for name in ("concepts", "is_a", "relations"):
                assert {*getattr(both, name)} == {*getattr(each[0], name), *getattr(each[1], name)}
