"""Files as people have them are read as the rows that are in them."""

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbclip.errors import InvalidInput
from nbclip.files.layout import Layout
from nbclip.files.lines import MAX_LINE_BYTES
from nbclip.files.ndjson import object_of
from nbclip.files.reading import Rows
from nbclip.files.rows import kind_of, problem_of
from nbclip.schemas.base import has_text
from support.counts import often

FIELDS = ("image_id", "caption", "cuis", "split")
FUZZED = Path(__file__).parents[3] / "fuzz" / "corpus"
SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";", "bar": "|"}


def layout(**options):
    return Layout(FIELDS, **options)


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def pairs(path, **options):
    """Number, id and caption of each row that has both, then `number: problem` of the others."""
    rows = list(Rows([path], layout(**options)))
    problems = [problem_of(row, ("image_id", "caption")) for row in rows]
    good = [
        (row.number, row.values["image_id"], row.values["caption"]) for row, why in zip(rows, problems, strict=True) if not why
    ]
    return good, [f"{row.number}: {why}" for row, why in zip(rows, problems, strict=True) if why]


def table(separator, rows=(("X1", "a, b; c|d\te"), ("X2", "two"))):
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows([("ID", "Caption"), *rows])
    return text.getvalue()


def shard(members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return content.getvalue()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.dat", "a.csv.gz", "packed.csv"])
@pytest.mark.parametrize("separator", SEPARATORS)
def test_the_header_tells_the_separator_whatever_the_name(write, name, separator):
    content = table(SEPARATORS[separator]).encode()
    path = write(name, gzip.compress(content) if "gz" in name or "packed" in name else content)
    assert pairs(path) == ([(2, "X1", "a, b; c|d\te"), (3, "X2", "two")], [])
    assert pairs(path, separator=separator) == pairs(path, separator=SEPARATORS[separator]) == pairs(path)


@settings(max_examples=60, deadline=None)
@given(
    captions=st.lists(st.text(st.sampled_from('a ,;|\t"\n'), max_size=12).filter(has_text), min_size=1, max_size=4),
    separator=st.sampled_from(sorted(SEPARATORS.values())),
)
def test_any_text_comes_back_under_any_separator(tmp_path_factory, captions, separator):
    path = tmp_path_factory.mktemp("any") / "a.csv"
    path.write_text(table(separator, [(str(number), caption) for number, caption in enumerate(captions)]), newline="")
    assert [caption for _, _, caption in pairs(path)[0]] == [caption.strip() for caption in captions]


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"separator": "comma"}, "separated by semicolon, not comma: --separator semicolon"),
        ({"format": "csv"}, "separated by semicolon, not comma: --separator semicolon"),
        ({"format": "tsv"}, "separated by semicolon, not tab: --separator semicolon"),
        ({"columns": {"image_id": "Caption", "caption": "Captoin"}}, "did you mean Caption?"),
        ({"columns": {"split": "fold"}}, "name one of these"),
        ({"separator": "colon"}, "one of comma, tab, semicolon, bar"),
    ],
)
def test_an_option_wins_over_the_header_and_is_checked(write, options, hint):
    with pytest.raises(InvalidInput) as refused:
        pairs(write("a.csv", table(";")), **options)
    assert hint in refused.value.hint


@pytest.mark.parametrize(("name", "content"), [("a.ndjson", "{}\n"), ("a.parquet", ""), ("a.tar", "")])
def test_a_separator_of_what_has_none_is_refused(write, name, content):
    with pytest.raises(InvalidInput, match="a separator was given"):
        pairs(write(name, content), separator="comma")


def test_a_field_that_is_none_is_named_with_the_nearest():
    with pytest.raises(InvalidInput, match="no such field: imageid") as refused:
        layout(columns={"imageid": "ID"})
    assert refused.value.hint == "did you mean image_id? fields are image_id, caption, cuis, split"


