"""radiology-open described in Croissant: valid, up to date, with the digests of the files that are there."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from pathlib import Path

import mlcroissant
import polars as pl
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[3] / "examples"
FOLDER = EXAMPLES / "radiology-open"
# rdflib, by which it is read, warns of a class of its own.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
AGAIN = "python examples/croissant.py examples/radiology-open writes it anew"


@pytest.fixture(scope="module")
def described():
    return mlcroissant.Dataset(jsonld=FOLDER / "croissant.json")


@pytest.fixture(scope="module")
def table():
    return pl.read_csv(FOLDER / "metadata.csv", infer_schema=False)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("croissant", EXAMPLES / "croissant.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def few(script, table, tmp_path):
    """The first rows alone, described: joining all of them takes long."""
    rows = table.head(5)
    rows.write_csv(tmp_path / "metadata.csv")
    (tmp_path / "images").mkdir()
    for name in rows["file"]:
        shutil.copyfile(FOLDER / name, tmp_path / name)
    script.main(tmp_path)
    return mlcroissant.Dataset(jsonld=tmp_path / "croissant.json")


def test_it_is_what_the_script_says_of_the_files(script):
    held = json.loads((FOLDER / "croissant.json").read_text(encoding="utf-8"))
    assert held == json.loads(json.dumps(script.description(FOLDER, 4042))), AGAIN


def test_it_is_valid_and_lacks_nothing_that_is_recommended(described):
    assert described.metadata.ctx.issues.errors == set()
    assert described.metadata.ctx.issues.warnings == set()


def test_every_file_has_its_digest(described):
    files = {
        each.content_url: each.sha256 for each in described.metadata.distribution if isinstance(each, mlcroissant.FileObject)
    }
    assert set(files) == {"metadata.csv", "images.sha256"}
    images = dict(reversed(line.split("  ")) for line in (FOLDER / "images.sha256").read_text().splitlines())
    assert set(images) == {f"images/{path.name}" for path in (FOLDER / "images").iterdir()}
    assert {name: hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() for name in files | images} == files | images, AGAIN


def test_the_licences_are_those_of_the_rows(described, table):
    """Rows that say no version count among those of the same licence that do."""
    kinds = {"by/": "CC BY", "by-sa/": "CC BY-SA", "zero/": "CC0 1.0"}
    stated = {kinds[kind] for address in described.metadata.license for kind in kinds if f"/{kind}" in address}
    assert stated == set(table["licence"].str.strip_suffix(" 4.0"))


def test_records_have_the_table_s_columns_and_their_own_image(few, table):
    assert {field.name for field in few.metadata.record_sets[0].fields} == {*table.columns, "filename", "image"} - {"file"}
    records = list(few.records("pairs"))
    for row, record in zip(table.head(5).rows(named=True), records, strict=True):
        texts = {name: record[f"pairs/{name}"] for name in row if name != "file"}
        assert {name: text and text.decode() for name, text in texts.items()} == {name: row[name] for name in texts}
        assert record["pairs/filename"].decode() == row["image_id"]
        with Image.open(FOLDER / row["file"]) as image:
            assert record["pairs/image"].tobytes() == image.convert(record["pairs/image"].mode).tobytes()
