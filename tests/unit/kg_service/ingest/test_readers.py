import csv
import gzip
import io
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.ingest.readers import ReadOptions, Row, read_items
from kg_service.vocabulary.model import BadRow
from nbclip.errors import InvalidInput
from nbclip.files.lines import MAX_LINE_BYTES
from nbclip.files.reading import Rows
from nbclip.schemas.base import has_text
from nbclip.schemas.images import ImageItem
from support.counts import often

CUT_OFF = gzip.compress(b"id,caption\n" + random.Random(0).randbytes(9_999).hex().encode(), mtime=0)[:-20]


def items(path, **options):
    chosen = ReadOptions(**options)
    return list(read_items(Rows([path], chosen.layout()), chosen))


@pytest.fixture
def read(tmp_path):
    """Writes a file and reads it: rows as (line, item), then bad rows as text without the folder."""

    def read(name, content, **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        entries = items(path, **options)
        good = [(entry.line, entry.item) for entry in entries if isinstance(entry, Row)]
        bad = [str(entry).replace(f"{tmp_path}/", "") for entry in entries if isinstance(entry, BadRow)]
        return good, bad

    return read


def test_a_csv_file_is_read_by_its_header(read):
    content = (
        "split,Source,Caption,ID,cuis,unused\n"
        'train,roco,"a ""quoted"", caption",x1,C0000001 C0000002,\n'
        ",,plain,x2,,?\n"
        "test,,  spaces  ,x3,C0000001;C0000002|C0000003,\n"
    )
    good, bad = read("a.csv", content)
    assert good == [
        (
            2,
            ImageItem(image_id="x1", caption='a "quoted", caption', cuis=["C0000001", "C0000002"], dataset="roco", split="train"),
        ),
        (3, ImageItem(image_id="x2", caption="plain")),
        (4, ImageItem(image_id="x3", caption="spaces", cuis=["C0000001", "C0000002", "C0000003"], split="test")),
    ]
    assert bad == []


def test_a_quoted_newline_counts_as_the_physical_line_it_is(read):
    good, bad = read("a.csv", 'id,caption\na,"one\r\ntwo\n\nfour"\nb,next\n\nc\nd,last')
    assert [(line, item.image_id, item.caption) for line, item in good] == [
        (2, "a", "one\r\ntwo\n\nfour"),
        (6, "b", "next"),
        (9, "d", "last"),
    ]
    assert bad == ["a.csv:8: wrong number of fields: 1 where the header has 2"]


def test_columns_can_be_named(read):
    good, _ = read("a.tsv", "id\tReport\tFile\n1\ttext\tx.jpg\n", columns={"image_id": "file", "caption": "Report"})
    assert good == [(2, ImageItem(image_id="x.jpg", caption="text"))]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("ROCO_1\ta caption\n", {}, r"a\.tsv:1: no column image_id or id among: ROCO_1, a caption.*format roco"),
        ("id\ttext\n", {}, "no column caption among: id, text"),
        ("id\tcaption\n", {"columns": {"split": "fold"}}, "no column fold"),
        ("id\tcaption\n", {"columns": {"image": "id"}}, "no such field: image.*fields are image_id, caption"),
        ("", {}, "no header"),
        ('"id\tcaption\n', {}, "no header"),
    ],
)
def test_a_header_that_cannot_be_used_ends_the_reading(read, content, options, message):
    with pytest.raises(InvalidInput, match=message):
        read("a.tsv", content, **options)