def test_objects_are_told_by_their_content(write):
    content = '{"image": "a.jpg", "caption": "one", "pmcid": "PMC1"}\n{"image": 7, "caption": "two"}\n'
    for name in ("a.jsonl", "a.ndjson", "a.json", "a.csv", "a.jsonl.gz"):
        path = write(name, gzip.compress(content.encode()) if name.endswith("gz") else content)
        assert pairs(path, columns={"image_id": "image"}) == ([(1, "a.jpg", "one"), (2, "7", "two")], [])
    with pytest.raises(InvalidInput) as refused:
        pairs(write("array.json", '[{"image_id": "a", "caption": "x"}]'))
    assert "an object a line" in refused.value.hint


@pytest.mark.parametrize(
    ("columns", "message", "hint"),
    [
        ({}, "no column image_id or id among: image, caption, meta, meta.key", "--column image_id=image"),
        ({"image_id": "imge"}, "no column imge", "did you mean image?"),
        ({"image_id": "meta.ky"}, "no column meta.ky", "did you mean meta.key?"),
        ({"image_id": "image,caption"}, "image_id is one column", "caption or cuis"),
    ],
)
def test_a_key_that_no_object_has_is_refused(write, columns, message, hint):
    content = json.dumps({"image": "a", "caption": "x", "meta": {"key": 1}}) + "\n"
    with pytest.raises(InvalidInput, match=message) as refused:
        pairs(write("a.ndjson", content), columns=columns)
    assert hint in refused.value.hint


def test_objects_may_differ_in_their_keys(write):
    lines = [
        {"id": "a", "caption": "x", "split": "train", "cuis": "[]"},
        {"caption": "y", "image_id": "b", "Cuis": "['C0000001', 'C0000002']"},
        {"ID": "c"},
    ]
    rows = list(Rows([write("a.ndjson", "\n".join(map(json.dumps, lines)))], layout()))
    assert [row.values for row in rows] == [
        {"image_id": "a", "caption": "x", "split": "train", "cuis": []},
        {"image_id": "b", "caption": "y", "cuis": ["C0000001", "C0000002"]},
        {"image_id": "c"},
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"image_id": "a", "caption": ["x"]}', "caption is a list, not text"),
        ('{"image_id": "a", "caption": {"x": 1}}', "caption is an object, not text"),
        ('{"image_id": "a", "caption": 5}', "caption is a number, not text"),
        ('{"image_id": {"x": 1}, "caption": "x"}', "image_id is an object, not text"),
        ('{"image_id": "a", "caption": NaN}', "empty caption: image a"),
        ('{"image_id": "a", "caption": "x", "cuis": ["C1"]}', "not a CUI: 'C1'"),
        ('{"image_id": "a", "caption": "x\\u0000"}', "NUL in the caption"),
        ('["a"]', "not an object"),
        ("[" * 5000, "not JSON"),
        ('{"image_id": "a", "caption": "\\ud800"}', "not JSON"),
    ],
)
def test_an_object_that_cannot_be_used_is_named(write, line, reason):
    good, bad = pairs(write("a.ndjson", f'{line}\n{{"image_id": "b", "caption": "good"}}\n'))
    assert good == [(2, "b", "good")]
    assert bad[0].startswith(f"1: {reason}")


