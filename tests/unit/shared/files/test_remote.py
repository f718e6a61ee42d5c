"""Files on a web server that fails now and then."""

import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from nbclip.errors import InvalidInput, NotFound, Unavailable
from nbclip.files import asking, pictures, remote
from nbclip.files.addresses import location
from nbclip.files.pictures import fetched, open_image_file, place_in_shard
from support.file_server import serving_files
from support.tcp import free_port

CONTENT = os.urandom(100_000)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(asking, "_warned", -asking._SECONDS_BETWEEN_WARNINGS)
    with serving_files() as files:
        files.files["x.tar"] = CONTENT
        yield files


@pytest.fixture
def soon(monkeypatch):
    """Gives up after a second."""
    monkeypatch.setattr(remote, "PATIENCE", 1.0)
    monkeypatch.setattr(remote, "PATIENCE_AT_START", 1.0)


def test_content_is_that_of_the_server_by_ranges_and_threads(server):
    address = location(f"{server.url}/x.tar")
    assert address.found().size == len(CONTENT)
    with ThreadPoolExecutor(8) as pool:
        starts = range(0, len(CONTENT), 1_000)
        assert b"".join(pool.map(lambda start: address.read(start, start + 1_000), starts)) == CONTENT
    with address.open() as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize("failure", ["drop", 500, 503, 429, 408])
def test_what_passes_is_asked_for_again(server, failure, caplog):
    server.failing = {0: failure, 1: failure}
    assert location(f"{server.url}/x.tar").read(10, 5_000) == CONTENT[10:5_000]
    assert len(server.asked) == 3
    assert caplog.text.count("asking again") == 1


def test_a_copy_of_several_blocks_is_whole_though_connections_drop(server, monkeypatch):
    monkeypatch.setattr(remote, "_BLOCK_BYTES", 7_000)
    server.failing = dict.fromkeys(range(0, 30, 4), "drop")
    address, shares = location(f"{server.url}/x.tar"), []
    with address.copied(shares.append):
        assert address.read(0, len(CONTENT)) == CONTENT
    assert (len(shares), shares[-1]) == (15, 1.0)


@pytest.mark.parametrize(
    ("status", "kind", "says", "hint"),
    [
        (404, NotFound, "there is no such file", "check the address"),
        (403, InvalidInput, r"access denied \(status 403\)", r"~/\.netrc"),
        (401, InvalidInput, r"access denied \(status 401\)", "FSSPEC_HTTP"),
        (410, InvalidInput, r"refused \(status 410\)", "check the address"),
        (503, Unavailable, r"no answer for \d s \(status 503\)", "goes on from there"),
    ],
)
def test_an_answer_that_is_no_content_is_an_error_with_its_address_status_and_way_out(server, soon, status, kind, says, hint):
    server.status = status
    address = location(f"{server.url}/x.tar")
    for ask in (address.found, lambda: address.read(0, 10)):
        with pytest.raises(kind, match=f"{server.url}/x.tar: {says}") as refused:
            ask()
        assert type(refused.value) is kind
        assert location(refused.value.message.partition(": ")[0]) == address
        assert re.search(hint, refused.value.hint)