def test_a_header_alone_is_an_empty_file(read, caplog):
    assert read("a.csv", "id,caption\n") == ([], [])
    assert caplog.messages[0].endswith("a.csv: no rows")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"a", "wrong number of fields: 1 where the header has 3"),
        (b"a,b,,d", "wrong number of fields: 4 where the header has 3"),
        (b",caption,", "empty image_id"),
        (b"a, ,", "empty caption: image a"),
        (b"a,NaN,", "empty caption: image a"),
        (b"a\x07,caption,", "image id with a control character"),
        (b"x" * 513 + b",caption,", "image id of 513 bytes"),
        (b"a,caption,C123", "not a CUI: 'C123'"),
        (b"a," + b"x" * 20_001 + b",", "caption of 20001 characters, over 20000"),
        (b"a,caf\xe9,", "not UTF-8: byte 0xe9 at byte 6"),
        (b"a,nul\0,", "NUL byte"),
        (b"a," + b"x" * MAX_LINE_BYTES + b",", "longer than 1048576 bytes"),
        (b'a,"open,', "not a row of fields: ',' expected after '\"'"),
        (b'a,"closed" too early,', "not a row of fields: ',' expected after '\"'"),
        (b"a,old\rmac,", "not a row of fields: new-line character seen in unquoted field"),
        (b'a,"' + b"x" * 200_000 + b'",', "not a row of fields: field larger than field limit"),
    ],
)
def test_a_bad_row_is_named_by_line_and_the_next_one_is_read(read, row, reason):
    good, bad = read("a.csv", b"id,caption,cuis\nfirst,good,\n" + row + b'\nlast,"also, good",\n')
    assert [(line, item.image_id) for line, item in good] == [(2, "first"), (4, "last")]
    assert len(bad) == 1
    assert bad[0].startswith(f"a.csv:3: {reason}")
    assert "\n" not in bad[0]


def test_a_damaged_line_inside_quotes_spoils_its_row_only(read):
    good, bad = read("a.csv", b'id,caption\na,"one\n\xff\ntwo"\nb,good\n')
    assert [item.image_id for _, item in good] == ["b"]
    assert [reason.split(" ")[0] for reason in bad] == ["a.csv:2:", "a.csv:3:", "a.csv:4:"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_marks_line_ends_and_packing_make_no_difference(read, mark, line_end, packed):
    content = mark + line_end.join([b"id,caption", "ä,Größe 🫁".encode(), b""])
    good, bad = read("a.csv.gz", gzip.compress(content)) if packed else read("a.csv", content)
    assert good == [(2, ImageItem(image_id="ä", caption="Größe 🫁"))]
    assert bad == []


def test_roco_has_no_header_and_no_quotes(read):
    content = 'ROCO_1\t "Axial" CT, 5" tube\nROCO_2\n\nROCO_3\ttab\tinside\n\t no id\n'
    good, bad = read("captions.txt", content, dataset="roco", split="train")
    assert good == [
        (1, ImageItem(image_id="ROCO_1", caption='"Axial" CT, 5" tube', dataset="roco", split="train")),
        (4, ImageItem(image_id="ROCO_3", caption="tab\tinside", dataset="roco", split="train")),
    ]
    assert bad[0] == "captions.txt:2: no tab between image id and caption"
    assert bad[1] == "captions.txt:5: empty image_id"


@pytest.mark.parametrize(
    ("name", "companion"),
    [
        ("cuis.txt", "R1\tC0000001\tC0000002\nR2\tnonsense\nR4\n"),
        ("cuis.csv", "ID,CUIs\nR1,C0000001;C0000002\nR2,nonsense\nR4,\n"),
    ],
)
def test_cuis_may_stand_in_a_companion_file(read, tmp_path, name, companion):
    (tmp_path / name).write_text(companion)
    good, bad = read("captions.txt", "R1\tone\nR2\ttwo\nR3\tthree\nR4\tfour\n", cuis=tmp_path / name)
    assert [item.cuis for _, item in good] == [["C0000001", "C0000002"], None, None, []]
    assert len(bad) == 1
    assert bad[0].startswith(f"{name}:{companion[: companion.index('nonsense')].count(chr(10)) + 1}: not a CUI: 'nonsense'")


def test_ndjson_is_one_item_a_line_and_other_keys_are_left_aside(read, caplog, tmp_path):
    lines = [
        '{"image_id": "a", "caption": "one", "cuis": [], "dataset": "x"}',
        "",
        '{"image_id": "b", "caption": "two"',
        '{"image_id": "c", "caption": "\\ud800"}',
        '{"image_id": "d", "caption": "d", "captoin": "d"}',
        '["e"]',
        '{"image_id": "f", "caption": NaN}',
        '{"image_id": "🫁", "caption": "last"}',
    ]
    good, bad = read("a.jsonl", "\n".join(lines), split="train", dataset="y")
    assert good == [
        (1, ImageItem(image_id="a", caption="one", cuis=[], dataset="x", split="train")),
        (5, ImageItem(image_id="d", caption="d", dataset="y", split="train")),
        (8, ImageItem(image_id="🫁", caption="last", dataset="y", split="train")),
    ]
    assert [reason.split(" ")[0] for reason in bad] == [f"a.jsonl:{line}:" for line in (3, 4, 6, 7)]
    assert caplog.messages == [f"{tmp_path / 'a.jsonl'}:5: 'captoin' is read as no field; is it a misspelt caption?"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv.gz",
            CUT_OFF,
            r"a\.csv\.gz:2: ",
        ),
        ("a.csv.gz", b"id,caption\na,b\n", r"a\.csv\.gz:1: can't be read on: Not a gzipped file"),
        ("a.csv", "id,caption\n".encode("utf-16"), "is UTF-16. save it as UTF-8"),
        ("a.dat", b"PAR1", "unknown kind of file. say which format it has, --format csv: csv, tsv, roco, ndjson"),
    ],
)
def test_a_file_that_cannot_be_read_as_a_whole_is_refused(read, name, content, message):
    with pytest.raises(InvalidInput, match=message):
        read(name, content)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
