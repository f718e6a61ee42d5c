"""The tiny example that the trainer ships: what `examples/tiny.py` cuts, CC0 alone, and small."""

from __future__ import annotations

import csv
import importlib.util
import zipfile
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
ARCHIVE = EXAMPLES.parent / "trainer" / "src" / "nbclip_trainer" / "example" / "tiny.zip"


@pytest.fixture(scope="module")
def shipped():
    with zipfile.ZipFile(ARCHIVE) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("tiny", EXAMPLES / "tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_what_the_script_cuts_out_of_the_examples(shipped, script):
    assert shipped == script.tiny(EXAMPLES)


def test_packed_twice_it_has_the_same_bytes(shipped, script, tmp_path):
    script.pack(shipped, tmp_path / "one")
    script.pack(dict(reversed(shipped.items())), tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_it_is_small_and_every_picture_has_a_row(shipped):
    rows = list(csv.DictReader(shipped["metadata.csv"].decode().splitlines()))
    assert ARCHIVE.stat().st_size < 1_000_000
    assert {row["file"] for row in rows} == {name for name in shipped if name.startswith("images/")}
    assert {row["split"] for row in rows} == {"train", "valid", "retrieval"}


def test_no_picture_name_or_edge_is_of_another_licence(shipped):
    """The licences of the sources are those of the LICENSE files beside the examples."""
    text = (EXAMPLES / "vocabulary" / "LICENSE.md").read_text(encoding="utf-8")
    open_to_all = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ") and "CC0 1.0" in line}
    rows = list(csv.DictReader(shipped["metadata.csv"].decode().splitlines()))
    fields = {
        name: [row.split("|") for row in shipped[f"vocabulary/{name}.RRF"].decode().splitlines()] for name in ("MRCONSO", "MRREL")
    }
    assert {row["licence"] for row in rows} == {"CC0 1.0"}
    assert {row[11] for row in fields["MRCONSO"]} | {row[10] for row in fields["MRREL"]} == {
        "DOID",
        "MEDMENTIONS",
        "SYMP",
    } & open_to_all


def test_every_end_of_an_edge_has_a_name_and_a_semantic_type(shipped):
    column = {
        name: {row.split("|")[0] for row in shipped[f"vocabulary/{name}.RRF"].decode().splitlines()}
        for name in ("MRCONSO", "MRREL", "MRSTY")
    }
    assert column["MRREL"] < column["MRCONSO"] == column["MRSTY"]
