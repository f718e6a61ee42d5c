import asyncio

import numpy as np
import pytest
from kg_service.api.serving.connection import PartsResponse, until_taken
from kg_service.api.serving.connection_limits import connection_limits
from kg_service.api.serving.protocol import Protocol
from kg_service.config import Settings
from starlette.responses import Response
from uvicorn import Config
from uvicorn.server import ServerState

BODY = np.arange(1 << 18, dtype=np.float32)
LATER = 60


class Transport(asyncio.Transport):
    """Keeps what is written; nobody reads it until `take`."""

    def __init__(self):
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written, self.waiting, self.aborted = [], 0, False

    def write(self, data):
        self.written.append(data)
        self.waiting += len(data)

    def get_write_buffer_size(self):
        return self.waiting

    def is_closing(self):
        return self.aborted

    def abort(self):
        self.aborted = True

    def close(self):
        pass


class Loop:
    """An event loop whose clock is moved by hand."""

    def __init__(self):
        self.now, self.due = 0, []

    def create_task(self, task):
        self.task = task
        return self

    def add_done_callback(self, done):
        pass

    def call_later(self, delay, call):
        self.due.append([self.now + delay, call])
        return Handle(self.due, self.due[-1])

    def pass_time(self, seconds):
        self.now += seconds
        for entry in [entry for entry in self.due if entry[0] <= self.now]:
            self.due.remove(entry)
            entry[1]()


class Handle:
    def __init__(self, due, entry):
        self.due, self.entry = due, entry

    def cancel(self):
        if self.entry in self.due:
            self.due.remove(self.entry)


@pytest.fixture
def connect():
    """Asks once over a connection that nobody reads from; returns protocol, transport and loop, the answer written."""

    def run(answer, settings=None):
        async def application(scope, receive, send):
            await answer(scope, receive, until_taken(send))

        config = Config(application, log_config=None, timeout_keep_alive=10 * LATER)
        config.load()
        transport, loop = Transport(), Loop()
        made = Protocol(config, ServerState(), {}, _loop=loop, limits=connection_limits(settings or Settings()))
        made.connection_made(transport)
        made.data_received(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        asyncio.run(loop.task)
        return made, transport, loop

    return run


def view(array):
    return array.data.cast("B")


def test_the_transport_gets_the_very_memory_of_a_large_body(connect):
    body = view(BODY)
    _, transport, _ = connect(PartsResponse([b"head", body], "x/y", {}))
    assert any(data is body for data in transport.written)
    assert b"".join(transport.written).endswith(b"head" + BODY.tobytes())


@pytest.mark.parametrize("size", [0, 10, 1 << 15, 1 << 20])
def test_an_answer_is_framed_alike_whatever_its_size(connect, size):
    _, transport, _ = connect(Response(b"x" * size))
    head, _, body = b"".join(transport.written).partition(b"\r\n\r\n")
    assert f"content-length: {size}".encode() in head.lower()
    assert body == b"x" * size


def test_a_large_answer_is_waited_for_and_a_small_one_is_not():
    async def sent(size):
        messages = []

        async def send(message):
            messages.append(message)

        await Response(b"x" * size)({"type": "http"}, None, until_taken(send))
        return [(len(message["body"]), message.get("more_body", False)) for message in messages[1:]]

    assert asyncio.run(sent(1 << 20)) == [(1 << 20, True), (0, False)]
    assert asyncio.run(sent(100)) == [(100, False)]


def test_a_client_that_takes_nothing_is_cut_off(connect):
    _, transport, loop = connect(Response(b"x" * 100), Settings(send_timeout_s=LATER))
    loop.pass_time(LATER - 1)
    assert not transport.aborted
    loop.pass_time(1)
    assert transport.aborted


def test_a_client_that_takes_a_little_is_kept(connect):
    _, transport, loop = connect(Response(b"x" * 100), Settings(send_timeout_s=LATER))
    for _ in range(5):
        transport.waiting -= 1
        loop.pass_time(LATER)
        assert not transport.aborted
    loop.pass_time(LATER)
    assert transport.aborted


def test_a_client_that_took_a_little_and_was_sent_as_much_more_is_kept(connect):
    made, transport, loop = connect(Response(b"x" * 100), Settings(send_timeout_s=LATER))
    waiting = transport.waiting
    transport.waiting = 10
    made.data_received(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    asyncio.run(loop.task)
    assert transport.waiting > waiting
    loop.pass_time(LATER)
    assert not transport.aborted


def test_a_client_that_has_all_is_kept_for_the_next_request(connect):
    _, transport, loop = connect(Response(b"x" * 100), Settings(send_timeout_s=LATER))
    transport.waiting = 0
    loop.pass_time(5 * LATER)
    assert not transport.aborted


def test_a_large_answer_is_watched_from_when_it_waits(connect):
    """Before its end: the pause comes while parts are being sent."""
    made, transport, loop = connect(Response(b""), Settings(send_timeout_s=LATER))
    transport.waiting = 0
    loop.pass_time(LATER)
    made._lingering.sent += 1 << 20
    transport.waiting = 1 << 20
    made.pause_writing()
    loop.pass_time(LATER)
    assert transport.aborted


def test_a_lost_connection_is_watched_no_more(connect):
    made, _, loop = connect(Response(b"x" * 100), Settings(send_timeout_s=LATER))
    made.connection_lost(None)
    assert not [call for _, call in loop.due if call == made._close_unless_taken]
