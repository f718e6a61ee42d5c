"""A process that is killed while it keeps a bulk ingest, writes down how far it is, ends or removes it: all of it or nothing."""

import pytest
from kg_service.jobs.model import IngestOrder, Progress
from kg_service.jobs.receiving import receiving
from kg_service.jobs.retention import tidy
from kg_service.jobs.spool import all_jobs, cancel, read_job
from kg_service.storage.sweeping import sweep
from support.deaths import deaths_of

BODY = b"image_id,caption\na,Pneumothorax.\n"


def keep(jobs):
    with receiving(jobs, IngestOrder(format="csv")) as spooled:
        spooled.write(BODY)
        return spooled.keep()


@pytest.fixture
def dies(memory, record_property):
    """The jobs' folder after each death of what `act(jobs)` gives to be done, swept."""

    def died(act):
        died_at = []
        for call in deaths_of(lambda call: act(memory / str(call))):
            died_at.append(call)
            sweep(memory / str(call))
            assert not list((memory / str(call)).glob(".*"))
            yield memory / str(call)
        record_property("deaths", len(died_at))

    return died


def changes_once(found):
    return found == sorted(found) and set(found) == {False, True}


def test_dying_at_any_write_leaves_no_job_or_a_whole_one(dies):
    found = []

    def act(jobs):
        jobs.mkdir()
        return lambda: keep(jobs)

    for jobs in dies(act):
        left = all_jobs(jobs)
        assert all(job.body.read_bytes() == BODY for job in left)
        found.append(bool(left))
        assert keep(jobs).body.read_bytes() == BODY
        assert len(all_jobs(jobs)) == 1
    assert changes_once(found)


def test_dying_at_any_write_of_progress_leaves_what_it_was_or_what_it_is(dies):
    before, now = Progress(bytes_read=1), Progress(bytes_read=2)

    def act(jobs):
        job = keep(jobs)
        job.save(before)
        return lambda: job.save(now)

    found = []
    for jobs in dies(act):
        (job,) = all_jobs(jobs)
        assert job.progress in (before, now)
        found.append(job.progress == now)
    assert changes_once(found)


def test_dying_at_any_write_of_a_cancellation_leaves_a_job_that_waits_or_a_cancelled_one(dies):
    def act(jobs):
        job = keep(jobs)
        return lambda: cancel(job)

    found = []
    for jobs in dies(act):
        (job,) = all_jobs(jobs)
        found.append(job.state == "cancelled")
        assert job.body.exists() or found[-1]
        cancel(job)
        assert read_job(jobs, job.id).state == "cancelled"
    assert found == sorted(found)


def test_dying_at_any_write_of_a_removal_leaves_a_whole_job_or_none(dies):
    def act(jobs):
        keep(jobs).save(Progress(state="done"))
        return lambda: tidy(jobs, failed_days=0, ended=0)

    found = []
    for jobs in dies(act):
        found.append(not all_jobs(jobs))
        assert found[-1] == (not list(jobs.iterdir()))
        tidy(jobs, failed_days=0, ended=0)
        assert not list(jobs.iterdir())
    assert changes_once(found)
