"""Image files to pixels, as a viewer shows them: the one way in which training, `nbclip validate` and evaluation open them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import simplejpeg
from nbclip.files.addresses import Location
from nbclip.files.foreign import START, instead_of_image
from nbclip.files.pictures import open_image_file
from PIL import ExifTags, Image, UnidentifiedImageError

from nbclip_trainer.data.dicom import is_dicom, opened_dicom
from nbclip_trainer.data.greys import shown
from nbclip_trainer.data.settings import MAX_PIXELS
from nbclip_trainer.errors import BadImage

# `max_pixels` decides, before anything is decoded; Pillow's own limit would refuse what a user has allowed.
Image.MAX_IMAGE_PIXELS = None
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises on damaged files."""
_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".PNG", ".JPG", ".JPEG", ".DCM")
_WHITE_IS_ZERO = 0
"""PhotometricInterpretation of a TIFF; Pillow sees to it in images of up to 8 bits."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What sets an image upright, by its EXIF orientation."""


class Picture(Protocol):
    """An image file of which the header alone was read."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored, in pixels."""
        ...

    def shown(self, least: int | None = None) -> Image.Image:
        """The first frame, decoded, as a viewer shows it, in RGB, or in L where it is grey.

        A JPEG is decoded at the half, quarter or eighth of its size whose sides are no shorter than `least`, if that is given.
        """
        ...

    def pixels(self, least: int | None = None) -> npt.NDArray[np.uint8]:
        """The same in RGB, writable, [H, W, 3]: faster than by way of Pillow's image."""
        ...

    def frames(self) -> int:
        """How many images are in the file, as pages or in time."""
        ...


def open_image(path: Location, max_pixels: int = MAX_PIXELS, least: int | None = None) -> Image.Image:
    """An image in RGB: the first frame, upright by its EXIF orientation, what is transparent on white.

    Greys of more than 8 bits are scaled to their own range: Pillow's conversion would cut them off at 255. DICOM goes through its
    own window (`dicom.py`). `least` is that of `Picture.shown`.

    Raises:
        BadImage: the file is missing, no image, cut off, or of more than `max_pixels` (not decoded then).
        InvalidInput: a DICOM file without the extra `dicom`.
    """
    with opened(path, max_pixels) as picture:
        return picture.shown(least).convert("RGB")


@contextmanager
def opened(path: Location, max_pixels: int) -> Iterator[Picture]:
    """An image of which the header alone was read; what its decoder raises in the block is a BadImage too."""
    try:
        with open_image_file(path) as file:
            if is_dicom(path, file):
                yield _small_enough(opened_dicom(path, file), path, max_pixels)
            else:
                with Image.open(file) as image:
                    yield _small_enough(_Plain(image, file), path, max_pixels)
    except UnidentifiedImageError as error:
        raise BadImage(f"{path}: {_kind(path)}") from error
    except FileNotFoundError as error:
        raise BadImage(f"{path}: {error.strerror or error}{_nearest(path)}") from error
    except _DECODER_ERRORS as error:
        raise BadImage(f"{path}: {getattr(error, 'strerror', None) or error or type(error).__name__}") from error


def _kind(path: Location) -> str:
    """What a file is that is no image."""
    with open_image_file(path) as file:
        return instead_of_image(file.read(START)) or "no image of a known format"


def _nearest(path: Location) -> str:
    """The file that is there where a name is only written otherwise: as in an address, or with another ending."""
    if not isinstance(path, Path):
        return ""
    others = [Path(unquote(str(path)))]
    others += [each for suffix in _SUFFIXES for each in (path.with_suffix(suffix), path.with_name(path.name + suffix))]
    return next((f"; there is {other.name!r}" for other in others if other.is_file()), "")


def _small_enough(picture: Picture, path: Location, max_pixels: int) -> Picture:
    width, height = picture.size
    if width * height > max_pixels:
        raise BadImage(f"{path}: {width} x {height} pixels, over the limit of {max_pixels}")
    return picture


@dataclass(frozen=True, slots=True)
class _Plain:
    """An image that Pillow reads, and its file."""

    image: Image.Image
    file: BinaryIO

    @property
    def size(self) -> tuple[int, int]:
        """See `Picture`."""
        return self.image.size

    def shown(self, least: int | None = None) -> Image.Image:
        """See `Picture`."""
        if least is not None:
            self.image.draft(None, (least, least))
        _clear_in_8_bits(self.image)
        self.image.load()
        pixels = _deep(self.image) if self.image.mode.startswith(("I", "F")) else _plain(self.image)
        turn = _turn(self.image)
        return pixels if turn is None else pixels.transpose(turn)

    def pixels(self, least: int | None = None) -> npt.NDArray[np.uint8]:
        """See `Picture`."""
        is_whole = least is None or min(self.image.size) < 2 * least
        if is_whole and self.image.format == "JPEG" and self.image.mode in ("L", "RGB") and _turn(self.image) is None:
            self.file.seek(0)
            # What libjpeg finds fault with is left to Pillow, which forgives some of it.
            with suppress(ValueError):
                decoded: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(self.file.read(), "RGB")
                return decoded
        return np.array(self.shown(least).convert("RGB"))

    def frames(self) -> int:
        """See `Picture`; 1 where what follows the first is damaged."""
        try:
            return getattr(self.image, "n_frames", 1)
        except _DECODER_ERRORS:
            return 1


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What sets it upright. EXIF that can't be read turns nothing, as in viewers; Pillow itself has turned TIFF."""
    try:
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (*_DECODER_ERRORS, TypeError):
        return None


def _clear_in_8_bits(image: Image.Image) -> None:
    """What a PNG of 2, 4 or 3 x 16 bits calls transparent, in the 8 bits that Pillow makes of its pixels and not of this."""
    clear, tiles = image.info.get("transparency"), getattr(image, "tile", [])
    match clear, tiles[0].args if image.format == "PNG" and tiles else None:
        case int(), "L;2" | "L;4" as raw:
            image.info["transparency"] = clear * (255 // (2 ** int(raw[2:]) - 1))
        case tuple(), "RGB;16B":
            image.info["transparency"] = tuple(value >> 8 for value in clear)


def _plain(image: Image.Image) -> Image.Image:
    """Up to 8 bits a channel to RGB, or L as it is; what is transparent on white."""
    if not image.has_transparency_data:
        return image.copy() if image.mode == "L" else image.convert("RGB")
    # Pillow has no direct way from premultiplied greys.
    whole = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")


def _deep(image: Image.Image) -> Image.Image:
    """Greys of more than 8 bits to L; a grey that stands for transparency is white, and no part of their range."""
    grey_HW = np.asarray(image, np.float32)
    clear_HW = grey_HW == image.info.get("transparency", np.nan)
    seen = grey_HW[np.isfinite(grey_HW) & ~clear_HW]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    is_inverted = getattr(image, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == _WHITE_IS_ZERO
    found = shown(np.nan_to_num(grey_HW, nan=low, posinf=high, neginf=low), low, high, inverted=is_inverted)
    found.paste(255, mask=Image.fromarray(clear_HW))
    return found
