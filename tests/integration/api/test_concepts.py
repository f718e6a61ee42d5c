"""GET /concepts and POST /link."""

import pytest


def test_a_concept_shows_its_names_neighbours_and_image_count(reader):
    concept = reader.get("/concepts/C0032227").json()
    assert concept["name"] == "Pleural Effusion"
    assert concept["names"][0] == concept["name"]
    assert concept["semantic_types"]
    parents = {parent["cui"] for parent in concept["parents"]}
    assert parents
    assert parents <= {ancestor["cui"] for ancestor in concept["ancestors"]}
    assert concept["image_count"] == 2


def test_a_parent_has_the_concept_among_its_children(reader):
    parent = reader.get("/concepts/C0032227").json()["parents"][0]["cui"]
    assert "C0032227" in {child["cui"] for child in reader.get(f"/concepts/{parent}").json()["children"]}


def test_a_search_finds_by_beginnings_of_words(reader):
    found = reader.get("/concepts", params={"q": "pleur eff", "limit": 5}).json()["concepts"]
    assert {"cui": "C0032227", "name": "Pleural Effusion"} in found
    assert len(found) <= 5
    assert reader.get("/concepts", params={"q": "zzzz"}).json() == {"concepts": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/concepts/C9999999", 404, "not-found"),
        ("/concepts/pneumonia", 422, "invalid-id"),
        ("/concepts/%F0%9F", 422, "invalid-id"),
        ("/concepts?q=", 422, "invalid-input"),
        ("/concepts", 422, "invalid-input"),
        ("/concepts?q=x&limit=101", 422, "invalid-input"),
    ],
)
def test_what_is_no_concept_is_refused(reader, problem, path, status, code):
    problem(reader.get(path), status, code)


def test_link_says_where_what_and_whether_and_stores_nothing(reader):
    before = reader.get("/info").json()["counts"]
    caption = "Pleural effusion, no pneumothorax."
    answer = reader.post("/link", json={"captions": [caption, "zzz"]}).json()
    assert answer["linker"] == "dictionary-6"
    first, second = answer["results"]
    assert second == {"caption": "zzz", "mentions": []}
    assert all(caption[each["start"] : each["end"]] == each["text"] for each in first["mentions"])
    assert {each["text"]: each["assertion"] for each in first["mentions"]}["pneumothorax"] == "absent"
    assert reader.get("/info").json()["counts"] == before


def test_link_takes_captions_as_long_as_an_image_may_have(reader, problem):
    assert reader.post("/link", json={"captions": ["x " * 10_000]}).status_code == 200
    answer = reader.post("/link", json={"captions": ["no effusion", "x" * 20_001]})
    problem(answer, 422, "invalid-input")
    assert "captions.1" in answer.text
    assert "20000 characters" in answer.text


def test_surroundings_are_the_concepts_with_all_above_them_and_the_edges_among_them(client):
    """Another way to each edge: the parents that each concept has by itself."""
    asked = ["C0032227", "C0032285", "C9999999"]
    answer = client.get("/concepts/surroundings", params={"cui": asked}).json()
    found = {each["cui"]: each for each in answer["concepts"]}
    above = {ancestor["cui"] for cui in asked[:2] for ancestor in client.get(f"/concepts/{cui}").json()["ancestors"]}
    assert above
    assert found.keys() >= {*asked, *above}
    assert found["C0032227"]["groups"] == ["DISO"]
    assert (found["C9999999"]["name"], found["C9999999"]["groups"]) == ("", [])
    for cui in found.keys() - {"C9999999"}:
        concept = client.get(f"/concepts/{cui}").json()
        assert found[cui]["name"] == concept["name"]
        assert [edge["parent"] for edge in answer["is_a"] if edge["child"] == cui] == [each["cui"] for each in concept["parents"]]
    assert {end for edge in answer["is_a"] for end in (edge["child"], edge["parent"])} <= found.keys()


def test_surroundings_need_concepts(client):
    assert client.get("/concepts/surroundings").status_code == 422
    assert client.get("/concepts/surroundings", params={"cui": "pneumonia"}).status_code == 422
