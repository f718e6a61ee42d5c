import math

import pytest
import torch
from nbclip_trainer.data.augmentation import augment, draws
from nbclip_trainer.data.settings import AugmentationSettings

STILL = {"kind": "affine", "scale": (1, 1), "shift": 0, "degrees": 0, "gamma": (1, 1), "contrast": (1, 1)}


def images(count=4, side=16):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def augmented(pixels, seed=0, **changes):
    return augment(pixels, AugmentationSettings(**{**STILL, **changes}), draws(len(pixels), seed))


def spot(row, column, side=33):
    pixels = torch.zeros(1, 3, side, side)
    pixels[:, :, row, column] = 1
    return pixels


def brightest(pixels):
    flat = pixels[0, 0].argmax().item()
    return divmod(flat, pixels.shape[-1])


def test_nothing_to_do_leaves_images_as_they_are():
    assert torch.allclose(augmented(images()), images(), atol=1e-5)


def test_equal_seeds_repeat_and_images_of_a_batch_differ():
    same = torch.stack([images(1)[0]] * 3)
    settings = AugmentationSettings(kind="affine")
    first = augment(same, settings, draws(3, 5))
    assert torch.equal(first, augment(same, settings, draws(3, 5)))
    assert torch.equal(first[1:], augment(same[1:], settings, draws(3, 5)[:, 1:]))
    assert not torch.allclose(first[0], first[1], atol=1e-2)
    assert not torch.allclose(first, augment(same, settings, draws(3, 6)), atol=1e-2)


def test_values_stay_in_range():
    found = augment(images(64), AugmentationSettings(kind="affine", gamma=(0.3, 3), contrast=(0.2, 3)), draws(64, 0))
    assert found.min() >= 0
    assert found.max() <= 1


def test_rotation_turns_about_the_centre():
    places = [brightest(augmented(spot(16, 26), degrees=180.0, seed=seed)) for seed in range(8)]
    assert len(set(places)) > 4
    for row, column in places:
        assert math.hypot(row - 16, column - 16) == pytest.approx(10, abs=1.1)


def test_scale_moves_things_from_the_centre():
    assert brightest(augmented(spot(16, 22), scale=(1.5, 1.5))) == (16, 25)


def test_shift_is_a_share_of_the_side_and_brings_in_black():
    moved = augmented(torch.ones(50, 3, 20, 20), shift=0.25)
    lit = (moved > 0.5).float().mean(dim=(1, 2, 3))
    assert lit.min() >= 0.75**2 - 0.1
    assert lit.min() < 0.75
    assert lit.max() > 0.9


def test_gamma_and_contrast_by_hand():
    half = torch.full((1, 3, 4, 4), 0.5)
    assert torch.allclose(augmented(half, gamma=(2, 2)), half**2, atol=1e-5)
    two = torch.zeros(1, 3, 2, 2)
    two[..., 0] = 0.4
    two[..., 1] = 0.6
    assert torch.allclose(augmented(two, contrast=(1.5, 1.5)), (two - 0.5) * 1.5 + 0.5, atol=1e-5)
