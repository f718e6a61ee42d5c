import unicodedata

import pytest
from nbclip.errors import InvalidInput, NotFound
from nbclip_trainer.data.dataset import layout_of, read_dataset
from nbclip_trainer.data.leaks import shared_between_splits
from nbclip_trainer.data.settings import Columns, DataSettings

LABELS = ("group", "modality", "organ", "modality_organ")


def layout(**columns):
    return layout_of(DataSettings(columns=Columns(**columns)))


@pytest.fixture
def file(tmp_path):
    def write(text, name="pairs.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_rows_keep_their_order_their_labels_and_know_their_files(file, tmp_path):
    path = file("image_id,file,caption,split,organ\nb,x/2.png,two,valid,\na,1.png,one,train,chest\n")
    dataset = read_dataset([path])
    assert dataset.ids == ["b", "a"]
    assert dataset.captions == ["two", "one"]
    assert dataset.files == [tmp_path / "x/2.png", tmp_path / "1.png"]
    assert dataset.labels("organ") == [None, "chest"]
    assert dataset.place(1) == f"{path}:3"


def test_one_split_is_taken(file):
    path = file("image_id,file,caption,split\na,1,one,train\nb,2,two,valid\nc,3,three,train\n")
    assert read_dataset([path], "train").ids == ["a", "c"]
    with pytest.raises(InvalidInput, match=r"no row of split 'test'"):
        read_dataset([path], "test")


def test_several_files_are_one_dataset_even_with_other_columns(file):
    first = file("image_id,file,caption,organ\na,1,one,chest\n", "one/pairs.csv")
    second = file("image_id\tfile\tcaption\tmodality\nb\t2\ttwo, comma\tCT\n", "two/pairs.tsv")
    dataset = read_dataset([first, second])
    assert dataset.labels("organ") == ["chest", None]
    assert dataset.labels("modality") == [None, "CT"]
    assert dataset.captions[1] == "two, comma"
    assert dataset.files[1] == second.parent / "2"


def test_columns_may_have_other_names(file):
    path = file("ID,path,text,file\na,1.png,one,elsewhere\n")
    dataset = read_dataset([path], layout=layout(image_id="ID", file="path", caption="text"))
    assert (dataset.ids, dataset.captions, dataset.files[0].name) == (["a"], ["one"], "1.png")


def test_quoted_captions_may_hold_line_breaks_and_lines_are_still_right(file):
    path = file('image_id,file,caption\na,1,"one\nmore"\nb,2,two\n')
    dataset = read_dataset([path])
    assert dataset.captions == ["one\nmore", "two"]
    assert dataset.place(1).endswith(":4")


def test_a_byte_order_mark_is_no_part_of_a_name(file):
    assert read_dataset([file("\ufeffimage_id,file,caption\na,1,one\n")]).ids == ["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,file\na,1\n", ":1: no column caption"),
        ("", "pairs.csv: no header"),
        ("image_id,file,caption\na,1,one\nb,2,\n", ":3: empty caption"),
        ("image_id,file,caption\na,1,one\n ,2,two\n", ":3: empty image_id"),
        ("image_id,file,caption\na,,one\n", ":2: empty file"),
        ("image_id,file,caption\na,1,one\nb,2\n", ":3: wrong number of fields: 2 where the header has 3"),
        ("image_id,file,caption\na,1,one,extra\n", ":2: wrong number of fields: 4 where the header has 3"),
        ("image_id,file,caption\na,1,one\nb,2,two\na,3,three\n", ":4: image_id 'a' was already at .*:2"),
        ("image_id,file,caption\na\x07,1,one\n", ":2: image id with a control character"),
        (b"image_id,file,caption\na,1,\xff\xfe\n", ":2: not UTF-8: byte 0xff at byte 5"),
        ("image_id,file,caption\n", "no rows"),
        ('image_id,file,caption\na,1,"one\nb,2,two\n', ":2: not a row of fields: unexpected end of data"),
    ],
)
def test_the_first_bad_row_is_named_by_file_and_line(file, text, message):
    with pytest.raises(InvalidInput, match=message) as refused:
        read_dataset([file(text)])
    assert "pairs.csv" in refused.value.message
    assert refused.value.hint


