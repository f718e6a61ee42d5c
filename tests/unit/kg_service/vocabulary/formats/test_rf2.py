"""SNOMED CT in RF2: what is active, what names are called, and what is refused. All identifiers are made up."""

import zipfile

import pytest
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.model import VocabularyFilters
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import InvalidInput
from support.ontologies import (
    ACCEPTABLE,
    DATE,
    FULL_NAME,
    IS_A,
    MODULE,
    PREFERRED,
    SCTIDS,
    SYNONYM,
    US_ENGLISH,
    rf2_rows,
    sctid,
    write_rf2,
)

BRITISH = "900000000000508004"
OWN = sctid(77, "10")
LUNG, PNEUMONIA = SCTIDS["lung"], SCTIDS["pneumonia"]
EVERYTHING = VocabularyFilters(suppress=())


@pytest.fixture
def rows():
    return rf2_rows()


@pytest.fixture
def build(tmp_path):
    def run(rows, filters=None, folder=None):
        given = folder or write_rf2(tmp_path / "rf2", rows)
        report = build_vocabulary(given, tmp_path / "out", filters or VocabularyFilters())
        return report, open_vocabulary(tmp_path / "out", verify=True)

    return run


def add_name(rows, concept, text, *, kind=SYNONYM, language="en", active="1", accepted=()):
    name = sctid(90_000 + len(rows["names"]), "11")
    rows["names"].append([name, DATE, active, MODULE, concept, language, kind, text, "900000000000448009"])
    rows["members"] += [[f"m{refset}", DATE, "1", MODULE, refset, name, how] for refset, how in accepted]


def add_concept(rows, number, text, active="1"):
    concept = sctid(number)
    rows["concepts"].append([concept, DATE, active, MODULE, "900000000000074008"])
    add_name(rows, concept, text, kind=FULL_NAME)
    return concept


def add_edge(rows, source, target, kind, active="1"):
    edge = sctid(80_000 + len(rows["edges"]), "12")
    rows["edges"].append([edge, DATE, active, MODULE, source, target, "0", kind, "900000000000011006", "900000000000451002"])


def test_the_release_is_named_by_its_files(rows, build):
    report, vocabulary = build(rows)
    assert report.release == vocabulary.release == f"SNOMEDCT_INT_{DATE}"
    assert report.what == vocabulary.manifest["read_as"] == "a SNOMED CT release in RF2"
    assert vocabulary.semantic_type_names == {"T023": "Body Part, Organ, or Organ Component", "T047": "Disease or Syndrome"}
    assert [name.term_type for name in vocabulary.iter_names() if name.cui == PNEUMONIA] == ["PT", "SY", "SY"]
    assert vocabulary.source(PNEUMONIA) == "SNOMEDCT"


def test_inactive_concepts_names_and_relationships_are_left_out_and_counted(rows, build):
    gone = add_concept(rows, 300, "Gone (disorder)", active="0")
    add_edge(rows, gone, SCTIDS["disease"], IS_A)
    add_edge(rows, LUNG, SCTIDS["disease"], IS_A, active="0")
    add_name(rows, PNEUMONIA, "Old name", active="0", accepted=[(US_ENGLISH, ACCEPTABLE)])
    report, vocabulary = build(rows)
    assert gone not in vocabulary
    assert vocabulary.parents(LUNG) == [SCTIDS["anatomy"]]
    assert "Old name" not in vocabulary.names(PNEUMONIA)
    assert report.left_out["SUPPRESS"] == 1
    _, vocabulary = build(rows, EVERYTHING)
    assert vocabulary.names(gone) == ["Gone"]
    assert "Old name" in vocabulary.names(PNEUMONIA)


def test_a_synonym_of_no_language_reference_set_is_left_out_unless_asked_for(rows, build):
    add_name(rows, PNEUMONIA, "Unlisted")
    assert "Unlisted" not in build(rows)[1].names(PNEUMONIA)
    assert "Unlisted" in build(rows, VocabularyFilters(suppress=("O",)))[1].names(PNEUMONIA)


def test_an_editions_own_preference_goes_before_us_english_and_that_before_british(rows, build):
    add_name(rows, LUNG, "a British lung", accepted=[(BRITISH, PREFERRED), (US_ENGLISH, ACCEPTABLE)])
    assert build(rows)[1].names(LUNG) == ["Lung", "a British lung", "Pulmo"]
    add_name(rows, LUNG, "own lung", accepted=[(OWN, PREFERRED)])
    assert build(rows)[1].names(LUNG) == ["own lung", "Lung", "a British lung", "Pulmo"]


