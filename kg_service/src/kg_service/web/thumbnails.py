"""Thumbnails of the images in a folder, found by image id."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from nbclip.errors import NotFound
from PIL import Image, ImageOps

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
MEDIA_TYPE = "image/jpeg"
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_MOST_PIXELS = 50_000_000
_QUALITY = 82


def image_file(folder: Path, image_id: str) -> Path | None:
    """The file whose path in the folder is the id, with or without a suffix; None where there is none.

    A path that leads out of the folder, itself or over a link, is none.
    """
    root = folder.resolve()
    for suffix in ("", *SUFFIXES, *(each.upper() for each in SUFFIXES)):
        if not suffix and not image_id.lower().endswith(SUFFIXES):
            continue
        try:
            path = (root / f"{image_id}{suffix}").resolve(strict=True)
        except (OSError, ValueError):
            continue
        if path.is_relative_to(root) and path.is_file():
            return path
    return None


def thumbnail(path: Path, side: int) -> bytes:
    """A JPEG of the image, at most `side` pixels wide and high; its smaller side may be less.

    Raises:
        NotFound: the file can't be read, is no image of a known format, or has more than 50 million pixels.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise NotFound(
                    f"{path.name} has {image.width} × {image.height} pixels", hint="a thumbnail takes 50 million at most"
                )
            image.draft("RGB", (side, side))
            return _jpeg(ImageOps.exif_transpose(image), side)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise NotFound(f"{path.name} is no image that can be read", hint=f"it should be one of {', '.join(_FORMATS)}") from error


def _jpeg(image: Image.Image, side: int) -> bytes:
    small = _eight_bits(image) if image.mode.startswith(("I", "F")) else image.convert("RGB")
    small.thumbnail((side, side))
    written = BytesIO()
    small.save(written, "JPEG", quality=_QUALITY)
    return written.getvalue()


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey levels of more bits, from the darkest to the brightest."""
    values = np.asarray(image, np.float32)
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-6))).astype(np.uint8))
