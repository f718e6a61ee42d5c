"""Neo4j is killed, or restarted, in the middle of an ingest and comes back: nothing is lost, nothing is doubled."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from support.counts import NIGHTLY, often
from support.service import COMMAND, environment, run, upsert
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(often(300, 3_600))]
BATCH = 10
ENDS = ("kill", "stop") if not NIGHTLY else ("kill",) * 20
IMAGES = often(500, 4_000)
RESENT = 500


@dataclass
class Progress:
    """What a client knows of its ingest."""

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    statuses: set[int] = field(default_factory=set)


def send(service, items, progress):
    """In batches, each until it is acknowledged."""
    for start in range(0, len(items), BATCH):
        batch = items[start : start + BATCH]
        ids = {item.image_id for item in batch}
        progress.sent |= ids
        while ids - progress.acknowledged:
            answer = upsert(service, batch)
            progress.statuses.add(answer.status_code)
            if answer.status_code == 200:
                progress.acknowledged |= ids
            elif answer.status_code == 503:
                time.sleep(float(answer.headers["retry-after"]))
            else:
                raise AssertionError(answer.text)


def stored_ids(server):
    with server.driver() as driver:
        return {record["id"] for record in driver.execute_query("MATCH (image:Image) RETURN image.image_id AS id").records}


def test_an_ingest_over_rest_outlives_a_kill_and_a_restart(
    own_neo4j, serve, targets, items, stored, expected, chance, record_property
):
    service, items, progress = serve(own_neo4j.server), items[:IMAGES], Progress()
    answer = targets(service)
    with ThreadPoolExecutor(1) as pool:
        ingest = pool.submit(send, service, items, progress)
        for number, end in enumerate(ENDS):
            before = (0.1 + 0.8 * number / len(ENDS)) * len(items)
            eventually(lambda before=before: ingest.done() or len(progress.acknowledged) > before, 120)
            time.sleep(chance.uniform(0, 0.1))
            assert not ingest.done()
            getattr(own_neo4j, end)()
            acknowledged = set(progress.acknowledged)
            assert targets(service).content == answer.content
            begun = time.monotonic()
            own_neo4j.start()
            record_property("longest restart of Neo4j, s", round(time.monotonic() - begun, 1))
            found = stored_ids(own_neo4j.server)
            assert acknowledged <= found <= progress.sent
        ingest.result()
    assert progress.statuses == {200, 503}
    whole = expected(items)
    assert stored(own_neo4j.server) == whole
    for start in range(0, len(items), RESENT):
        assert upsert(service, items[start : start + RESENT]).json()["counts"] == {"unchanged": RESENT}
    assert stored(own_neo4j.server) == whole
    record_property("ends of Neo4j", len(ENDS))
    record_property("images", len(items))


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_command_outlives_a_kill_and_a_restart(own_neo4j, end, captions_file, settings_for, items, stored, expected, chance):
    file, settings = captions_file(items), settings_for(own_neo4j.server)
    with subprocess.Popen([*COMMAND, "ingest", file], env=environment(settings), stdout=subprocess.PIPE, text=True) as ingest:
        eventually(lambda: ingest.poll() is not None or stored_ids(own_neo4j.server), 60)
        time.sleep(chance.uniform(0, 0.5))
        assert ingest.poll() is None
        getattr(own_neo4j, end)()
        own_neo4j.start()
        found = stored_ids(own_neo4j.server)
        assert found
        assert found <= {item.image_id for item in items}
        said, _ = ingest.communicate(timeout=120)
        assert ingest.returncode == 0
    assert sum(int(part.split()[0]) for part in said.split(", ")[:-1]) == len(items)
    whole = expected(items)
    assert stored(own_neo4j.server) == whole
    code, said, _, _ = run("ingest", file, settings=settings)
    assert (code, said.split(",")[0]) == (0, f"{len(items)} unchanged")
    assert stored(own_neo4j.server) == whole
