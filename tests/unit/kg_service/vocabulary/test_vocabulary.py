import time
from pathlib import Path

import pytest
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.model import Ancestor, Concept, Edge, Name, VocabularyFilters
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import BrokenArtefact, InvalidId, NotFound

EXAMPLE = Path(__file__).parents[4] / "examples" / "vocabulary"


@pytest.fixture
def vocabulary(write_release, tmp_path):
    build_vocabulary(write_release(), tmp_path / "compiled")
    return open_vocabulary(tmp_path / "compiled")


def test_length_and_membership(vocabulary):
    assert len(vocabulary) == 7
    assert "C0000001" in vocabulary


@pytest.mark.parametrize("other", ["C0000008", "C9999999", "c0000001", "C000001", "pneumonia", "", "C00000０1", 1])
def test_what_is_no_concept_of_it_is_not_in_it(vocabulary, other):
    assert other not in vocabulary


def test_concept_has_name_types_and_source(vocabulary):
    assert vocabulary.concept("C0000001") == Concept("C0000001", "Pneumonia", ("T046", "T047"), "MSH")
    assert vocabulary.semantic_types("C0000007") == ()
    assert vocabulary.semantic_type_names["T023"] == "Body Part, Organ, or Organ Component"


def test_parents_and_children_are_ordered_by_cui(vocabulary):
    assert vocabulary.parents("C0000001") == ["C0000003", "C0000004"]
    assert vocabulary.children("C0000004") == ["C0000001", "C0000003"]
    assert vocabulary.parents("C0000002") == vocabulary.children("C0000002") == []


def test_ancestors_are_nearest_first_with_their_least_distance(vocabulary):
    assert vocabulary.ancestors("C0000001") == [Ancestor("C0000003", 1), Ancestor("C0000004", 1)]
    assert vocabulary.ancestors("C0000006") == [Ancestor("C0000005", 1), Ancestor("C0000007", 2)]
    assert vocabulary.ancestors("C0000007") == []


def test_closure_has_every_ancestor_and_the_edges_among_them(vocabulary):
    concepts, edges = vocabulary.is_a_closure(["C0000006", "C0000002", "C0000006"])
    assert [concept.cui for concept in concepts] == ["C0000002", "C0000005", "C0000006", "C0000007"]
    assert edges == [Edge("C0000005", "C0000007", "MSH"), Edge("C0000006", "C0000005", "MSH")]
    assert vocabulary.is_a_closure([]) == ([], [])


def test_unknown_cui_is_not_found_and_a_malformed_one_invalid(vocabulary):
    for ask in (vocabulary.names, vocabulary.preferred_name, vocabulary.parents, vocabulary.ancestors, vocabulary.concept):
        with pytest.raises(NotFound, match="C9999999"):
            ask("C9999999")
        with pytest.raises(InvalidId, match="lung"):
            ask("lung")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("lung", ["Lung", "Lobe of lung", "Lung Diseases", "Pneumonia"]),
        ("LUN", ["Lung", "Lobe of lung", "Lung Diseases", "Pneumonia"]),
        ("lung dis", ["Lung Diseases"]),
        ("inflammation lung", ["Pneumonia"]),
        ("simple", ['Fracture "simple"']),
        ("ung", []),
        ("", []),
        ("?!", []),
        ("lung nosuch", []),
    ],
)
def test_search_finds_beginnings_of_words_shortest_name_first(vocabulary, query, names):
    assert [concept.name for concept in vocabulary.search(query)] == names


def test_search_keeps_the_limit(vocabulary):
    assert [concept.cui for concept in vocabulary.search("lung", 2)] == ["C0000005", "C0000006"]


def test_iter_names_gives_every_name_with_its_best_atom(vocabulary):
    names = list(vocabulary.iter_names())
    assert names[:3] == [
        Name("C0000001", "Pneumonia", "MSH", "PT", 0, True),
        Name("C0000001", "Pneumonias", "NCI", "SY", 3, False),
        Name("C0000001", "Lung inflammation", "MSH", "ET", 4, False),
    ]
    assert len(names) == vocabulary.name_count == 9


def test_missing_artefact_says_how_to_make_one(tmp_path):
    with pytest.raises(NotFound, match="kg-service vocabulary build"):
        open_vocabulary(tmp_path / "none")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "parents.npy").unlink(),
        lambda folder: (folder / "parents.npy").write_bytes(b"short"),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "manifest.json").write_text('{"kind": "vocabulary", "format": 99, "files": []}'),
        lambda folder: (folder / "manifest.json").write_text('{"kind": "vocabulary", "format": 1, "files": []}'),
    ],
)
def test_damaged_artefact_is_named(vocabulary, damage):
    damage(vocabulary.directory)
    with pytest.raises(BrokenArtefact, match="kg-service vocabulary build"):
        open_vocabulary(vocabulary.directory)


def test_verification_finds_a_flipped_byte(vocabulary):
    path = vocabulary.directory / "name_data.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    open_vocabulary(vocabulary.directory)
    with pytest.raises(BrokenArtefact, match=r"name_data\.npy does not match its SHA-256"):
        open_vocabulary(vocabulary.directory, verify=True)


def test_example_vocabulary_compiles_and_opens_fast(tmp_path):
    report = build_vocabulary(EXAMPLE, tmp_path / "example")
    start = time.perf_counter()
    vocabulary = open_vocabulary(tmp_path / "example")
    assert time.perf_counter() - start < 0.1
    assert report.bad_row_count == 0
    assert vocabulary.preferred_name("C0024109") == "Lung"
    assert "C0035237" in vocabulary.parents("C0024109")
    assert "C0024109" in {concept.cui for concept in vocabulary.search("lung")}


def test_an_opened_vocabulary_stays_what_it_was_when_the_folder_is_built_anew(vocabulary, write_release, tmp_path):
    before = vocabulary.sha256
    build_vocabulary(write_release(), tmp_path / "compiled", VocabularyFilters(semantic_types=("T023",)))
    assert [concept.name for concept in vocabulary.search("lung dis")] == ["Lung Diseases"]
    assert vocabulary.sha256 == before != open_vocabulary(tmp_path / "compiled").sha256
