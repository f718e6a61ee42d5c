import contextlib
import io
import random

import numpy as np
import pytest
from nbclip_trainer.data.decoding import open_image
from nbclip_trainer.errors import BadImage
from PIL import Image


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    """240 million pixels in 30 kB; also under a limit that Pillow itself would only warn of."""
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 12_000)).save(path)
    with pytest.raises(BadImage):
        open_image(path)
    Image.new("1", (300, 300)).save(path)
    with pytest.raises(BadImage, match="300 x 300 pixels, over the limit of 80000"):
        open_image(path, max_pixels=80_000)
    assert open_image(path, max_pixels=90_000).size == (300, 300)


def test_a_users_limit_of_pixels_goes_before_pillows(tmp_path):
    Image.new("1", (20_000, 9_000)).save(tmp_path / "large.png")
    assert open_image(tmp_path / "large.png", max_pixels=200_000_000).size == (20_000, 9_000)
    with pytest.raises(BadImage, match="over the limit of 100000000"):
        open_image(tmp_path / "large.png")


def test_greys_of_16_bits_keep_their_contrast(tmp_path):
    grey = np.arange(1000, 5096, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    found = np.asarray(open_image(tmp_path / "deep.png"))
    assert found.shape == (64, 64, 3)
    assert found.min() == 0
    assert found.max() == 255
    assert len(np.unique(found)) == 256
    Image.fromarray(np.full((4, 4), 9, np.uint16)).save(tmp_path / "flat.png")
    assert np.asarray(open_image(tmp_path / "flat.png")).max() == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    suffix = "tiff" if mode in {"CMYK", "F", "I"} else "png"
    Image.new(mode, (8, 8)).save(tmp_path / f"x.{suffix}")
    assert open_image(tmp_path / f"x.{suffix}").mode == "RGB"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_bytes_decode_or_are_refused_and_nothing_else(tmp_path, kind):
    generator = random.Random(0)
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(whole, kind)
    path = tmp_path / "damaged"
    for _ in range(150):
        content = bytearray(whole.getvalue())
        for _ in range(generator.randrange(1, 6)):
            content[generator.randrange(min(len(content), 400))] = generator.randrange(256)
        path.write_bytes(content[: generator.choice([len(content), generator.randrange(len(content))])])
        with contextlib.suppress(BadImage):
            assert open_image(path, max_pixels=1_000_000).mode == "RGB"
