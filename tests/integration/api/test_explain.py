"""POST /explain and GET /images/{id}/neighbours over HTTP, and the commands: as /targets says, from the snapshot alone."""

import json

import numpy as np
import pytest
from nbclip.codec import MEDIA_TYPE, decode

IDS = ["effusion", "effusion too", "pneumonia", "no pneumothorax", "fracture", "case/7/a.png", "ünïcode", "empty"]


def similarities(client, image_ids, **options):
    body = {"image_ids": image_ids, "output": "similarity", **options}
    return decode(client.post("/targets", json=body, headers={"accept": MEDIA_TYPE}).content).values


def explain(client, one, other, **options):
    return client.post("/explain", json={"image_id": one, "other_id": other, **options})


@pytest.mark.parametrize("knowledge", ["noise", "dk", "dk_ek"])
def test_the_shares_add_up_to_the_number_of_targets(reader, knowledge):
    for other in IDS:
        answer = explain(reader, "effusion too", other, knowledge=knowledge).json()
        assert answer["similarity"] == float(similarities(reader, ["effusion too", other], knowledge=knowledge)[0, 1])
        assert sum(part["share"] for part in answer["contributions"]) == pytest.approx(answer["similarity"], abs=1e-6)


def test_what_both_images_have_is_named(reader):
    answer = explain(reader, "effusion", "effusion too").json()
    stored = [
        {each["cui"] for each in reader.get(f"/images/{image_id}").json()["attributes"]}
        for image_id in ("effusion", "effusion too")
    ]
    assert {each["cui"] for each in answer["shared"]} == stored[0] & stored[1] >= {"C0032227"}
    assert {each["cui"]: each["name"] for each in answer["shared"]}["C0032227"] == "Pleural Effusion"
    assert {each["cui"] for each in answer["image"]["concepts"]} == stored[0]
    assert answer["snapshot"] == reader.get("/snapshots").json()["snapshots"][0]["id"]
    assert (answer["knowledge"], answer["representation"]) == ("dk_ek", "hybrid")


def test_an_ancestor_that_counts_for_nothing_says_so_and_a_concept_beside_itself_is_explained(reader):
    left_out, counted = 0, 0
    for other in IDS:
        answer = explain(reader, "effusion too", other).json()
        shares = {part["concept"]["cui"]: part["share"] for part in answer["contributions"] if part["kind"] == "ancestor"}
        for each in answer["nearest_common_ancestors"]:
            assert each["share"] == pytest.approx(shares.get(each["cui"], 0.0), abs=1e-9)
            counted, left_out = counted + bool(each["share"]), left_out + (not each["share"])
        silent = any(not each["share"] for each in answer["nearest_common_ancestors"])
        notes = " ".join(answer["notes"])
        assert ("Common ancestors with share 0" in notes) == silent
        assert "than 6 steps above, and those that more than 10% of the images have" in notes
        itself = any(
            part["concepts"] == part["other_concepts"] for part in answer["contributions"] if part["kind"] == "cooccurrence"
        )
        assert ("A pair of a concept with itself" in notes) == itself
    assert left_out
    assert "steps above" not in " ".join(explain(reader, "effusion", "pneumonia", knowledge="dk").json()["notes"])


@pytest.mark.parametrize("knowledge", ["noise", "dk", "dk_ek"])
def test_neighbours_are_the_similarities_of_targets_sorted(reader, knowledge):
    held = sorted(IDS)
    matrix = similarities(reader, held, knowledge=knowledge)
    for row, image_id in enumerate(held):
        found = reader.get(f"/images/{image_id}/neighbours", params={"knowledge": knowledge, "k": 5}).json()
        values = np.where(np.arange(len(held)) == row, -1, matrix[row])
        expected = [held[at] for at in np.argsort(-values, kind="stable")[:5] if values[at] > 1e-6]
        assert [each["image_id"] for each in found["neighbours"]] == expected
        near = [each["similarity"] for each in found["neighbours"]]
        assert near == pytest.approx([float(values[held.index(each)]) for each in expected], abs=1e-6)
        assert found["has_knowledge"] == (image_id != "empty")


def test_k_is_ten_unless_it_is_given(reader):
    assert len(reader.get("/images/effusion/neighbours?k=1").json()["neighbours"]) == 1
    assert reader.get("/images/effusion/neighbours").json() == reader.get("/images/effusion/neighbours?k=10").json()


def test_a_pinned_snapshot_stays_as_it_was_and_knows_nothing_of_later_images(client, problem):
    old = client.get("/snapshots").json()["snapshots"][0]["id"]
    before = client.get("/images/effusion/neighbours").json(), explain(client, "effusion", "pneumonia").json()
    client.post("/images", json={"items": [{"image_id": "later", "caption": "Chest X-ray showing a pleural effusion."}]})
    client.post("/snapshots", json={})
    assert client.get("/images/effusion/neighbours", params={"snapshot": old}).json() == before[0]
    assert explain(client, "effusion", "pneumonia", snapshot=old).json() == before[1]
    assert client.get("/images/effusion/neighbours").json()["neighbours"][0]["image_id"] == "later"
    problem(client.get("/images/later/neighbours", params={"snapshot": old}), 404, "not-found")


