"""A file read span by span gives the rows that it gives as a whole."""

import gzip
import random
import tarfile
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbclip.errors import InvalidInput
from nbclip.files.layout import Layout
from nbclip.files.reading import Rows
from nbclip.files.spans import digest_of, spans_of
from support.counts import often

LAYOUT = Layout(("image_id", "caption", "cuis"))


def spanned(path, size, layout=LAYOUT):
    spans = spans_of(path, layout, size)
    rows = [list(Rows([path], layout, span)) for span in spans]
    assert [len(each) for each in rows] == [span.rows for span in spans]
    return [row for each in rows for row in each]


def whole(path, layout=LAYOUT):
    return list(Rows([path], layout))


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


TABLES = {
    "plain.csv": "image_id,caption\n" + "".join(f"{number},caption {number}\n" for number in range(10)),
    "quoted.csv": 'image_id,caption\n1,"two\nlines"\n2,"a ""b"", c"\n3,"\n\n"\n4,last',
    "unclosed.csv": 'image_id,caption\n1,"never\n2,closed\n3,"again\n4,and closed"\n5,x"y\n6,"a"b\n7,end\n',
    "blank.csv": "\n\nsep=;\n\nimage_id;caption\n\n1;a\n\n\n2;b\n3\n4;d\r\n",
    "header.csv": '"image_id","cap\ntion",caption\n1,x,a\n2,x,b\n3,x,c\n',
    "bytes.csv": b"\xef\xbb\xbfimage_id,caption\n1,a\n2,\xff\n3,nul \0\n4,\xc3\xa9\n5,e\n",
    "captions.tsv": "id\tcaption\n1\ta, b\n2\tc\n3\td\n",
    "roco.txt": "ROCO_1\tone\nROCO_2 no tab\n\nROCO_3\timage_id\tcaption\nROCO_4\tfour\n",
    "objects.ndjson": "\n".join(
        f'{{"image_id": "{number}", "{"caption" if number % 3 else "Caption"}": "x"}}' for number in range(130)
    ),
    "nested.jsonl": '{"image_id":"1","caption":"a"}\n\n[]\n{"image_id":"2","caption":"b","extra":{"cuis":["C0000001"]}}\nno\n',
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("size", [1, 2, 3, 50, 1_000])
def test_text_is_the_same_in_spans(write, name, size):
    path = write(name, TABLES[name])
    assert len(whole(path)) > 1
    assert spanned(path, size) == whole(path)


def test_keys_that_only_the_first_objects_have_are_known_in_every_span(write):
    first = '{"image_id": "0", "text": "a", "caption": "b"}\n'
    path = write("objects.ndjson", first + "".join(f'{{"image_id": "{number}", "caption": "c"}}\n' for number in range(1, 300)))
    chosen = Layout(("image_id", "caption"), columns={"caption": "text|caption"})
    rows = whole(path, chosen)
    assert [row.values["caption"] for row in rows[:2]] == ["a", "c"]
    assert spanned(path, 7, chosen) == rows


@pytest.mark.parametrize("group", [1, 4, 100])
@pytest.mark.parametrize("size", [1, 3, 4, 1_000])
def test_parquet_is_the_same_in_spans(tmp_path, group, size):
    path = tmp_path / "captions.parquet"
    ids = [f"{number}" for number in range(11)]
    pq.write_table(
        pa.table({"image_id": ids, "caption": [f"c {each}" for each in ids], "other": ids}), path, row_group_size=group
    )
    assert spanned(path, size) == whole(path)
    assert len(spans_of(path, LAYOUT, size)) == -(-11 // size)


def test_what_cannot_be_read_from_the_middle_is_one_span(write, tmp_path):
    packed = write("captions.csv.gz", gzip.compress(TABLES["quoted.csv"].encode()))
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for number in range(3):
            member = tarfile.TarInfo(f"{number}.txt")
            member.size = 1
            shard.addfile(member, BytesIO(b"x"))
    for path in (packed, tmp_path / "shard.tar"):
        assert len(spans_of(path, LAYOUT, 1)) == 1
        assert spanned(path, 1) == whole(path)


def test_a_file_without_rows_has_no_span_and_what_is_no_file_is_refused(write, tmp_path):
    assert spans_of(write("empty.csv", "image_id,caption\n"), LAYOUT, 5) == []
    pq.write_table(
        pa.table({"image_id": pa.array([], pa.string()), "caption": pa.array([], pa.string())}), tmp_path / "e.parquet"
    )
    assert spans_of(tmp_path / "e.parquet", LAYOUT, 5) == []
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(InvalidInput, match=str(path)):
            spans_of(path, LAYOUT, 5)


@given(st.text(alphabet='a",;\n\r ', max_size=60), st.integers(1, 5))
@settings(max_examples=often(150, 3_000), deadline=None)
def test_any_table_is_the_same_in_spans(tmp_path_factory, text, size):
    path = tmp_path_factory.mktemp("table") / "any.csv"
    path.write_bytes(b"image_id,caption\n" + text.encode())
    assert spanned(path, size) == whole(path)


def test_every_span_has_a_digest_that_follows_from_its_rows_alone(write, tmp_path):
    path = write("plain.csv", TABLES["plain.csv"])
    spans = spans_of(path, LAYOUT, 3)
    before = [digest_of(path, LAYOUT, span) for span in spans]
    assert len(set(before)) == 4
    path.write_text(TABLES["plain.csv"].replace("caption 4", "caption X"))
    assert [digest_of(path, LAYOUT, span) == old for span, old in zip(spans, before, strict=True)] == [True, False, True, True]
    path.write_text(TABLES["plain.csv"].replace("image_id,caption", "caption,image_id"))
    assert all(digest_of(path, LAYOUT, span) != old for span, old in zip(spans, before, strict=True))


def test_the_digest_of_parquet_leaves_out_columns_that_are_not_read(tmp_path):
    generator = random.Random(1)
    path, columns = (
        tmp_path / "c.parquet",
        {"image_id": list("abcd"), "caption": list("efgh"), "picture": [b"1", b"2", b"3", b"4"]},
    )

    def digests(**changed):
        pq.write_table(pa.table(columns | changed), path, row_group_size=2, compression="none", use_dictionary=False)
        return [digest_of(path, LAYOUT, span) for span in spans_of(path, LAYOUT, 2)]

    before = digests()
    assert digests(picture=[generator.randbytes(1) for _ in range(4)]) == before
    changed = digests(caption=list("efgX"))
    assert (changed[0], changed[1] != before[1]) == (before[0], True)


def test_what_is_not_there_or_has_nothing_to_read_is_called_so(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.md").touch()
    for name, told in (
        ("missing.csv", "does not exist"),
        ("missing", "does not exist"),
        ("empty", "is empty"),
        ("other", "has no file that can be read"),
    ):
        with pytest.raises(InvalidInput, match=f"{tmp_path / name} {told}\\b"):
            spans_of(tmp_path / name, LAYOUT, 5)


def test_a_folder_of_roco_is_called_so(tmp_path):
    (tmp_path / "captions.txt").write_text("a\tPneumonia.\n")
    with pytest.raises(InvalidInput, match="is a folder of ROCO"):
        spans_of(tmp_path, LAYOUT, 5)
