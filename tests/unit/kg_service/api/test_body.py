"""Bodies are parsed aside from the event loop, unless they are short."""

import asyncio
import json
import threading

import pytest
from kg_service.api.body import is_short, parse, parse_aside
from kg_service.api.problems import InvalidBody
from nbclip.errors import LimitExceeded
from nbclip.schemas.targets import RepresentationsRequest


def body_of(count):
    return json.dumps({"image_ids": [f"image {number}" for number in range(count)]}).encode()


@pytest.mark.parametrize(("count", "aside"), [(1, False), (1_000, False), (10_000, True)])
def test_a_long_body_is_parsed_in_a_thread_and_gives_the_same(count, aside):
    seen = []
    body = body_of(count)
    parsed = asyncio.run(parse_aside(RepresentationsRequest, body, lambda _: seen.append(threading.current_thread())))
    assert parsed == parse(RepresentationsRequest, body, lambda _: None)
    assert (seen[0] is not threading.current_thread()) == aside == (not is_short(body))


@pytest.mark.parametrize("count", [1, 10_000])
def test_its_errors_are_those_of_parsing(count):
    def refuse(_):
        raise LimitExceeded("too many")

    with pytest.raises(LimitExceeded):
        asyncio.run(parse_aside(RepresentationsRequest, body_of(count), refuse))
    with pytest.raises(InvalidBody, match="not JSON"):
        asyncio.run(parse_aside(RepresentationsRequest, body_of(count)[:-1], refuse))
