"""Connections without a whole request, by a client without a key: many, slow, or with a body that nobody reads."""

import shutil
import socket
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from resource import RLIM_INFINITY

import pytest
from integration.api.test_process import JSON, LINK, Service
from kg_service.api.serving import connection_limits as limits
from kg_service.app.keys import add_key
from kg_service.config import Settings
from support.waiting import eventually

HALF = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n"
WHOLE = HALF + b"\r\n"


@pytest.fixture(scope="module")
def impatient(published, vocabulary_folder):
    with closing(Service(published, vocabulary_folder, head_timeout_s=1)) as service:
        yield service


@pytest.fixture
def open_socket():
    """Opens connections to a service; all are closed in the end."""
    with ExitStack() as stack:

        def connect(service):
            connection = stack.enter_context(closing(socket.socket(socket.AF_UNIX)))
            connection.settimeout(20)
            connection.connect(str(service.path))
            return connection

        yield connect


def ended(connection):
    """Reads to the end, which comes in 20 s or fails the test; what was read."""
    received = b""
    try:
        while some := connection.recv(65_536):
            received += some
    except ConnectionResetError:
        pass
    return received


def answer(connection):
    """The next answer of /livez, or what came before the end."""
    received = b""
    while b'"ok"}' not in received and (some := connection.recv(65_536)):
        received += some
    return received


@pytest.mark.parametrize("begun", [b"", b"G", HALF, b"\r\n"])
def test_a_fresh_connection_without_a_whole_head_is_closed(impatient, open_socket, begun):
    connection = open_socket(impatient)
    connection.sendall(begun)
    ended(connection)


@pytest.mark.parametrize("first", [WHOLE, WHOLE + HALF])
def test_a_next_head_that_has_begun_has_its_deadline_too(impatient, open_socket, first):
    connection = open_socket(impatient)
    connection.sendall(first)
    assert b" 200 " in answer(connection)
    if first == WHOLE:
        connection.sendall(HALF)
    ended(connection)


def test_bytes_that_drip_do_not_put_the_deadline_off(impatient, open_socket):
    connection = open_socket(impatient)
    deadline = time.monotonic() + 20
    try:
        while time.monotonic() < deadline:
            connection.sendall(b"G")
            time.sleep(0.1)
    except (BrokenPipeError, ConnectionResetError):
        return
    raise AssertionError("still open")


def test_an_idle_connection_and_a_slow_body_outlive_it(impatient):
    with impatient.connect() as connection:
        for _ in range(2):
            connection.putrequest("POST", "/link", skip_host=True)
            for name, value in {**JSON, "content-length": str(len(LINK))}.items():
                connection.putheader(name, value)
            connection.endheaders(LINK[:10])
            first = connection.sock
            time.sleep(1.5)
            connection.send(LINK[10:])
            response = connection.getresponse()
            assert response.status == 200
            response.read()
            time.sleep(1.5)
            assert connection.sock is first


def test_connections_over_the_limit_are_answered_503_until_others_end(published, vocabulary_folder, open_socket):
    with closing(Service(published, vocabulary_folder, max_connections=8)) as service:
        held = []
        while len(held) < 8:
            connection = open_socket(service)
            connection.sendall(WHOLE)
            # the connection that asked whether the service is up may not be gone yet
            if b" 200 " in answer(connection):
                held.append(connection)
        for _ in range(5):
            over = open_socket(service)
            received = ended(over)
            assert received.startswith(b"HTTP/1.1 503 ")
            assert b"connection: close" in received
        for connection in held:
            connection.sendall(WHOLE)
            assert b" 200 " in answer(connection)
        held[0].close()
        eventually(lambda: service.get("/livez") == 200, 20)
        assert service.log.read_text().count("too many connections") == 1


def test_more_connections_than_descriptors_do_not_stop_the_service(published, vocabulary_folder, open_socket):
    with closing(Service(published, vocabulary_folder, descriptors=256, head_timeout_s=1)) as service:
        for _ in range(300):
            with suppress(BrokenPipeError):
                open_socket(service).sendall(HALF)

        def alive():
            try:
                return service.get("/livez") == 200
            except OSError:
                return False

        eventually(alive, 20)
        with service.connect() as connection:
            connection.request("POST", "/targets", b'{"image_ids": ["effusion", "fracture"]}', JSON)
            assert connection.getresponse().status == 200


@pytest.mark.parametrize(("descriptors", "most"), [(100_000, 1_024), (1_024, 768), (256, 64), (RLIM_INFINITY, 1_024)])
def test_descriptors_are_left_for_files(monkeypatch, descriptors, most):
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert limits.connection_limits(Settings()).most == most
    assert limits.connection_limits(Settings(max_connections=7)).most == 7


@pytest.fixture(scope="module")
def closed(tmp_path_factory, published, vocabulary_folder):
    """A service that wants a key."""
    data = Path(shutil.copytree(published, tmp_path_factory.mktemp("closed") / "data"))
    add_key(data / "keys.json", "somebody", ["admin"])
    with closing(Service(data, vocabulary_folder, job_timeout_s=60, body_timeout_s=60)) as service:
        yield service


@pytest.mark.parametrize("framing", [b"content-length: 3000000000", b"transfer-encoding: chunked"])
@pytest.mark.parametrize("route", [b"POST /jobs/ingest", b"POST /link", b"GET /livez", b"POST /nothing"])
def test_an_answer_before_the_whole_body_ends_the_connection(closed, open_socket, route, framing):
    connection = open_socket(closed)
    connection.sendall(route + b" HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\n" + framing + b"\r\n\r\n")
    received = ended(connection)
    assert received.split()[1] in (b"200", b"401", b"404", b"413")
    assert received.lower().count(b"connection: close") == 1


def test_a_refusal_whose_body_is_whole_keeps_the_connection(closed, open_socket):
    connection = open_socket(closed)
    head = b"POST /link HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    connection.sendall(head % len(LINK) + LINK)
    received = connection.recv(65_536)
    assert received.startswith(b"HTTP/1.1 401")
    assert b"connection: close" not in received.lower()
    connection.sendall(WHOLE)
    assert b" 200 " in answer(connection)


UPLOAD = b"POST /jobs/ingest HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\ncontent-length: 1000000\r\n\r\nimage_id"


def test_uploads_that_stall_are_answered_408_and_give_their_places_back(data, vocabulary_folder, open_socket):
    with closing(Service(data, vocabulary_folder, job_pause_s=2)) as service:
        stalled = [open_socket(service) for _ in range(4)]
        for connection in stalled:
            connection.sendall(UPLOAD)
        for connection in stalled:
            assert ended(connection).startswith(b"HTTP/1.1 408")
        with service.connect() as connection:
            connection.request("POST", "/jobs/ingest", b"image_id,caption\nx,Pneumonia.\n", {**JSON, "content-type": "text/csv"})
            assert connection.getresponse().status == 202


def test_an_upload_that_drips_has_its_time_too(data, vocabulary_folder, open_socket):
    with closing(Service(data, vocabulary_folder, job_timeout_s=2)) as service:
        connection = open_socket(service)
        connection.sendall(UPLOAD)
        deadline = time.monotonic() + 20
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() < deadline:
                connection.sendall(b"x")
                time.sleep(0.1)
        assert time.monotonic() < deadline
        assert ended(connection).startswith(b"HTTP/1.1 408")
