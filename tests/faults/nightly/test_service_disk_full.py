"""The disk of the service's data folder is full. A small disk needs a mount namespace, which not every machine of CI allows."""

import subprocess
from contextlib import closing

import pytest
from support.neo4j.disk import SmallDisk
from support.service import Service, upsert
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
DISK_BYTES = 96 << 20
LEFT_BYTES = 1 << 20
BATCH = 50
CSV = {"content-type": "text/csv"}


@pytest.fixture
def disk(tmp_path):
    with closing(SmallDisk(tmp_path / "disk", DISK_BYTES)) as disk:
        yield disk


@pytest.fixture
def serve_on(disk, data, tmp_path):
    """Starts the service on a copy of the data folder on the small disk."""
    there = tmp_path / "disk" / "data"
    subprocess.run([*disk.inside, "cp", "-r", data, there], check=True)
    running = []

    def start():
        running.append(Service(there, {}, inside=disk.inside))
        return running[-1]

    yield start
    for service in running:
        service.close()


def all_images(service):
    found, cursor = {}, None
    while True:
        page = service.client.get("/images", params={"limit": 200} | ({"cursor": cursor} if cursor else {})).json()
        found |= {image["image_id"]: image["caption"] for image in page["images"]}
        if not (cursor := page["next_cursor"]):
            return found


def test_a_full_disk_refuses_what_it_cannot_keep_and_serves_targets(disk, serve_on, targets, items, record_property):
    service = serve_on()
    large = [item.model_copy(update={"caption": item.caption + " -" * 2_000}) for item in items[:2_000]]
    batches = [large[start : start + BATCH] for start in range(0, len(large), BATCH)]
    acknowledged = batches[:1]
    assert upsert(service, batches[0]).status_code == 200
    answer = targets(service)
    disk.fill(LEFT_BYTES)
    for batch in batches[1:]:
        refused = upsert(service, batch)
        assert targets(service).content == answer.content
        if refused.status_code != 200:
            break
        acknowledged.append(batch)
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True), refused.text
    body = b"image_id,caption\n" + b"".join(b'late-%d,"%s"\n' % (number, b"pneumonia " * 20) for number in range(20_000))
    for path, sent in {"/jobs/ingest": {"content": body, "headers": CSV}, "/snapshots": {"json": {}}}.items():
        late = service.client.post(path, **sent)
        assert (late.status_code, "retry-after" in late.headers) == (503, True), (path, late.text)
        assert targets(service).content == answer.content
    assert service.client.get("/readyz").status_code in {200, 503}
    service.process.kill()
    service.process.wait()

    service = serve_on()
    assert targets(service).content == answer.content
    kept = {item.image_id: item.caption for batch in acknowledged for item in batch}
    disk.free()
    eventually(lambda: service.client.get("/readyz").status_code == 200, 10)
    assert all_images(service) == kept
    for batch in batches:
        assert upsert(service, batch).status_code == 200
    job = service.client.post("/jobs/ingest", content=body, headers=CSV).json()
    eventually(lambda: service.client.get(f"/jobs/{job['id']}").json()["state"] == "done", 120)
    assert service.client.post("/snapshots", json={}).status_code == 201
    record_property("images acknowledged until the disk was full", len(kept))
