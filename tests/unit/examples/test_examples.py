"""The committed example data keeps what its read-me files promise."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

COLUMNS = {"MRCONSO": 18, "MRREL": 16, "MRSTY": 6}
SAB_OF_NAME, SAB_OF_RELATION = 11, 10
FOLDERS = ("radiology-open", "rocov2")


@pytest.fixture(scope="module")
def examples():
    return Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def pictures(examples):
    """Both metadata tables in one; `folder` says which of them a row is from, `path` where its picture lies."""
    return pl.concat(read_pictures(examples / folder) for folder in FOLDERS)


def read_pictures(folder):
    table = pl.read_csv(folder / "metadata.csv", infer_schema=False).fill_null("")
    return table.with_columns(folder=pl.lit(folder.name), path=pl.lit(f"{folder}/") + pl.col("file"))


@pytest.fixture(scope="module")
def tables(examples):
    """Each RRF table as lists of fields, the empty one behind the last pipe included."""
    return {
        name: [
            line.split("|")
            for line in gzip.decompress((examples / "vocabulary" / f"{name}.RRF.gz").read_bytes()).decode().split("\n")[:-1]
        ]
        for name in COLUMNS
    }


def test_examples_stay_small(examples):
    sizes = [path.stat().st_size for path in examples.rglob("*") if path.is_file()]
    assert sum(sizes) <= 15_000_000
    assert max(sizes) <= 5_000_000


def test_every_row_has_its_picture_and_every_picture_its_row(examples, pictures):
    on_disk = {str(path) for folder in FOLDERS for path in (examples / folder / "images").iterdir()}
    assert set(pictures["path"]) == on_disk


def test_pictures_open_and_have_a_longest_side_of_at_most_128(pictures):
    modes = set()
    for path in pictures["path"]:
        with Image.open(path) as image:
            image.load()
            assert max(image.size) <= 128, path
            assert image.format == "JPEG", path
            assert not image.getexif(), path
            modes.add(image.mode)
    assert modes == {"L", "RGB"}


def test_ids_are_unique_over_both_folders_and_name_the_file(pictures):
    assert pictures["image_id"].is_unique().all()
    assert (pictures["file"] == "images/" + pictures["image_id"] + ".jpg").all()


def test_every_picture_has_a_caption_an_attribution_and_a_group(pictures):
    for column in ("caption", "caption_source", "source", "licence", "url", "attribution", "group", "original_id"):
        assert (pictures[column].str.strip_chars() != "").all(), column


def test_each_folder_has_all_three_splits(pictures):
    for (folder,), rows in pictures.group_by("folder"):
        assert set(rows["split"]) == {"train", "valid", "retrieval"}, folder


def test_no_group_is_in_two_splits(pictures):
    assert pictures.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1


def test_radiology_open_holds_open_licences_only(pictures):
    open_rows = pictures.filter(pl.col("folder") == "radiology-open")
    assert set(open_rows["licence"]) == {"CC BY 4.0", "CC BY", "CC BY-SA 4.0", "CC BY-SA", "CC0 1.0"}
    assert "medpix-2.0" not in set(pictures["source"])


def test_rocov2_rows_say_non_commercial_share_alike(pictures):
    rocov2 = pictures.filter(pl.col("folder") == "rocov2")
    assert rocov2["licence"].str.starts_with("CC BY-NC-SA 4.0").all()
    assert set(rocov2["source"]) == {"rocov2-sample"}
    assert set(rocov2["caption_source"]) == {"real"}


def test_cuis_are_joined_by_single_spaces_and_given_for_every_rocov2_picture(pictures):
    well_formed = pictures["cuis"].str.contains(r"^(C\d{7}( C\d{7})*)?$")
    assert well_formed.all()
    assert (pictures.filter(pl.col("folder") == "rocov2")["cuis"] != "").all()


@pytest.mark.parametrize(("folder", "least"), [("radiology-open", 700), ("rocov2", 90)])
def test_retrieval_split_is_large_enough_to_score(pictures, folder, least):
    assert pictures.filter((pl.col("folder") == folder) & (pl.col("split") == "retrieval")).height >= least


@pytest.mark.parametrize("name", COLUMNS)
def test_rrf_rows_have_all_columns_and_a_pipe_at_the_end(tables, name):
    assert {len(row) for row in tables[name]} == {COLUMNS[name] + 1}
    assert {row[-1] for row in tables[name]} == {""}


def test_every_end_of_a_relation_has_an_atom(tables):
    named = {row[0] for row in tables["MRCONSO"]}
    atoms = {row[7] for row in tables["MRCONSO"]}
    assert {cui for row in tables["MRREL"] for cui in (row[0], row[4])} <= named
    assert {atom for row in tables["MRREL"] for atom in (row[1], row[5])} <= atoms


def test_every_relation_is_written_in_both_directions(tables):
    inverse = {"isa": "inverse_isa", "inverse_isa": "isa", "part_of": "has_part", "has_part": "part_of"}
    relations = {(row[0], row[7], row[4], row[10]) for row in tables["MRREL"]}
    assert {(right, inverse[rela], left, sab) for left, rela, right, sab in relations} == relations


def test_semantic_types_are_those_of_the_named_concepts(tables):
    assert {row[0] for row in tables["MRSTY"]} == {row[0] for row in tables["MRCONSO"]}


def test_findings_and_diseases_are_no_parts_of_the_body_or_substances(tables):
    """Types that an anatomy source once had outvoted; the expected ones are those of the UMLS."""
    types = {row[0]: row[1] for row in tables["MRSTY"]}
    expected = {"C0032227": "T047", "C0003850": "T047", "C0221198": "T033", "C0018817": "T019", "C0027540": "T046"}
    assert {cui: types[cui] for cui in expected} == expected


def test_no_content_of_the_human_phenotype_ontology_is_left(tables):
    sources = {row[SAB_OF_NAME] for row in tables["MRCONSO"]} | {row[SAB_OF_RELATION] for row in tables["MRREL"]}
    assert not {sab for sab in sources if sab.startswith("HP")}


def test_every_source_of_names_is_named_in_the_licence_file(examples, tables):
    text = (examples / "vocabulary" / "LICENSE.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| ([A-Z]+) \|.*\| ([\d,]+) \|$", text, flags=re.MULTILINE))
    sources = [row[SAB_OF_NAME] for row in tables["MRCONSO"]]
    assert stated == {sab: f"{sources.count(sab):,}" for sab in set(sources)}


def test_a_concept_has_at_most_one_preferred_row(tables):
    preferred = [row[0] for row in tables["MRCONSO"] if (row[2], row[4], row[6]) == ("P", "PF", "Y")]
    assert len(preferred) == len(set(preferred))
    without = {row[0] for row in tables["MRCONSO"]} - set(preferred)
    assert len(without) == 336


def test_most_rocov2_cuis_are_in_the_vocabulary_and_have_a_parent(pictures, tables):
    named = {row[0] for row in tables["MRCONSO"]}
    with_parent = {row[4] for row in tables["MRREL"] if (row[3], row[7]) == ("CHD", "isa")}
    gold = " ".join(pictures.filter(pl.col("folder") == "rocov2")["cuis"]).split()
    assert len(gold) == 2328
    assert sum(cui in named for cui in gold) == 1982
    assert sum(cui in with_parent for cui in gold) / len(gold) > 0.7


def test_is_a_holds_together_in_one_large_piece(tables):
    neighbours: dict[str, set[str]] = {}
    for row in tables["MRREL"]:
        if row[7] == "isa":
            neighbours.setdefault(row[0], set()).add(row[4])
            neighbours.setdefault(row[4], set()).add(row[0])
    reached, open_ends = {"C0024109"}, ["C0024109"]
    while open_ends:
        new = neighbours[open_ends.pop()] - reached
        reached |= new
        open_ends.extend(new)
    assert len(reached) > 0.9 * len(neighbours)


@pytest.mark.parametrize("folder", ["vocabulary", "radiology-open", "rocov2"])
def test_each_folder_has_a_licence_file(examples, folder):
    assert (examples / folder / "LICENSE.md").is_file()


def test_counts_in_the_read_me_are_those_of_the_data(examples, pictures, tables):
    readme = (examples / "README.md").read_text(encoding="utf-8")
    pairs = {rela: len({(row[4], row[0]) for row in tables["MRREL"] if row[7] == rela}) for rela in ("isa", "part_of")}
    concepts = len({row[0] for row in tables["MRCONSO"]})
    assert f"{concepts:,} concepts, {len(tables['MRCONSO']):,} atoms" in readme
    assert f"{pairs['isa']:,} is_a and {pairs['part_of']:,} part_of pairs" in readme
    for split in ("train", "valid", "retrieval"):
        rows = pictures.filter(pl.col("split") == split)["folder"].to_list()
        counts = [rows.count(folder) for folder in FOLDERS]
        assert f"| {split} | {counts[0]:,} | {counts[1]:,} |" in readme
    for source, count in pictures["caption_source"].value_counts().iter_rows():
        assert f"`{source}` ({count:,}" in readme
