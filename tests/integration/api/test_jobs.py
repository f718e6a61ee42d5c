"""Bulk ingests: kept, worked on behind, resumed, cancelled."""

import csv
import gzip
import io
import json
import os
import random
import signal
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from kg_service.graph import open_store
from kg_service.ingest.pipeline import ingest_file
from kg_service.jobs import spool
from kg_service.jobs.model import IngestOrder
from kg_service.jobs.receiving import receiving
from kg_service.jobs.retention import tidy
from kg_service.jobs.spool import read_job
from kg_service.jobs.work import work
from kg_service.linking.builder import build_linker
from kg_service.storage.locks import locked
from kg_service.storage.sweeping import sweep
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import Unavailable
from support.deaths import in_child
from support.waiting import eventually

RECORDED_JOBS = Path(__file__).parents[2] / "compatibility" / "0.1.0" / "data" / "jobs"
CSV = {"content-type": "text/csv"}
ROWS = [(f"job-{number}", f"Chest CT with pleural effusion, case {number}.") for number in range(40)]


def table(rows, delimiter=",", header=("image_id", "caption")):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def content(store):
    return [replace(node, ingested_at="") for node in store.images(limit=1_000)], store.counts()


@pytest.fixture
def linking(vocabulary_folder):
    vocabulary = open_vocabulary(vocabulary_folder)
    return build_linker("dictionary", vocabulary), vocabulary


@pytest.fixture
def ended(client):
    """Waits for a job and gives its last answer."""

    def wait(job_id):
        eventually(lambda: client.get(f"/jobs/{job_id}").json()["state"] in {"done", "failed", "cancelled"}, 60)
        return client.get(f"/jobs/{job_id}").json()

    return wait


@pytest.fixture
def jobs(tmp_path):
    return tmp_path / "jobs"


@pytest.fixture
def store(tmp_path):
    with closing(open_store(str(tmp_path / "worked.sqlite"))) as store:
        yield store


def keep(jobs, body, order=None):
    with receiving(jobs, order or IngestOrder(format="csv")) as spooled:
        spooled.write(body)
        return spooled.keep()


def test_a_job_is_answered_before_it_is_done_and_stores_what_the_command_would(client, data, ended, linking, tmp_path):
    sent = client.post("/jobs/ingest", content=table(ROWS), headers=CSV)
    assert (sent.status_code, sent.json()["state"]) == (202, "queued")
    job_id = sent.json()["id"]
    assert sent.headers["location"] == f"/jobs/{job_id}"
    last = ended(job_id)
    assert (last["state"], last["rows"], last["counts"], last["bad_rows"]) == ("done", 40, {"created": 40}, 0)
    assert last["bytes_read"] == last["bytes_total"] == len(table(ROWS))
    (tmp_path / "rows.csv").write_bytes(table(ROWS))
    with closing(open_store(str(data / "graph.sqlite"))) as graph, closing(open_store(str(tmp_path / "x.sqlite"))) as expected:
        ingest_file(tmp_path / "rows.csv", expected, *linking)
        ids = {node.image_id for node in content(expected)[0]}
        assert [node for node in content(graph)[0] if node.image_id in ids] == content(expected)[0]
    assert not list((data / "jobs" / job_id).glob("body*"))
    again = client.post("/jobs/ingest", content=table(ROWS), headers=CSV).json()
    assert again["id"] != job_id
    assert ended(again["id"])["counts"] == {"unchanged": 40}
    assert [job["id"] for job in client.get("/jobs").json()["jobs"]] == [again["id"], job_id]


def test_each_form_of_a_body_is_read_as_what_its_type_says(jobs, store, linking, client):
    items = "".join(json.dumps({"image_id": image_id, "caption": caption}) + "\n" for image_id, caption in ROWS).encode()
    bodies = {
        "text/csv": table(ROWS),
        "text/tab-separated-values": table(ROWS, "\t", ("ID", "Text")),
        "text/tab-separated-values; header=absent": b"".join(f"{i}\t {caption}\n".encode() for i, caption in ROWS),
        "application/x-ndjson": items,
    }
    graphs = []
    for media_type, body in bodies.items():
        for packed in (False, True):
            headers = {"content-type": media_type} | ({"content-encoding": "gzip"} if packed else {})
            params = {"column": ["image_id=ID", "caption=Text"]} if media_type.endswith("values") else {}
            sent = client.post("/jobs/ingest", content=gzip.compress(body) if packed else body, headers=headers, params=params)
            assert sent.status_code == 202, sent.text
            job = read_job(client.app.state.settings.jobs_folder, sent.json()["id"])
            with closing(open_store(str(jobs.parent / f"{len(graphs)}.sqlite"))) as graph:
                ingest_file(job.body, graph, *linking, options=job.order.options)
                graphs.append(content(graph))
            client.delete(f"/jobs/{job.id}")
    assert len(graphs) == 8
    assert all(graph == graphs[0] for graph in graphs)
    assert graphs[0][1].images == len(ROWS)


