"""Parquet, shards and the folders of ROCO and ROCOv2 are read as the same pairs in a CSV file are."""

import csv
import gzip
import io
import json
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import torch
from nbclip.errors import InvalidInput
from nbclip_trainer.cli.main import app
from nbclip_trainer.data.dataset import layout_of, read_dataset
from nbclip_trainer.data.decoding import open_image
from nbclip_trainer.data.settings import Columns, DataSettings
from PIL import Image
from typer.testing import CliRunner

EXAMPLES = Path(__file__).parents[4] / "examples"
PLAIN = ("image_id", "caption", "split")
NO_SPLITS = ("--set", "data.train_split=null", "--set", "data.valid_split=null")


@pytest.fixture
def pairs(tmp_path):
    """A folder with three pairs as CSV."""
    folder = tmp_path / "plain"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (80 * number, 0, 0)).save(folder / f"{number}.png")
    with (folder / "pairs.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image_id", "file", "caption", "split", "cuis"])
        table.writerows(
            [
                ["a", "0.png", 'one, "two"', "train", "C0000001 C0000002"],
                ["b", "1.png", "zwölf", "valid", ""],
                ["c", "2.png", "x", "train", "C0000003"],
            ]
        )
    return folder / "pairs.csv"


@pytest.fixture
def shard(tmp_path):
    """Writes members, by name, into a shard."""

    def write(members, name="train-000.tar"):
        path = tmp_path / name
        with tarfile.open(path, "w") as tar:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return write


def layout(**columns):
    return layout_of(DataSettings(columns=Columns(**columns)))


def same_pairs(first, second, columns=(*PLAIN, "cuis")):
    """That two datasets have the same values and the same pixels."""
    assert first.frame.select(columns).to_dicts() == second.frame.select(columns).to_dicts()
    pixels = ([open_image(file).tobytes() for file in each.files] for each in (first, second))
    assert next(pixels) == next(pixels)


def test_parquet_is_read_as_the_csv_it_was_made_from(pairs):
    path = pairs.with_suffix(".parquet")
    pl.read_csv(pairs, infer_schema=False).write_parquet(path)
    dataset = read_dataset([path])
    same_pairs(dataset, read_dataset([pairs]))
    assert dataset.place(1) == f"{path}:2"


def test_parquet_may_hold_numbers_lists_and_other_names(pairs):
    path = pairs.with_suffix(".parquet")
    frame = pl.DataFrame(
        {"ID": [7], "file": ["0.png"], "caption": ["x"], "cuis": [["C0000001", "C0000002"]], "age": [61.5], "raw": [b"\x00"]}
    )
    frame.write_parquet(path)
    dataset = read_dataset([path], layout=layout(image_id="ID"))
    assert dataset.ids == ["7"]
    assert (dataset.labels("cuis"), dataset.labels("age")) == (["C0000001 C0000002"], ["61.5"])


def test_labels_of_objects_and_parquet_may_have_other_names_and_be_numbers_or_several(pairs):
    rows = [
        {"image_id": "a", "file": "0.png", "caption": "x", "study": 12, "meta": {"kind": "CT"}, "parts": ["chest", "abdomen"]},
        {"image_id": "b", "file": "1.png", "caption": "y", "study": None, "meta": {"kind": None}, "parts": []},
    ]
    objects, table = pairs.with_suffix(".ndjson"), pairs.with_suffix(".parquet")
    objects.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pl.DataFrame(rows).write_parquet(table)
    mapped = layout(group="study", modality="meta.kind", organ="parts")
    for path in (objects, table):
        dataset = read_dataset([path], layout=mapped)
        labels = [dataset.labels(name) for name in ("group", "modality", "organ")]
        assert labels == [["12", None], ["CT", None], ["chest abdomen", None]]
        with pytest.raises(InvalidInput, match=r"no column kind among: image_id, file, caption"):
            read_dataset([path], layout=layout(modality="kind"))


