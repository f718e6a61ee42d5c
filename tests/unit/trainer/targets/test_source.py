import numpy as np
import pytest
from nbclip_trainer.targets.source import IdentitySource, NoiseSource

IDS = [f"id{number}" for number in range(40)]


def test_identity_knows_nothing_and_likes_only_itself():
    matrix = IdentitySource().fetch(["b"], ["a", "b"])
    assert matrix.values.tolist() == [[0, 1]]
    assert not matrix.has_knowledge.any()


@pytest.mark.parametrize("per_step", [False, True])
def test_noise_is_a_similarity(per_step):
    values = NoiseSource(1, per_step).fetch(IDS, IDS).values
    assert values.dtype == np.float32
    assert np.allclose(values, values.T, atol=1e-6)
    assert np.allclose(np.diag(values), 1)
    assert np.abs(values).max() <= 1
    assert values[~np.eye(40, dtype=bool)].std() == pytest.approx(64**-0.5, rel=0.15)


def test_noise_per_image_is_the_same_in_every_batch():
    source = NoiseSource(1, per_step=False)
    pair = source.fetch(["a"], ["a", "b"]).values[0, 1]
    assert source.fetch(["b"], ["c", "a", "b"]).values[0, 1] == pair
    assert NoiseSource(2, per_step=False).fetch(["a"], ["b"]).values[0, 0] != pair


def test_noise_per_step_is_drawn_anew_but_repeats_for_the_same_batch():
    source = NoiseSource(1, per_step=True)
    whole = source.fetch(IDS, IDS).values
    assert np.array_equal(source.fetch(IDS, IDS).values, whole)
    assert np.allclose(source.fetch(IDS[5:9], IDS).values, whole[5:9], atol=1e-6), "a rank's share is part of the whole"
    assert not np.allclose(source.fetch(IDS[::-1], IDS[::-1]).values[::-1, ::-1], whole, atol=1e-2)