def test_bad_rows_are_counted_and_named_by_line_and_end_nothing(jobs, store, linking):
    body = table([*ROWS[:3], ("bad\x01id", "x"), *ROWS[3:]]) + b"only one field\n"
    job = keep(jobs, body)
    work(jobs, store, *linking, batch_size=7)
    done = read_job(jobs, job.id).progress
    assert (done.state, done.counts, done.bad_rows) == ("done", {"created": 40}, 2)
    assert [problem.line for problem in done.problems] == [5, 43]


def test_cuis_that_the_vocabulary_lacks_are_counted_and_named_by_line(client, ended):
    body = b"image_id,caption,cuis\na,x,C0032227\nb,x,C9999998;C9999999\nc,x,C9999999\n"
    last = ended(client.post("/jobs/ingest", content=body, headers=CSV).json()["id"])
    assert last["unknown_cuis"] == 2
    assert last["first_unknown_cuis"] == [
        {"cui": "C9999998", "image_id": "b", "line": 3},
        {"cui": "C9999999", "image_id": "b", "line": 3},
    ]


def test_other_options_are_another_job(jobs):
    plain = keep(jobs, table(ROWS))
    assert keep(jobs, table(ROWS)).id == plain.id
    others = [
        IngestOrder(format="csv", split="train"),
        IngestOrder(format="csv", on_conflict="replace"),
        IngestOrder(format="csv", relink=True),
    ]
    assert len({plain.id, *(keep(jobs, table(ROWS), order).id for order in others)}) == 4


def test_the_name_of_a_job_is_what_it_was_in_0_1_0(jobs):
    waiting = "6c6ae053ff618a39767fc36f77107eca2f4b4c2ff6e21f75069dc690e201b0f4"  # pragma: allowlist secret
    recorded = read_job(RECORDED_JOBS, waiting)
    assert keep(jobs, recorded.body.read_bytes(), recorded.order).id == waiting


def test_a_body_that_is_no_table_fails_with_a_reason_and_a_better_one_is_another_job(client, ended):
    job = client.post("/jobs/ingest", content=b"a,b\n1,2\n", headers=CSV).json()
    last = ended(job["id"])
    assert last["state"] == "failed"
    assert last["error"].startswith("body:1: no column image_id")
    assert "--column" in last["hint"]
    assert client.post("/jobs/ingest", content=b"a,b\n1,2\n", headers=CSV).json()["state"] == "running"


def test_a_cancelled_job_stops_after_its_transaction_and_goes_on_when_it_is_sent_again(jobs, store, linking):
    job = keep(jobs, table(ROWS))

    class CancelledByOther:
        """A linker during whose second batch somebody cancels."""

        name, batches = linking[0].name, 0

        def link(self, captions):
            self.batches += 1
            if self.batches == 2:
                spool.cancel(job)
            return linking[0].link(captions)

    work(jobs, store, CancelledByOther(), linking[1], batch_size=10)
    assert read_job(jobs, job.id).state == "cancelled"
    assert not job.body.exists()
    assert store.counts().images == 20
    assert keep(jobs, table(ROWS)).state == "running"
    work(jobs, store, *linking, batch_size=10)
    done = read_job(jobs, job.id)
    assert (done.state, done.progress.counts) == ("done", {"created": 40})


def test_a_body_that_is_cancelled_goes_at_once_and_may_come_again(jobs, store, linking):
    job = keep(jobs, table(ROWS))
    spool.cancel(job)
    assert not job.body.exists()
    work(jobs, store, *linking)
    assert (read_job(jobs, job.id).state, store.counts().images) == ("cancelled", 0)
    assert keep(jobs, table(ROWS)).body.read_bytes() == table(ROWS)
    work(jobs, store, *linking)
    assert read_job(jobs, job.id).progress.counts == {"created": 40}