def test_a_parquet_file_that_is_none_or_lacks_a_column_is_named(pairs):
    path = pairs.with_suffix(".parquet")
    path.write_bytes(b"no parquet")
    with pytest.raises(InvalidInput, match=r"pairs.parquet: not a Parquet file"):
        read_dataset([path])
    pl.DataFrame({"image_id": ["a"], "caption": ["x"]}).write_parquet(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(InvalidInput, match=r"pairs.parquet: not a Parquet file") as refused:
        read_dataset([path])
    assert refused.value.hint == "was it cut off?"
    path.write_bytes(whole)
    with pytest.raises(InvalidInput, match=r"pairs.parquet: no column file or file_name or image among: image_id, caption"):
        read_dataset([path])


def test_shards_are_read_as_the_same_pairs_in_a_csv(pairs, shard):
    plain = read_dataset([pairs])
    members = {}
    for row, file in zip(plain.frame.iter_rows(named=True), plain.files, strict=True):
        values = {name: row[name] for name in PLAIN} | {"cuis": (row["cuis"] or "").split() or None, "exif": {"a": 1}}
        members |= {f"{row['line']:05}.png": file.read_bytes(), f"{row['line']:05}.json": json.dumps(values).encode()}
    halves = [dict(list(members.items())[:2]), dict(list(members.items())[2:])]
    dataset = read_dataset([shard(half, f"{number}.tar") for number, half in enumerate(halves)])
    same_pairs(dataset, plain)
    assert dataset.place(2).endswith("1.tar:2")


def test_a_shard_with_texts_alone_has_its_keys_as_ids(pairs, shard):
    image = read_dataset([pairs]).files[1].read_bytes()
    dataset = read_dataset([shard({"x/0001.PNG": image, "x/0001.txt": "zwölf".encode(), "x/0001.seg.npy": b"?"})])
    assert (dataset.ids, dataset.captions) == (["x/0001"], ["zwölf"])
    assert open_image(dataset.files[0]).tobytes() == open_image(read_dataset([pairs]).files[1]).tobytes()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"1.png": b"", "1.txt": b" "}, r"train-000.tar:1: empty caption: image 1"),
        ({"1.png": b"", "2.txt": b"x"}, r"train-000.tar:1: empty caption: image 1"),
        ({"1.txt": b"x"}, r"train-000.tar:1: no image: 1 has .txt"),
        ({"1.png": b"", "1.text": b"x"}, r"train-000.tar:1: empty caption: image 1"),
        ({"1.png": b"", "1.jpg": b"", "1.txt": b"x"}, r"train-000.tar:1: 2 images: 1 has .jpg, .png, .txt"),
        ({"1.png": b"", "1.json": b"{"}, r"train-000.tar:1: not JSON: .* in 1.json"),
        ({"1.png": b"", "1.json": b"[]"}, r"train-000.tar:1: not an object"),
        ({"1.png": b"", "1.txt": b"\xff"}, r"train-000.tar:1: not UTF-8: byte 1 of 1.txt"),
        ({}, r"train-000.tar: no rows"),
    ],
)
def test_the_first_pair_of_a_shard_that_is_of_no_use_is_named(shard, members, message):
    with pytest.raises(InvalidInput, match=message):
        read_dataset([shard(members)])


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "joined.tar"
    with tarfile.open(path, "w") as tar:
        for content in (b"one", b"two"):
            info = tarfile.TarInfo("a.txt")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(InvalidInput, match=r"joined.tar:1: a.txt occurs twice"):
        read_dataset([path])


def test_what_a_mac_adds_is_passed_over(shard):
    assert read_dataset([shard({"._1.png": b"", ".DS_Store": b"", "1.png": b"", "1.txt": b"x"})]).ids == ["1"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-000.tar", "train"),
        ("valid_7.tar", "valid"),
        ("validation/0.tar", "valid"),
        ("test.tar", "test"),
        ("x/part-1.tar", None),
    ],
)
def test_the_split_of_a_shard_is_its_names_or_its_folders(shard, tmp_path, name, split):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    assert read_dataset([shard({"1.png": b"", "1.txt": b"x"}, name)]).labels("split") == [split]
    own = shard({"1.png": b"", "1.json": b'{"caption": "x", "split": "mine"}'}, name)
    assert read_dataset([own]).labels("split") == ["mine"]


