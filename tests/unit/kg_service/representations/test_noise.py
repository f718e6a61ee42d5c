import numpy as np
from kg_service.representations.noise import Noise
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