def test_a_job_that_is_cancelled_before_its_body_is_opened_has_not_failed(jobs, store, linking, monkeypatch):
    job = keep(jobs, table(ROWS))

    def cancelled_first(path, *arguments, **options):
        spool.cancel(job)
        return ingest_file(path, *arguments, **options)

    monkeypatch.setattr("kg_service.jobs.work.ingest_file", cancelled_first)
    work(jobs, store, *linking)
    assert read_job(jobs, job.id).state == "cancelled"


def age(job, days):
    for path in (*job.folder.iterdir(), job.folder):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 86_400 * days))


def tidied(jobs, **limits):
    tidy(jobs, **{"failed_days": 7, "ended": 100} | limits)


def test_the_body_of_a_failed_job_goes_after_some_days_and_may_come_again(jobs, store, linking):
    bodies = [b"a,b\n1,2\n", b"a,b\n3,4\n"]
    old, new = (keep(jobs, body) for body in bodies)
    work(jobs, store, *linking)
    age(old, 8)
    age(new, 6)
    tidied(jobs)
    assert [job.body.exists() for job in (old, new)] == [False, True]
    assert [read_job(jobs, job.id).state for job in (old, new)] == ["failed", "failed"]
    new.body.unlink()
    assert keep(jobs, bodies[1]).id == new.id
    assert read_job(jobs, new.id).state == "running"
    assert new.body.read_bytes() == bodies[1]


def stored(store, image_id):
    node = store.image(image_id)
    return node and node.caption


def test_a_body_that_comes_again_after_others_or_deletions_is_stored_again(jobs, store, linking):
    replacing = IngestOrder(format="csv", on_conflict="replace")
    first, second = (table([("a", caption)]) for caption in ("Pneumothorax.", "Pleural effusion."))

    def send(*bodies):
        kept = [keep(jobs, body, replacing) for body in bodies]
        work(jobs, store, *linking)
        return kept

    send(first)
    send(second)
    send(first)
    assert stored(store, "a") == "Pneumothorax."
    store.delete_images(["a"])
    send(first)
    assert stored(store, "a") == "Pneumothorax."
    # While the first still waits, too: the last that was sent is what is stored.
    kept = send(second, first, second, second)
    assert stored(store, "a") == "Pleural effusion."
    assert len({job.id for job in kept}) == 3
    assert {job.state for job in spool.all_jobs(jobs)} == {"done"}


def test_a_bomb_fails_and_holds_up_nobody(jobs, store, linking):
    bomb = gzip.compress(b"image_id,caption\n" + (b"a" * (1 << 19) + b"\n") * 160)
    job, other = keep(jobs, bomb, IngestOrder(format="csv", packed=True)), keep(jobs, table(ROWS))
    work(jobs, store, *linking)
    failed = read_job(jobs, job.id).progress
    assert (failed.state, "times as long as packed" in failed.error) == ("failed", True)
    assert read_job(jobs, other.id).state == "done"


@pytest.mark.parametrize("where", ["caption", "dataset", "split"])
def test_nul_is_never_stored(client, ended, where):
    item = {"image_id": "nul", "caption": "Effusion.", where: "a\0b"}
    assert client.post("/images", json={"items": [item]}).status_code == 422
    line = json.dumps(item).encode() + b"\n"
    sent = client.post("/jobs/ingest", content=line, headers={"content-type": "application/x-ndjson"})
    assert ended(sent.json()["id"])["bad_rows"] == 1
    if where != "caption":
        assert client.post("/jobs/ingest", content=table(ROWS), headers=CSV, params={where: "a\0b"}).status_code == 422
    assert client.get("/images/nul").status_code == 404


def test_upkeep_outlives_what_it_meets(service, monkeypatch):
    met = []

    def no_descriptor(*_):
        met.append(1)
        if len(met) < 3:
            raise OSError(24, "Too many open files")
        return False

    monkeypatch.setattr("kg_service.app.upkeep.has_work", no_descriptor)
    monkeypatch.setattr("kg_service.app.upkeep._LOOKS_EVERY_S", 0.01)
    service()
    eventually(lambda: len(met) > 5, 30)


