"""Over TCP, by clients that send all they have before they read: bodies that drip take no place of work, refusals can be read."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from support.tcp import POST, connect, read_to_the_end

TARGETS = json.dumps({"image_ids": ["effusion", "fracture", "pneumonia"]}).encode()


@pytest.fixture(scope="module")
def service(over_tcp):
    return over_tcp(max_body_bytes=100_000, body_timeout_s=60)


@pytest.fixture(scope="module")
def roomy(over_tcp):
    return over_tcp()


def sent_then_read(service, content):
    """The problem that is the answer to all of this."""
    with connect(service) as connection:
        connection.sendall(content)
        time.sleep(0.2)  # a reset that is on its way comes before the answer is looked at
        connection.shutdown(socket.SHUT_WR)
        head, _, body = read_to_the_end(connection).partition(b"\r\n\r\n")
        assert b"content-type: application/problem+json" in head
        return json.loads(body)


def multipart(parts):
    part = b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n' + b"1" * 100 + b"\r\n"
    return part * parts + b"--x--\r\n"


@pytest.mark.parametrize("path", [b"/link", b"/targets", b"/representations", b"/images"])
def test_a_form_of_20_000_parts_is_told_that_it_is_not_read(roomy, path):
    body = multipart(20_000)
    head = POST % (path, b"multipart/form-data; boundary=x") + b"content-length: %d\r\n\r\n" % len(body)
    assert sent_then_read(roomy, head + body)["status"] == 415


@pytest.mark.parametrize("framing", [b"content-length", b"chunked"])
def test_a_body_over_the_limit_is_told_so(service, framing):
    body = b"[" * 5_000_000
    head = POST % (b"/targets", b"application/json")
    if framing == b"chunked":
        content = head + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    else:
        content = head + b"content-length: %d\r\n\r\n" % len(body) + body
    assert sent_then_read(service, content)["type"] == "urn:nbclip:problem:limit-exceeded"


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"x: " + b"y" * 3_000_000, 431), (b"x: y\r\n" * 500_000, 431), (b"no colon\r\n\r\n" + b"x" * 3_000_000, 400)],
)
def test_a_head_that_is_too_long_or_none_is_told_so(service, line, status):
    problem = sent_then_read(service, b"GET /livez HTTP/1.1\r\nhost: localhost\r\n" + line + b"\r\n\r\n")
    assert problem["status"] == status
    assert problem["hint"]


def test_a_refusal_before_there_is_a_request_is_logged_and_counted_as_requests_are(over_tcp):
    service = over_tcp(max_connections=2)
    with connect(service) as first, connect(service) as second, connect(service) as third:
        for held in (first, second):
            held.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert held.recv(1 << 16).startswith(b"HTTP/1.1 200")
        second.sendall(b"no request\r\n\r\n")
        received = {503: read_to_the_end(third), 400: read_to_the_end(second)}
        first.sendall(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        metrics = read_to_the_end(first).decode()
    lines = [json.loads(line) for line in service.log().splitlines()]
    for status, answer in received.items():
        head, _, body = answer.partition(b"\r\n\r\n")
        request_id = json.loads(body)["request_id"]
        assert f"x-request-id: {request_id}" in head.decode()
        assert [line["status"] for line in lines if line.get("request_id") == request_id] == [status]
        assert f'http_requests_total{{handler="unknown",method="unknown",status="{status}"}} 1.0' in metrics


def test_a_path_that_is_not_there_is_told_so_to_who_sends_a_body(service):
    head = POST % (b"/nothing", b"text/plain") + b"content-length: 90000\r\n\r\n"
    assert sent_then_read(service, head + b"x" * 90_000)["status"] == 404


def test_a_body_that_breaks_off_in_nonsense_ends_the_connection_and_is_no_error_of_the_service(service):
    head = POST % (b"/targets", b"application/json") + b"transfer-encoding: chunked\r\n\r\n"
    assert sent_then_read(service, head + b"5\r\n[1234 no chunk\r\n")["status"] == 400
    assert "unexpected error" not in service.log()


def test_who_is_one_connection_too_many_reads_so_whatever_it_sends(over_tcp):
    service = over_tcp(max_connections=2)
    body = b"x" * 1_000_000
    with connect(service) as first, connect(service) as second, connect(service) as third:
        for held in (first, second):
            held.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert held.recv(1 << 16).startswith(b"HTTP/1.1 200")
        third.sendall(POST % (b"/targets", b"application/json") + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert read_to_the_end(third).startswith(b"HTTP/1.1 503")


def send_on(connection, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection.sendall(b"x" * 65_536)
        time.sleep(0.01)


def test_who_never_stops_sending_is_ended_in_time(service):
    with connect(service) as connection:
        connection.sendall(POST % (b"/nothing", b"text/plain") + b"content-length: 100000000000\r\n\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_on(connection, 20)


def ask(service):
    with connect(service) as connection:
        head = POST % (b"/targets", b"application/json") + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(TARGETS)
        connection.sendall(head + TARGETS)
        return read_to_the_end(connection).split()[1]


@pytest.mark.parametrize("framing", [b"content-length: 50000", b"transfer-encoding: chunked"])
def test_of_40_requests_beside_150_bodies_that_drip_none_fails(service, framing):
    stop = threading.Event()
    with ExitStack() as stack:
        dripping = [stack.enter_context(connect(service)) for _ in range(150)]
        paths = (b"/targets", b"/representations", b"/link")
        for number, connection in enumerate(dripping):
            connection.sendall(POST % (paths[number % 3], b"application/json") + framing + b"\r\n\r\n")

        def drip():
            piece = b"1\r\n \r\n" if b"chunked" in framing else b" "
            while not stop.wait(0.05):
                for connection in dripping:
                    connection.sendall(piece)

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            time.sleep(0.3)
            with ThreadPoolExecutor(8) as threads:
                assert list(threads.map(ask, [service] * 40)) == [b"200"] * 40
        finally:
            stop.set()
            thread.join()