def test_rows_without_a_caption_are_left_out_and_named_up_to_a_share(file, caplog):
    rows = [f"{number},{number}.png,{'' if number in (3, 7) else 'nan' if number == 9 else 'text'}\n" for number in range(100)]
    path = file("image_id,file,caption\n" + "".join(rows))
    dataset = read_dataset([path])
    assert dataset.bad_rows == tuple(f"{path}:{number + 2}: empty caption: image {number}" for number in (3, 7, 9))
    assert dataset.ids == [str(number) for number in range(100) if number not in (3, 7, 9)]
    assert dataset.of_split(None).take([1, 0]).bad_rows == dataset.bad_rows
    dataset.warn_of_bad_rows()
    assert caplog.messages[-1] == "3 rows left out; `nbclip validate` lists them"
    assert len(caplog.messages) == 4
    with pytest.raises(InvalidInput, match=r"3 of 100 rows can't be used, first: .*pairs.csv:5: empty caption"):
        read_dataset([path], max_bad_row_share=0.02)


def test_a_caption_may_be_made_of_two_columns(file):
    path = file("image_id,file,findings,impression\na,1,One.,Two.\nb,2,nan,Two.\nc,3,One.,\n")
    assert read_dataset([path], layout=layout(caption="findings,impression")).captions == ["One.\nTwo.", "Two.", "One."]
    assert read_dataset([path], layout=layout(caption="findings|impression")).captions == ["One.", "Two.", "One."]


def test_labels_and_groups_may_have_other_names_and_one_that_is_absent_is_named(file):
    path = file("image_id,file,caption,split,Mod,Part,both,patient,modality,Group\na,1,one,train,CT,chest,CT-chest,p1,other,g\n")
    mapped = layout(modality="Mod", organ="part", modality_organ="both", group="patient")
    (row,) = read_dataset([path], layout=mapped).frame.iter_rows(named=True)
    assert {name: row[name] for name in LABELS} == {
        "group": "p1",
        "modality": "CT",
        "organ": "chest",
        "modality_organ": "CT-chest",
    }
    assert read_dataset([path]).frame.select("modality", "group").row(0) == ("other", "g")
    for name in LABELS:
        with pytest.raises(InvalidInput, match=r"pairs.csv:1: no column kind among: image_id, file, caption, split, Mod, Part"):
            read_dataset([path], layout=layout(**{name: "kind"}))
    with pytest.raises(InvalidInput) as refused:
        read_dataset([path], layout=layout(group="pacient"))
    assert refused.value.hint == "did you mean patient?"


@pytest.mark.parametrize("nothing", ["", " ", "nan", "NaN", "null", "<NA>"])
def test_what_stands_for_no_label_is_none(file, nothing):
    path = file(f"image_id,file,caption,group,modality\na,1,one,{nothing},{nothing}\n")
    dataset = read_dataset([path])
    assert (dataset.labels("group"), dataset.labels("modality")) == ([None], [None])


def test_groups_of_a_mapped_column_are_looked_at_for_leaks(file):
    path = file(
        "image_id,file,caption,split,patient\na,1,x,train,p1\nb,2,x,valid,p1\nc,3,x,valid,p2\nd,4,x,train,nan\ne,5,x,valid,nan\n"
    )
    assert shared_between_splits(read_dataset([path])) == ["", ""]
    found = shared_between_splits(read_dataset([path], layout=layout(group="patient")))
    assert found == [f"values of group in two splits: 1, p1 (train at {path}:2, valid at {path}:3)", ""]