WORDS = TEXT.map(str.strip).filter(has_text)


@settings(max_examples=150, deadline=None)
@given(captions=st.lists(WORDS, max_size=8), delimiter=st.sampled_from([",", "\t"]))
def test_what_csv_writes_is_read_back(tmp_path_factory, captions, delimiter):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([("id", "caption"), *((str(number), caption) for number, caption in enumerate(captions))])
    path = tmp_path_factory.mktemp("csv") / ("a.csv" if delimiter == "," else "a.tsv")
    path.write_text(text.getvalue(), newline="")
    assert [row.item.caption for row in items(path)] == captions


TABLE = {
    b"bad%d": "ragged",
    b"bad%d,x,y,z": "too many fields",
    b'bad%d,"open': "open quote",
    b'bad%d,"closed" early': "early quote",
    b"bad%d,caf\xe9": "latin-1",
    b"bad%d,\0": "NUL",
    b",no id %d": "no id",
    b"bad%d\x1b,text": "control character",
    b'"bad%d",""': "no caption",
}
GOOD_TABLE = [b"good%d,plain", b'good%d,"quoted, text"', b'good%d,5" tube', b'"good%d","one ""word"""']
FORMS = {
    "a.csv": (b"id,caption", GOOD_TABLE, list(TABLE)),
    "a.tsv": (
        b"id\tcaption",
        [row.replace(b",", b"\t", 1) for row in GOOD_TABLE],
        [row.replace(b",", b"\t") for row in TABLE],
    ),
    "a.txt": (
        b"good\tno header here",
        [b"good%d\tplain", b'good%d\t5" tube', b"good%d\tone\ttab more"],
        [b"bad%d", b"bad%d\t ", b"bad%d\tcaf\xe9", b"bad%d\t\0", b"\tno id %d", b"bad%d\x1b\ttext"],
    ),
    "a.ndjson": (
        b'{"image_id": "good", "caption": "no header here"}',
        [
            b'{"image_id": "good%d", "caption": "plain"}',
            b' {"caption": "\\u00e9", "image_id": "good%d", "cuis": []} ',
            b'{"image_id": "good%d", "caption": "x", "pmcid": 1}',
        ],
        [
            b'{"image_id": "bad%d", "caption": "cut',
            b'{"image_id": "bad%d"}',
            b'{"image_id": "bad%d", "caption": NaN}',
            b'{"image_id": "bad%d", "caption": "\\ud800"}',
            b'{"image_id": "bad%d", "caption": "caf\xe9"}',
            b'{"image_id": "bad%d", "caption": ["x"]}',
            b'{"image_id": "bad%d", "captoin": "x"}',
            b'["bad%d"]',
            b'{"image_id": "", "caption": "bad%d"}',
            b"nonsense %d",
        ],
    ),
}
DAMAGED = often(500, 5_000)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_of_many_damaged_rows_each_is_named_and_no_good_one(read, name, seed, record_property):
    generator = random.Random(seed)
    first, good_rows, bad_rows = FORMS[name]
    lines, damaged = [first], []
    while len(damaged) < DAMAGED:
        if generator.random() < 0.5:
            damaged.append(len(lines) + 1)
            lines.append(generator.choice(bad_rows) % len(lines))
        else:
            lines.append(generator.choice(good_rows) % len(lines))
    good, bad = read(name, b"\n".join(lines))
    assert [int(reason.split(":")[1]) for reason in bad] == damaged, f"seed {seed}"
    headers = name in ("a.csv", "a.tsv")
    assert len(good) == len(lines) - headers - len(damaged)
    record_property(f"damaged {name.split('.')[1]} rows", len(damaged))