REPORTS = [("d1", "One.", "Two."), ("d2", "", "Two."), ("d3", "nan", " "), ("d4", "One.", "None")]


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet", "tar"])
@pytest.mark.parametrize(
    ("chosen", "captions"),
    [
        ("findings,impression", ["One.\nTwo.", "Two.", None, "One."]),
        ("impression, findings", ["Two.\nOne.", "Two.", None, "One."]),
        ("findings|impression", ["One.", "Two.", None, "One."]),
        ("Impression|findings", ["Two.", "Two.", None, "One."]),
    ],
)
def test_a_caption_may_be_made_of_several_columns(write, kind, chosen, captions):
    names = ("dicom_id", "findings", "impression")
    objects = [dict(zip(names, row, strict=True)) for row in REPORTS]
    path = write(f"a.{kind}", "")
    if kind == "csv":
        path.write_text("\n".join(map(",".join, (names, *REPORTS))))
    elif kind == "ndjson":
        path.write_text("\n".join(map(json.dumps, objects)))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(objects), path)
    else:
        path.write_bytes(shard({f"{each['dicom_id']}.json": json.dumps(each).encode() for each in objects}))
    rows = list(Rows([path], layout(columns={"image_id": "dicom_id", "caption": chosen})))
    assert [row.values["caption"] for row in rows] == captions
    assert [row.values["image_id"] for row in rows] == ["d1", "d2", "d3", "d4"]


def test_a_column_whose_name_has_a_comma_is_that_column(write):
    assert pairs(write("a.csv", 'id,"findings,impression",findings\na,x,y\n'), columns={"caption": "findings,impression"})[0] == [
        (2, "a", "x")
    ]


def test_columns_that_look_misspelt_or_are_doubled_get_a_word(write, caplog):
    path = write("a.csv", "id,caption,Captoin,splt,modality,modality\na,x,y,z,1,2\n")
    assert pairs(path)[0] == [(2, "a", "x")]
    assert caplog.messages == [
        f"{path}:1: several columns are called modality; the first is read",
        f"{path}:1: 'Captoin' is read as no field; is it a misspelt caption?",
        f"{path}:1: 'splt' is read as no field; is it a misspelt split?",
    ]


def test_a_header_that_cannot_be_read_says_why(write):
    with pytest.raises(InvalidInput, match="no header: not UTF-8: byte 0xe9"):
        pairs(write("a.csv", b"id,l\xe9gende\na,b\n"))
    with pytest.raises(InvalidInput) as refused:
        pairs(write("a.csv", "id:caption\na:b\n"))
    assert "the first line must name the columns, separated by comma, tab, semicolon, bar" in refused.value.hint


FOREIGN = {
    "sheet.xlsx": b"PK\x03\x04\x14\0",
    "sheet.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0",
    "a.csv.bz2": bz2.compress(b"id,caption\na,x\n"),
    "a.csv.xz": lzma.compress(b"id,caption\na,x\n"),
    "twice.csv.gz": gzip.compress(gzip.compress(b"id,caption\na,x\n")),
    "page.csv": b"<!DOCTYPE html>\n<html>",
    "page.ndjson": b"\xef\xbb\xbf<HTML lang=en>",
    "pointer.csv": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "report.pdf": b"%PDF-1.7\n",
    "data.arrow": b"ARROW1\0\0\xff",
    "graph.sqlite": b"SQLite format 3\0",
    "image.txt": b"\x89PNG\r\n\x1a\n",
    "image.csv": b"\0" * 128 + b"DICM",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_another_kind_is_called_that(write, name):
    kinds = {
        "sheet": "Excel", "a": "packed, and not with gzip", "twice": "packed with gzip", "page": "a web page", "report": "a PDF",
        "pointer": "a pointer of Git LFS", "data": "Arrow", "graph": "an SQLite database", "image": "an image",
    }  # fmt: skip
    with pytest.raises(InvalidInput, match=kinds[name.partition(".")[0]]) as refused:
        pairs(write(name, FOREIGN[name]))
    assert refused.value.hint


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "it is empty"),
        (b"<html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (gzip.compress(b"x" * 99, mtime=0), "packed with gzip: unpack it"),
        (b"PK\x03\x04", "a zip archive"),
    ],
)
def test_a_hint_says_what_a_file_is_that_is_neither_parquet_nor_a_shard(write, content, hint):
    for name in ("a.parquet", "a.tar"):
        with pytest.raises(InvalidInput) as refused:
            pairs(write(name, content))
        assert hint in refused.value.hint


