"""HTTP/1.1 as clients and proxies may frame it: every request is read to its end, and nothing of a body is taken for another."""

import re
import time

import pytest
from support.tcp import POST, connect, read_to_the_end

BODY = b'{"captions": ["Pleural effusion."]}'
LINK = POST % (b"/link", b"application/json")
LIVEZ = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n"
LENGTH = b"content-length: %d\r\n" % len(BODY)
CHUNKED = b"transfer-encoding: chunked\r\n"
CHUNKS = b"a;extension=1\r\n%b\r\n%x\r\n%b\r\n0\r\n" % (BODY[:10], len(BODY) - 10, BODY[10:])
UPGRADE = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
LAST = LIVEZ + b"connection: close\r\n\r\n"


@pytest.fixture(scope="module")
def service(over_tcp):
    return over_tcp(max_body_bytes=100_000)


def answers(service, *pieces, pause=0.0):
    """Statuses of the answers to what is sent in these pieces, and all that came."""
    with connect(service) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        received = read_to_the_end(connection)
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received)], received


@pytest.mark.parametrize("upgrade", [b"", UPGRADE])
@pytest.mark.parametrize("framing", [LENGTH + b"\r\n" + BODY, CHUNKED + b"\r\n" + CHUNKS + b"\r\n"])
@pytest.mark.parametrize("size", [1, 60, 10_000])
def test_a_body_is_read_however_it_is_cut_and_whatever_it_would_switch_to(service, upgrade, framing, size):
    """Java's client asks for an upgrade with every request over plain TCP, those with a body too."""
    content = LINK + upgrade + framing + LAST
    statuses, received = answers(service, *(content[at : at + size] for at in range(0, len(content), size)))
    assert statuses == [200, 200]
    assert b"Pleural effusion" in received


@pytest.mark.parametrize("first", [LIVEZ + UPGRADE + b"\r\n", b"\r\n" + LIVEZ + b"\r\n"])
def test_a_request_without_a_body_is_followed_by_the_next(service, first):
    assert answers(service, first + LAST)[0] == [200, 200]


def test_pipelined_requests_are_answered_in_their_order(service):
    link = LINK + LENGTH + b"\r\n" + BODY
    missing = b"GET /images/none HTTP/1.1\r\nhost: localhost\r\n\r\n"
    assert answers(service, (link + missing) * 5 + LAST)[0] == [200, 404] * 5 + [200]


def test_any_number_of_pipelined_requests_are_answered_in_their_order(service):
    """Far more than wait at once, of 34 KiB: several reads."""
    paths = [b"/images/%d" % number for number in range(500)]
    asked = [b"GET " + path + b" HTTP/1.1\r\nhost: localhost\r\n\r\n" for path in paths]
    statuses, received = answers(service, b"".join(asked), LAST)
    assert statuses == [404] * 500 + [200]
    named = re.findall(rb"GET '(/images/[0-9]+)'|image '?([0-9]+)", received)
    assert [int(each.rpartition(b"/")[2] or other) for each, other in named] == list(range(500))


def test_requests_whose_answers_nobody_reads_are_not_read_for_ever(service):
    """They would fill the memory; after a few MiB in buffers of both sides no more is taken."""
    with connect(service) as connection:
        connection.settimeout(3)
        with pytest.raises(TimeoutError):
            connection.sendall((LINK + LENGTH + b"\r\n" + BODY) * 500_000)
    assert answers(service, LAST)[0] == [200]


WHOLE = LINK + LENGTH + b"\r\n" + BODY
BREAKS_OFF = LINK + CHUNKED + b"\r\n5\r\n[1234 no chunk\r\n"


@pytest.mark.parametrize("nonsense", [b"no request\r\n\r\n", LIVEZ + b"no colon\r\n\r\n", LINK + LENGTH + CHUNKED, BREAKS_OFF])
@pytest.mark.parametrize("before", [1, 3])
def test_whole_requests_before_nonsense_get_their_own_answers_and_nothing_after_it_is_read(service, before, nonsense):
    statuses, received = answers(service, WHOLE * before + nonsense + b"\r\n" + LAST * 3)
    assert statuses == [200] * before
    assert received.lower().count(b"connection: close") == 1


def test_nonsense_that_comes_while_a_request_is_in_work_waits_for_its_answer(service):
    statuses, received = answers(service, WHOLE, b"no request\r\n\r\n" + LAST)
    assert statuses in ([200], [200, 400])  # the answer may have been there before
    assert received.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("hosts", [b"", b"host: localhost\r\n" * 2, b"host: localhost\r\nhost: evil.example\r\n"])
def test_a_request_names_one_host(service, hosts):
    assert answers(service, b"GET /livez HTTP/1.1\r\nconnection: close\r\n" + hosts + b"\r\n")[0] == [400]


def test_trailers_are_no_headers(service):
    trailers = b"host: evil.example\r\nauthorization: Bearer x\r\nx: y\r\n\r\n"
    assert answers(service, LINK + CHUNKED + b"\r\n" + CHUNKS + trailers + LAST)[0] == [200, 200]


@pytest.mark.parametrize(
    "endless", [LINK + CHUNKED + b"\r\n" + CHUNKS + b"x: ", LINK + CHUNKED + b"\r\n1;x=", LIVEZ + b"x: ", b"GET /"]
)
def test_what_goes_on_without_an_end_is_refused_before_it_fills_the_memory(service, endless):
    statuses, _ = answers(service, endless, *[b"y" * 50_000] * 20, pause=0.01)
    assert statuses in ([431], [200])  # a body of a byte is answered before its trailers


def test_a_head_of_64_kib_is_read_and_no_more(service):
    line = b"x: " + b"y" * 1_000 + b"\r\n"
    assert answers(service, LIVEZ + line * 60 + b"connection: close\r\n\r\n")[0] == [200]
    assert answers(service, LIVEZ + line * 70 + b"connection: close\r\n\r\n")[0] == [431]


def test_a_client_that_asks_first_is_told_to_go_on(service):
    with connect(service) as connection:
        connection.sendall(LINK + LENGTH + b"expect: 100-continue\r\nconnection: close\r\n\r\n")
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert read_to_the_end(connection).startswith(b"HTTP/1.1 200 ")


def test_a_client_of_http_1_0_gets_its_answer_and_the_end(service):
    assert answers(service, LIVEZ.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n")[0] == [200]
