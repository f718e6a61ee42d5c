"""The disk of Neo4j is full."""

import pytest
from support.service import run, upsert
from support.waiting import eventually

pytestmark = pytest.mark.slow
BATCH = 100


def test_a_full_disk_loses_nothing_that_was_acknowledged(
    make_own_neo4j, tmp_path, serve, settings_for, captions_file, targets, items, stored, expected
):
    own = make_own_neo4j(tmp_path / "server", disk_bytes=128 << 20)
    own.start()
    service = serve(own.server)
    large = [item.model_copy(update={"caption": item.caption + " -" * 2_000}) for item in items[:700]]
    batches = [large[start : start + BATCH] for start in range(0, len(large), BATCH)]
    assert upsert(service, batches[0]).status_code == 200
    answer = targets(service)

    own.fill_disk(leaving=2 << 20)
    acknowledged = [batches[0]]
    for batch in batches[1:]:
        refused = upsert(service, batch)
        if refused.status_code != 200:
            break
        acknowledged.append(batch)
    assert refused.status_code == 503, refused.text
    assert "retry-after" in refused.headers
    assert "restart" in refused.json()["detail"] + refused.json()["hint"]
    assert "disk" in refused.json()["detail"] + refused.json()["hint"]
    assert targets(service).content == answer.content
    ready = service.client.get("/readyz")
    assert (ready.status_code, [error["where"] for error in ready.json()["errors"]]) == (503, ["store"])
    code, _, said, _ = run("ingest", captions_file(items[-100:]), settings=settings_for(own.server))
    assert (code, len(said.splitlines())) == (75, 2), said
    assert "restart" in said

    own.free_disk()
    own.kill()
    own.start()
    eventually(lambda: service.client.get("/readyz").status_code == 200, 10)
    assert stored(own.server) == expected([item for batch in acknowledged for item in batch])
    for sent in batches:
        assert upsert(service, sent).status_code == 200
    assert stored(own.server) == expected(large)