def test_parquet_and_tar_under_another_name_are_called_that(write):
    path = write("a.parquet", "")
    pq.write_table(pa.table({"id": ["a"], "caption": ["x"]}), path)
    for content, what in ((path.read_bytes(), "Parquet"), (shard({"a.txt": b"x"}), "a tar archive")):
        with pytest.raises(InvalidInput, match=f"is {what}"):
            pairs(write("a.csv", content))


@pytest.mark.parametrize("ids", ["PAR1", "BZh1", "%PDF", "GIF89a", "MZ"])
def test_an_id_that_looks_like_magic_is_an_id(write, ids):
    assert pairs(write("captions.txt", f"{ids}\tone\n"))[0] == [(1, ids, "one")]


@pytest.mark.parametrize("name", ["a.tar.gz", "a.TGZ", "a.tar.bz2", "a.tar.xz", "a.tar.zst", "a.txz"])
def test_a_packed_shard_is_refused_with_the_way_to_unpack_it(write, name):
    with pytest.raises(InvalidInput, match="a packed shard can't be read in any order") as refused:
        pairs(write(name, b"x"))
    assert "unpack it to .tar" in refused.value.hint


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.ndjson"])
def test_utf_16_is_called_that_with_and_without_its_mark(write, name, encoding):
    with pytest.raises(InvalidInput, match="is UTF-16"):
        pairs(write(name, "id,caption\na,x\n".encode(encoding)))


def test_the_first_line_that_is_not_utf_8_brings_a_word_on_encodings(write, caplog):
    path = write("a.csv", "id,caption\na,one\nb,Erguß\nc,Knöchel\n".encode("cp1252"))
    good, bad = pairs(path)
    assert (good, len(bad)) == ([(2, "a", "one")], 2)
    (told,) = caplog.messages[:1]
    assert told.startswith(f"{path}:3: not UTF-8: byte 0xdf at byte 7; save it as UTF-8")
    assert "iconv -f WINDOWS-1252" in told
    with pytest.raises(InvalidInput) as refused:
        pairs(write("b.csv", "Nr,Überschrift\na,one\n".encode("cp1252")))
    assert "iconv -f WINDOWS-1252" in refused.value.hint


def test_lines_that_end_with_cr_alone_are_refused(write):
    for name in ("a.csv", "a.txt", "a.ndjson"):
        with pytest.raises(InvalidInput, match="its lines end with CR alone"):
            pairs(write(name, "id,caption\ra,one\rb,two\r"))
    assert pairs(write("a.csv", "id,caption\r\na,one\r\n"))[0] == [(2, "a", "one")]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.dat"])
@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_excels_line_before_the_header_tells_the_separator(write, name, first):
    path = write(name, f"{first}\r\nID;Caption\r\nX1;a, b|c\r\n")
    assert pairs(path) == ([(3, "X1", "a, b|c")], [])
    with pytest.raises(InvalidInput, match=rf"{name}:2: no column none"):
        pairs(path, columns={"caption": "none"})


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_space_between_separators_and_quotes_is_none_of_the_text(write, separator):
    path = write("a.csv", ' ID; "Caption"; "Split"\nX1; "one; two"; "train"\nX2;three; valid\n'.replace(";", separator))
    rows = [row.values for row in Rows([path], layout())]
    assert rows == [
        {"image_id": "X1", "caption": f"one{separator} two", "split": "train"},
        {"image_id": "X2", "caption": "three", "split": "valid"},
    ]
    # Where the header has none, a quote after a space is text.
    assert pairs(write("b.csv", 'ID,Caption\nX1, "one" and more\n'))[0] == [(2, "X1", '"one" and more')]


