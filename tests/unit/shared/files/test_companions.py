import pytest
from nbclip.errors import InvalidInput
from nbclip.files.companions import matched, read_companion

A, B, C = "C0000001", "C0000002", "C0000003"
WANTED = {"X_1": [A, B], "X_2": [C]}


@pytest.fixture
def companion(tmp_path):
    def write(text, name="cuis.txt", **options):
        path = tmp_path / name
        path.write_text(text)
        return read_companion(path, **options)

    return write


@pytest.mark.parametrize(
    "text",
    [
        f"X_1\t{A}\t{B}\nX_2\t{C}\n",
        f"X_1\t\t{A}\t{B}\nX_2\t{C}\n",
        f"ID\tcuis\nX_1\t{A};{B}\nX_2\t{C}\n",
        f"X_1,{A};{B}\nX_2,{C}\n",
        f"X_1,{A},{B}\nX_2,{C}\n",
        f"ID;CUIs\nX_1;{A},{B}\nX_2;{C}\n",
        f"X_1|{A}|{B}\nX_2|{C}\n",
        f'ID,CUIs\nX_1,"{A},{B}"\nX_2,{C}\n',
        f"X_1 {A} {B}\nX_2 {C}\n",
        f"image_id,caption,concepts,more\nX_1,a lung,{A} {B},C9\nX_2,none,{C},x\n",
        f"ID,CUI\nX_1,{A}\nX_1,{B}\nX_2,{C}\n",
        f"\ufeffID,CUI\r\nX_1,{A};{B}\r\n\r\nX_2,{C}\r\n",
    ],
)
@pytest.mark.parametrize("name", ["cuis.txt", "cuis.csv"])
def test_a_companion_is_read_whatever_separates(companion, text, name):
    found = companion(text, name)
    assert found.cuis == WANTED
    assert not found.bad


def test_bad_rows_of_a_companion_are_named_and_give_nothing(companion):
    found = companion(f"X_1\t{A}\nX_2\tnonsense\nX_3\n")
    assert found.cuis == {"X_1": [A], "X_3": []}
    assert [(row.number, row.problem) for row in found.bad] == [(2, "not a CUI: 'nonsense'")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"a,b,ID,CUI\nx\nx,y,X_1,{A}\n", 2),
        (f"CUI,note,ID\n{B}\n{A},n,X_1\n", 2),
        (f"ID,CUI\nX_1,{A}\n,{B}\n", 3),
        (f" ,{B}\nX_1,{A}\n", 1),
    ],
)
def test_a_row_without_an_id_is_named_and_gives_nothing(companion, text, line):
    found = companion(text)
    assert found.cuis == {"X_1": [A]}
    assert [(row.number, row.problem) for row in found.bad] == [(line, "empty image_id")]


def test_a_file_of_another_kind_is_refused(companion):
    with pytest.raises(InvalidInput, match="not a file of image ids and CUIs"):
        companion("{}\n", "cuis.jsonl")


@pytest.mark.parametrize(
    ("there", "here"), [("X_1.jpg X_2.jpg", "X_1 X_2"), ("X_1 X_2", "X_1.png X_2.dcm"), ("X_1.jpg X_2.jpg", "X_1.png X_2")]
)
def test_ids_are_taken_without_endings_where_none_is_alike(companion, caplog, there, here):
    found = companion("".join(f"{image_id}\t{A}\n" for image_id in there.split()))
    assert matched(found, here.split(), "linked") == {key: [A] for key in here.split()}
    assert len(caplog.messages) == 1
    assert "no id is as in the data; taken without endings" in caplog.messages[0]


def test_ids_are_taken_as_they_stand_where_one_is_alike(companion, caplog):
    found = companion(f"X_1\t{A}\nX_2.jpg\t{B}\n")
    assert matched(found, ["X_1", "X_2"], "and they are linked") == {"X_1": [A]}
    assert [message.split(": ")[1:] for message in caplog.messages] == [
        ["1 images of the data are not in it, and they are linked", "X_2"],
        ["1 of its ids are not in the data", "X_2.jpg"],
    ]


def test_images_without_cuis_are_counted(companion, caplog):
    found = companion(f"X_1\t{A}\nX_2\nX_3\nX_4\n")
    matched(found, ["X_1", "X_2", "X_3", "X_4"], "linked")
    assert caplog.messages == [f"{found.path}: 3 images have no CUI in it: X_2, X_3, …"]


def test_a_companion_of_other_data_is_refused_with_ids_of_both(companion):
    with pytest.raises(InvalidInput, match=r"none of its 3 ids is in the data: a, b, … there, X_1, X_2 here"):
        matched(companion(f"a\t{A}\nb\t{B}\nc\t{C}\n"), ["X_1", "X_2"], "linked")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("ID,CUI\nX_1,pneumonia\nX_2,lung;heart\n", "; line 2: not a CUI: 'pneumonia'"),
        ("X_1\tpleural effusion\n,C\n", "; line 1: not a CUI: 'pleural'"),
        ("X_1\nX_2\n", ""),
        ("X_1\nX_2\tc0000001\n", "; line 2: not a CUI: 'c0000001'"),
    ],
)
def test_a_companion_without_a_cui_is_refused(companion, text, first):
    with pytest.raises(InvalidInput) as refused:
        matched(companion(text), ["X_1"], "and are linked")
    assert refused.value.message.endswith(f"cuis.txt: no CUI in it{first}")
    assert "not a name" in refused.value.hint


def test_ids_that_endings_alone_tell_apart_are_refused(companion):
    with pytest.raises(InvalidInput, match="several ids are X_1 without their endings"):
        matched(companion(f"X_1.jpg\t{A}\nX_1.png\t{B}\n"), ["X_1"], "linked")


@pytest.mark.parametrize("text", ["", "ID,CUI\n", ",C0000001\n"])
def test_a_companion_without_an_id_is_refused(companion, text):
    with pytest.raises(InvalidInput, match=r"cuis\.txt: no row with an image id"):
        matched(companion(text), ["X_1"], "and are linked")