def test_without_language_reference_sets_full_names_are_preferred_and_that_is_said(rows, build):
    rows["members"] = rows["members"][:1]
    report, vocabulary = build(rows)
    assert vocabulary.names(LUNG) == ["Lung", "Pulmo"]
    assert vocabulary.names(PNEUMONIA) == ["Pneumonia", "Inflammation of lung", "Lung inflammation"]
    assert report.notes == ("no language reference set was found: fully specified names are the preferred ones",)


def test_a_full_name_of_its_own_is_the_last_name_without_its_tag(rows, build):
    concept = add_concept(rows, 301, "Cold (temperature) sensation (finding)")
    add_name(rows, concept, "Cold sensation", accepted=[(US_ENGLISH, PREFERRED)])
    _, vocabulary = build(rows)
    assert vocabulary.names(concept) == ["Cold sensation", "Cold (temperature) sensation"]
    assert vocabulary.semantic_types(concept) == ("T033",)


def test_languages_are_chosen_as_of_rrf(rows, build):
    add_name(rows, LUNG, "Poumon", language="fr", accepted=[(OWN, PREFERRED)])
    assert "Poumon" not in build(rows)[1].names(LUNG)
    _, vocabulary = build(rows, VocabularyFilters(languages=("FRE",)))
    assert list(vocabulary) == [LUNG]
    assert vocabulary.names(LUNG) == ["Poumon"]


def test_an_attribute_gives_its_relation_a_name(rows, build):
    course = add_concept(rows, 302, "Clinical course (attribute)")
    add_edge(rows, PNEUMONIA, SCTIDS["first"], course)
    report, vocabulary = build(rows, VocabularyFilters(relations=("has_clinical_course", "finding_site_of")))
    assert report.relations == {"finding_site_of": 1, "has_clinical_course": 1}
    edges = [(edge.subject, edge.relation, edge.target) for edge in vocabulary.surroundings(vocabulary).relations]
    assert (PNEUMONIA, "has_clinical_course", SCTIDS["first"]) in edges
    assert (LUNG, "finding_site_of", SCTIDS["lung_disease"]) in edges
    with pytest.raises(InvalidInput, match="clinical_curse") as refused:
        build(rows, VocabularyFilters(relations=("has_clinical_curse",)))
    assert "the nearest is has_clinical_course" in refused.value.hint


def test_what_leads_nowhere_and_tags_that_are_not_known_are_counted(rows, build):
    add_edge(rows, PNEUMONIA, sctid(4711), IS_A)
    add_name(rows, sctid(4712), "Of nothing")
    strange = add_concept(rows, 303, "Strange (made up)")
    report, vocabulary = build(rows)
    assert vocabulary.semantic_types(strange) == ()
    assert report.notes == (
        "concepts of the semantic tag 'made up', which stands for no semantic type: 1",
        "descriptions of concepts that the release lacks: 1",
        "relationships of concepts that the release lacks: 1",
    )


def test_bad_rows_are_named_by_file_and_line(rows, build):
    rows["names"][3] = [*rows["names"][3], "one more"]
    rows["names"][5][4] = rows["names"][5][4][:-1] + str((int(rows["names"][5][4][-1]) + 1) % 10)
    rows["concepts"].append(["12", *rows["concepts"][1][1:]])
    report, _ = build(rows)
    concepts, names = f"sct2_Concept_Snapshot_INT_{DATE}.txt", f"sct2_Description_Snapshot-en_INT_{DATE}.txt"
    assert [str(bad) for bad in report.bad_rows] == [
        f"{concepts}:10: column id is no SNOMED CT identifier",
        f"{names}:4: 10 columns, 9 expected",
        f"{names}:6: column conceptId is no SNOMED CT identifier",
    ]


def test_another_header_is_refused(rows, build):
    rows["edges"][0][4] = "from"
    with pytest.raises(InvalidInput, match=r"sct2_Relationship_Snapshot_INT_\d+\.txt:1: the columns are .*from") as refused:
        build(rows)
    assert "sourceId" in refused.value.hint


@pytest.mark.parametrize("kind", ["concepts", "names", "edges"])
def test_a_missing_file_is_named(rows, build, kind):
    del rows[kind]
    wanted = {"concepts": "sct2_Concept", "names": "sct2_Description", "edges": "sct2_Relationship"}[kind]
    with pytest.raises(InvalidInput, match=f"no {wanted}_Snapshot") as refused:
        build(rows)
    assert "with its folder Snapshot" in refused.value.hint