def test_shards_without_a_split_can_be_taken_whole(shard):
    path = shard({"1.png": b"", "1.txt": b"x"}, "part.tar")
    with pytest.raises(InvalidInput, match=r"no row of split 'train'") as refused:
        read_dataset([path], "train")
    assert "data.train_split=null" in refused.value.hint


def test_many_files_are_named_by_a_pattern_or_their_folder(shard, tmp_path):
    paths = [shard({f"{number}.png": b"", f"{number}.txt": b"x"}, f"train-{number}.tar") for number in range(3)]
    assert read_dataset([tmp_path / "train-*.tar"]).ids == read_dataset([tmp_path]).ids == read_dataset(paths).ids
    with pytest.raises(InvalidInput, match=r"valid-\*.tar: no file matches"):
        read_dataset([tmp_path / "valid-*.tar"])
    frame = pl.DataFrame({"image_id": ["a"], "file": ["0.png"], "caption": ["x"]})
    (tmp_path / "parts").mkdir()
    for number in range(2):
        frame.with_columns(image_id=pl.lit(f"a{number}")).write_parquet(tmp_path / "parts" / f"{number}.parquet")
    assert read_dataset([tmp_path / "parts"]).ids == ["a0", "a1"]


def test_a_packed_table_is_read_as_it_was_before(pairs):
    packed = pairs.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(pairs.read_bytes()))
    same_pairs(read_dataset([packed]), read_dataset([pairs]))
    packed.write_bytes(packed.read_bytes()[:40])
    with pytest.raises(InvalidInput, match=r"pairs.csv.gz:1: can't be read on"):
        read_dataset([packed])


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("x.tar.gz", "packed shard", "gunzip"),
        ("x.tgz", "packed shard", "gunzip"),
        ("x.dat", "unknown kind of file", "data.format=csv"),
        ("captions.txt", "ROCO's captions name no image files", "folder"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, name, message, hint):
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(InvalidInput, match=message) as refused:
        read_dataset([tmp_path / name])
    assert hint in refused.value.hint


def test_suffixes_may_be_capitals_and_the_header_tells_the_separator(tmp_path, pairs):
    path = pairs.with_name("X.TSV")
    path.write_text("image_id\tfile\tcaption\na\t0.png\tone, two\n")
    assert read_dataset([path]).captions == ["one, two"]
    (tmp_path / "semi.csv").write_text("image_id;file;caption\na;0.png;x\n")
    assert read_dataset([tmp_path / "semi.csv"]).captions == ["x"]
    with pytest.raises(InvalidInput, match="no column") as refused:
        read_dataset([tmp_path / "semi.csv"], layout=layout_of(DataSettings(separator="comma")))
    assert refused.value.hint.endswith("--set data.separator=semicolon")


@pytest.mark.parametrize("form", ["bytes and path", "bytes", "path"])
def test_images_in_parquet_are_those_of_the_files(pairs, form):
    plain = read_dataset([pairs])
    images = [file.read_bytes() for file in plain.files]
    cells = {
        "bytes and path": [{"bytes": content, "path": file.name} for content, file in zip(images, plain.files, strict=True)],
        "bytes": images,
        "path": [{"bytes": None, "path": file.name} for file in plain.files],
    }[form]
    schema = {"image": pl.Binary if form == "bytes" else pl.Struct({"bytes": pl.Binary, "path": pl.String})}
    path = pairs.with_suffix(".parquet")
    frame = plain.frame.select("image_id", "caption", "split", "cuis").with_columns(pl.Series("image", cells, schema["image"]))
    frame.write_parquet(path, row_group_size=2)
    dataset = read_dataset([path])
    same_pairs(dataset, plain)
    backwards = [open_image(file).tobytes() for file in reversed(dataset.files)]
    assert backwards == [open_image(file).tobytes() for file in reversed(plain.files)]


