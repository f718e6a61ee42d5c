"""Every route with every kind of key; a route that the table lacks fails."""

import pytest
from kg_service.api.application import create_app
from kg_service.api.auth import Guard
from kg_service.app.keys import add_key, read_keys
from kg_service.config import Settings
from nbclip.errors import Unauthorized
from starlette.routing import Mount

OPEN = {f"GET {path}" for path in ("/", "/livez", "/readyz", "/ui", "/docs", "/openapi.json")}
FILES = {"GET /docs/{name}", "GET /ui/{name}"}
BROWSER = {f"GET /neo4j-browser/{file}" for file in ("guide.md", "style.grass", "queries.zip")}
"""Served by an application of their own, mounted; they hold nothing of the graph."""
FORMER = {
    "POST /images": "ingest",
    "GET /images": "read",
    "GET /images/{image_id:path}": "read",
    "DELETE /images/{image_id:path}": "ingest",
    "GET /images/{image_id:path}/neighbours": "read",
    "POST /jobs/ingest": "ingest",
    "GET /jobs": "ingest",
    "GET /jobs/{job_id}": "ingest",
    "DELETE /jobs/{job_id}": "ingest",
    "POST /link": "read",
    "GET /concepts": "read",
    "GET /concepts/{cui}": "read",
    "POST /targets": "read",
    "POST /representations": "read",
    "POST /explain": "read",
    "POST /snapshots": "admin",
    "GET /snapshots": "read",
    "GET /snapshots/{snapshot_id}": "read",
    "GET /snapshots/{snapshot_id}/embeddings": "read",
    "GET /snapshots/{snapshot_id}/images": "read",
    "GET /info": "read",
}
"""What 0.1.0 had."""
LATER = {
    "POST /jobs/{job_id}/cancel": "ingest",
    "DELETE /snapshots/{snapshot_id}": "admin",
    "GET /concepts/surroundings": "read",
    "GET /images/{image_id:path}/thumbnail": "read",
}
SCOPES = {
    **FORMER,
    **LATER,
    **{route.replace(" /", " /v1/"): scope for route, scope in (FORMER | LATER).items()},
    "GET /metrics": "read",
}


def routes(app):
    """Method and path of every route of the app, those of its routers too."""
    flat = []
    for route in app.routes:
        contexts = getattr(route, "effective_route_contexts", None)
        flat += list(contexts()) if contexts else [] if isinstance(route, Mount) else [route]
    return {f"{method} {route.path}" for route in flat for method in route.methods - {"HEAD"}}


def request(client, route, headers):
    method, path = route.split()
    return client.request(method, path, headers=headers, json={} if method == "POST" else None)


def test_the_table_has_every_route(tmp_path):
    app = create_app(Settings(data=tmp_path))
    assert routes(app) == OPEN | FILES | SCOPES.keys()
    assert [route.path for route in app.routes if isinstance(route, Mount)] == ["/neo4j-browser"]


@pytest.mark.parametrize("holder", ["none", "wrong", "read", "ingest", "admin"])
def test_a_key_opens_the_routes_of_its_scope_and_no_other(service, keys, holder):
    client = service()
    secret = {"none": None, "wrong": "nbkg_" + "x" * 43}.get(holder, keys.get(holder))
    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    for route in OPEN | BROWSER:
        assert request(client, route, headers).status_code == 200, route
    for route, scope in SCOPES.items():
        status = request(client, route, headers).status_code
        if holder in ("none", "wrong"):
            assert status == 401, route
        elif holder in (scope, "admin"):
            assert status not in (401, 403), route
        else:
            assert status == 403, route


def test_without_a_keys_file_every_route_is_open_on_this_machine(client):
    for route in OPEN | SCOPES.keys():
        assert request(client, route, {}).status_code not in (401, 403), route


def test_the_first_key_closes_a_running_service(client, data):
    assert client.get("/info").status_code == 200
    secret = add_key(data / "keys.json", "first", ["read"])
    assert client.get("/info").status_code == 401
    assert client.get("/info", headers={"authorization": f"Bearer {secret}"}).status_code == 200