def test_of_jobs_that_have_ended_the_last_ones_are_kept_and_those_that_wait_always(jobs, store, linking):
    ended = [keep(jobs, table(ROWS[number : number + 1])) for number in range(5)]
    work(jobs, store, *linking)
    waiting = keep(jobs, table(ROWS))
    for number, job in enumerate((*ended, waiting)):
        age(job, 20 - number if job in ended else 50)
    tidied(jobs, ended=2)
    assert {job.id for job in spool.all_jobs(jobs)} == {ended[3].id, ended[4].id, waiting.id}
    assert waiting.body.exists()
    assert {path.name for path in jobs.iterdir()} == {".lock", ended[3].id, ended[4].id, waiting.id}


def test_a_removal_that_is_cut_short_leaves_no_half_of_a_job(jobs, store, linking, monkeypatch):
    job = keep(jobs, table(ROWS[:1]))
    work(jobs, store, *linking)

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda *_, **__: None)
        tidied(jobs, ended=0)
    assert spool.all_jobs(jobs) == []
    assert not (jobs / job.id).exists()
    sweep(jobs)
    assert [path.name for path in jobs.iterdir()] == [".lock"]


def test_a_service_tidies_when_it_starts(service, data, store, linking):
    job = keep(data / "jobs", b"a,b\n1,2\n")
    work(data / "jobs", store, *linking)
    age(job, 2)
    service(keep_failed_days=1)
    eventually(lambda: not job.body.exists(), 30)


def test_a_job_that_is_removed_in_work_ends_its_worker_in_peace(jobs, store, linking):
    job = keep(jobs, table(ROWS))

    class RemovedByOther:
        """A linker during whose second batch somebody cancels and removes the job."""

        name, batches = linking[0].name, 0

        def link(self, captions):
            self.batches += 1
            if self.batches == 2:
                spool.cancel(job)
                spool.remove(job)
            return linking[0].link(captions)

    work(jobs, store, RemovedByOther(), linking[1], batch_size=10)
    assert (spool.all_jobs(jobs), [path.name for path in jobs.iterdir()]) == ([], [".lock"])


def test_why_a_queue_stands_still_is_told_in_what_waits(service, data, tmp_path, vocabulary_folder):
    vocabulary = tmp_path / "vocabulary"
    client = service(vocabulary=vocabulary)
    job = client.post("/v1/jobs/ingest", content=table(ROWS[:1]), headers=CSV).json()["id"]
    eventually(lambda: "no vocabulary" in client.get(f"/v1/jobs/{job}").json()["error"], 60)
    vocabulary.symlink_to(vocabulary_folder)
    eventually(lambda: client.get(f"/v1/jobs/{job}").json()["state"] == "done", 60)
    assert client.get(f"/v1/jobs/{job}").json()["error"] == ""


def test_cancelling_what_has_ended_changes_nothing(client, ended):
    job = client.post("/jobs/ingest", content=table(ROWS[:1]), headers=CSV).json()
    assert ended(job["id"])["state"] == "done"
    assert client.delete(f"/jobs/{job['id']}").json()["state"] == "done"
    assert client.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "done"


def test_a_store_that_is_away_leaves_the_job_waiting_with_the_reason(jobs, store, linking):
    job = keep(jobs, table(ROWS))

    class Away:
        """A store that goes away during the second transaction."""

        writes = 0

        def write(self, batch, *, on_conflict="reject"):
            self.writes += 1
            if self.writes == 2:
                raise Unavailable("the store is away", hint="start it")
            return store.write(batch, on_conflict=on_conflict)

    with pytest.raises(Unavailable):
        work(jobs, Away(), *linking, batch_size=10)
    waiting = read_job(jobs, job.id)
    assert (waiting.state, waiting.progress.error, waiting.progress.counts) == ("running", "the store is away", {"created": 10})
    work(jobs, store, *linking, batch_size=10)
    done = read_job(jobs, job.id).progress
    assert (done.state, done.counts, done.error) == ("done", {"created": 40}, "")


def test_a_job_whose_process_dies_at_the_same_place_is_given_up(jobs, store, linking):
    job = keep(jobs, table(ROWS))

    class Dies:
        """A linker that ends the process, as far as a test can."""

        name = linking[0].name

        def link(self, captions):
            raise SystemExit(137)

    for _ in range(5):
        with pytest.raises(SystemExit):
            work(jobs, store, Dies(), linking[1])
    work(jobs, store, *linking)
    failed = read_job(jobs, job.id)
    assert failed.state == "failed"
    assert "died 5 times" in failed.progress.error
    assert keep(jobs, table(ROWS)).state == "running"