def test_worker_processes_read_images_of_parquet_in_any_order(pairs, load):
    plain = read_dataset([pairs])
    cells = [file.read_bytes() for file in plain.files]
    path = pairs.with_suffix(".parquet")
    plain.frame.select("image_id", "caption").with_columns(pl.Series("image", cells)).write_parquet(path, row_group_size=2)
    settings = ("data.pictures=disk", "augmentation.kind=open_clip", "data.workers=2")
    batches = [[2, 0], [1], [0, 1, 2]]
    found, wanted = (load(dataset, *settings).images.plain(batches) for dataset in (read_dataset([path]), plain))
    for one, other in zip(found, wanted, strict=True):
        assert (one.rows, one.bad) == (other.rows, {})
        assert torch.equal(one.pixels, other.pixels)


def test_a_row_of_parquet_without_an_image_is_named(pairs):
    image = read_dataset([pairs]).files[0].read_bytes()
    path = pairs.with_suffix(".parquet")
    pl.DataFrame({"image_id": ["a", "b"], "image": [image, None], "caption": ["x", "y"]}).write_parquet(path)
    done = CliRunner().invoke(app, ["validate", "--data", str(path), *NO_SPLITS])
    assert f"{path}:2: " in str(done.exception)
    assert "no image in column image of row 2" in str(done.exception)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("0.png", ["x", "y"]), "column caption is .*list"),
        (("0.png", 7), "column caption is int64"),
        (([1], "x"), "column file is .*list"),
    ],
)
def test_several_captions_and_what_is_no_text_are_refused(tmp_path, cells, message):
    pl.DataFrame({"image_id": ["a"], "file": [cells[0]], "caption": [cells[1]]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InvalidInput, match=message):
        read_dataset([tmp_path / "x.parquet"])


def test_objects_are_read_as_the_csv_with_the_same_values(pairs):
    plain = read_dataset([pairs])
    path = pairs.with_suffix(".jsonl")
    rows = plain.frame.with_columns(pl.col("file").str.split("/").list.last()).drop("read_from", "line").to_dicts()
    path.write_text("".join(json.dumps(row | {"exif": {"a": 1}, "age": 61.5}) + "\n" for row in rows))
    dataset = read_dataset([path])
    same_pairs(dataset, plain)
    assert dataset.labels("age") == ["61.5"] * 3


def test_bad_rows_are_listed_up_to_show(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("image_id,file,caption\na,0.png,\nb,1.png,nan\nc,2.png\n")
    done = CliRunner().invoke(app, ["validate", "--data", str(path), "--show", "2"])
    assert str(done.exception).splitlines()[:3] == [
        "3 of 3 rows can't be used, more than data.max_bad_row_share=0.05:",
        f"  {path}:2: empty caption: image a",
        f"  {path}:3: empty caption: image b … and 1 more; fix or drop these rows, or raise the limit",
    ]


def test_a_list_of_fixed_length_is_read_as_a_list(tmp_path):
    frame = pl.DataFrame({"image_id": ["a"], "file": ["0.png"], "caption": ["x"], "cuis": [["C0000001", "C0000002"]]})
    frame.cast({"cuis": pl.Array(pl.String, 2)}).write_parquet(tmp_path / "x.parquet")
    assert read_dataset([tmp_path / "x.parquet"]).labels("cuis") == ["C0000001 C0000002"]


def test_a_shard_that_is_cut_off_or_no_tar_is_refused(shard):
    whole = shard({"1.png": b"x" * 5000, "1.txt": b"x"})
    whole.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(InvalidInput, match=r"train-000.tar: ") as refused:
        read_dataset([whole])
    assert refused.value.hint == "shards are whole, uncompressed tar files: get it again"
    whole.write_bytes(b"x" * 2000)
    with pytest.raises(InvalidInput, match=r"train-000.tar: "):
        read_dataset([whole])


def test_an_image_of_a_shard_that_cannot_be_decoded_is_counted_and_named(pairs, shard):
    image = read_dataset([pairs]).files[0].read_bytes()
    path = shard({"1.png": image, "1.txt": b"x", "2.png": image[:20], "2.txt": b"y"})
    done = CliRunner().invoke(app, ["validate", "--data", str(path), *NO_SPLITS])
    assert "1 of 2 images can't be decoded" in str(done.exception)
    assert f"{path}:2: " in str(done.exception)


@pytest.fixture
def roco(tmp_path):
    """ROCO's folders, with two splits of two images each."""
    root = tmp_path / "data"
    for split, kind in (("train", "radiology"), ("validation", "radiology"), ("train", "non-radiology")):
        folder = root / split / kind
        (folder / "images").mkdir(parents=True)
        ids = [f"ROCO_{split}_{kind}_{number}" for number in range(2)]
        for image_id in ids:
            Image.new("RGB", (8, 8)).save(folder / "images" / f"{image_id}.jpg")
        # As in the original: a space behind the tab, two tabs before CUIs.
        (folder / "captions.txt").write_text("".join(f"{image_id}\t {image_id} shows\tlungs.\n" for image_id in ids))
        (folder / "cuis.txt").write_text(f"{ids[0]}\t\tC0024109\tC0043299\n{ids[1]}\t\n")
    return root


def test_roco_is_read_from_its_root_or_from_one_folder(roco):
    dataset = read_dataset([roco])
    assert dataset.ids == [f"ROCO_{split}_radiology_{number}" for split in ("train", "validation") for number in range(2)]
    assert dataset.labels("split") == ["train", "train", "valid", "valid"]
    assert dataset.labels("cuis") == ["C0024109 C0043299", None] * 2
    assert dataset.captions[0] == "ROCO_train_radiology_0 shows lungs."
    assert dataset.place(3) == f"{roco}/validation/radiology/captions.txt:2"
    assert all(open_image(file) for file in dataset.files)
    other = read_dataset([roco / "train" / "non-radiology"])
    assert other.ids == ["ROCO_train_non-radiology_0", "ROCO_train_non-radiology_1"]
    assert other.labels("split") == ["train", "train"]


def test_a_folder_without_images_or_of_another_kind_is_refused(roco, tmp_path):
    shutil.rmtree(roco / "train" / "radiology" / "images")
    with pytest.raises(InvalidInput, match=r"train/radiology: no folder of images: images"):
        read_dataset([roco])
    (tmp_path / "other").mkdir()
    with pytest.raises(InvalidInput, match=r"other: neither ROCO .* nor ROCOv2"):
        read_dataset([tmp_path / "other"])


@pytest.mark.parametrize("images", ["{}", "{0}_images/{0}"])
def test_rocov2_gives_the_classes_that_were_drawn_from_it_by_hand(tmp_path, images):
    """The examples' sample of ROCOv2, laid out as the original: modality and CUIs must come out as the examples have them."""
    with (EXAMPLES / "rocov2" / "metadata.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in {"train", "valid"} and row["modality"]]
    for split in ("train", "valid"):
        (tmp_path / images.format(split)).mkdir(parents=True)
        own = [row for row in rows if row["split"] == split]
        for row in own:
            (tmp_path / images.format(split) / f"{row['image_id']}.jpg").symlink_to(EXAMPLES / "rocov2" / row["file"])
        tables = {"captions": ("Caption", "caption"), "concepts_manual": ("CUIs", "cuis")}
        for name, (title, column) in tables.items():
            with (tmp_path / f"{split}_{name}.csv").open("w", newline="") as file:
                table = csv.writer(file)
                table.writerow(["ID", title])
                table.writerows([row["image_id"], row[column].replace(" ", ";")] for row in own) if column == "cuis" else (
                    table.writerows([row["image_id"], row[column]] for row in own)
                )
    dataset = read_dataset([tmp_path])
    rows.sort(key=lambda row: row["split"])
    assert dataset.ids == [row["image_id"] for row in rows]
    assert dataset.captions == [row["caption"].strip() for row in rows]
    assert [set((cuis or "").split()) for cuis in dataset.labels("cuis")] == [set(row["cuis"].split()) for row in rows]
    agree = Counter(
        (mine == row["modality"]) for mine, row in zip(dataset.labels("modality"), rows, strict=True) if mine is not None
    )
    assert agree[True] > 500
    assert agree[False] <= 5
    assert open_image(dataset.files[0]).size