def test_they_are_answered_without_the_store(service, data):
    for file in data.glob("graph.sqlite*"):
        file.write_bytes(b"damaged " * 1_000)
    client = service()
    assert client.get("/images/effusion").status_code == 500
    assert client.get("/images/effusion/neighbours").status_code == 200
    assert explain(client, "effusion", "pneumonia").status_code == 200


def test_names_are_left_out_where_they_are_switched_off(service):
    client = service(show_names=False)
    answers = client.get("/images/effusion/neighbours"), explain(client, "effusion", "effusion too")
    for answer in answers:
        assert answer.status_code == 200
        assert '"name":""' in answer.text
        assert "leural" not in answer.text


def test_unknown_images_are_told_with_the_way_out(reader, problem):
    body = problem(reader.get("/images/nobody/neighbours"), 404, "not-found")
    assert "nobody" in body["detail"]
    assert "publish" in body["hint"]
    body = problem(explain(reader, "nobody", "effusion"), 422, "unknown-images")
    assert "nobody" in body["detail"]
    assert "on_unknown" not in body["hint"]


@pytest.mark.parametrize(
    "query", ["k=0", "k=101", "k=x", "knowledge=all", "representation=../x", "representation=transe", "snapshot=x"]
)
def test_impossible_parameters_are_refused(reader, problem, query):
    name, _, value = query.partition("=")
    assert reader.get(f"/images/effusion/neighbours?{query}").status_code == 422
    body = {"limit": value} if name == "k" and value != "101" else {name: value}
    assert explain(reader, "effusion", "pneumonia", **body).status_code == 422


def test_a_snapshot_that_is_not_held_is_gone(reader, problem):
    problem(reader.get(f"/images/effusion/neighbours?snapshot={'0' * 64}"), 410, "gone")
    problem(explain(reader, "effusion", "pneumonia", snapshot="0" * 64), 410, "gone")


def test_without_a_snapshot_they_are_not_ready(service, problem, tmp_path):
    client = service(data=tmp_path / "nothing")
    problem(client.get("/images/effusion/neighbours"), 503, "unavailable")
    problem(explain(client, "effusion", "pneumonia"), 503, "unavailable")


@pytest.fixture
def at(data, vocabulary_folder):
    return ("--data", data, "--vocabulary", vocabulary_folder)


def test_the_commands_print_what_the_routes_answer(command, reader, at):
    code, out, _ = command("explain", "effusion", "effusion too", "--knowledge", "dk", "--json", *at)
    assert code == 0
    assert json.loads(out) == explain(reader, "effusion", "effusion too", knowledge="dk").json()
    code, out, _ = command("neighbours", "case/7/a.png", "-k", "3", "--json", *at)
    assert code == 0
    assert json.loads(out) == reader.get("/images/case/7/a.png/neighbours?k=3").json()


def test_an_explanation_is_a_table_whose_shares_add_up(command, reader, at, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    _, out, _ = command("explain", "effusion", "pneumonia", *at)
    answer = explain(reader, "effusion", "pneumonia").json()
    assert out.startswith(f"similarity {answer['similarity']:.4f} (hybrid, dk_ek, snapshot {answer['snapshot'][:12]}")
    assert " + ".join(f"{share:.4f} by {kind}" for kind, share in answer["parts"].items()) in out
    assert "\neffusion: C0032227 Pleural Effusion, " in out
    assert answer["notes"][0] in out
    for part in answer["contributions"][:3]:
        assert f"{part['share']:+.4f}" in out
    (footer,) = [line for line in out.splitlines() if " sum " in line]
    assert f"{answer['similarity']:+.4f}" in footer
    for ancestor in answer["nearest_common_ancestors"]:
        assert f"{ancestor['cui']} {ancestor['name']}" in out


def test_neighbours_are_a_table_or_a_sentence(command, reader, at, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    _, out, _ = command("neighbours", "effusion", *at)
    for each in reader.get("/images/effusion/neighbours").json()["neighbours"]:
        (line,) = [line for line in out.splitlines() if f" {each['similarity']:.4f} " in line and each["image_id"] in line]
        assert all(concept["cui"] in out for concept in each["shared"]), line
    assert command("neighbours", "empty", *at)[1] == "no neighbours: it has no concept in the snapshot\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("explain", "effusion", "nobody"), "nobody"),
        (("explain", "effusion", "pneumonia", "--snapshot", "0" * 64), "not held"),
        (("explain", "effusion", "pneumonia", "--representation", "../x"), "../x"),
        (("explain", "effusion", ""), "is empty"),
        (("neighbours", "nobody"), "nobody"),
        (("neighbours", "effusion", "--snapshot", "latest"), "latest"),
    ],
)
def test_what_can_not_be_asked_is_one_line_a_hint_and_2(command, at, arguments, said):
    code, out, err = command(*arguments, *at)
    assert (code, out) == (2, "")
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert said in error
    assert hint.startswith("hint: ")
