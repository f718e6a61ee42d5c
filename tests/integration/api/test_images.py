"""POST, GET and DELETE /images."""

import pytest


def post(client, *items, **more):
    return client.post("/images", json={"items": list(items), **more})


def test_what_is_wrong_with_an_item_is_said_in_our_words(client, problem):
    items = [{"image_id": image_id, "caption": "x"} for image_id in ("", "x" * 513)]
    first, second = problem(client.post("/images", json={"items": items}), 422, "invalid-input")["errors"]
    assert first["message"].startswith("image id is empty")
    assert second["message"].startswith("image id of 513 bytes")


def test_a_caption_is_linked_and_its_image_can_be_looked_at(client):
    answer = post(client, {"image_id": "new", "caption": "Chest X-ray with pleural effusion, no pneumothorax."})
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    assert result["outcome"] == "created"
    assert answer.json()["counts"] == {"created": 1}
    image = client.get("/images/new").json()
    by_assertion = {attribute["text"]: attribute["assertion"] for attribute in image["attributes"]}
    assert by_assertion["pleural effusion"] == "present"
    assert by_assertion["pneumothorax"] == "absent"
    present = {attribute["cui"] for attribute in image["attributes"] if attribute["assertion"] == "present"}
    assert set(result["cuis"]) == present
    assert {"C0032326": ["DISO"]}.items() <= {each["cui"]: each["groups"] for each in image["attributes"]}.items()


def test_given_cuis_are_used_as_they_are_and_one_that_the_vocabulary_lacks_stays_without_name(client):
    post(client, {"image_id": "given", "caption": "anything", "cuis": ["C0032227", "C9999999"]})
    attributes = client.get("/images/given").json()["attributes"]
    assert [(each["cui"], bool(each["name"]), each["rule"]) for each in attributes] == [
        ("C0032227", True, "given"),
        ("C9999999", False, "given"),
    ]
    assert attributes[1]["groups"] == []


def test_given_cuis_that_the_vocabulary_lacks_are_counted_once_each(client):
    given = [
        {"image_id": str(number), "caption": "", "cuis": ["C0032227", "C9999999", f"C999999{number}"]} for number in range(3)
    ]
    answer = post(client, *given, {"image_id": "x", "caption": "Pneumonia."}).json()
    assert answer["unknown_cuis"] == 4
    named = [("C9999999", "0"), ("C9999990", "0"), ("C9999991", "1"), ("C9999992", "2")]
    assert [(each["cui"], each["image_id"]) for each in answer["first_unknown_cuis"]] == named
    none = post(client, {"image_id": "y", "caption": "Pneumonia.", "cuis": []}).json()
    assert (none["unknown_cuis"], none["first_unknown_cuis"]) == (0, [])


def test_an_image_with_cuis_needs_no_caption(client):
    answer = post(client, {"image_id": "bare", "cuis": ["C0032227"]}, {"image_id": "nothing", "cuis": []})
    assert [result["cuis"] for result in answer.json()["results"]] == [["C0032227"], []]
    assert client.get("/images/bare").json()["caption"] == ""


NO_CAPTION = [{"caption": text} for text in ("", " ", "nan", "N/A")]


@pytest.mark.parametrize(
    "item", [*NO_CAPTION, {"caption": "", "cuis": None}, {}, {"cuis": None}, {"split": "train"}, {"caption": None, "cuis": []}]
)
def test_an_image_with_neither_is_refused(client, problem, item):
    refused = problem(post(client, {"image_id": "x", **item}), 422, "invalid-input")
    assert refused["errors"][0]["where"].startswith("body.items.0")


def test_the_same_image_again_is_unchanged_another_caption_is_rejected_unless_it_shall_replace(client):
    first = {"image_id": "x", "caption": "Pneumonia."}
    other = {"image_id": "x", "caption": "Fracture."}
    outcomes = [post(client, first), post(client, first), post(client, other), post(client, other, on_conflict="replace")]
    assert [answer.json()["results"][0]["outcome"] for answer in outcomes] == ["created", "unchanged", "rejected", "replaced"]
    assert outcomes[2].json()["results"][0]["code"] == "conflict"
    assert client.get("/images/x").json()["caption"] == "Fracture."