def test_the_answer_says_what_is_missing(service, keys, problem):
    client = service()
    body = problem(client.get("/info"), 401, "unauthorized")
    assert "Bearer" in body["hint"]
    assert client.get("/info").headers["www-authenticate"] == "Bearer"
    refused = client.post("/snapshots", json={}, headers={"authorization": f"Bearer {keys['read']}"})
    assert "admin" in problem(refused, 403, "forbidden")["detail"]


def test_where_the_last_key_was_removed_the_answer_says_so(service, keys, data, command, problem):
    client = service()
    names = [key.name for key in read_keys(data / "keys.json")]
    for name in names:
        assert "key is left" not in command("keys", "list", "--data", data)[2]
        _, _, err = command("keys", "remove", name, "--data", data)
        assert ("no key is left" in err) == (name == names[-1])
    for headers in ({}, {"authorization": f"Bearer {keys['read']}"}):
        body = problem(client.get("/info", headers=headers), 401, "unauthorized")
        assert body["detail"].endswith("none is left")
        assert body["hint"] == "make one: kg-service keys add NAME --scope read"
    secret = add_key(data / "keys.json", "again", ["read"])
    assert client.get("/info", headers={"authorization": f"Bearer {secret}"}).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer \xe9", "Bearer x y", "bearer"])
def test_a_header_of_another_kind_is_no_key(service, keys, header):
    answer = service().get("/info", headers={"authorization": header.encode("latin-1")})
    assert answer.status_code == 401


def test_two_keys_are_valid_at_once_and_a_change_of_the_file_is_taken_up(service, keys, data):
    client = service()
    second = add_key(data / "keys.json", "second", ["read"])
    for secret in (keys["read"], second):
        assert client.get("/info", headers={"authorization": f"Bearer {secret}"}).status_code == 200
    (data / "keys.json").write_text('{"keys": []}')
    assert client.get("/info", headers={"authorization": f"Bearer {second}"}).status_code == 401


@pytest.mark.parametrize("damage", ["unlink", "{", '{"keys": [{"name": "x"}]}'])
def test_a_keys_file_that_can_not_be_read_closes_the_service_and_tells_no_path(service, keys, data, damage, problem):
    client = service()
    assert client.get("/info").status_code == 401
    path = data / "keys.json"
    if damage == "unlink":
        path.unlink()
    else:
        path.write_text(damage)
    answer = client.get("/info", headers={"authorization": f"Bearer {keys['admin']}"})
    problem(answer, 503, "unavailable")
    assert str(data) not in answer.text


def test_too_many_wrong_keys_are_answered_429_and_right_ones_still_pass(service, keys, problem):
    client = service(max_failed_keys=3)
    wrong = [client.get("/info", headers={"authorization": "Bearer wrong"}) for _ in range(5)]
    assert [answer.status_code for answer in wrong] == [401, 401, 401, 429, 429]
    assert problem(wrong[-1], 429, "busy")
    assert wrong[-1].headers["retry-after"]
    assert client.get("/info", headers={"authorization": f"Bearer {keys['read']}"}).status_code == 200


def test_keys_are_stored_as_digests_and_never_logged(service, keys, data, capsys):
    client = service()
    for secret in (*keys.values(), "nbkg_wrong"):
        client.get("/info", headers={"authorization": f"Bearer {secret}"})
    logged = capsys.readouterr()
    for secret in (*keys.values(), "nbkg_wrong"):
        assert secret not in logged.out + logged.err
        assert secret not in (data / "keys.json").read_text()
    assert "key=reader" in logged.out
    assert (data / "keys.json").stat().st_mode & 0o777 == 0o600


def test_a_keys_file_that_is_lost_before_the_first_request_leaves_the_service_closed(tmp_path):
    settings = Settings(data=tmp_path)
    add_key(settings.keys_path, "somebody", ["read"])
    guard = Guard(settings)
    settings.keys_path.unlink()
    with pytest.raises(Unauthorized):
        guard.admit(None, "admin", "192.0.2.1")
    with pytest.raises(Unauthorized):
        Guard(Settings(data=tmp_path, keys_file=tmp_path / "named.json")).admit(None, "admin", "192.0.2.1")
