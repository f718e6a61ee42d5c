"""Publications as jobs: behind the answer, told by stage, cancelled, and done again where the service was killed."""

import time
from contextlib import closing

import pytest
from kg_service.jobs.attempts import begin, give_back_attempt
from kg_service.jobs.model import IngestOrder, Progress, PublishOrder
from kg_service.jobs.publishing import order_publication, publish_waiting
from kg_service.jobs.receiving import receiving
from kg_service.jobs.spool import all_jobs, cancel, pending, read_job
from kg_service.snapshot import SnapshotFolder
from kg_service.storage.locks import locked
from nbclip.errors import Conflict, Unavailable
from support.deaths import deaths_of
from support.service import Service, run
from support.waiting import eventually

LATER = {"items": [{"image_id": "later", "caption": "Pneumonia.", "split": "train"}]}
ORDER = PublishOrder(kind="publish", split="train")
ENDLESS = {"KG_REPRESENTATIONS": "transe", "KG_TRANSE_EPOCHS": "100000000"}
SHORT = {**ENDLESS, "KG_TRANSE_EPOCHS": "1"}


@pytest.fixture
def jobs(tmp_path):
    return tmp_path / "jobs"


def never():
    raise AssertionError("nobody cancelled")


def job_at(client, location, what, within_s=120):
    eventually(lambda: what(client.get(location).json()), within_s)
    return client.get(location).json()


def is_over(job):
    return job["state"] in {"done", "failed", "cancelled"}


def test_it_is_answered_before_it_is_done_and_becomes_the_current_snapshot(client, data, problem):
    client.post("/v1/images", json=LATER)
    sent = client.post("/v1/snapshots", json={"split": "train"})
    assert (sent.status_code, sent.json()["kind"], sent.json()["state"]) == (202, "publish", "queued")
    assert sent.headers["location"] == f"/v1/jobs/{sent.json()['id']}"
    done = job_at(client, sent.headers["location"], is_over)
    assert (done["state"], done["fraction"], done["error"]) == ("done", 1.0, "")
    assert client.get("/v1/info").json()["snapshot"] == done["snapshot"]
    assert client.get(f"/v1/snapshots/{done['snapshot']}").json()["manifest"]["images"] == 9
    assert client.get("/v1/jobs").json()["jobs"] == [done]
    assert client.delete(sent.headers["location"]).status_code == 204
    problem(client.get(sent.headers["location"]), 404, "not-found")


