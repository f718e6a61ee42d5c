"""POST /targets: the two forms agree, flags, limits, negotiation, pinned snapshots."""

import numpy as np
import pytest
from nbclip.codec import MEDIA_TYPE, decode

IDS = ["effusion", "effusion too", "pneumonia", "fracture", "empty"]
BINARY = {"accept": MEDIA_TYPE}


def ask(client, headers=None, **body):
    return client.post("/targets", json={"image_ids": IDS, **body}, headers=headers or {})


@pytest.mark.parametrize("knowledge", ["noise", "dk", "dk_ek"])
@pytest.mark.parametrize("output", ["targets", "similarity"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_json_and_safetensors_hold_the_same_matrix(reader, knowledge, output, dtype):
    asked = {"knowledge": knowledge, "output": output, "dtype": dtype}
    in_json, binary = ask(reader, **asked).json(), ask(reader, BINARY, **asked)
    matrix = decode(binary.content)
    assert binary.headers["content-type"] == MEDIA_TYPE
    np.testing.assert_array_equal(np.array(in_json["values"], np.float32), matrix.values)
    assert in_json["has_knowledge"] == matrix.has_knowledge.tolist()
    assert in_json["unknown"] == matrix.unknown.tolist()
    names = ("snapshot", "knowledge", "representation")
    assert [in_json[name] for name in names] == [matrix.metadata[name] for name in names]
    assert in_json["output"] == matrix.output == output


def test_target_rows_sum_to_one_and_an_image_without_concept_is_one_hot_and_flagged(reader):
    answer = ask(reader).json()
    values = np.array(answer["values"])
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-6)
    assert values[4].tolist() == [0, 0, 0, 0, 1]
    assert answer["has_knowledge"] == [True, True, True, True, False]
    assert values[0, 1] > values[0, 3]


def test_similarity_is_symmetric_with_diagonal_one(reader):
    values = np.array(ask(reader, output="similarity").json()["values"])
    np.testing.assert_allclose(values, values.T, atol=1e-6)
    np.testing.assert_allclose(np.diag(values), 1, atol=1e-6)
    assert (abs(values) <= 1 + 1e-6).all()


def test_rows_of_one_rank_are_rows_of_the_square_matrix(reader):
    square = np.array(ask(reader).json()["values"])
    part = np.array(ask(reader, image_ids=IDS[1:3], column_ids=IDS).json()["values"])
    np.testing.assert_allclose(part, square[1:3], atol=1e-6)


def test_unknown_images_are_named_or_flagged(reader, problem):
    unknown = [f"nobody {number}" for number in range(25)]
    body = problem(ask(reader, image_ids=[*IDS, *unknown]), 422, "unknown-images")
    assert "25 images" in body["detail"]
    assert body["detail"].count("nobody") == 20
    flagged = ask(reader, image_ids=[*IDS, *unknown], on_unknown="flag").json()
    assert flagged["unknown"] == [False] * 5 + [True] * 25


def test_a_pinned_snapshot_gives_the_same_bytes_after_another_is_published(client):
    old = client.get("/snapshots").json()["snapshots"][0]["id"]
    before = ask(client, BINARY, snapshot=old)
    client.post("/images", json={"items": [{"image_id": "later", "caption": "Pneumonia."}]})
    new = client.post("/snapshots", json={}).json()["id"]
    assert new != old
    after = ask(client, BINARY, snapshot=old)
    assert after.content == before.content
    assert after.headers["etag"] == before.headers["etag"]
    assert ask(client, BINARY).headers["etag"] != before.headers["etag"]
    assert ask(client, BINARY, snapshot=old, knowledge="dk").headers["etag"] != before.headers["etag"]
    assert ask(client, snapshot=old).headers["etag"] != before.headers["etag"]


def test_a_snapshot_that_is_not_held_is_gone_and_those_held_are_named(reader, problem):
    body = problem(ask(reader, snapshot="0" * 64), 410, "gone")
    assert reader.get("/snapshots").json()["snapshots"][0]["id"] in body["hint"]


def test_a_large_matrix_in_json_is_refused_with_the_way_out(service, problem):
    client = service(max_json_cells=24)
    body = problem(ask(client), 413, "limit-exceeded")
    assert MEDIA_TYPE in body["hint"]
    assert "KG_MAX_JSON_CELLS=24" in body["hint"]
    assert ask(client, BINARY).status_code == 200
    assert ask(client, image_ids=IDS[:4]).status_code == 200


@pytest.mark.parametrize(
    ("limit", "body", "what"),
    [
        ({"max_rows": 4}, {}, "rows"),
        ({"max_columns": 4}, {"image_ids": IDS[:1], "column_ids": IDS}, "columns"),
        ({"max_cells": 24}, {}, "cells"),
        ({"max_rows": 4}, {"image_ids": [None, 1, [], {}, "\x00"]}, "rows"),
    ],
)
def test_size_is_refused_before_ids_are_looked_at(service, problem, limit, body, what):
    refused = problem(ask(service(**limit), **body), 413, "limit-exceeded")
    assert what in refused["detail"]
    ((name, value),) = limit.items()
    assert f"KG_{name.upper()}={value}" in refused["hint"]


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        (f"{MEDIA_TYPE}, application/json;q=0.5", MEDIA_TYPE),
        (f"application/json;q=0.2, {MEDIA_TYPE};q=0.1", "application/json"),
    ],
)
def test_the_form_goes_by_accept(reader, accept, form):
    assert ask(reader, {"accept": accept}).headers["content-type"] == form


