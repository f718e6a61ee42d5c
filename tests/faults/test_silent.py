"""Neo4j stops where it stands: it takes connections and answers nothing."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.service import upsert
from support.waiting import eventually

pytestmark = pytest.mark.slow
ANSWERS_WITHIN_S = 12


def test_every_route_answers_in_time_while_the_store_is_silent(own_neo4j, serve, targets, items, stored, expected):
    service = serve(own_neo4j.server)
    eventually(lambda: service.client.get("/readyz").status_code == 200, 10)
    assert upsert(service, items[:20]).status_code == 200
    answer = targets(service)
    routes = {
        "POST /images": lambda: upsert(service, items[20:25]),
        "GET /images": lambda: service.client.get("/images"),
        "GET /images/id": lambda: service.client.get(f"/images/{items[1].image_id}"),
        "DELETE /images/id": lambda: service.client.delete(f"/images/{items[0].image_id}"),
        "GET /concepts/cui": lambda: service.client.get("/concepts/C0032285"),
        "POST /snapshots": lambda: service.client.post("/snapshots", json={}),
        "GET /readyz": lambda: service.client.get("/readyz"),
    }
    own_neo4j.pause()
    # First on connections that it had, then on new ones.
    for _ in range(2):
        with ThreadPoolExecutor(len(routes)) as pool:
            asked = {name: pool.submit(timed, ask) for name, ask in routes.items()}
            while not all(each.done() for each in asked.values()):
                assert targets(service).content == answer.content
                time.sleep(0.2)
        for name, each in asked.items():
            given, seconds = each.result()
            assert (name, given.status_code) == (name, 503), given.text
            assert "retry-after" in given.headers, name
            assert seconds < ANSWERS_WITHIN_S, name
    own_neo4j.resume()
    eventually(lambda: service.client.get("/readyz").status_code == 200, 10)
    assert upsert(service, items[:25]).status_code == 200
    assert stored(own_neo4j.server) == expected(items[:25])


def timed(ask):
    begun = time.monotonic()
    return ask(), time.monotonic() - begun
