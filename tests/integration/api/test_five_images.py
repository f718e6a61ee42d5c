"""Five images with known CUIs, from `POST /images` to `POST /targets`, against numbers worked out from the edges.

a: pneumonia     b: pneumonia, pleural effusion     c: lung     d: fracture     e: nothing
"""

import math

import numpy as np
import pytest
from kg_service.api.application import create_app
from kg_service.config import load_settings
from nbclip import codec
from starlette.testclient import TestClient

PNEUMONIA, EFFUSION, LUNG, FRACTURE = "C0032285", "C0032227", "C0024109", "C0016658"
CUIS = {"a": [PNEUMONIA], "b": [PNEUMONIA, EFFUSION], "c": [LUNG], "d": [FRACTURE], "e": []}


@pytest.fixture
def client(tmp_path, vocabulary_folder):
    settings = load_settings(data=tmp_path, vocabulary=vocabulary_folder, hybrid_smoothing=0, trusted_hosts=("testserver",))
    with TestClient(create_app(settings)) as client:
        items = [{"image_id": image_id, "caption": f"image {image_id}", "cuis": cuis} for image_id, cuis in CUIS.items()]
        assert client.post("/images", json={"items": items}).json()["counts"] == {"created": 5}
        assert client.post("/snapshots", json={}).status_code == 201
        yield client


def by_hand():
    """Cosines of concepts weighted by idf^1.5: a and b alone share one; idf = ln((N + 1) / (df + ½)), N = 5."""
    pneumonia, effusion = math.log(6 / 2.5) ** 1.5, math.log(6 / 1.5) ** 1.5
    shared = pneumonia / math.hypot(pneumonia, effusion)
    similarity = np.eye(5)
    similarity[0, 1] = similarity[1, 0] = shared
    return similarity


def test_similarities_over_http_are_those_worked_out_by_hand(client):
    body = {"image_ids": list(CUIS), "knowledge": "dk", "output": "similarity"}
    answer = client.post("/targets", json=body, headers={"Accept": codec.MEDIA_TYPE})
    matrix = codec.decode(answer.content)
    assert np.allclose(matrix.values, by_hand(), atol=1e-6)
    assert matrix.has_knowledge.tolist() == [True, True, True, True, False]


def test_target_rows_over_http_are_those_worked_out_by_hand(client):
    body = {"image_ids": list(CUIS), "knowledge": "dk", "neighbour_mass": 0.4, "temperature": 0.5}
    values = np.array(client.post("/targets", json=body).json()["values"])
    near = math.exp(by_hand()[0, 1] / 0.5)
    total = near + 2
    expected = np.eye(5)
    expected[0] = [0.6, 0.4 * near / total, 0.4 / total, 0.4 / total, 0]
    expected[1] = [0.4 * near / total, 0.6, 0.4 / total, 0.4 / total, 0]
    assert np.allclose(values, expected, atol=1e-6)
