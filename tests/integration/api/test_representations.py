"""POST /representations and `snapshot embeddings`: what the trainer multiplies is what the service multiplies."""

import numpy as np
import pytest
import torch
from nbclip.codec import MEDIA_TYPE, decode
from nbclip.errors import InvalidInput, UnknownImages
from nbclip.vectors import decode_vectors
from nbclip_trainer.targets.multiply import multiply, similarity_on
from nbclip_trainer.targets.settings import TargetSettings
from nbclip_trainer.targets.snapshot import SnapshotSource

IDS = ["effusion", "effusion too", "pneumonia", "fracture", "empty"]
CPU = torch.device("cpu")


def similarities(reader, **asked):
    body = {"image_ids": IDS, "output": "similarity", **asked}
    return decode(reader.post("/targets", json=body, headers={"accept": MEDIA_TYPE}).content)


@pytest.mark.parametrize("knowledge", ["noise", "dk", "dk_ek"])
@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-6), ("float16", 1e-3)])
def test_their_products_are_the_similarities_of_targets(reader, knowledge, dtype, error):
    answer = reader.post("/representations", json={"image_ids": IDS, "knowledge": knowledge, "dtype": dtype})
    assert answer.headers["content-type"] == MEDIA_TYPE
    batch, matrix = decode_vectors(answer.content), similarities(reader, knowledge=knowledge)
    similarity = similarity_on(CPU, batch, torch.arange(5))
    np.testing.assert_allclose(similarity, matrix.values, atol=error)
    assert batch.has_knowledge.tolist() == matrix.has_knowledge.tolist()
    assert batch.metadata == {name: matrix.metadata[name] for name in ("snapshot", "knowledge", "representation")}


def test_images_that_the_snapshot_lacks_are_named_or_flagged(reader, problem):
    asked = {"image_ids": ["fracture", "nobody"]}
    assert "nobody" in problem(reader.post("/representations", json=asked), 422, "unknown-images")["detail"]
    batch = decode_vectors(reader.post("/representations", json={**asked, "on_unknown": "flag"}).content)
    assert batch.unknown.tolist() == [False, True]
    assert multiply(batch, torch.tensor([1]), CPU).tolist() == [[0, 0]]


def test_people_are_sent_to_targets_and_variants_are_named(reader, problem):
    asked = {"image_ids": IDS}
    problem(reader.post("/representations", json=asked, headers={"accept": "application/json"}), 406, "not-acceptable")
    wrong = reader.post("/representations", json={**asked, "representation": "magic"})
    assert "hybrid/dk_ek" in problem(wrong, 422, "invalid-input")["hint"]
    problem(reader.post("/representations", json={**asked, "snapshot": "0" * 64}), 410, "gone")


def test_a_file_of_vectors_gives_the_same_without_a_service(reader, command, published, tmp_path):
    file = tmp_path / "vectors.safetensors"
    code, snapshot, _ = command("snapshot", "embeddings", file, "--data", published, "--knowledge", "dk")
    assert code == 0
    settings = TargetSettings(knowledge="dk", mode="snapshot", file=file)
    source = SnapshotSource(file, settings)
    matrix = similarities(reader, knowledge="dk")
    assert source.snapshot == snapshot.strip() == matrix.metadata["snapshot"]
    values = similarity_on(CPU, source.fetch(IDS[1:3], IDS), torch.tensor([1, 2]))
    np.testing.assert_allclose(values, matrix.values[1:3], atol=1e-6)
    coverage = source.coverage([*IDS, "nobody"])
    assert (coverage.unknown, coverage.without_knowledge) == (["nobody"], pytest.approx(1 / 5))
    with pytest.raises(UnknownImages, match="nobody"):
        source.fetch(["nobody"], ["nobody"])
    for other in ({"knowledge": "dk_ek"}, {"knowledge": "dk", "snapshot": "0" * 64}):
        with pytest.raises(InvalidInput, match=rf"{file}.* not (dk_ek|0000)"):
            SnapshotSource(file, TargetSettings(mode="snapshot", file=file, **other))


def test_a_file_that_holds_no_vectors_is_said_so(tmp_path):
    file = tmp_path / "vectors.safetensors"
    settings = TargetSettings(knowledge="dk", mode="snapshot", file=file)
    for content in (None, b"{}"):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(InvalidInput, match=r"targets\.file=.*no image vectors") as refused:
            SnapshotSource(file, settings)
        assert "snapshot embeddings" in refused.value.hint
