"""Both programs read the same rows of any file: ids, captions, and what is wrong with the others."""

import csv
import gzip
import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kg_service.ingest.readers import ReadOptions, Row, read_items
from nbclip.files.reading import Rows
from nbclip_trainer.data.dataset import layout_of, read_dataset
from nbclip_trainer.data.settings import Columns, DataSettings

NAMES = ("image_id", "file", "caption", "split")
ROWS = [
    ("a", "a.png", "One, two; three|four.", "train"),
    ("b", "b.png", "", "train"),
    ("", "c.png", "no id", "train"),
    ("d", "d.png", ' "Quoted"\nand more ', "valid"),
    ("e", "e.png", "nan", "valid"),
    ("f\x07", "f.png", "control character", "valid"),
    ("g", "g.png", "Größe 🫁", ""),
    ("h", "h.png", "x" * 20_001, "train"),
]
OBJECTS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]


def table(path, separator):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows([NAMES, *ROWS])
    damaged = text.getvalue().encode() + f"i{separator}too few\n".encode() + b"caf\xe9\n"
    path.write_bytes(gzip.compress(damaged) if path.suffix == ".gz" else damaged)


def ndjson(path):
    path.write_text("\n".join([*map(json.dumps, OBJECTS), "{", "[]", '{"image_id": "z", "caption": {}}']))


def parquet(path):
    pq.write_table(pa.Table.from_pylist(OBJECTS), path, row_group_size=3)


def hub(path):
    rows = [{"image": {"bytes": b"x", "path": row[1]}, "id": row[0], "caption": row[2], "cui": ["C0000001"]} for row in ROWS]
    pq.write_table(pa.Table.from_pylist([each for each in rows if each["caption"] not in ("", "nan")]), path)


def shard(path):
    with tarfile.open(path, "w") as tar:
        for number, each in enumerate(OBJECTS):
            members = {"png": b"x", "json": json.dumps({**each, "caption": None}).encode(), "txt": each["caption"].encode()}
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{number}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def parts(path):
    path.mkdir()
    half = len(OBJECTS) // 2
    for number, objects in enumerate((OBJECTS[:half], OBJECTS[half:])):
        pq.write_table(pa.Table.from_pylist(objects), path / f"{number}.parquet")


def roco(path):
    (path / "images").mkdir(parents=True)
    rows = ["a\t One  tab\there.", "b\t ", "\tno id", "no tab", "g\t Größe 🫁"]
    (path / "captions.txt").write_text("\n".join(rows))


def roco_2(path):
    (path / "train").mkdir(parents=True)
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("ID", "Caption"), *((row[0], row[2]) for row in ROWS)])
    (path / "train_captions.csv").write_text(text.getvalue(), newline="")
    (path / "train_concepts.csv").write_text("ID,CUIs\na,C0000001;C0000002\nd,nonsense\n")


FORMS = {
    "commas.csv": lambda path: table(path, ","),
    "semicolons.csv": lambda path: table(path, ";"),
    "bars.csv": lambda path: table(path, "|"),
    "tabs.csv": lambda path: table(path, "\t"),
    "tabs.tsv": lambda path: table(path, "\t"),
    "packed.csv.gz": lambda path: table(path, ";"),
    "objects.jsonl": ndjson,
    "table.parquet": parquet,
    "hub.parquet": hub,
    "train-0.tar": shard,
    "parts": parts,
    "roco": roco,
    "rocov2": roco_2,
}


def by_the_service(path, **columns):
    options = ReadOptions(columns=columns)
    rows = list(read_items(Rows([path], options.layout()), options))
    good = [row for row in rows if isinstance(row, Row)]
    items = [
        (row.item.image_id, row.item.caption, row.item.split, row.item.cuis or None, f"{row.file}:{row.line}") for row in good
    ]
    return items, [str(row) for row in rows if not isinstance(row, Row)]


def by_the_trainer(path, **columns):
    layout = layout_of(DataSettings(columns=Columns(**columns)))
    dataset = read_dataset([path], layout=layout, max_bad_row_share=1)
    cuis = dataset.labels("cuis") if "cuis" in dataset.frame.columns else [None] * len(dataset)
    places = [dataset.place(row) for row in range(len(dataset))]
    lists = [each.split() if each else None for each in cuis]
    return list(zip(dataset.ids, dataset.captions, dataset.labels("split"), lists, places, strict=True)), list(dataset.bad_rows)


@pytest.mark.parametrize("name", FORMS)
def test_both_programs_read_the_same_rows(tmp_path, name):
    FORMS[name](tmp_path / name)
    good, bad = by_the_service(tmp_path / name)
    assert (good, bad) == by_the_trainer(tmp_path / name)
    assert [each[0] for each in good] == (["a", "g"] if name == "roco" else ["a", "d", "g"])
    assert len(bad) >= 3


@pytest.mark.parametrize("caption", ["findings,impression", "findings|impression"])
def test_both_programs_take_the_same_columns(tmp_path, caption):
    path = tmp_path / "reports.csv"
    path.write_text("dicom,path,findings,impression\na,a.png,One.,Two.\nb,b.png,,Two.\nc,c.png,,\n")
    good, bad = by_the_service(path, image_id="dicom", caption=caption)
    assert (good, bad) == by_the_trainer(path, image_id="dicom", file="path", caption=caption)
    assert [each[1] for each in good] == (["One.\nTwo.", "Two."] if "," in caption else ["One.", "Two."])
    assert len(bad) == 1
