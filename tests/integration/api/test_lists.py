"""Every list is read to its end by cursors: each entry once, in one order."""

import pytest

BROKEN = ["!", "a", "é", "____"]


def pages(client, path, field, **params):
    found, cursor = [], ""
    for _ in range(100):
        body = client.get(path, params={"cursor": cursor, **params}).json()
        found.append(body[field])
        cursor = body["next_cursor"]
        if cursor is None:
            return found
    raise AssertionError("no end")


def test_concepts(reader):
    whole = reader.get("/v1/concepts", params={"q": "pul", "limit": 100}).json()["concepts"]
    found = pages(reader, "/v1/concepts", "concepts", q="pul", limit=7)
    assert [len(page) for page in found[:-1]] == [7] * (len(found) - 1)
    every = [each["cui"] for page in found for each in page]
    assert every[:100] == [each["cui"] for each in whole]
    assert len(every) == len(set(every))


def test_jobs(client):
    sent = []
    for number in range(5):
        body = f"image_id,caption\n{number},Lung.\n".encode()
        sent.append(client.post("/v1/jobs/ingest", content=body, headers={"content-type": "text/csv"}).json()["id"])
    found = pages(client, "/v1/jobs", "jobs", limit=2)
    assert [len(page) for page in found] == [2, 2, 1]
    assert [each["id"] for page in found for each in page] == sent[::-1]
    assert [each["id"] for page in pages(client, "/v1/jobs", "jobs", limit=5) for each in page] == sent[::-1]


def test_snapshots(client, problem):
    ids = [client.get("/v1/info").json()["snapshot"]]
    for number in range(3):
        client.post("/v1/images", json={"items": [{"image_id": f"n{number}", "caption": "Pneumonia."}]})
        ids.append(client.post("/snapshots", json={}).json()["id"])
    found = pages(client, "/v1/snapshots", "snapshots", limit=3)
    assert [[each["id"] for each in page] for page in found] == [ids[:0:-1], ids[:1]]
    cursor = client.get("/v1/snapshots", params={"limit": 2}).json()["next_cursor"]
    assert client.delete(f"/v1/snapshots/{ids[2]}").status_code == 204
    problem(client.get("/v1/snapshots", params={"cursor": cursor}), 410, "gone")


@pytest.mark.parametrize("path", ["/v1/images", "/v1/jobs", "/v1/concepts"])
@pytest.mark.parametrize("cursor", BROKEN)
def test_what_is_no_cursor_is_refused(reader, problem, path, cursor):
    body = problem(reader.get(path, params={"cursor": cursor, "q": "x"}), 422, "invalid-input")
    assert "cursor" in body["detail"]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/concepts"])
def test_the_cursor_of_another_list_is_refused(reader, problem, path):
    other = reader.get("/v1/images", params={"limit": 1}).json()["next_cursor"]
    problem(reader.get(path, params={"cursor": other, "q": "x"}), 422, "invalid-input")