def test_a_folder_that_another_process_works_on_is_left_to_it(jobs, store, linking):
    keep(jobs, table(ROWS))
    with locked(jobs, 0), pytest.raises(Unavailable):
        work(jobs, store, *linking)
    assert store.counts().images == 0


@pytest.mark.parametrize(
    ("headers", "params", "status"),
    [
        ({"content-type": "application/json"}, {}, 415),
        ({"content-type": "text/plain"}, {}, 415),
        ({}, {}, 415),
        (CSV | {"content-encoding": "br"}, {}, 415),
        (CSV, {"on_conflict": "maybe"}, 422),
        (CSV, {"column": "colour=red"}, 422),
        (CSV, {"column": "image_id"}, 422),
        (CSV, {"dataset": "x" * 201}, 422),
    ],
)
def test_what_is_not_asked_rightly_is_refused_and_leaves_nothing(client, data, headers, params, status):
    answer = client.post("/jobs/ingest", content=b"image_id,caption\n", headers=headers, params=params)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/jobs").json() == {"jobs": [], "next_cursor": None}
    assert not list((data / "jobs").glob("*")) if (data / "jobs").exists() else True


def test_a_body_over_the_limit_is_refused_as_it_arrives(service, data):
    client = service(max_job_bytes=2_000, max_body_bytes=1_024)
    assert client.post("/jobs/ingest", content=table(ROWS[:20]), headers=CSV).status_code == 202

    def chunks():
        yield from (b"image_id,caption\n", *(b"a,b\n" for _ in range(1_000)))

    assert client.post("/jobs/ingest", content=chunks(), headers=CSV).status_code == 413
    assert len(client.get("/jobs").json()["jobs"]) == 1
    assert {path.name for path in (data / "jobs").iterdir() if path.name != ".lock"} == {
        job["id"] for job in client.get("/jobs").json()["jobs"]
    }


@pytest.mark.parametrize("job_id", ["0" * 64, "%2e%2e", "a/b", "x", "%2e%2e%2fsnapshots"])
def test_a_job_that_is_not_there_is_not_found(client, job_id):
    for method in ("GET", "DELETE"):
        assert client.request(method, f"/jobs/{job_id}").status_code in (404, 405)


def test_killed_at_any_place_it_goes_on_and_stores_each_row_once(jobs, linking, monkeypatch, record_property):
    """The process is killed before it writes to the store, or after, in between store and progress."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201

    class Mortal:
        """A store whose process is killed at some of its writes, before or after them."""

        def __init__(self, opened, chance):
            self.opened, self.chance = opened, chance

        def write(self, batch, *, on_conflict="reject"):
            self.perhaps_die()
            report = self.opened.write(batch, on_conflict=on_conflict)
            self.perhaps_die()
            return report

        def perhaps_die(self):
            if self.chance.random() < 0.3:
                os.kill(os.getpid(), signal.SIGKILL)

    job, path = keep(jobs, table(ROWS)), str(jobs.parent / "graph.sqlite")
    monkeypatch.setattr("kg_service.jobs.attempts._ATTEMPTS", 1_000)

    def worked(number):
        with closing(open_store(path)) as opened:
            work(jobs, Mortal(opened, random.Random(seed + number)), *linking, batch_size=4)

    for deaths in range(500):
        status = in_child(partial(worked, deaths))
        assert status in (0, -signal.SIGKILL)
        if status == 0:
            break
        with closing(open_store(path)) as store:
            stored = store.counts().images
        acknowledged = read_job(jobs, job.id).progress
        assert sum(acknowledged.counts.values()) <= stored <= len(ROWS)
    record_property("deaths", deaths)
    with closing(open_store(path)) as store:
        stored = {node.image_id for node in store.images(limit=1_000)}
    done = read_job(jobs, job.id).progress
    assert done.state == "done"
    assert sum(done.counts.values()) == len(ROWS)
    assert stored == {image_id for image_id, _ in ROWS}


def test_a_disk_without_room_refuses_the_body_and_keeps_nothing(client, data, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = client.post("/jobs/ingest", content=table(ROWS), headers=CSV)
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["detail"]) == (503, "the body can't be stored: No space left on device")
    assert client.get("/jobs").json() == {"jobs": [], "next_cursor": None}
    assert [path.name for path in (data / "jobs").iterdir() if path.name != ".lock"] == []
