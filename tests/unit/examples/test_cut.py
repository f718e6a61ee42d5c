"""The script that cuts the examples, on sources small enough to work out by hand."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[3] / "examples" / "cut.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("cut", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def name(cui, text, sab="MSH"):
    return f"{cui}|ENG|P|L1|PF|S1|Y|A{cui}|||D1|{sab}|PT|D1|{text}|0|N||\n"


def is_a(child, parent, sab="MSH"):
    return (
        f"{parent}|A{parent}|AUI|CHD|{child}|A{child}|AUI|isa|R1||{sab}|{sab}|||N||\n"
        f"{child}|A{child}|AUI|PAR|{parent}|A{parent}|AUI|inverse_isa|R2||{sab}|{sab}|||N||\n"
    )


NAMED = name("C0000001", "Fractures of the Femur") + name("C0000002", "Bone injury") + name("C0000003", "Injury")
NEVER_NAMED = name("C0000004", "Glaucoma") + name("C0000005", "Hypertelorism", sab="HPO") + name("C0000006", "X-ray")
EDGES = (
    is_a("C0000001", "C0000002")
    + is_a("C0000002", "C0000003")
    + is_a("C0000004", "C0000003")
    + is_a("C0000001", "C0000004", sab="HPO")
    + is_a("C0000001", "C0000005")
)


@pytest.fixture
def sources(tmp_path):
    """Six concepts and four pictures, one of each licence class and one small enough to keep its size."""
    umls, radiology = tmp_path / "umls", tmp_path / "radiology"
    umls.mkdir()
    (radiology / "images").mkdir(parents=True)
    (umls / "MRCONSO.RRF.gz").write_bytes(gzip.compress((NAMED + NEVER_NAMED).encode()))
    (umls / "MRREL.RRF").write_text(EDGES, encoding="utf-8")
    (umls / "MRSTY.RRF").write_text("".join(f"C000000{n}|T047|B|Disease|AT1||\n" for n in range(1, 7)), encoding="utf-8")
    rows = [
        picture("RM_00001", "open", "A femur with an old fracture", "vqa-rad", ""),
        picture("RM_00002", "not-stated", "Glaucoma", "medpix-2.0", ""),
        picture("RM_00003", "non-commercial", "Plain film", "rocov2-sample", "C0000006;C0999999"),
        picture("RM_00004", "non-commercial", "Glaucoma", "covid-chestxray", ""),
    ]
    for row, size in zip(rows, [(256, 128), (64, 64), (60, 50), (64, 64)], strict=True):
        Image.new("L", size, 90).save(radiology / row["file"])
    with (radiology / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return umls, radiology


def picture(image_id, licence_class, caption, source, cuis):
    blank = dict.fromkeys(["caption_source", "modality", "organ", "modality_organ", "licence", "url", "attribution"], "")
    return blank | {
        **{"id": image_id, "file": f"images/{image_id}.jpg", "caption": caption, "source": source, "cuis": cuis},
        **{"licence_class": licence_class, "split": "train", "group": image_id, "original_id": image_id, "plane": ""},
    }


def run(script, sources, out):
    return script.main(["--open-umls", str(sources[0]), "--radiology-mini", str(sources[1]), "--out", str(out)])


def cuis_in(path, column=0):
    return {line.split("|")[column] for line in gzip.decompress(path.read_bytes()).decode().splitlines()}


def test_keeps_concepts_named_or_given_and_their_ancestors(script, sources, tmp_path):
    assert run(script, sources, tmp_path / "out") == 0
    vocabulary = tmp_path / "out" / "vocabulary"
    kept = {"C0000001", "C0000002", "C0000003", "C0000006"}
    assert cuis_in(vocabulary / "MRCONSO.RRF.gz") == kept
    assert cuis_in(vocabulary / "MRSTY.RRF.gz") == kept
    assert gzip.decompress((vocabulary / "MRREL.RRF.gz").read_bytes()).decode() == (
        is_a("C0000001", "C0000002") + is_a("C0000002", "C0000003")
    )


def test_sorts_pictures_by_licence_and_leaves_the_rest_out(script, sources, tmp_path):
    run(script, sources, tmp_path)
    assert [path.name for path in (tmp_path / "radiology-open" / "images").iterdir()] == ["RM_00001.jpg"]
    assert [path.name for path in (tmp_path / "rocov2" / "images").iterdir()] == ["RM_00003.jpg"]
    with (tmp_path / "rocov2" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["image_id"] == "RM_00003"
    assert row["cuis"] == "C0000006 C0999999"
    assert "plane" not in row


def test_shrinks_large_pictures_and_keeps_small_ones(script, sources, tmp_path):
    run(script, sources, tmp_path)
    with Image.open(tmp_path / "radiology-open/images/RM_00001.jpg") as large:
        assert (large.size, large.mode) == ((128, 64), "L")
    with Image.open(tmp_path / "rocov2/images/RM_00003.jpg") as small:
        assert small.size == (60, 50)


def test_second_cut_gives_the_same_bytes_and_clears_old_pictures(script, sources, tmp_path):
    def content(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    run(script, sources, tmp_path / "one")
    (tmp_path / "two/rocov2/images").mkdir(parents=True)
    (tmp_path / "two/rocov2/images/RM_09999.jpg").write_bytes(b"old")
    run(script, sources, tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize(
    ("one", "other"),
    [("fractures", "fracture"), ("biopsies", "biopsy"), ("masses", "mass"), ("metastases", "metastasis"), ("oedema", "edema")],
)
def test_stem_joins_number_and_spelling(script, one, other):
    assert script.stem(one) == script.stem(other)


def test_hyphen_may_be_a_gap_or_nothing(script):
    assert script.named_concepts([["C0000006", *[""] * 13, "X-ray"]], ["Xray of the chest"]) == {"C0000006"}
    assert script.named_concepts([["C0000006", *[""] * 13, "Xray"]], ["X-ray of the chest"]) == {"C0000006"}


def test_words_spread_over_two_captions_do_not_name_a_concept(script):
    assert script.named_concepts([["C0000001", *[""] * 13, "femur fracture"]], ["a femur", "a fracture"]) == set()


def test_name_of_stop_words_names_nothing(script):
    assert script.named_concepts([["C0000001", *[""] * 13, "of the"]], ["of the lung"]) == set()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("MRREL.RRF", b"C0000001|A1|\n", "MRREL.RRF, line 1: 16 columns"),
        ("MRSTY.RRF", b"\xff\xfe", "MRSTY.RRF can't be read"),
        ("MRCONSO.RRF.gz", b"no gzip", "MRCONSO.RRF.gz can't be read"),
        ("metadata.csv", b"id,file\n", "no column"),
        ("images/RM_00001.jpg", b"no picture", "RM_00001.jpg can't be read"),
    ],
)
def test_damaged_source_gets_one_line_and_exit_code_2(script, sources, tmp_path, capsys, file, content, said):
    folder = sources[0] if "RRF" in file else sources[1]
    (folder / file).write_bytes(content)
    assert run(script, sources, tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def test_missing_source_is_named(script, sources, tmp_path, capsys):
    assert run(script, (tmp_path / "nowhere", sources[1]), tmp_path / "out") == 2
    assert "no MRCONSO.RRF or MRCONSO.RRF.gz in" in capsys.readouterr().err
    assert run(script, (sources[0], tmp_path / "nowhere"), tmp_path / "out") == 2
    assert "metadata.csv" in capsys.readouterr().err