def test_cuis_that_a_file_brings_can_be_left_to_the_linker(read):
    good, _ = read("a.csv", "id,caption,cuis\na,lungs,C0000001\n", relink=True)
    assert good == [(2, ImageItem(image_id="a", caption="lungs"))]
    assert read("a.csv", "id,caption,cuis\na,lungs,nonsense\n", relink=True) == (good, [])
    with pytest.raises(InvalidInput, match="every caption is to be linked"):
        read("a.csv", "id,caption,codes\na,lungs,C0000001\n", relink=True, columns={"cuis": "codes"})


def test_a_row_that_brings_cuis_needs_no_caption(read):
    content = '{"image_id": "a", "cuis": ["C0000001"]}\n{"image_id": "b", "caption": ""}\n'
    good, bad = read("a.ndjson", content, columns={"caption": "caption"})
    assert good == [(1, ImageItem(image_id="a", caption="", cuis=["C0000001"]))]
    assert bad == ["a.ndjson:2: empty caption: image b"]
    assert len(read("a.ndjson", content, relink=True)[1]) == 2
    assert [(item.caption, item.cuis) for _, item in read("a.ndjson", content, bulk=True)[0]] == [("", ["C0000001"]), ("", [])]


def test_a_misspelt_key_is_refused_where_nobody_would_see_a_warning(read):
    content = '{"image_id": "a", "caption": "x", "splitt": "train"}\n{"image_id": "b", "caption": "y", "pmcid": 1}\n'
    good, bad = read("a.ndjson", content, bulk=True)
    assert [item.image_id for _, item in good] == ["b"]
    assert bad == ["a.ndjson:1: misspelt key: 'splitt', for split?"]
    assert len(read("a.ndjson", content)[0]) == 2


def test_cuis_of_a_row_win_over_the_companions_with_a_word(read, tmp_path, caplog):
    (tmp_path / "cuis.txt").write_text("a\tC0000001\nb\tC0000002\n")
    good, _ = read("a.csv", "id,caption,cuis\na,one,C0000003\nb,two,\n", cuis=tmp_path / "cuis.txt")
    assert [item.cuis for _, item in good] == [["C0000003"], ["C0000002"]]
    assert "1 rows bring CUIs of their own" in caplog.messages[-1]


def test_a_companion_that_nothing_would_be_taken_of_is_refused(read, tmp_path):
    (tmp_path / "cuis.txt").write_text("a\tC0000001\n")
    with pytest.raises(InvalidInput, match="every caption is to be linked"):
        read("a.csv", "id,caption\na,one\n", cuis=tmp_path / "cuis.txt", relink=True)
    with pytest.raises(InvalidInput, match=r"none of its 1 ids is in the data: a there, b here"):
        read("a.csv", "id,caption\nb,one\n", cuis=tmp_path / "cuis.txt")


def test_a_pipe_can_not_be_read_twice(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "cuis.txt").write_text("a\tC0000001\n")
    with pytest.raises(InvalidInput, match=r"pipe\.csv can be read once only"):
        items(tmp_path / "pipe.csv", cuis=tmp_path / "cuis.txt")