@pytest.mark.parametrize("accept", ["text/html", f"{MEDIA_TYPE};q=0, application/json;q=0", "", "application/json;q=x"])
def test_no_form_that_the_client_takes_is_not_acceptable(reader, problem, accept):
    problem(ask(reader, {"accept": accept}), 406, "not-acceptable")


def test_answers_are_never_compressed(reader):
    assert "content-encoding" not in ask(reader, {**BINARY, "accept-encoding": "gzip, br"}).headers


@pytest.mark.parametrize(
    "body",
    [
        {"image_ids": []},
        {"image_ids": ["a"], "neighbor_mass": 0.1},
        {"output": "targets", "dtype": "float16"},
        {"knowledge": "all"},
        {"representation": "../x"},
        {"representation": "transe"},
        {"image_ids": IDS[:2], "column_ids": IDS[:1]},
        {"temperature": 0},
    ],
)
def test_what_can_not_be_asked_is_refused(reader, problem, body):
    problem(ask(reader, **body), 422, "invalid-input")


@pytest.mark.parametrize("given", [{"top_k": 2}, {"neighbour_mass": 0.9}, {"floor": 0.0}, {"effective_neighbours": 4}])
def test_the_papers_form_refuses_what_has_no_part_in_it(reader, problem, given):
    assert ask(reader, form="paper-literal", temperature=0.5).status_code == 200
    body = problem(ask(reader, form="paper-literal", temperature=0.5, **given), 422, "invalid-input")
    assert f"{next(iter(given))}: no part of paper-literal" in str(body)


def test_noise_of_a_representation_that_is_not_held_is_refused(reader, problem):
    assert ask(reader, knowledge="noise", representation="hybrid").status_code == 200
    refused = problem(ask(reader, knowledge="noise", representation="doesnotexist"), 422, "invalid-input")
    assert "has no representation doesnotexist" in refused["detail"]


@pytest.mark.parametrize("knowledge", ["dk", "dk_ek"])
@pytest.mark.parametrize(
    ("representation", "setting"),
    [
        ("transe", "KG_REPRESENTATIONS=hybrid,transe"),
        ("concepts", "KG_REPRESENTATIONS=concepts,hybrid"),
        ("doesnotexist", None),
    ],
)
def test_a_variant_that_is_not_held_names_the_setting_that_makes_it(reader, problem, representation, knowledge, setting):
    refused = problem(ask(reader, knowledge=knowledge, representation=representation), 422, "invalid-input")
    assert f"has no representation {representation}" in refused["detail"]
    assert "hybrid/dk_ek" in refused["hint"]
    assert (setting or "it holds") in refused["hint"]
    assert bool(setting) == ("KG_REPRESENTATIONS" in refused["hint"])


def test_without_a_snapshot_it_is_not_ready(service, problem, tmp_path):
    problem(ask(service(data=tmp_path / "nothing")), 503, "unavailable")
