"""The service as a process of its own, over a unix socket: stop, slow and hostile connections, refusal to start."""

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from nbclip.codec import MEDIA_TYPE, decode

JSON = {"content-type": "application/json", "host": "localhost"}
LINK = b'{"captions": ["Pleural effusion."]}'


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Service:
    """A running process; `path` is its socket."""

    def __init__(self, data, vocabulary, *, descriptors=None, **settings):
        self.folder = tempfile.TemporaryDirectory(prefix="kg")
        self.path = Path(self.folder.name) / "kg.sock"
        environment = os.environ | {f"KG_{name.upper()}": str(value) for name, value in settings.items()}
        command = ["serve", "--data", data, "--vocabulary", vocabulary, "--uds", self.path, "--log-format", "json"]
        self.log = Path(self.folder.name) / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(["prlimit", f"--nofile={descriptors}"] if descriptors else []),
                    *[sys.executable, "-m", "kg_service", *map(str, command)],
                ],
                env=environment,
                stderr=log,
            )
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                return self.get("/livez")
            except OSError:
                time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def connect(self):
        return closing(UnixConnection(self.path))

    def get(self, path):
        with self.connect() as connection:
            connection.request("GET", path, headers=JSON)
            return connection.getresponse().status

    def raw(self, *pieces, until=b"\r\n\r\n"):
        """Sends bytes as they are; returns the status line and headers, empty if the connection was cut."""
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(20)
            connection.connect(str(self.path))
            received = b""
            try:
                for piece in pieces:
                    connection.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
            try:
                while until not in received and (some := connection.recv(65_536)):
                    received += some
            except ConnectionResetError:
                pass
            return received

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()


@pytest.fixture
def start(data, vocabulary_folder):
    started = []

    def run(**settings):
        started.append(Service(data, vocabulary_folder, **settings))
        return started[-1]

    yield run
    for service in started:
        service.close()


@pytest.fixture(scope="module")
def running(published, vocabulary_folder):
    with closing(Service(published, vocabulary_folder, body_timeout_s=1, max_body_bytes=100_000)) as service:
        yield service


def test_a_request_that_sigterm_meets_half_way_is_answered_and_the_end_is_0(start):
    service = start()
    with service.connect() as begun:
        begun.putrequest("POST", "/link", skip_host=True)
        for name, value in {**JSON, "content-length": str(len(LINK))}.items():
            begun.putheader(name, value)
        begun.endheaders(LINK[:10])
        time.sleep(0.3)
        stopped_at = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert service.get("/readyz") == 503
        assert service.get("/livez") == 200
        time.sleep(1.5)
        begun.send(LINK[10:])
        answer = begun.getresponse()
        assert answer.status == 200
        assert b"Pleural" in answer.read()
    assert service.process.wait(20) == 0
    assert time.monotonic() - stopped_at < 10
    assert '"route": "/link", "status": 200' in service.log.read_text()


def test_a_request_that_never_ends_does_not_hold_the_stop(start):
    service = start(body_timeout_s=120, stop_s=3, drain_s=0)
    with service.connect() as begun:
        begun.putrequest("POST", "/link", skip_host=True)
        for name, value in {**JSON, "content-length": "100"}.items():
            begun.putheader(name, value)
        begun.endheaders(b"{")
        time.sleep(0.3)
        begun_to_stop = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begun_to_stop < 5


def test_work_that_does_not_end_does_not_hold_the_stop(start, data):
    service = start(stop_s=3, drain_s=0)
    body = b'{"items": [{"image_id": "x", "caption": "x"}]}'
    with closing(sqlite3.connect(data / "graph.sqlite", isolation_level=None)) as other, service.connect() as begun:
        other.execute("BEGIN IMMEDIATE")
        begun.request("POST", "/images", body, JSON)
        time.sleep(0.3)
        begun_to_stop = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begun_to_stop < 4


def link(connection):
    connection.request("POST", "/link", LINK, JSON)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200
    return connection.sock


def test_an_idle_connection_is_kept_for_keep_alive_s_and_no_longer(start, running):
    """Idle until the connection to a service with 1 s is closed, the one to a service with 620 s takes the next request."""
    short = start(keep_alive_s=1)
    with short.connect() as brief, running.connect() as kept:
        first = link(kept)
        assert link(brief).recv(1) == b""
        assert link(kept) is first


def test_a_body_that_comes_too_slowly_is_answered_408(running):
    head = b"POST /link HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
    begun = time.monotonic()
    answer = running.raw(head, b"{")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer.lower()
    assert 0.5 < time.monotonic() - begun < 5


@pytest.mark.parametrize("framing", [b"content-length: 100000000", b"transfer-encoding: chunked"])
def test_a_body_over_the_limit_is_answered_413_while_it_is_sent(running, framing):
    head = b"POST /link HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" + framing + b"\r\n\r\n"
    pieces = (b"186a1\r\n" + b"a" * 100_001 + b"\r\n",) if b"chunked" in framing else ()
    assert running.raw(head, *pieces).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * 1_000_000,
        b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 5_000_000,
        b"GET /" + b"a" * 5_000_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"POST /link HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /link HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1e3\r\n\r\n",
        b"POST /link HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /link HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
    ],
)
def test_what_is_no_request_is_cut_off_and_the_service_goes_on(running, request_head):
    answer = running.raw(request_head)
    assert answer == b"" or answer.split()[1].startswith(b"4") or b" 501 " in answer
    assert running.get("/livez") == 200