def test_objects_in_lists_of_one_object_are_pointed_to(write):
    path = write("coco.json", json.dumps({"images": [{"id": 1}], "annotations": [{"image_id": 1, "caption": "x"}]}))
    with pytest.raises(InvalidInput, match="among: images, annotations") as refused:
        pairs(path)
    assert "images is a list of objects" in refused.value.hint
    with pytest.raises(InvalidInput, match="empty") as refused:
        pairs(write("nothing", ""))
    assert refused.value.hint == "is this the right file?"


def test_rows_are_counted_by_what_is_wrong_with_them():
    problems = [
        "not UTF-8: byte 0xdf at byte 7",
        "wrong number of fields: 5 where the header has 4",
        "caption of 20001 characters, over 20000",
    ]
    assert [kind_of(problem) for problem in problems] == [
        "not UTF-8",
        "wrong number of fields",
        "caption of N characters, over N",
    ]


@pytest.mark.parametrize("content", ['[{"id": "a", "caption": "x"}]', "[\n{}\n]", "[", "[ {\n", '{\n  "id": 1\n}'])
@pytest.mark.parametrize("name", ["a.json", "a.ndjson", "a.jsonl"])
def test_json_as_a_whole_is_refused_with_the_way_to_lines(write, name, content):
    with pytest.raises(InvalidInput) as refused:
        pairs(write(name, content))
    assert "an object a line" in refused.value.hint
    assert "jq -c '.[]'" in refused.value.hint


def test_of_several_columns_of_parquet_with_one_name_the_first_is_read(write, caplog):
    path = write("a.parquet", "")
    arrays = [pa.array(values) for values in (["a"], ["first"], ["second"], [1], [[2]])]
    pq.write_table(pa.Table.from_arrays(arrays, ["id", "caption", "caption", "age", "age"]), path)
    (row,) = Rows([path], layout(extras=True))
    assert row.values == {"age": "1", "image_id": "a", "caption": "first"}
    assert caplog.messages == [f"{path}: several columns are called {name}; the first is read" for name in ("caption", "age")]


def test_keys_of_a_shard_made_of_a_folder_are_without_its_dot(write):
    assert pairs(write("a.tar", shard({"./a.txt": b"one", "./x/b.txt": b"two"})))[0] == [(1, "a", "one"), (2, "x/b", "two")]


SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("image_id", pa.string()),
        ("caption", pa.string()),
        ("cui", pa.list_(pa.string())),
    ]
)


def test_parquet_as_the_hub_has_it_is_read_group_by_group(write):
    rows = [
        {"image": {"bytes": b"x", "path": f"{number}.jpg"}, "image_id": f"R_{number}", "caption": text, "cui": cuis}
        for number, (text, cuis) in enumerate([("one", ["C0000001", "C0000002"]), (None, []), ("three", None), ("four", ["C1"])])
    ]
    path = write("a.parquet", "")
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path, row_group_size=3)
    assert pq.ParquetFile(path).num_row_groups == 2
    good, bad = pairs(path)
    assert good == [(1, "R_0", "one"), (3, "R_2", "three")]
    assert bad[0] == "2: empty caption: image R_1"
    assert bad[1].startswith("4: not a CUI: 'C1'")
    assert [row.values["cuis"] for row in Rows([path], layout())][:3] == [["C0000001", "C0000002"], [], None]
    assert [image_id for _, image_id, _ in pairs(path, columns={"image_id": "image.path"})[0]] == ["0.jpg", "2.jpg"]


@pytest.mark.parametrize(
    ("column", "kind", "hint"),
    [
        ("image", "struct", "such as image.path"),
        ("cui", "list", "explode"),
        ("number", "int64", "texts"),
        ("raw", "binary", "texts"),
    ],
)
def test_a_column_of_parquet_that_is_no_text_is_no_caption(write, column, kind, hint):
    values = {"image": {"bytes": b"x", "path": "a"}, "image_id": "a", "cui": ["C0000001"], "number": 1, "raw": b"x"}
    path = write("a.parquet", "")
    pq.write_table(pa.Table.from_pylist([values]), path)
    with pytest.raises(InvalidInput, match=f"column {column} is .*{kind}") as refused:
        pairs(path, columns={"caption": column})
    assert hint in refused.value.hint


