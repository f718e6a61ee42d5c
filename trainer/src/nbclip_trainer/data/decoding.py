"""Image files to pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from nbclip.files.pictures import open_image_file
from PIL import Image

from nbclip_trainer.data.settings import MAX_PIXELS
from nbclip_trainer.errors import BadImage

# `max_pixels` decides, before anything is decoded; Pillow's own limit would refuse what a user has allowed.
Image.MAX_IMAGE_PIXELS = None
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises on damaged files."""


def open_image(path: Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An image in RGB.

    Greys of more than 8 bits are scaled to their own range: Pillow's conversion would cut them off at 255.

    Raises:
        BadImage: the file is missing, no image, cut off, or of more than `max_pixels` (not decoded then).
    """
    with image_header(path, max_pixels) as image:
        return _rgb(image)


@contextmanager
def image_header(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """An image of which the header alone was read; what its decoder raises in the block is a BadImage too."""
    try:
        with open_image_file(path) as file, Image.open(file) as image:
            if image.width * image.height > max_pixels:
                raise BadImage(f"{path}: {image.width} x {image.height} pixels, over the limit of {max_pixels}")
            yield image
    except _DECODER_ERRORS as error:
        raise BadImage(f"{path}: {getattr(error, 'strerror', None) or error or type(error).__name__}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if not image.mode.startswith(("I", "F")):
        return image.convert("RGB")
    grey_HW = np.asarray(image, np.float32)
    low, high = float(grey_HW.min()), float(grey_HW.max())
    scaled_HW = (grey_HW - low) * (255 / (high - low) if high > low else 0)
    return Image.fromarray(scaled_HW.round().astype(np.uint8)).convert("RGB")