@pytest.mark.parametrize("image_id", ["case/7/a.png", "ünïcode", "effusion too"])
def test_ids_with_slashes_spaces_and_letters_of_any_script_are_found(client, image_id):
    assert client.get(f"/images/{image_id}").json()["image_id"] == image_id


@pytest.mark.parametrize("method", ["get", "delete"])
def test_an_unknown_image_is_not_found(client, problem, method):
    body = problem(client.request(method, "/images/nobody"), 404, "not-found")
    assert "nobody" in body["detail"]


@pytest.mark.parametrize("path", ["/images/%00", "/images/" + "a" * 513, "/images/"])
def test_an_impossible_id_is_refused(client, problem, path):
    assert client.get(path).status_code == 422
    assert client.delete(path).headers["content-type"] == "application/problem+json"


def test_a_deleted_image_is_gone_from_the_graph_but_not_from_the_snapshot(client):
    assert client.delete("/images/fracture").status_code == 204
    assert client.get("/images/fracture").status_code == 404
    assert client.post("/targets", json={"image_ids": ["fracture"]}).status_code == 200


def test_pages_follow_each_other_and_hold_every_image_once_in_order(client):
    seen, cursor = [], ""
    for _ in range(10):
        page = client.get("/images", params={"limit": 3, "cursor": cursor}).json()
        seen += [image["image_id"] for image in page["images"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(seen)
    assert len(seen) == len(set(seen)) == 8


@pytest.mark.parametrize("query", ["cursor=%F0%9F", "cursor=x", "limit=0", "limit=1001", "limit=many"])
def test_a_bad_cursor_or_limit_is_refused(client, problem, query):
    problem(client.get(f"/images?{query}"), 422, "invalid-input")


def test_one_bad_item_is_named_by_its_place_and_nothing_is_stored(client, problem):
    answer = post(client, {"image_id": "good", "caption": "x"}, {"image_id": "bad", "caption": "x", "cuis": ["C1"]})
    body = problem(answer, 422, "invalid-input")
    assert body["errors"][0]["where"] == "body.items.1.cuis.0"
    assert client.get("/images/good").status_code == 404


def test_names_are_left_out_where_they_are_switched_off(service):
    client = service(show_names=False)
    image = client.get("/images/effusion").json()
    assert image["attributes"]
    assert {attribute["name"] for attribute in image["attributes"]} == {""}
    concept = client.get("/concepts/C0032227").json()
    assert (concept["name"], concept["names"]) == ("", [])
    assert {parent["name"] for parent in concept["parents"]} == {""}
    (linked,) = client.post("/link", json={"captions": ["pleural effusion"]}).json()["results"]
    assert {mention["name"] for mention in linked["mentions"]} == {""}
    assert {each["name"] for mention in linked["mentions"] for each in mention["candidates"]} <= {""}


def test_images_are_searched_by_caption_concept_and_score(client):
    def found(**wanted):
        return [each["image_id"] for each in client.get("/images", params=wanted).json()["images"]]

    assert found(q="CHEST effus") == ["effusion", "effusion too"]
    assert found(q="chest", cui="C0032285") == ["effusion too", "pneumonia"]
    assert found(q="zzz") == ["empty"]
    scores = {
        each["image_id"]: min([a["score"] for a in each["attributes"]], default=1)
        for each in client.get("/images").json()["images"]
    }
    assert found(score_below=0.96) == sorted(image_id for image_id, score in scores.items() if score < 0.96)
    assert 0 < len(found(score_below=0.96)) < len(scores)
    first = client.get("/images", params={"q": "chest", "limit": 3}).json()
    rest = client.get("/images", params={"q": "chest", "limit": 3, "cursor": first["next_cursor"]}).json()
    assert [each["image_id"] for each in first["images"] + rest["images"]] == found(q="chest")
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("query", ["cui=pneumonia", "score_below=0", "score_below=x", "q=%00", f"q={'x' * 201}"])
def test_a_search_that_means_nothing_is_refused(client, query):
    assert client.get(f"/images?{query}").status_code == 422
