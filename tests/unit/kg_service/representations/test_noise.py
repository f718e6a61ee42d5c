import hashlib

import numpy as np
from kg_service.representations.noise import Noise, restore_noise
from kg_service.similarity.rows import has_knowledge


def test_noise_has_vectors_exactly_where_knowledge_has(five_images):
    vectors = Noise().fit(five_images).embed(["a", "e", "x"], [["C0000001"], [], ["C9999999"]])
    assert has_knowledge(vectors, np.arange(3)).tolist() == [True, False, False]
    assert np.isclose(np.linalg.norm(vectors.dense[0]), 1)


def test_noise_depends_on_image_and_seed_alone(five_images):
    cuis = [["C0000001"], ["C0000004"]]
    one = Noise().fit(five_images).embed(["a", "b"], cuis).dense
    swapped = Noise().fit(five_images).embed(["b", "a"], cuis).dense
    assert np.array_equal(one, swapped[::-1])
    assert not np.allclose(one, Noise(seed=1).fit(five_images).embed(["a", "b"], cuis).dense)


def test_noise_rows_get_the_form_of_real_targets(five_images):
    ids = [f"image-{index}" for index in range(128)]
    dense = Noise().fit(five_images).embed(ids, [["C0000001"]] * 128).dense
    nearest = (dense @ dense.T - 2 * np.eye(128)).max(axis=1)
    assert nearest.min() > 0.1  # the target builder's floor


def test_numbers_are_those_of_splitmix64_on_every_machine(five_images):
    state, numbers = int.from_bytes(hashlib.sha256(b"42:a").digest()[:8]), []
    for _ in range(64):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        numbers.append(sum((z ^ (z >> 31)).to_bytes(8)[at] * 256 ** (1 - at % 2) for at in range(8)) - 131_070.0)
    vector = np.array(numbers) / np.sqrt(np.square(numbers).sum())
    assert Noise().fit(five_images).embed(["a"], [["C0000001"]]).dense[0].tobytes() == vector.astype(np.float32).tobytes()


def test_cosines_spread_as_those_of_directions_at_random(five_images):
    ids = [f"image-{index}" for index in range(1_000)]
    dense = Noise().fit(five_images).embed(ids, [["C0000001"]] * 1_000).dense.astype(np.float64)
    cosines = (dense @ dense.T)[np.triu_indices(1_000, 1)]
    assert abs(cosines.mean()) < 0.001
    assert abs(cosines.var() * 64 - 1) < 0.01
    assert np.abs(dense.mean(axis=0)).max() < 5 / np.sqrt(64 * 1_000)


def test_snapshots_of_before_keep_their_noise(five_images):
    card = {"method": "noise", "dimension": 8, "seed": 7, "inductive": "any image with a known concept"}
    fitted = restore_noise(card, five_images.cuis, {})
    expected = np.random.default_rng(int.from_bytes(hashlib.sha256(b"7:a").digest()[:16])).standard_normal(8)
    assert np.array_equal(fitted.embed(["a"], [["C0000001"]]).dense[0], (expected / np.linalg.norm(expected)).astype(np.float32))
    assert fitted.card() == card