def test_an_image_file_in_two_splits_is_a_leak_and_twice_in_one_is_none(file, tmp_path):
    path = file("image_id,file,caption,split\na,x/1.png,x,train\nb,x/1.png,y,train\nc,2.png,x,train\nd,./2.png,x,retrieval\n")
    found = f"image files in two splits: 1, {tmp_path}/2.png (train at {path}:4, retrieval at {path}:5)"
    assert shared_between_splits(read_dataset([path])) == ["", found]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("https://host/1.png", "file is an address, and no path of a downloaded image: https://host/1.png"),
        ("s3://bucket/1.png", "file is an address"),
        ("file:///data/1.png", "file is an address"),
        (r"D:\study\1.png", "file is a path of another machine, under Windows"),
        (r"\\server\study\1.png", "file is a path of another machine, under Windows"),
    ],
)
def test_files_that_can_not_be_on_this_machine_say_why(file, name, problem):
    with pytest.raises(InvalidInput) as refused:
        read_dataset([file(f"image_id,file,caption\na,{name},x\n")])
    assert f":2: {problem}" in refused.value.message


@pytest.mark.parametrize(("there", "written"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_names_are_found_in_the_normal_form_that_they_have_on_disk(file, tmp_path, there, written):
    names = [unicodedata.normalize(there, "Knie/Knöchel.png"), unicodedata.normalize(there, "Übersicht.png")]
    (tmp_path / "Knie").mkdir()
    for name in names:
        (tmp_path / name).touch()
    rows = "".join(f"{number},{unicodedata.normalize(written, name)},x\n" for number, name in enumerate([*names, "Möhre.png"]))
    files = read_dataset([file("image_id,file,caption\n" + rows)]).files
    assert [path.exists() for path in files] == [True, True, False]


def test_paths_written_under_windows_are_read(file, tmp_path):
    (tmp_path / r"odd\name.png").touch()
    dataset = read_dataset([file("image_id,file,caption\na,images\\ct\\1.png,x\nb,odd\\name.png,x\nc,C 1#2%20.png,x\n")])
    assert dataset.files == [tmp_path / "images/ct/1.png", tmp_path / r"odd\name.png", tmp_path / "C 1#2%20.png"]


def test_the_hint_is_in_the_words_of_the_trainer(file):
    path = file("ID,path,caption\na,1,one\n")
    with pytest.raises(InvalidInput) as refused:
        read_dataset([path])
    assert refused.value.hint == "say which it is: --set data.columns.file=COLUMN"
    with pytest.raises(InvalidInput) as refused:
        read_dataset([path], layout=layout(file="pth"))
    assert refused.value.hint == "did you mean path?"


def test_an_id_in_two_files_is_named_at_both_places(file):
    first = file("image_id,file,caption\na,1,one\n", "one.csv")
    second = file("image_id,file,caption\na,1,one\n", "two.csv")
    with pytest.raises(InvalidInput, match=r"two.csv:2: image_id 'a' was already at .*one.csv:2"):
        read_dataset([first, second])


def test_a_file_without_rows_is_named_though_others_have_some(file):
    first = file("image_id,file,caption\na,1,one\n", "one.csv")
    with pytest.raises(InvalidInput, match=r"two.csv: no rows"):
        read_dataset([first, file("image_id,file,caption\n", "two.csv")])


def test_no_file_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="no data given"):
        read_dataset([])
    with pytest.raises(InvalidInput, match="No such file"):
        read_dataset([tmp_path / "none.csv"])


def test_an_unknown_label_column_is_named_with_those_there_are(file):
    with pytest.raises(NotFound, match="'organ'") as refused:
        read_dataset([file("image_id,file,caption\na,1,one\n")]).labels("organ")
    assert "caption" in refused.value.hint


def test_the_digest_sees_ids_captions_and_order_and_nothing_else(file):
    def digest(rows, name):
        return read_dataset([file("image_id,file,caption\n" + rows, name)]).digest()

    assert digest("a,1,one\nb,2,two\n", "1.csv") == digest("a,9,one\nb,8,two\n", "2.csv")
    others = ("a,1,one\n", "a,1,two\n", "b,1,one\n", "b,2,two\na,1,one\n", "a,1,one\nb,2,two\n")
    assert len({digest(rows, f"{number}.csv") for number, rows in enumerate(others)}) == len(others)
