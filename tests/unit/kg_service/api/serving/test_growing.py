"""A body that is sent while a thread fills it."""

import asyncio
import threading

import pytest
from kg_service.api.serving.growing import Growing, GrowingResponse
from nbclip.errors import InvalidInput

BODY = bytes(range(200))
PATIENCE_S = 20


def sent(fill, send=None):
    """The messages of an answer whose body `fill` makes; raises what it raises."""

    async def run():
        messages = []

        async def note(message):
            messages.append(message)

        growing = Growing(fill)
        body, _ = await growing.beyond(0)
        await GrowingResponse(growing, len(body), "x/y", {"etag": '"a"'})({}, None, send or note)
        return messages

    return asyncio.run(run())


def test_what_is_final_is_sent_before_the_rest_is_made():
    """The thread goes on only when the first half has been sent."""
    half_is_sent, seen = threading.Event(), []

    def fill(tell):
        memory = bytearray(len(BODY))
        memory[:100] = BODY[:100]
        tell(memoryview(memory), 100)
        assert half_is_sent.wait(PATIENCE_S)
        memory[100:] = BODY[100:]
        tell(memoryview(memory), 150)
        tell(memoryview(memory), 200)

    async def send(message):
        seen.append(bytes(message.get("body", b"")))
        if len(b"".join(seen)) == 100:
            half_is_sent.set()

    sent(fill, send)
    assert b"".join(seen) == BODY
    assert seen[1] == BODY[:100]


def test_it_is_framed_by_its_length_and_ends_once():
    def fill(tell):
        for final in (1, 1, 90, 200):
            tell(memoryview(BODY), final)

    start, *bodies = sent(fill)
    assert dict(start["headers"])[b"content-length"] == b"200"
    assert dict(start["headers"])[b"etag"] == b'"a"'
    assert [each["more_body"] for each in bodies] == [True] * (len(bodies) - 1) + [False]
    assert b"".join(each["body"] for each in bodies) == BODY


def test_what_fails_before_there_is_anything_is_raised_before_anything_is_sent():
    def fill(tell):
        raise InvalidInput("no such row")

    async def never(message):
        raise AssertionError(message)

    with pytest.raises(InvalidInput, match="no such row"):
        sent(fill, never)


def test_what_fails_half_way_ends_the_answer_half_way():
    def fill(tell):
        tell(memoryview(BODY), 100)
        raise MemoryError

    seen = []

    async def send(message):
        seen.append(message)

    with pytest.raises(MemoryError):
        sent(fill, send)
    assert all(each.get("more_body", True) for each in seen)


def test_an_answer_that_nobody_takes_lasts_as_long_as_the_thread():
    """Its places are not free while it works."""
    working, over = threading.Event(), []

    def fill(tell):
        tell(memoryview(BODY), 100)
        assert working.wait(PATIENCE_S)
        over.append(True)

    async def gone(message):
        working.set()
        raise ConnectionError

    with pytest.raises(ConnectionError):
        sent(fill, gone)
    assert over
