"""The synthetic release: deterministic, of the right layout, and what the compiler finds in it."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "vocabulary" / "release.py"


def write_release(folder, *options):
    ended = subprocess.run(
        [sys.executable, SCRIPT, folder, "--scale", ".002", *options], check=True, capture_output=True, text=True
    )
    return json.loads(ended.stdout)


def rows_of(folder, stem):
    return [line.split("|") for line in (folder / f"{stem}.RRF").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rrf")
    return folder, write_release(folder)


def test_same_seed_gives_same_bytes_and_another_seed_others(release, tmp_path):
    folder, counts = release
    again = write_release(tmp_path / "again")
    assert {**again, "cpu_s": 0} == {**counts, "cpu_s": 0}
    stems = ("MRCONSO", "MRREL", "MRSTY", "MRRANK")
    same = {stem: (folder / f"{stem}.RRF").read_bytes() for stem in stems}
    assert same == {stem: (tmp_path / "again" / f"{stem}.RRF").read_bytes() for stem in stems}
    write_release(tmp_path / "other", "--seed", "7")
    assert same["MRCONSO"] != (tmp_path / "other" / "MRCONSO.RRF").read_bytes()


def test_rows_have_the_layout_and_the_distributions_that_are_promised(release):
    folder, counts = release
    atoms, relations, types = (rows_of(folder, stem) for stem in ("MRCONSO", "MRREL", "MRSTY"))
    assert [{len(row) - 1 for row in rows} for rows in (atoms, relations, types)] == [{18}, {16}, {6}]
    assert [len(atoms), len(relations), len(types)] == [counts["atoms"], counts["relations"], counts["semantic_types"]]
    assert (len(atoms), len(relations), counts["concepts"]) == (32_000, 24_000, 8_000)
    assert 0.67 < sum(row[1] == "ENG" for row in atoms) / len(atoms) < 0.73
    assert 0.22 < sum(row[16] != "N" for row in atoms) / len(atoms) < 0.28
    assert 30 < sum(len(row[14]) for row in atoms) / len(atoms) < 45
    sizes = Counter(row[0] for row in atoms)
    assert sizes.most_common(1)[0][1] > 100
    assert 1.25 < len(types) / counts["concepts"] < 1.35
    assert len({(row[0], row[1]) for row in types}) == len(types)


def test_relations_come_in_both_directions_with_loops_cycles_and_strange_cuis(release):
    folder, _ = release
    rows, known = rows_of(folder, "MRREL"), {row[0] for row in rows_of(folder, "MRCONSO")}
    back = {"CHD": "PAR", "PAR": "CHD", "RN": "RB", "RB": "RN", "AQ": "QB", "QB": "AQ"}
    said = Counter((row[0], row[3], row[4], row[10], row[14]) for row in rows)
    assert said == Counter((row[4], back.get(row[3], row[3]), row[0], row[10], row[14]) for row in rows)
    assert any(row[0] == row[4] for row in rows)
    assert any(row[0] not in known for row in rows)
    children = {(row[0], row[4]) for row in rows if row[3] == "CHD"}
    assert any((child, parent) in children for parent, child in children if parent != child)


def test_compiler_finds_what_the_rows_say(release, tmp_path):
    folder, counts = release
    report = build_vocabulary(folder, tmp_path / "out")
    kept = {(row[0], row[14]) for row in rows_of(folder, "MRCONSO") if row[1] == "ENG" and row[16] == "N"}
    concepts = {cui for cui, _ in kept}
    is_a = {
        (row[4], row[0])
        for row in rows_of(folder, "MRREL")
        if row[14] == "N"
        and row[0] != row[4]
        and {row[0], row[4]} <= concepts
        and (row[7] == "isa" or (row[3], row[7]) == ("CHD", ""))
    }
    assert (counts["kept_concepts"], counts["kept_names"], counts["kept_edges"]) == (len(concepts), len(kept), len(is_a))
    assert (report.concepts, report.names, report.bad_row_count) == (len(concepts), len(kept), 0)
    assert report.is_a + len(report.cut_edges) == len(is_a)
    vocabulary = open_vocabulary(tmp_path / "out", verify=True)
    assert {(name.cui, name.text) for name in vocabulary.iter_names()} == kept
    left = {(edge.child, edge.parent) for edge in vocabulary.is_a_closure(vocabulary)[1]}
    assert left | {(edge.child, edge.parent) for edge in report.cut_edges} == is_a
    assert report.release == "SYNTHETIC"