def test_a_server_that_is_not_there_is_named(soon):
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:\d+/x\.tar: no answer for \d s \(ClientConnectorError"):
        location(f"http://127.0.0.1:{free_port()}/x.tar").found()


def test_a_server_without_ranges_is_refused_and_not_misread(server):
    server.ranges = False
    with pytest.raises(InvalidInput, match="the server sends all of it where a range is asked for"):
        location(f"{server.url}/x.tar").read(10, 20)


def test_a_server_without_ranges_is_refused_before_a_file_is_copied_that_is_to_be_read_by_them(server):
    server.ranges = False
    with (
        pytest.raises(InvalidInput, match="the server sends all of it where a range is asked for"),
        location(f"{server.url}/x.tar").copied(lambda share: None),
    ):
        pass


@pytest.mark.parametrize(("start", "end"), [(99_990, 100_010), (100_010, 100_020)])
def test_a_file_that_is_shorter_now_is_refused(server, start, end):
    with pytest.raises(InvalidInput, match=r"x\.tar: (ends before byte 100010|shorter than it was).*was it replaced\?"):
        location(f"{server.url}/x.tar").read(start, end)


def test_signatures_of_redirects_are_neither_told_nor_logged(server, soon, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    server.redirect = "X-Amz-Signature=SIGNATURE"
    address = location(f"{server.url}/x.tar")
    assert address.read(0, 100) == CONTENT[:100]
    assert any("SIGNATURE" in path for _, path, _ in server.asked)
    for status in (403, 404, 503):
        server.status = None
        server.failing = {len([1 for _, _, span in server.asked if span]) + place: status for place in range(1, 40, 2)}
        with pytest.raises((InvalidInput, NotFound, Unavailable)) as refused:
            address.read(0, 100)
        assert "SIGNATURE" not in str(refused.value)
    del server.files["x.tar"]
    with pytest.raises(NotFound):
        address.found()
    own = [record for record in caplog.records if record.name.startswith("nbclip")]
    assert own
    assert not any("SIGNATURE" in record.getMessage() for record in own)
    assert "SIGNATURE" not in "".join(capfd.readouterr())


def test_passwords_come_from_netrc_and_are_not_told(server, tmp_path, monkeypatch):
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login reader password s3cret\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    location(f"{server.url}/x.tar").read(0, 10)
    assert server.headers[-1]["Authorization"].startswith("Basic ")


@pytest.fixture
def s3(server, monkeypatch):
    """The address of the file in the same server, as a store of S3's protocol."""
    server.files["bucket/x.tar"] = CONTENT
    monkeypatch.setattr(asking, "_file_systems", {})
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": server.url, "anon": True})
    return location("s3://bucket/x.tar")


def test_s3_is_read_as_the_web_is(server, s3):
    assert s3.found().size == len(CONTENT)
    server.failing = {0: "drop", 1: 503}
    assert s3.read(10, 5_000) == CONTENT[10:5_000]
    with s3.copied(lambda share: None), s3.open() as file:
        assert file.read() == CONTENT
    before = s3.found()
    server.files["bucket/x.tar"] = CONTENT[::-1]
    assert s3.found() != before


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [(404, NotFound, "there is no such file"), (403, InvalidInput, "access denied"), (400, InvalidInput, "")],
)
def test_what_s3_refuses_is_not_asked_for_again(server, s3, status, kind, says):
    server.status = status
    for ask in (s3.found, lambda: s3.read(0, 10)):
        server.asked.clear()
        with pytest.raises(kind, match=f"s3://bucket/x.tar: {says}"):
            ask()
        assert len(server.asked) <= 2


def test_a_shorter_file_of_s3_is_refused(s3):
    with pytest.raises(InvalidInput, match=r"shorter than it was.*was it replaced\?"):
        s3.read(100_010, 100_020)


@pytest.mark.parametrize(("apart", "requests"), [(0, 1), (16 << 10, 1), ((16 << 10) + 1, 6)])
def test_images_of_a_batch_come_together_and_neighbours_at_once(server, apart, requests):
    address, starts = location(f"{server.url}/x.tar"), [number * (100 + apart) for number in (3, 0, 5, 1, 4, 2)]
    places = [location(place_in_shard(address, start, 100)) for start in starts]
    server.failing = {0: "drop"}
    with fetched([*places, Path("x.png")]):
        contents = [open_image_file(place).read() for place in places]
    assert contents == [CONTENT[start : start + 100] for start in starts]
    assert len(server.asked) == requests + 1
    assert open_image_file(places[0]).read() == contents[0]


def test_no_more_is_asked_for_at_once_than_a_block(server, monkeypatch):
    monkeypatch.setattr(pictures, "_BLOCK_BYTES", 1_000)
    address = location(f"{server.url}/x.tar")
    places = [location(place_in_shard(address, start, 300)) for start in range(0, 3_000, 300)]
    with fetched(places):
        assert [open_image_file(place).read() for place in places] == [
            CONTENT[start : start + 300] for start in range(0, 3_000, 300)
        ]
    assert len(server.asked) == 4


def test_a_forked_process_reads_on_its_own(server):
    address = location(f"{server.url}/x.tar")
    assert address.read(0, 10) == CONTENT[:10]
    receive, send = os.pipe()
    if not (child := os.fork()):
        os.write(send, address.read(10, 20))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(receive, 10) == CONTENT[10:20]
    assert address.read(20, 30) == CONTENT[20:30]
    os.close(receive)
    os.close(send)