def test_who_can_wait_is_answered_when_it_is_published(client):
    answer = client.post("/v1/snapshots", json={}, headers={"prefer": "respond-async, wait=60"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "wait=60")
    assert answer.json()["current"]
    assert client.get(answer.headers["location"]).json() == answer.json()
    hasty = client.post("/v1/snapshots", json={}, headers={"prefer": "wait=0"})
    assert (hasty.status_code, hasty.headers["location"]) == (202, f"/v1/jobs/{hasty.json()['id']}")
    failed = client.post("/v1/snapshots", json={"split": "nowhere"}, headers={"prefer": "wait=60"})
    assert (failed.status_code, failed.json()["state"]) == (202, "failed")
    assert "no image of split 'nowhere'" in failed.json()["error"]


def test_an_append_is_answered_at_once(service):
    client = service(compact_after=0)
    client.post("/v1/images", json=LATER)
    made = client.post("/v1/snapshots", json={"append": True})
    assert (made.status_code, made.json()["append"]["appended"]) == (201, 1)
    assert made.headers["location"] == f"/v1/snapshots/{made.json()['id']}"


def test_what_waits_is_ordered_once_and_what_is_at_work_is_ordered_anew(jobs):
    first = order_publication(jobs, ORDER)
    assert order_publication(jobs, ORDER).id == first.id
    assert order_publication(jobs, PublishOrder(kind="publish")).id != first.id
    first.save(Progress(attempts=1))
    assert order_publication(jobs, ORDER).id != first.id


def test_it_is_told_stage_by_stage(jobs):
    job, told = order_publication(jobs, ORDER), []

    def publish(order, on_stage):
        for number, stage in enumerate(("reading the graph", "fitting hybrid", "writing")):
            on_stage(stage, number / 3)
            told.append((read_job(jobs, job.id).progress.stage, order.split))
        return "f" * 64

    publish_waiting(jobs, publish, never)
    assert told == [(stage, "train") for stage in ("reading the graph", "fitting hybrid", "writing")]
    done = read_job(jobs, job.id)
    assert (done.state, done.progress.snapshot, done.progress.fraction) == ("done", "f" * 64, 1.0)
    assert pending(jobs, "publish") == []


def test_a_store_that_is_away_leaves_it_waiting_with_the_reason_and_a_mistake_ends_it(jobs):
    job, errors = order_publication(jobs, ORDER), [Unavailable("away"), OSError(28, "No space left on device")]

    def publish(order, on_stage):
        raise errors.pop(0) if errors else Conflict("no image has a concept", hint="look")

    for reason in ("away", "the snapshot can't be written: No space left on device"):
        with pytest.raises(Unavailable):
            publish_waiting(jobs, publish, never)
        assert (read_job(jobs, job.id).state, read_job(jobs, job.id).progress.error) == ("running", reason)
    publish_waiting(jobs, publish, never)
    failed = read_job(jobs, job.id)
    assert (failed.state, failed.progress.error, failed.progress.hint) == ("failed", "no image has a concept", "look")


def test_a_publication_whose_process_always_dies_is_given_up(jobs):
    job = order_publication(jobs, ORDER)

    def publish(order, on_stage):
        on_stage("fitting transe", 0.5)
        raise SystemExit(137)

    for _ in range(5):
        with pytest.raises(SystemExit):
            publish_waiting(jobs, publish, never)
    publish_waiting(jobs, publish, never)
    assert "died 5 times" in read_job(jobs, job.id).progress.error


def test_a_folder_that_another_process_publishes_from_is_left_to_it(jobs):
    job = order_publication(jobs, ORDER)
    with locked(jobs, 0, name=".publishing.lock"), pytest.raises(Unavailable):
        publish_waiting(jobs, lambda *_: "f" * 64, never)
    assert read_job(jobs, job.id).state == "queued"


def test_kinds_do_not_wait_for_each_other(jobs):
    publication = order_publication(jobs, ORDER)
    with receiving(jobs, IngestOrder(format="csv")) as spooled:
        spooled.write(b"image_id,caption\n")
        ingest = spooled.keep()
    assert [job.id for job in pending(jobs, "publish")] == [publication.id]
    assert [job.id for job in pending(jobs, "ingest")] == [ingest.id]
    cancel(publication)
    assert (pending(jobs, "publish"), len(all_jobs(jobs))) == ([], 2)


def test_dying_at_any_write_leaves_no_order_or_a_whole_one(tmp_path, record_property):
    found = []
    for call in deaths_of(lambda call: lambda: order_publication(tmp_path / str(call), ORDER)):
        found.append(len(pending(tmp_path / str(call), "publish")))
        assert order_publication(tmp_path / str(call), ORDER).order == ORDER
        assert len(all_jobs(tmp_path / str(call))) == 1
    assert set(found) == {0, 1}
    record_property("deaths", len(found))


def test_who_may_not_publish_may_not_cancel_a_publication(service, keys, data, problem):
    client = service()
    job = order_publication(data / "jobs", PublishOrder(kind="publish", split="nowhere"))
    ingester, admin = ({"authorization": f"Bearer {keys[scope]}"} for scope in ("ingest", "admin"))
    assert client.get(f"/v1/jobs/{job.id}", headers=ingester).status_code == 200
    problem(client.post(f"/v1/jobs/{job.id}/cancel", headers=ingester), 403, "forbidden")
    problem(client.delete(f"/jobs/{job.id}", headers=ingester), 403, "forbidden")
    assert client.post(f"/v1/jobs/{job.id}/cancel", headers=admin).status_code == 200
    assert client.delete(f"/v1/jobs/{job.id}", headers=admin).status_code == 204


def test_cancel_ends_a_long_one_and_delete_only_what_is_over(data, vocabulary_folder, problem):
    settings = {"KG_VOCABULARY": str(vocabulary_folder), **ENDLESS}
    before = SnapshotFolder(data / "snapshots").ids()
    with closing(Service(data, settings)) as service:
        client = service.client
        location = client.post("/v1/snapshots", json={}).headers["location"]
        at_work = job_at(client, location, lambda job: job["stage"] == "fitting transe")
        assert (at_work["state"], 0 < at_work["fraction"] < 1) == ("running", True)
        problem(client.delete(location), 409, "conflict")
        assert client.post(f"{location}/cancel").json()["state"] == "cancelled"
        again = client.post("/v1/snapshots", json={"split": "nowhere"}).headers["location"]
        # The process that would have fitted for days is gone, or this one would wait.
        assert job_at(client, again, is_over)["state"] == "failed"
        assert client.get(location).json()["state"] == "cancelled"
        assert client.delete(location).status_code == 204
    assert SnapshotFolder(data / "snapshots").ids() == before


def test_a_service_that_is_killed_at_work_publishes_after_its_start(data, vocabulary_folder):
    settings = {"KG_VOCABULARY": str(vocabulary_folder)}
    (first,) = SnapshotFolder(data / "snapshots").ids()
    with closing(Service(data, settings | ENDLESS)) as service:
        location = service.client.post("/v1/snapshots", json={"split": "train"}).headers["location"]
        job_at(service.client, location, lambda job: job["stage"] == "fitting transe")
        time.sleep(0.2)
        service.kill(with_children=True)
    with closing(Service(data, settings | SHORT)) as service:
        done = job_at(service.client, location, is_over)
        assert (done["state"], done["error"]) == ("done", "")
        assert service.client.get("/v1/info").json()["snapshot"] == done["snapshot"] != first
        assert service.client.get("/readyz?for=targets").status_code == 200
    code, said, _, _ = run("snapshot", "verify", "--data", data, settings=settings)
    assert (code, said.count("whole")) == (0, 2)
    assert {path.name for path in (data / "snapshots").iterdir()} == {".lock", "CURRENT", first, done["snapshot"]}


def test_a_stop_on_purpose_does_not_count_against_a_publication(jobs):
    job = order_publication(jobs, ORDER)
    for _ in range(12):
        assert begin(read_job(jobs, job.id))
        give_back_attempt(jobs, "publish")
    assert read_job(jobs, job.id).progress.attempts == 0
