"""Snapshots of former versions: their ids stay, they take images, and their graph publishes as it did."""

import hashlib
import json

import pytest
from compatibility.likeness import differences
from compatibility.machine import computes_alike

NEW_IMAGE = "image_id,caption,split\nmore,Chest CT showing pulmonary embolism.,train\n"


@pytest.fixture
def expected(copied):
    return json.loads((copied / "expected" / "snapshots.json").read_text())


def ids_of(listing):
    return [line.split()[0] for line in listing]


def test_snapshots_are_listed_by_their_former_ids_which_are_the_digests_of_their_manifests(copied, expected, kg):
    listed = kg("snapshot", "list").splitlines()
    assert sorted(ids_of(listed)) == sorted(ids_of(expected["list"]))
    assert listed[0].startswith(expected["current"])
    assert listed[0].endswith("current")
    for folder in ids_of(listed):
        assert hashlib.sha256((copied / "data" / "snapshots" / folder / "manifest.json").read_bytes()).hexdigest() == folder


def test_all_are_whole(expected, kg):
    lines = kg("snapshot", "verify").splitlines()
    assert sorted(ids_of(lines)) == sorted(ids_of(expected["list"]))
    assert all("whole" in line for line in lines)


def test_the_current_one_takes_further_images_and_the_others_stay(copied, expected, kg):
    (copied / "more.csv").write_text(NEW_IMAGE)
    kg("ingest", "more.csv")
    new_id = kg("snapshot", "append")
    assert new_id not in ids_of(expected["list"])
    listed = kg("snapshot", "list").splitlines()
    assert set(ids_of(listed)) == {new_id, *ids_of(expected["list"])}
    assert "appended=4" in listed[0]
    assert "RM_00466" in kg("neighbours", "more")


def test_the_graph_publishes_as_it_did_with_the_settings_of_then(copied, kg):
    before = json.loads((copied / "expected" / "published-anew.json").read_text())
    representations = sorted({variant.partition("/")[0] for variant in before["variants"]} - {"noise"})
    options = [option for name in representations for option in ("--representation", name)]
    of_then = {"smoothing": 0.6, "smoothing_dimension": 64, "smoothing_frequency": 0}
    options += [option for name, value in of_then.items() for option in ("--set", f"hybrid.{name}={value}")]
    new_id = kg("snapshot", "publish", "--split", before["split"], *options)
    now = json.loads((copied / "data" / "snapshots" / new_id / "manifest.json").read_text())
    alike = computes_alike(copied, before["versions"], now["versions"])
    assert list(differences(*(each if alike else without_computed(each) for each in (before, now)))) == []
    if alike and before["versions"] == now["versions"]:
        assert new_id == hashlib.sha256((copied / "expected" / "published-anew.json").read_bytes()).hexdigest()


def without_computed(manifest):
    """Files of numbers may differ in their last bits: then only what is read from the graph is compared."""
    kept = [file for file in manifest["files"] if file["name"].startswith(("images.", "graph."))]
    return {**manifest, "files": kept}
