"""The network between the service and Neo4j fails in every way that toxiproxy knows, and heals."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from support.counts import often
from support.neo4j.choice import Unobtainable
from support.neo4j.server import Neo4jServer
from support.service import upsert
from support.toxiproxy import Proxy, find_toxiproxy
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(often(300, 1_800))]
ANSWERS_WITHIN_S = 12
RECOVERS_WITHIN_S = 10
HARMED_S = often(2, 30)
BATCH = 20
FAULTS = {
    "500 ms late": lambda proxy: proxy.toxic("latency", latency=500, jitter=100),
    "reset": lambda proxy: proxy.toxic("reset_peer", timeout=20),
    "cut off after 2,000 bytes": lambda proxy: proxy.toxic("limit_data", bytes=2_000),
    "cut off in the middle of what is sent": lambda proxy: proxy.toxic("limit_data", "upstream", bytes=5_000),
    "silent": lambda proxy: proxy.toxic("timeout", timeout=0),
    "4 KB a second": lambda proxy: proxy.toxic("bandwidth", rate=4),
    "down": lambda proxy: proxy.down(),
}


@dataclass
class Seen:
    """What clients saw while the network was harmed."""

    statuses: set[int] = field(default_factory=set)
    longest_s: float = 0.0
    acknowledged: list[int] = field(default_factory=list)


@pytest.fixture
def proxy(own_neo4j):
    try:
        program = find_toxiproxy()
    except Unobtainable as error:
        raise pytest.fail.Exception(f"no toxiproxy: {error}", pytrace=False) from None
    with Proxy(program, urlsplit(own_neo4j.server.uri).netloc) as proxy:
        yield proxy


def test_a_network_that_fails_in_any_way_tears_nothing_and_heals(
    own_neo4j, proxy, serve, targets, items, stored, expected, record_property
):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    own = own_neo4j.server
    service = serve(Neo4jServer(f"bolt://127.0.0.1:{proxy.port}", own.user, own.password))
    eventually(lambda: service.client.get("/readyz").status_code == 200, RECOVERS_WITHIN_S)
    answer, left = targets(service), [items[start : start + BATCH] for start in range(0, len(items) - BATCH, BATCH)]
    sent = []
    for name in random.Random(seed).sample(list(FAULTS), often(2, len(FAULTS))):
        with FAULTS[name](proxy):
            batches, seen = writing_through(service, left, targets, answer)
        recovered = time.monotonic()
        eventually(lambda: service.client.get("/readyz").status_code == 200, RECOVERS_WITHIN_S)
        record_property("longest recovery, s", round(time.monotonic() - recovered, 2))
        record_property("longest answer, s", round(seen.longest_s, 2))
        print(f"{name}: {seen.statuses}, {len(seen.acknowledged)} of {len(batches)} acknowledged, {seen.longest_s:.1f} s")  # noqa: T201
        assert seen.statuses <= {200, 503}, name
        assert seen.longest_s < ANSWERS_WITHIN_S, name
        whole_or_not_at_all(own, batches, seen.acknowledged, name)
        for batch in batches:
            assert set(upsert(service, batch).json()["counts"]) <= {"created", "unchanged"}, name
            assert upsert(service, batch).json()["counts"] == {"unchanged": len(batch)}, name
        sent += [item for batch in batches for item in batch]
    record_property("faults", often(2, len(FAULTS)))
    record_property("images", len(sent))
    assert stored(own) == expected(sent)


def writing_through(service, left, targets, answer):
    """Sends batches, one after another, and reads, for `HARMED_S`; targets are answered all the time."""
    begun, batches, seen = time.monotonic(), [], Seen()
    with ThreadPoolExecutor(2) as pool:
        while time.monotonic() - begun < HARMED_S and left:
            batches.append(left.pop())
            writing = pool.submit(timed, lambda: upsert(service, batches[-1]))
            reading = pool.submit(timed, lambda: service.client.get("/images"))
            while not (writing.done() and reading.done()):
                assert targets(service).content == answer.content
                time.sleep(0.05)
            for each in (writing, reading):
                given, seconds = each.result()
                seen.statuses.add(given.status_code)
                seen.longest_s = max(seen.longest_s, seconds)
                assert given.status_code == 200 or "retry-after" in given.headers, given.text
            if writing.result()[0].status_code == 200:
                seen.acknowledged.append(len(batches) - 1)
    return batches, seen


def whole_or_not_at_all(server, batches, acknowledged, name):
    """Every batch of the harmed time is stored whole or not, and those that were acknowledged are."""
    with server.driver() as driver:
        found = {record["id"] for record in driver.execute_query("MATCH (image:Image) RETURN image.image_id AS id").records}
    for number, batch in enumerate(batches):
        held = {item.image_id for item in batch} & found
        assert len(held) in ({len(batch)} if number in acknowledged else {0, len(batch)}), (name, number)


def timed(ask):
    begun = time.monotonic()
    return ask(), time.monotonic() - begun
