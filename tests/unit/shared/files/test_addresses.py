"""Addresses beside paths: what they name, and what they may not hold."""

import pickle
from pathlib import Path

import fsspec
import pytest
from nbclip.errors import InvalidInput, NotFound
from nbclip.files import remote
from nbclip.files.addresses import Address, braces_written_out, location
from nbclip.files.layout import Layout
from nbclip.files.reading import Rows
from nbclip.files.sources import sources_of

SECRETS = ("s3cret", "SIGNATURE")


@pytest.fixture
def memory():
    """Files at `memory://`, gone after the test."""
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/", recursive=True)


@pytest.mark.parametrize(
    ("text", "name", "suffix", "folder"),
    [
        ("s3://bucket/shards/000.tar", "000.tar", ".tar", "shards"),
        ("https://host/a//b.tar.gz", "b.tar.gz", ".gz", ""),
        ("memory://000.tar", "000.tar", ".tar", ""),
        ("abfs://container@account.dfs.core.windows.net/valid/x.parquet", "x.parquet", ".parquet", "valid"),
    ],
)
def test_an_address_stays_as_it_is_written_and_has_the_parts_of_a_path(text, name, suffix, folder):
    address = location(text)
    assert str(address) == str(pickle.loads(pickle.dumps(address))) == str(address.absolute()) == text
    assert (address.name, address.suffix, address.parent.name) == (name, suffix, folder)


def test_a_file_url_and_whatever_is_no_address_is_a_path():
    assert location("file:///data/000.tar") == Path("/data/000.tar")
    assert location("data/s3/000.tar") == Path("data/s3/000.tar")
    assert location(Path("a.csv")) == Path("a.csv")


@pytest.mark.parametrize(
    "text",
    [
        "https://user:s3cret@host/x.tar",  # pragma: allowlist secret
        "https://s3cret@host/x.tar",
        "s3://key:s3cret@bucket/x.tar",  # pragma: allowlist secret
        "https://host/x.tar?X-Amz-Signature=SIGNATURE",
        "https://host/x.tar?SIGNATURE",
        "s3://bucket/x.tar?sig=SIGNATURE",
        "abfs://container:s3cret@account/x.tar",  # pragma: allowlist secret
    ],
)
def test_an_address_with_a_secret_in_it_is_refused_without_telling_it(text):
    with pytest.raises(InvalidInput) as refused:
        location(text)
    assert not any(secret in str(refused.value) for secret in SECRETS)
    assert refused.value.message.startswith(text.partition("://")[0])
    assert "leave it out; " in refused.value.hint


@pytest.mark.parametrize(
    ("text", "written_out"),
    [
        ("a.tar", ["a.tar"]),
        ("{000..002}.tar", ["000.tar", "001.tar", "002.tar"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{0..1}", ["0", "1"]),
        ("{train,valid}-{0..1}.tar", ["train-0.tar", "train-1.tar", "valid-0.tar", "valid-1.tar"]),
        ("{one}.tar", ["{one}.tar"]),
        ("{}.tar", ["{}.tar"]),
    ],
)
def test_braces_are_written_out_as_bash_does(text, written_out):
    assert braces_written_out(text) == written_out


def test_braces_and_patterns_name_files_of_this_machine_too(tmp_path):
    paths = [tmp_path / f"{number:02}.csv" for number in range(3)]
    for path in paths:
        path.write_text("image_id,caption\na,b\n")
    assert sources_of([tmp_path / "{00..02}.csv"]) == sources_of([tmp_path / "*.csv"]) == paths
    odd = tmp_path / "{a,b}.csv"
    odd.write_text("image_id,caption\na,b\n")
    assert sources_of([odd]) == [odd]


def test_a_pattern_at_an_address_names_what_is_there_in_order(memory):
    for name in ("b.csv", "a.csv", "c.txt"):
        memory.pipe(f"/data/{name}", b"image_id,caption\n%b,text\n" % name.encode())
    assert sources_of([location("memory://data/*.csv")]) == [Address("memory://data/a.csv"), Address("memory://data/b.csv")]
    rows = Rows([location("memory://data/{a,b}.csv")], Layout(("image_id", "caption")))
    assert [(row.file, row.values["image_id"]) for row in rows] == [
        ("memory://data/a.csv", "a.csv"),
        ("memory://data/b.csv", "b.csv"),
    ]
    with pytest.raises(InvalidInput, match=r"memory://data/\*\.tar: no file matches"):
        sources_of([location("memory://data/*.tar")])


def test_ranges_and_versions_are_those_of_the_content(memory):
    content = bytes(range(256)) * 100
    memory.pipe("/x.tar", content)
    address = location("memory://x.tar")
    before = address.found()
    assert before.size == len(content)
    assert address.read(300, 700) == content[300:700]
    with address.open() as file:
        assert (file.seek(-5, 2), file.read()) == (len(content) - 5, content[-5:])
    memory.pipe("/x.tar", content[::-1])
    assert address.found() != before
    with pytest.raises(InvalidInput, match=r"memory://x\.tar: ends before byte 25601"):
        address.read(25_000, 25_601)
    memory.rm("/x.tar")
    with pytest.raises(NotFound, match=r"memory://x\.tar: there is no such file"):
        address.found()


def test_a_copy_is_read_while_there_is_one(memory):
    memory.pipe("/x.tar", b"before")
    address, shares = location("memory://x.tar"), []
    with address.copied(shares.append):
        memory.pipe("/x.tar", b"after!")
        assert address.read(0, 6) == b"before"
        with address.open() as file:
            assert file.read() == b"before"
    assert address.read(0, 6) == b"after!"
    assert shares[-1] == 1.0


def test_a_file_that_changes_while_it_is_copied_is_refused(memory, monkeypatch):
    memory.pipe("/x.tar", b"before")
    plain = remote.read_range

    def replaced(*asked):
        content = plain(*asked)
        memory.pipe("/x.tar", b"another")
        return content

    monkeypatch.setattr(remote, "read_range", replaced)
    with (
        pytest.raises(InvalidInput, match=r"memory://x\.tar: changed while it was read"),
        location("memory://x.tar").copied(lambda share: None),
    ):
        pass


def test_a_protocol_without_its_package_is_named_with_the_command_that_installs_it():
    with pytest.raises(InvalidInput, match=r"gs://bucket/x\.tar: gs:// is read with gcsfs, which is not installed") as refused:
        location("gs://bucket/x.tar").found()
    assert refused.value.hint == "pip install gcsfs"
    with pytest.raises(InvalidInput, match=r"nosuch://x\.tar: nosuch:// is not known"):
        location("nosuch://x.tar").found()
