"""The service is killed again and again, in the middle of a bulk ingest and of requests: nothing lost, doubled or torn."""

import contextlib
import random
import sqlite3
import threading
import time
from contextlib import closing

import httpx2
import pytest
from kg_service.graph import open_store
from nbclip.schemas.images import ImageItem
from support.counts import often
from support.service import Service, upsert
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(often(900, 3_600))]
KILLS = often(5, 50)
READY_WITHIN_S = 10
BATCH = 20
JOB = often(1_500, 4_000)


def as_csv(items):
    quoted = (f'{item.image_id},"{item.caption.replace(chr(34), chr(34) * 2)}"\n' for item in items)
    return "".join(["image_id,caption\n", *quoted]).encode()


def stored_ids(data):
    with closing(sqlite3.connect(f"file:{data / 'graph.sqlite'}?mode=ro", uri=True)) as database:
        return {image_id for (image_id,) in database.execute("SELECT image_id FROM image")}


class Sending:
    """A client of `POST /images` and of bulk ingests that knows what was acknowledged."""

    def __init__(self, items):
        self.items, self.sent, self.acknowledged = items, 0, set()
        self.jobs, self.done, self.given_up = {}, set(), 0
        self.in_jobs = set()

    def go_on(self, service):
        """Until the service is killed."""
        with contextlib.suppress(httpx2.TransportError):
            while True:
                if not self.jobs.keys() - self.done:
                    self.begin_job(service)
                batch = self.items[self.sent % len(self.items) :][:BATCH]
                assert upsert(service, batch).status_code == 200
                self.acknowledged |= {item.image_id for item in batch}
                self.sent += BATCH
                self.look(service)

    def begin_job(self, service):
        rows = self.rows(len(self.jobs))
        # The answer may be lost with the service, and the job not.
        self.in_jobs |= {row.image_id for row in rows}
        self.jobs[self.send_job(service, rows)] = {row.image_id for row in rows}

    def rows(self, number):
        return [ImageItem(image_id=f"job{number}-{item.image_id}", caption=item.caption) for item in self.items[:JOB]]

    def send_job(self, service, rows):
        answer = service.client.post("/jobs/ingest", content=as_csv(rows), headers={"content-type": "text/csv"})
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def look(self, service):
        for job in service.client.get("/jobs").json()["jobs"]:
            if job["id"] not in self.jobs:
                continue
            if job["state"] == "failed" and "died 5 times" in job["error"]:
                # Chance killed its process five times within one transaction; sent again, it goes on.
                assert self.send_job(service, self.rows(list(self.jobs).index(job["id"]))) == job["id"]
                self.given_up += 1
                continue
            assert job["state"] in {"queued", "running", "done"}, job
            if job["state"] == "done":
                assert sum(job["counts"].values()) == JOB
                self.done.add(job["id"])
                self.acknowledged |= self.jobs[job["id"]]


def test_killed_at_random_points_the_service_loses_doubles_and_tears_nothing(data, items, expected, targets, record_property):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    chance, sending, answer = random.Random(seed), Sending(items), None
    for number in range(KILLS):
        begun = time.monotonic()
        service = Service(data, {})
        eventually(
            lambda service=service: service.client.get("/readyz?for=ingest&for=targets").status_code == 200, READY_WITHIN_S
        )
        ready_s = round(time.monotonic() - begun, 1)
        record_property("longest start, s", ready_s)
        print(f"kill {number}: ready {ready_s} s after its start, {len(sending.done)} of {len(sending.jobs)} jobs done")  # noqa: T201
        answer = answer or targets(service).content
        assert targets(service).content == answer
        death = threading.Timer(chance.uniform(0.5, 4), service.kill, [], {"with_children": chance.random() < 0.5})
        death.start()
        sending.go_on(service)
        death.join()
        service.close()
        everything = {item.image_id for item in items} | sending.in_jobs
        assert sending.acknowledged <= stored_ids(data) <= everything
    with closing(Service(data, {})) as service:
        eventually(lambda: sending.look(service) or sending.jobs.keys() == sending.done, 120)
        assert upsert(service, items[:BATCH]).json()["counts"] == {"unchanged": BATCH}
    known = {node.image_id: node for node in expected(items)[0]}
    with closing(open_store(str(data / "graph.sqlite"))) as store:
        found = store.images(limit=100_000)
    for node in found:
        wanted = known[node.image_id.partition("-")[2] if node.image_id.startswith("job") else node.image_id]
        assert (node.caption, node.attributes) == (wanted.caption, wanted.attributes)
    record_property("kills", KILLS)
    record_property("images", len(found))
    record_property("jobs", len(sending.jobs))
    record_property("jobs given up and sent again", sending.given_up)
    assert {node.image_id for node in found} >= sending.acknowledged.union(*sending.jobs.values())