def test_ids_within_a_structure_are_told_by_the_column_that_works(write):
    row = {"image": {"bytes": b"x", "path": "a.png"}, "caption": "one"}
    path = write("a.parquet", "")
    pq.write_table(pa.Table.from_pylist([row]), path)
    texts = write("a.ndjson", json.dumps(row | {"image": {"bytes": None, "path": "a.png"}}) + "\n")
    for each in (path, texts):
        with pytest.raises(InvalidInput) as refused:
            pairs(each)
        assert "--column image_id=image.path" in refused.value.hint
        assert pairs(each, columns={"image_id": "image.path"}) == ([(1, "a.png", "one")], [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("img1,Chest X-ray\nimg2,Normal\n", True),
        ("img1;Chest X-ray;more\n", True),
        ("ID_of_image,report\na,b\n", True),
        ("name,caption\na,b\n", False),
    ],
)
def test_a_table_that_may_have_no_header_is_told_that_it_needs_one(write, text, told):
    with pytest.raises(InvalidInput, match="no column image_id or id among") as refused:
        pairs(write("a.csv", text))
    assert ("the first line must name the columns" in refused.value.hint) == told
    assert "--column image_id=" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "cuis"),
    [("[]", []), (" [ ] ", []), ("", None), ("nan", None), ("['C0000001']", ["C0000001"]), ("[C0000001]", ["C0000001"])],
)
def test_an_empty_list_of_cuis_is_not_the_same_as_none(write, text, cuis):
    table = write("a.csv", f'id,caption,cuis\na,x,"{text}"\n')
    objects = write("a.ndjson", json.dumps({"id": "a", "caption": "x", "cuis": cuis}) + "\n")
    for path in (table, objects):
        assert [row.values["cuis"] for row in Rows([path], layout())] == [cuis]


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (object_of("7"), 'not an object, such as {"caption":"…"}'),
        ("not UTF-8: byte 0xe9 at byte 7", "not UTF-8"),
        ("wrong number of fields: 3 where the header has 2", "wrong number of fields"),
        ("caption of 20001 characters, over 20000", "caption of N characters, over N"),
    ],
)
def test_kinds_of_problems_leave_out_what_is_particular_alone(problem, kind):
    assert kind_of(problem) == kind


def test_a_text_of_parquet_that_is_not_utf_8_is_a_bad_row(write):
    captions = pa.array([b"good", b"caf\xe9"]).view(pa.string())
    path = write("a.parquet", "")
    pq.write_table(pa.table({"image_id": pa.array(["a", "b"]).dictionary_encode(), "caption": captions}), path)
    assert pairs(path) == ([(1, "a", "good")], ["2: not UTF-8: caption"])


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.timestamp("us")), pa.large_list(pa.timestamp("us")), pa.list_(pa.timestamp("us"), 2)]
)
def test_times_of_parquet_are_texts_in_lists_too_however_far_away(write, kind):
    path, times = write("a.parquet", ""), pa.array([0, 2**62]).view(pa.timestamp("us"))
    when = pa.ListArray.from_arrays(pa.array([0, 2], pa.int32()), times).cast(kind)
    pq.write_table(pa.table({"image_id": ["a"], "caption": ["x"], "when": when, "then": times[1:]}), path)
    (row,) = Rows([path], layout(extras=True))
    assert row.values["when"] == f"1970-01-01 00:00:00.000000 {row.values['then']}"
    assert "out of range" in row.values["then"]


