"""What of a folder would not be read is refused or named."""

import pytest
from kg_service.batch.folders import check_folders, refuse_twice
from nbclip.errors import InvalidInput


@pytest.fixture
def captions(tmp_path):
    """Makes a folder of empty files with these names, in folders where a name has one."""

    def make(*names):
        folder = tmp_path / "captions"
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return folder

    return make


def test_two_kinds_are_refused_with_their_counts_and_patterns(captions):
    folder = captions("a.csv", "b.csv", "c.ndjson", "d.tsv.gz", "e.parquet")
    with pytest.raises(InvalidInput) as refusal:
        check_folders([folder])
    told = f"{folder} has 4 tables or NDJSON (a.csv, b.csv, c.ndjson, …) and 1 Parquet file (e.parquet)"
    assert refusal.value.message.startswith(told)
    for pattern in ("*.csv", "*.ndjson", "*.tsv.gz", "*.parquet"):
        assert f"'{folder / pattern}'" in refusal.value.hint


def test_shards_beside_parquet_are_two_kinds(captions):
    with pytest.raises(InvalidInput, match=r"1 Parquet file \(0\.parquet\) and 1 shard \(0\.tar\)"):
        check_folders([captions("0.tar", "0.parquet")])


def test_one_kind_a_file_and_a_pattern_say_what_they_mean(captions, caplog):
    folder = captions("a.csv", "b.ndjson", ".hidden.parquet", ".git/c.csv")
    check_folders([folder, folder / "a.csv", folder / "*.csv"])
    assert not caplog.messages


def test_folders_inside_are_named_and_needed_where_nothing_else_is(captions, caplog):
    folder = captions("a.csv", "train/deep/b.csv", "valid/c.parquet", "images/1.png")
    check_folders([folder])
    (told,) = caplog.messages
    assert f"{folder}: folders in it are not read: {folder / 'train' / 'deep'}, {folder / 'valid'}; name each" in told
    (folder / "a.csv").unlink()
    with pytest.raises(InvalidInput, match=r"no file that can be read, and folders in it are not read: .*/train/deep") as refusal:
        check_folders([folder])
    assert refusal.value.hint == "name each folder that is to be read"


def test_files_of_no_known_format_are_counted(captions, caplog):
    folder = captions("a.csv", "README.md", "b.json", "c.json", "notes.txt")
    check_folders([folder])
    assert f"{folder}: files whose names tell no format are not read: 2 .json, 1 .md, 1 .txt" in caplog.messages[0]


def test_what_is_not_there_is_refused_as_such(tmp_path):
    with pytest.raises(InvalidInput, match=r"/absent doesn't exist"):
        check_folders([tmp_path / "absent"])


def test_an_empty_folder_is_refused_as_such(tmp_path):
    with pytest.raises(InvalidInput, match="is an empty folder"):
        check_folders([tmp_path])


def test_a_file_given_twice_is_refused(captions):
    file = captions("a.csv") / "a.csv"
    with pytest.raises(InvalidInput, match=r"a\.csv is given twice"):
        refuse_twice([file, file])


def test_a_file_under_two_paths_is_refused_with_both(captions):
    file = captions("a.csv") / "a.csv"
    link = file.with_name("b.csv")
    link.symlink_to(file)
    with pytest.raises(InvalidInput, match=rf"{link} is the same file as {file}"):
        refuse_twice([file, link])