def test_an_archive_without_a_snapshot_is_refused(tmp_path, build):
    path = tmp_path / "full.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"Full/Terminology/sct2_Concept_Full_INT_{DATE}.txt", "")
    with pytest.raises(InvalidInput, match="no sct2_Concept_Snapshot") as refused:
        build(None, folder=path)
    assert "only Full files were found" in refused.value.hint


def test_an_archive_in_the_folder_is_read_and_of_two_none(rows, tmp_path, build):
    inside = write_rf2(tmp_path / "inside", rows)
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in ("one.zip", "two.zip"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            for path in inside.rglob("*.txt"):
                archive.write(path, path.relative_to(inside))
        if name == "one.zip":
            assert build(None, folder=folder)[0].concepts == 8
    with pytest.raises(InvalidInput, match=r"holds several releases of the edition INT: .*one\.zip, .*two\.zip") as refused:
        build(None, folder=folder)
    assert "different editions are read as one release" in refused.value.hint


def extension(rows):
    """Of the rows, the headers and one concept more: an extension has nothing of the International Edition."""
    own = {name: content[:1] for name, content in rows.items()}
    concept = add_concept(own, 700, "Nationale Pneumonie (disorder)")
    add_name(own, concept, "National pneumonia", accepted=[(OWN, PREFERRED)])
    add_name(own, LUNG, "national lung", accepted=[(OWN, PREFERRED)])
    add_edge(own, concept, PNEUMONIA, IS_A)
    return own, concept


def zip_of(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.txt")):
            archive.write(file, file.relative_to(folder))


@pytest.mark.parametrize("kind", ["folders", "archives", "a folder and an archive"])
def test_an_extension_beside_the_international_edition_is_read_with_it(rows, tmp_path, build, kind):
    own, concept = extension(rows)
    inside, both = tmp_path / "inside", tmp_path / "both"
    both.mkdir()
    write_rf2(both / "international" if kind != "archives" else inside / "international", rows)
    write_rf2(both / "extension" if kind == "folders" else inside / "extension", own, edition="XX1000999")
    if kind != "folders":
        zip_of(inside / "extension", both / "extension.zip")
    if kind == "archives":
        zip_of(inside / "international", both / "international.zip")
    report, vocabulary = build(None, folder=both)
    assert report.release == f"SNOMEDCT_INT_{DATE} SNOMEDCT_XX1000999_{DATE}"
    assert vocabulary.parents(concept) == [PNEUMONIA]
    assert vocabulary.names(concept)[0] == "National pneumonia"
    assert vocabulary.names(LUNG)[0] == "national lung"
    assert report.concepts == 9
    assert report.notes == ()


def test_an_extension_alone_says_that_it_lacks_the_international_concepts(rows, tmp_path, build):
    report, _ = build(None, folder=write_rf2(tmp_path / "alone", extension(rows)[0], edition="XX1000999"))
    assert report.is_a == 0
    assert report.notes[0] == "an extension needs the International Edition: put both releases into one folder, and give that"
    assert report.notes[-1] == "relationships of concepts that the release lacks: 1"


@pytest.mark.parametrize("newer", ["INT", "XX1000999"])
def test_of_a_concept_that_two_editions_have_the_newest_row_counts(rows, tmp_path, build, newer):
    own, _ = extension(rows)
    gone = next(row for row in rows["concepts"] if row[0] == SCTIDS["thorax"])
    own["concepts"].append([gone[0], "20270101" if newer != "INT" else "20250101", "0", *gone[3:]])
    write_rf2(tmp_path / "both" / "international", rows)
    write_rf2(tmp_path / "both" / "extension", own, edition="XX1000999")
    _, vocabulary = build(None, folder=tmp_path / "both")
    assert (SCTIDS["thorax"] in vocabulary) == (newer == "INT")


def test_an_archive_beside_what_it_holds_is_read_once(rows, tmp_path, build):
    folder = write_rf2(tmp_path / "downloads", rows)
    zip_of(folder, tmp_path / "release.zip")
    (tmp_path / "release.zip").rename(folder / "release.zip")
    assert build(None, folder=folder)[0].release == f"SNOMEDCT_INT_{DATE}"


def test_two_releases_in_one_folder_are_refused(rows, build, tmp_path):
    write_rf2(tmp_path / "both" / "a", rows)
    write_rf2(tmp_path / "both" / "b", rows)
    with pytest.raises(InvalidInput, match="holds several releases"):
        build(None, folder=tmp_path / "both")