def test_a_name_of_a_column_of_parquet_that_is_not_utf_8_is_refused(write):
    path = write("a.parquet", "")
    pq.write_table(pa.table({"image_id": ["a"], "caption": ["x"], "quelle": ["y"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"quelle", b"qu\xe9lle"))
    with pytest.raises(InvalidInput, match=r"a\.parquet: .*utf-8"):
        pairs(path)


@pytest.mark.parametrize("cuis", ["42", "true", "1.5", '{"a": 1}', '"X1"', '["C0000001", null]'])
def test_what_are_no_cuis_is_a_problem_and_no_value(write, cuis):
    (row,) = Rows([write("a.ndjson", f'{{"image_id": "a", "caption": "x", "cuis": {cuis}}}')], layout())
    assert row.values["cuis"] is None
    assert "CUI" in row.problem


@pytest.mark.parametrize("damage", [lambda content: content[:-20], lambda content: b"PAR1" + content[8:], lambda content: b""])
def test_damaged_parquet_is_refused(write, damage):
    path = write("a.parquet", "")
    pq.write_table(pa.table({"image_id": ["a"], "caption": ["x"]}), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InvalidInput, match=r"a\.parquet: "):
        pairs(path)


def test_shards_need_no_images_where_none_are_wanted(write):
    members = {
        "a.caption": b"one",
        "b.jpg": b"",
        "c.json": b'{"caption": "three", "image_id": "own", "cui": ["C0000001"]}',
        "d.json": b"{",
        "e.txt": b"\xff",
        "f.txt": b"six",
        "f.json": b'{"caption": "not this"}',
    }
    good, bad = pairs(write("train-0.tar", shard(members)))
    assert good == [(1, "a", "one"), (3, "own", "three"), (6, "f", "six")]
    assert [problem.split(": ")[:2] for problem in bad] == [["2", "empty caption"], ["4", "not JSON"], ["5", "not UTF-8"]]
    assert {row.values["split"] for row in Rows([write("train-0.tar", shard({"a.txt": b"x"}))], layout())} == {"train"}


@pytest.mark.parametrize("name", ["a.txt", "a.caption", "a.json"])
def test_a_text_of_a_shard_is_as_long_as_a_line_may_be(write, name):
    good, bad = pairs(write("train-0.tar", shard({name: b" " * (MAX_LINE_BYTES + 1), "b.txt": b"two"})))
    assert good == [(2, "b", "two")]
    assert bad == [f"1: {name} has 1048577 bytes, over 1048576"]


def test_a_text_with_holes_is_not_filled_up(write):
    """The header of a sparse member says 8 GiB, and the file has one byte."""
    holes = (FUZZED / "shard" / "sparse").read_bytes()
    assert pairs(write("train-0.tar", holes)) == ([], ["1: 1.txt has 8589934592 bytes, over 1048576"])


@pytest.mark.parametrize(
    "header",
    [
        {"GNU.sparse.map": "a"},
        {"GNU.sparse.map": "0,1", "GNU.sparse.size": "abc"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
        {"size": "9" * 23},
    ],
    ids=str,
)
@pytest.mark.parametrize("before", [{}, {"first.txt": b"one"}])
def test_damaged_numbers_of_a_shards_headers_are_damage(write, before, header):
    damaged = io.BytesIO()
    with tarfile.open(fileobj=damaged, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a.txt")
        member.pax_headers = header
        tar.addfile(member)
    whole = shard(before)[: 1024 * len(before)]
    with pytest.raises(InvalidInput, match=r"train-0\.tar: damaged header"):
        pairs(write("train-0.tar", whole + damaged.getvalue()))


def test_a_folder_has_files_of_several_kinds(write, tmp_path, caplog):
    write("many/a.csv", table(","))
    write("many/b.tsv", table(";", [("Y1", "y")]))
    write("many/c.ndjson", '{"image_id": "Z1", "caption": "z"}\n')
    write("many/README.md", "no data")
    rows = Rows([tmp_path / "many"], layout())
    assert [(row.file.rsplit("/")[-1], row.values["image_id"]) for row in rows] == [
        ("a.csv", "X1"),
        ("a.csv", "X2"),
        ("b.tsv", "Y1"),
        ("c.ndjson", "Z1"),
    ]
    assert rows.position == rows.size == sum(path.stat().st_size for path in rows.paths)
    assert not caplog.messages
    write("many/0.tar", shard({"k.txt": b"caption"}))
    assert [row.values["image_id"] for row in Rows([tmp_path / "many"], layout())] == ["k"]
    assert "left aside: a.csv, b.tsv, c.ndjson" in caplog.messages[0]


def test_what_is_no_source_is_refused(tmp_path):
    for path, message in (("none.csv", "can't read"), ("none-*.csv", "no file matches"), ("", "neither ROCO")):
        with pytest.raises(InvalidInput, match=message):
            list(Rows([tmp_path / path], layout()))


@pytest.mark.parametrize("seed", range(3))
def test_damage_of_any_kind_ends_in_rows_or_one_error(write, seed):
    """Bytes are changed, dropped and added at random; what is read of that is rows, or InvalidInput."""
    generator = random.Random(seed)
    table_of_ids = pa.table({"image_id": ["a", "b"], "caption": ["one", "two"]})
    content = io.BytesIO()
    pq.write_table(table_of_ids, content)
    whole = {
        "a.csv": table(",").encode(),
        "a.txt": b"X1\tone\nX2\ttwo\n",
        "a.csv.gz": gzip.compress(table(";").encode()),
        "a.ndjson": b'{"image_id": "a", "caption": "one"}\n{"id": "b", "caption": "two", "cuis": ["C0000001"]}\n',
        "a.parquet": content.getvalue(),
        "a.tar": shard({"a.txt": b"one", "b.json": b'{"caption": "two"}'}),
    }
    for _ in range(often(20, 500)):
        for name, before in whole.items():
            damaged = bytearray(before)
            for _ in range(generator.randint(1, 6)):
                place = generator.randrange(len(damaged) + 1)
                damaged[place : place + generator.randint(0, 20)] = generator.choice(
                    [b"", b'"', b"\n", b"{", b"\0", b"\xff", b";\t"]
                )
            path = write(name, bytes(damaged))
            with suppress(InvalidInput):
                pairs(path)


def test_columns_that_roco_lacks_can_not_be_chosen(write, tmp_path, caplog):
    path = write("captions.txt", "R_1\tone\n")
    with pytest.raises(InvalidInput, match="ROCO has no columns to choose, and caption was chosen"):
        pairs(path, columns={"caption": "text"})
    # Beside tables with such a column a folder of ROCO may be given too.
    assert pairs(tmp_path, columns={"caption": "text"}) == pairs(tmp_path) == pairs(path) == ([(1, "R_1", "one")], [])
    assert caplog.messages == [f"{tmp_path}: ROCO has no columns to choose; not used here: caption"]


@pytest.mark.parametrize("name", ["a.parquet", "a.tar", "a.csv"])
def test_the_position_grows_to_the_size(write, name):
    path = write(name, shard({f"{number}.txt": b"x" for number in range(3_000)}))
    ids = [str(number) for number in range(3_000)]
    if name == "a.parquet":
        pq.write_table(pa.table({"id": ids, "caption": ids}), path)
    elif name == "a.csv":
        path.write_text("id,caption\n" + "".join(f"{number},{number}\n" for number in ids))
    rows = Rows([path, path], layout())
    positions = [rows.position for _ in rows]
    assert positions == sorted(positions)
    assert len(set(positions)) > 3
    assert rows.position == rows.size == 2 * path.stat().st_size


def test_parquet_without_pyarrow_says_what_to_install(write, monkeypatch):
    path = write("a.parquet", "")
    for name in ("pyarrow", "pyarrow.parquet", "nbclip.files.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidInput) as refused:
        pairs(path)
    assert refused.value.hint == "pip install 'nbclip[parquet]'"
