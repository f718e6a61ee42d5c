"""Neo4j is not there, or refuses the login."""

import pytest
from support.service import run, upsert
from support.waiting import eventually

pytestmark = pytest.mark.slow
# The start of Python and the vocabulary included; bulk work waits a minute for a server that restarts.
ENDS_WITHIN_S = 30


def test_a_service_that_starts_without_its_store_answers_targets_and_takes_the_store_up(
    own_neo4j, serve, settings_for, targets, items, captions_file, stored, expected
):
    file = captions_file(items[:100])
    own_neo4j.stop()
    service = serve(own_neo4j.server)
    assert service.client.get("/livez").status_code == 200
    ready = service.client.get("/readyz")
    assert (ready.status_code, [error["where"] for error in ready.json()["errors"]]) == (503, ["store"])
    assert service.client.get("/readyz?for=targets").status_code == 200
    answer = targets(service)
    assert answer.status_code == 200
    refused = upsert(service, items[:10])
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:nbclip:problem:unavailable")
    assert "retry-after" in refused.headers

    code, _, said, seconds = run("ingest", file, settings=settings_for(own_neo4j.server))
    assert (code, len(said.splitlines())) == (75, 2), said
    assert said.startswith("error: ")
    assert seconds < ENDS_WITHIN_S

    own_neo4j.start()
    eventually(lambda: service.client.get("/readyz").status_code == 200, 10)
    assert upsert(service, items[:10]).json()["counts"] == {"created": 10}
    assert targets(service).content == answer.content
    assert stored(own_neo4j.server) == expected(items[:10])


@pytest.mark.parametrize("command", ["serve", "ingest"])
def test_a_wrong_password_ends_the_command_at_once_and_locks_nobody_out(
    own_neo4j, settings_for, captions_file, data, items, command
):
    file = captions_file(items[:100])
    settings = settings_for(own_neo4j.server, KG_STORE_PASSWORD="not the password")
    refused_before = refusals(own_neo4j)
    arguments = ["serve", "--uds", data / "socket"] if command == "serve" else ["ingest", file]
    code, _, said, seconds = run(*arguments, settings=settings, timeout_s=60)
    assert (code, len(said.splitlines())) == (2, 2), said
    assert said.startswith("error: ")
    assert "not the password" not in said
    assert seconds < ENDS_WITHIN_S
    assert refusals(own_neo4j) - refused_before == 1
    code, said, _, _ = run("ingest", file, settings=settings_for(own_neo4j.server))
    assert (code, said.split(",")[0]) == (0, "100 created")


def refusals(own):
    return own.log("debug").count("unauthorized due to authentication failure")
