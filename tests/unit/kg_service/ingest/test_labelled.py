import json

import pytest
from kg_service.ingest.labelled import read_labelled
from kg_service.ingest.readers import ReadOptions
from kg_service.linking.fitting.evaluation import LabelledCaption
from kg_service.vocabulary.model import BadRow
from nbclip.errors import InvalidInput

A, B = "C0000001", "C0000002"


@pytest.fixture
def read(tmp_path):
    def read(name, text, **options):
        file = tmp_path / name
        file.write_text(text)
        return list(read_labelled(file, ReadOptions(**options)))

    return read


def good(rows):
    return [row for row in rows if isinstance(row, LabelledCaption)]


def bad(rows):
    return [(row.line, row.reason) for row in rows if isinstance(row, BadRow)]


def caption(text, *cuis):
    return LabelledCaption(text, cuis=frozenset(cuis))


@pytest.mark.parametrize(("name", "tab"), [("x.csv", ","), ("x.tsv", "\t")])
def test_a_table_needs_caption_and_cuis_alone(read, name, tab):
    rows = read(name, f"cuis{tab}caption{tab}other\n{A} {B};{A}{tab}One.{tab}x\n{tab}None is there.{tab}\n")
    assert rows == [caption("One.", A, B), caption("None is there.")]


def test_columns_can_be_named(read):
    assert read("x.csv", f"text,labels\nOne.,{A}\n", columns={"caption": "text", "cuis": "labels"}) == [caption("One.", A)]


def test_bad_rows_are_named_and_take_no_good_one_with_them(read):
    rows = read("x.csv", f"caption,cuis\nOne.,{A}\nTwo.,C12\nThree.\nFour.,{B}\n")
    assert good(rows) == [caption("One.", A), caption("Four.", B)]
    assert [line for line, _ in bad(rows)] == [3, 4]
    assert "C12" in bad(rows)[0][1]
    assert "wrong number of fields: 1 where the header has 2" in bad(rows)[1][1]


def test_roco_has_its_labels_in_a_companion(read, tmp_path):
    (tmp_path / "cuis.txt").write_text(f"1\t{A}\t{B}\n2\n4\tnonsense\n")
    rows = read("captions.txt", "1\tOne.\n2\tTwo.\n3\tThree.\n", cuis=tmp_path / "cuis.txt")
    assert good(rows) == [caption("One.", A, B), caption("Two.")]
    assert [line for line, _ in bad(rows)] == [3, 3]
    assert bad(rows)[1][1] == "no labels: '3' is not in the companion file"


def test_a_table_may_have_a_companion_too(read, tmp_path):
    (tmp_path / "cuis.csv").write_text(f"1,{A}\n")
    assert read("x.csv", "image_id,caption\n1,One.\n", cuis=tmp_path / "cuis.csv") == [caption("One.", A)]


def test_ndjson_has_concepts_or_spans(read):
    lines = [
        {"caption": "One.", "cuis": [A], "image_id": "x", "other": 1},
        {"text": "A lung.", "spans": [[2, 6, [A, B]], [0, 1, []]]},
        {"caption": "Two.", "spans": []},
    ]
    assert read("x.ndjson", "\n".join(map(json.dumps, lines))) == [
        caption("One.", A),
        LabelledCaption("A lung.", ((2, 6, frozenset({A, B})), (0, 1, frozenset())), frozenset({A, B}), True),
        LabelledCaption("Two.", has_spans=True),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"caption": "One."}, "neither cuis nor spans"),
        ({"caption": "One.", "spans": [[0, 5, [A]]]}, "span 0 to 5 is not within the 4 characters of the caption"),
        ({"caption": "One.", "spans": [[2, 2, [A]]]}, "span 2 to 2"),
        ({"caption": "One.", "spans": [[0, 3, [A]]], "cuis": [B]}, "cuis are not those of the spans"),
        ({"caption": "One.", "spans": [[0, 3, ["C1"]]]}, "spans.0.2.0"),
        ({"cuis": [A]}, "Field required"),
    ],
)
def test_a_line_that_is_no_label_is_named(read, line, reason):
    rows = read("x.ndjson", f'{json.dumps(line)}\n{{"caption": "Good.", "cuis": []}}\n')
    assert good(rows) == [caption("Good.")]
    ((at, found),) = bad(rows)
    assert at == 1
    assert reason in found


def test_files_without_labels_are_refused_with_the_way_out(read, tmp_path):
    with pytest.raises(InvalidInput, match="no column cuis") as refused:
        read("x.csv", "image_id,caption\n1,One.\n")
    assert "--column cuis=" in refused.value.hint
    with pytest.raises(InvalidInput) as refused:
        read("captions.txt", "1\tOne.\n")
    assert "--cuis" in refused.value.hint
    with pytest.raises(InvalidInput, match="labels in its lines"):
        read("x.ndjson", "{}\n", cuis=tmp_path / "cuis.txt")
