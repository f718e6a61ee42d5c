"""Neo4j stops where it stands: it takes connections and answers nothing."""

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from support.counts import often
from support.service import Service, upsert
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ANSWERS_WITHIN_S = 12
# Long enough for a second round on new connections.
SILENT_S = often(ANSWERS_WITHIN_S + 1, 30)
TIMES = often(1, 3)


def test_every_route_answers_in_time_while_the_store_is_silent(
    own_neo4j, serve, targets, items, stored, expected, record_property
):
    service = serve(own_neo4j.server)
    eventually(lambda: service.client.get("/readyz").status_code == 200, 10)
    assert upsert(service, items[:20]).status_code == 200
    answer = targets(service)
    routes = {
        "POST /images": lambda: upsert(service, items[20:25]),
        "GET /images": lambda: service.client.get("/images"),
        "GET /images/id": lambda: service.client.get(f"/images/{items[1].image_id}"),
        "DELETE /images/id": lambda: service.client.delete(f"/images/{items[0].image_id}"),
        "POST /snapshots": lambda: service.client.post("/snapshots", json={}),
        "GET /readyz": lambda: service.client.get("/readyz"),
    }
    for _ in range(TIMES):
        own_neo4j.pause()
        stopped = time.monotonic()
        # First on connections that it had, then on new ones.
        while time.monotonic() - stopped < SILENT_S:
            with ThreadPoolExecutor(len(routes)) as pool:
                asked = {name: pool.submit(timed, ask) for name, ask in routes.items()}
                while not all(each.done() for each in asked.values()):
                    assert targets(service).content == answer.content
                    assert service.client.get("/readyz?for=targets").status_code == 200
                    time.sleep(0.2)
            for name, each in asked.items():
                given, seconds = each.result()
                record_property("longest answer, s", round(seconds, 1))
                assert (name, given.status_code) == (name, 503), given.text
                assert "retry-after" in given.headers, name
                assert seconds < ANSWERS_WITHIN_S, name
        concept, seconds = timed(lambda: service.client.get("/v1/concepts/C0032285"))
        assert (concept.status_code, concept.json()["image_count"]) == (200, None)
        assert seconds < ANSWERS_WITHIN_S
        own_neo4j.resume()
        record_property("longest recovery, s", eventually(lambda: service.client.get("/readyz").status_code == 200, 10))
    record_property(f"silences of {SILENT_S} s", TIMES)
    assert upsert(service, items[:25]).status_code == 200
    assert stored(own_neo4j.server) == expected(items[:25])


def test_a_service_on_a_silent_store_looks_once_and_listens(data, targets):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {"KG_STORE": f"bolt://127.0.0.1:{silent.getsockname()[1]}", "KG_STORE_PASSWORD": "x"}
        with closing(Service(data, settings)) as service:
            # The driver's own limit and ours are one: which of them ends the look is chance.
            assert len(re.findall("gave no answer in 3 s|does not answer", service.log())) == 1
            assert targets(service).status_code == 200


def timed(ask):
    begun = time.monotonic()
    return ask(), time.monotonic() - begun
