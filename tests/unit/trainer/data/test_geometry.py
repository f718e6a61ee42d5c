"""open_clip's own transform on Pillow's images is the oracle of both ways to resize."""

import numpy as np
import pytest
import torch
from nbclip_trainer.data.decoding import opened
from nbclip_trainer.data.geometry import Geometry
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

INPUTS = {
    "squash": PreprocessCfg(size=32, resize_mode="squash"),
    "shortest": PreprocessCfg(size=32, resize_mode="shortest"),
    "shortest, not square": PreprocessCfg(size=(36, 40), resize_mode="shortest"),
    "longest": PreprocessCfg(size=32, resize_mode="longest", fill_color=7),
    "bilinear": PreprocessCfg(size=32, interpolation="bilinear"),
}


def waves(height, width, mode):
    """A picture of every frequency that its size has, with grain."""
    across, down = np.meshgrid(np.linspace(0, 9, width), np.linspace(0, 7, height))
    bands = [127 + 110 * np.sin(across * down + shift) for shift in (range(3) if mode == "RGB" else [0])]
    grainy = np.stack(bands, -1) + np.random.default_rng(0).normal(0, 8, (height, width, len(bands)))
    return Image.fromarray(grainy.clip(0, 255).astype(np.uint8).squeeze())


def resized(path, preprocess, resize, *, is_train):
    torch.manual_seed(3)
    with opened(path, 1_000_000) as picture:
        return Geometry(preprocess, resize, is_train=is_train).of_picture(picture, None)


def of_open_clip(path, preprocess, *, is_train):
    transform = image_transform_v2(preprocess, is_train=is_train)
    transform.transforms = transform.transforms[:-2]
    torch.manual_seed(3)
    return np.asarray(transform(Image.open(path).convert("RGB"))).transpose(2, 0, 1)


@pytest.mark.parametrize("is_train", [False, True])
@pytest.mark.parametrize("preprocess", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize(("mode", "size"), [("RGB", (130, 97)), ("L", (75, 300)), ("RGB", (20, 31)), ("L", (32, 32))])
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_an_image_is_open_clips_to_the_byte_by_pillow_and_to_a_grey_level_by_torch(
    tmp_path, record_property, kind, mode, size, preprocess, is_train
):
    path = tmp_path / f"x.{kind}"
    waves(*size, mode).save(path)
    wanted = of_open_clip(path, preprocess, is_train=is_train)
    assert np.array_equal(resized(path, preprocess, "pillow", is_train=is_train), wanted)
    found = resized(path, preprocess, "torch", is_train=is_train)
    apart = np.abs(found.astype(int) - wanted)
    record_property("apart", float(apart.mean()))
    assert found.shape == wanted.shape
    assert apart.max() <= 1
    assert apart.mean() < 0.02


def test_of_an_image_of_which_one_side_grows_and_the_other_shrinks_the_mean_grey_level_is_pillows(tmp_path):
    """The two cut what shoots over white and black at different times."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 16, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    found, wanted = (
        resized(tmp_path / "x.png", INPUTS["squash"], resize, is_train=False).astype(int) for resize in ("torch", "pillow")
    )
    assert np.abs(found - wanted).mean() < 0.5


@pytest.mark.parametrize("resize", ["torch", "pillow"])
def test_pixels_that_are_there_are_cropped_as_those_of_a_file(tmp_path, resize):
    waves(60, 50, "RGB").save(tmp_path / "x.png")
    torch.manual_seed(3)
    found = Geometry(INPUTS["shortest"], resize, is_train=True).of_pixels(np.array(Image.open(tmp_path / "x.png")))
    assert np.array_equal(found, resized(tmp_path / "x.png", INPUTS["shortest"], resize, is_train=True))
