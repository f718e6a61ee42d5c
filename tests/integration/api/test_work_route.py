"""The short way to /targets and /representations answers as the long one through the framework does."""

import asyncio
import threading

import pytest
from fastapi import APIRouter, Depends
from kg_service.api.application import create_app
from kg_service.api.auth import require
from kg_service.api.work_route import Shortcut, WorkRoute, opened, worked
from kg_service.app.keys import add_key
from kg_service.config import load_settings
from kg_service.snapshot import SnapshotFolder
from nbclip.codec import MEDIA_TYPE
from nbclip.errors import Busy
from starlette.testclient import TestClient

IDS = ["effusion", "pneumonia", "fracture", "empty"]
GOOD = {"json": {"image_ids": IDS}, "headers": {"accept": MEDIA_TYPE}}


@pytest.fixture
def ways(data, vocabulary_folder):
    """The same service by both ways, with a key."""
    key = {"authorization": f"Bearer {add_key(data / 'keys.json', 'reader', ['read'])}"}
    clients = []
    for shortcut in (True, False):
        app = create_app(load_settings(data=data, vocabulary=vocabulary_folder, max_body_bytes=10_000, max_rows=5, max_columns=5))
        if not shortcut:
            app.user_middleware = [each for each in app.user_middleware if each.cls is not Shortcut]
        clients.append(TestClient(app, base_url="http://localhost", headers=key))
    return clients


def counts(way):
    """Requests by route, method and status."""
    metrics = way.app.state.metrics.registry.collect()
    return [
        (each.labels, each.value)
        for metric in metrics
        if metric.name == "http_requests"
        for each in metric.samples
        if "_total" in each.name
    ]


@pytest.mark.parametrize("path", ["/targets", "/representations"])
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (GOOD, 200),
        (GOOD | {"headers": {"authorization": "Bearer wrong"}}, 401),
        (GOOD | {"headers": {"accept": "text/html"}}, 406),
        (GOOD | {"headers": {"host": "evil.example"}}, 400),
        ({"json": {"image_ids": IDS * 2}}, 413),
        ({"content": b"x" * 20_000, "headers": {"content-type": "application/json"}}, 413),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 422),
        ({"json": {"image_ids": ["nobody"]}}, 422),
        ({"json": {"image_ids": IDS, "snapshot": "0" * 64}}, 410),
    ],
)
def test_both_ways_answer_alike(ways, path, asked, status):
    short, long = (way.post(path, **asked) for way in ways)
    assert short.status_code == long.status_code == status
    if status == 200:
        assert short.content == long.content
    else:
        assert {**short.json(), "request_id": ""} == {**long.json(), "request_id": ""}
    same = set(short.headers) | set(long.headers)
    assert {name for name in same if short.headers.get(name) != long.headers.get(name)} == {"x-request-id"}
    assert counts(ways[0]) == counts(ways[1])


def test_another_method_is_the_frameworks_to_refuse(ways):
    for way in ways:
        assert way.get("/targets").status_code == 405


def test_all_places_taken_is_said_and_they_come_back(ways):
    for way in ways:
        places = way.app.state.places
        with places.take(places.capacity):
            assert way.post("/targets", **GOOD).status_code == 429
        assert way.post("/targets", **GOOD).status_code == 200
        with places.take(places.capacity):
            pass


def test_a_route_that_asks_for_more_than_a_key_is_refused():
    router = APIRouter(route_class=WorkRoute)
    router.post("/a", dependencies=[Depends(require("read"))])(lambda request: None)
    with pytest.raises(TypeError, match="more than a key"):
        router.post("/b", dependencies=[Depends(require("read")), Depends(lambda: None)])(lambda request: None)


def test_small_work_is_done_here_once_its_kind_was_done_in_a_thread(data):
    """Opening a snapshot takes long, and so do large work and the first of a kind: all are a thread's."""

    snapshots = SnapshotFolder(data / "snapshots")

    async def opens():
        waiting = asyncio.ensure_future(opened(snapshots, None))
        await asyncio.sleep(0)
        assert not waiting.done()
        return await waiting, await opened(snapshots, None)

    snapshot, again = asyncio.run(opens())
    assert snapshot is again

    def thread_of(kind):
        seen = []
        asyncio.run(worked(snapshot, lambda: seen.append(threading.current_thread()), kind=kind))
        return seen[0]

    here = threading.current_thread()
    for kind in ("one", "other"):
        assert thread_of(kind) is not here
        assert thread_of(kind) is here
    assert thread_of(None) is not here
    assert thread_of(None) is not here


def test_work_that_failed_warms_nothing(data):
    snapshot = SnapshotFolder(data / "snapshots").open()

    def fail():
        raise Busy("not now")

    with pytest.raises(Busy):
        asyncio.run(worked(snapshot, fail, kind="one"))
    assert not snapshot.warm