def test_memory_does_not_grow_with_what_is_refused(running):
    running.raw(b"GET / HTTP/1.1\r\nx: " + b"y" * 1_000_000)
    before = resident(running)
    head = b"POST /link HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    for _ in range(5):
        running.raw(b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000_000)
        running.raw(head, b"1312d00\r\n" + b"[" * 20_000_000)
    assert resident(running) - before < 64 << 20


def current(service):
    with service.connect() as connection:
        connection.request("GET", "/snapshots", headers=JSON)
        return json.loads(connection.getresponse().read())["snapshots"][0]


def wait_for(service, what):
    deadline = time.monotonic() + 120
    while not what(manifest := current(service)["manifest"]):
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.2)
    return manifest


def test_a_running_service_appends_and_compacts_by_itself(start):
    service = start(append_every_s=1, compact_after=0.3)
    images = [{"image_id": f"new {at}", "caption": "Chest CT showing pneumonia.", "split": "train"} for at in range(6)]
    for some, done in (
        (images[:1], lambda manifest: manifest["appended"] and manifest["images"] == 9),
        (images, lambda manifest: not manifest["appended"] and manifest["images"] == 14),
    ):
        with service.connect() as connection:
            connection.request("POST", "/images", json.dumps({"items": some}), JSON)
            assert connection.getresponse().status == 200
        wait_for(service, done)
    assert "images appended" in service.log.read_text()


@pytest.mark.parametrize("arguments", [["--host", "0.0.0.0"], ["--host", "192.0.2.1"], ["--keys-file", "missing.json"]])
def test_it_refuses_to_start_open_to_others_without_a_key(command, data, arguments):
    code, _, err = command("serve", "--data", data, *arguments)
    assert code == 2
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert "kg-service keys add" in hint


class Unread:
    """A connection whose client asks for a matrix of 4 MB and reads the status alone."""

    IDS = ("effusion", "pneumonia", "fracture", "empty") * 256
    BODY = json.dumps({"image_ids": IDS, "output": "similarity"}).encode()
    HEAD = f"POST /targets HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: {MEDIA_TYPE}\r\n"

    def __init__(self, service):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(service.path))
        self.socket.sendall(f"{self.HEAD}content-length: {len(self.BODY)}\r\n\r\n".encode() + self.BODY)
        self.status = int(self.socket.recv(15).split()[1])

    def is_cut(self):
        """Reads until the matrix is whole or the connection ends."""
        received = 0
        try:
            while received < 4 << 20 and (some := len(self.socket.recv(1 << 16))):
                received += some
        except ConnectionResetError:
            pass
        return received < 4 << 20

    def close(self):
        self.socket.close()


def unread_until_answered(service):
    """Asks again until there is room."""
    deadline = time.monotonic() + 60
    while True:
        client = Unread(service)
        if client.status == 200:
            return client
        client.close()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def resident(service):
    return int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_clients_that_do_not_read_hold_no_more_than_the_limit(start):
    """Twice `max_cells` is two answers: 38 of 40 clients are sent away, and their 152 MB never are in memory."""
    service = start(max_cells=len(Unread.IDS) ** 2, send_timeout_s=600)
    ask_similarity(service, Unread.IDS, slow=False)
    before = resident(service)
    clients = [Unread(service) for _ in range(40)]
    assert [client.status for client in clients] == [200] * 2 + [429] * 38
    assert b"retry-after: 1\r\n" in clients[-1].socket.recv(1 << 16).lower()
    assert resident(service) - before < 64 << 20
    assert service.get("/livez") == 200
    clients[0].close()
    clients += [unread_until_answered(service), Unread(service)]
    assert clients[-1].status == 429
    for client in clients:
        client.close()


def test_a_client_that_does_not_read_is_cut_off_in_time_and_its_place_is_free(start):
    service = start(max_cells=len(Unread.IDS) ** 2, send_timeout_s=1)
    clients = [unread_until_answered(service) for _ in range(6)]
    assert sum(client.is_cut() for client in clients) >= 4
    for client in clients:
        client.close()
    assert "closed: the client does not read" in service.log.read_text()


def test_no_answer_is_overwritten_while_slow_readers_take_it(start):
    """16 clients whose answers of 1.4 MB are in leased buffers, read a piece at a time while others are worked on."""
    service, ids = start(), ["effusion", "effusion too", "pneumonia", "fracture", "empty"]
    similarity = ask_similarity(service, ids, slow=False)
    wrong = []

    def read_slowly(number):
        generator = np.random.default_rng(number)
        for _ in range(4):
            chosen = generator.integers(0, len(ids), 600)
            values = ask_similarity(service, [ids[at] for at in chosen], slow=True)
            if not np.allclose(values, similarity[np.ix_(chosen, chosen)], atol=1e-6):
                wrong.append(number)

    threads = [threading.Thread(target=read_slowly, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def ask_similarity(service, ids, *, slow):
    with service.connect() as connection:
        body = json.dumps({"image_ids": ids, "output": "similarity"})
        connection.request("POST", "/targets", body, {**JSON, "accept": MEDIA_TYPE})
        response = connection.getresponse()
        assert response.status == 200
        pieces = []
        while piece := response.read(1 << 16):
            pieces.append(piece)
            if slow:
                time.sleep(0.001)
        return decode(b"".join(pieces)).values
