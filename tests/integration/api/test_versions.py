"""`/v1`, the bare paths beside it, `/`, HEAD and Allow."""

import pytest
from kg_service.api.problems import MEDIA_TYPE
from nbclip.schemas.concepts import ConceptOut
from nbclip.schemas.explanations import ExplainRequest
from pydantic import ValidationError

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
ASKED = {
    "/images": None,
    "/images/effusion": None,
    "/images/case/7/a.png": None,
    "/images/case/7/a.png/neighbours": None,
    "/concepts?q=pleural": None,
    "/concepts/C0032227": None,
    "/jobs": None,
    "/snapshots": None,
    "/info": None,
    "/link": {"captions": ["Pleural effusion."]},
    "/targets": {"image_ids": ["effusion", "fracture"]},
    "/representations": {"image_ids": ["effusion"]},
    "/explain": {"image_id": "effusion", "other_id": "effusion too"},
}


@pytest.mark.parametrize("path", ASKED)
def test_a_path_without_a_version_is_an_alias(reader, path):
    body = ASKED[path]
    method = "POST" if body else "GET"
    newest, alias = (reader.request(method, prefix + path, json=body) for prefix in ("/v1", ""))
    assert newest.status_code == 200
    assert newest.content == alias.content


def test_another_version_is_not_there(reader, problem):
    problem(reader.get("/v2/info"), 404, "not-found")
    for path in ("/v1/livez", "/v1/readyz", "/v1/metrics", "/v1/ui", "/v1/docs", "/v1"):
        assert reader.get(path).status_code == 404


def test_where_a_job_is_is_told_in_the_words_of_the_client(client):
    body, headers = b"image_id,caption\nz,Lung.\n", {"content-type": "text/csv"}
    for prefix in ("/v1", ""):
        sent = client.post(f"{prefix}/jobs/ingest", content=body, headers=headers)
        assert sent.headers["location"] == f"{prefix}/jobs/{sent.json()['id']}"
        assert client.get(sent.headers["location"]).status_code == 200


def test_the_entrance_leads_people_to_the_page_and_names_the_routes_for_programs(reader, problem):
    to_page = reader.get("/", headers={"accept": HTML}, follow_redirects=False)
    assert (to_page.status_code, to_page.headers["location"]) == (307, "/ui")
    assert reader.get("/", headers={"accept": HTML}).headers["content-type"].startswith("text/html")
    for accept in ("*/*", "application/json"):
        found = reader.get("/", headers={"accept": accept})
        assert found.headers["vary"] == "Accept"
        assert found.json()["api"] == "v1"
        assert found.json()["routes"]["POST /v1/targets"].startswith("Soft targets")
        assert all(reader.get(path).status_code == 200 for path in found.json()["links"].values())
    problem(reader.get("/", headers={"accept": "image/png"}), 406, "not-acceptable")


@pytest.mark.parametrize(
    "path", ["/", "/livez", "/readyz", "/docs", "/ui", "/v1/info", "/v1/images/effusion", "/metrics", "/images"]
)
def test_head_is_get_without_the_body(reader, path):
    got, head = reader.get(path), reader.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    changing = {"x-request-id", "content-length"} if path == "/metrics" else {"x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in got.headers.items() if k not in changing
    }


def test_head_of_vectors_tells_their_size(reader):
    snapshot = reader.get("/v1/info").json()["snapshot"]
    path = f"/v1/snapshots/{snapshot}/embeddings"
    assert reader.head(path).headers["content-length"] == str(len(reader.get(path).content))
    assert reader.head("/v1/images/nobody").status_code == 404
    assert reader.head("/v1/targets").status_code == 405


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/images", {"GET", "HEAD", "POST"}),
        ("PUT", "/images/effusion", {"GET", "HEAD", "DELETE"}),
        ("GET", "/v1/targets", {"POST"}),
        ("OPTIONS", "/v1/jobs/x", {"GET", "HEAD", "DELETE"}),
        ("GET", "/v1/jobs/x/cancel", {"POST"}),
        ("POST", "/livez", {"GET", "HEAD"}),
        ("POST", "/neo4j-browser/guide.md", {"GET", "HEAD"}),
    ],
)
def test_a_refused_method_is_told_all_that_are_allowed(reader, problem, method, path, allowed):
    answer = reader.request(method, path)
    problem(answer, 405, "method-not-allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


def test_every_answer_of_a_file_that_is_not_there_is_a_problem(reader):
    for path in ("/docs/nothing", "/neo4j-browser/nothing", "/v1/nothing"):
        answer = reader.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, MEDIA_TYPE)


def test_a_client_reads_answers_of_later_versions_and_none_sends_what_is_unknown(reader, problem):
    later = reader.get("/v1/concepts/C0032227").json() | {"colour": "red"}
    later["parents"] = [each | {"weight": 1} for each in later["parents"]]
    assert ConceptOut.model_validate(later).name == "Pleural Effusion"
    asked = {"image_id": "effusion", "other_id": "fracture", "colour": "red"}
    with pytest.raises(ValidationError, match="colour"):
        ExplainRequest.model_validate(asked)
    problem(reader.post("/v1/explain", json=asked), 422, "invalid-input")
