"""DICOM files to pixels, as a viewer shows them at first: the first frame through the file's own window, MONOCHROME1 inverted.

Needs pydicom, the extra `dicom`, which is imported where a file is opened.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from nbclip.errors import InvalidInput, NBClipError
from nbclip.files.addresses import Location
from nbclip.files.foreign import START, instead_of_image
from PIL import Image

from nbclip_trainer.data.greys import shown
from nbclip_trainer.errors import BadImage

if TYPE_CHECKING:
    from pydicom import Dataset

_MAGIC, _AT = b"DICM", 128
_SUFFIXES = (".dcm", ".dicom")
_GREYS = ("MONOCHROME1", "MONOCHROME2")
# What pydicom can't read becomes a BadImage, which says it once; its log would say it with a traceback before.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def is_dicom(path: Location, file: BinaryIO) -> bool:
    """Whether a file says so, by `DICM` after 128 bytes, or failing that by its name; it is at its start then."""
    head = file.read(_AT + len(_MAGIC))
    file.seek(0)
    return head[_AT:] == _MAGIC or path.suffix.lower() in _SUFFIXES


@dataclass(frozen=True, slots=True)
class Dicom:
    """A DICOM file of which all but the pixels was read; see `Picture`.

    Attributes:
        size: width and height in pixels.
    """

    path: Location
    file: BinaryIO
    header: Dataset
    size: tuple[int, int]

    def frames(self) -> int:
        """How many there are."""
        with _refused(self.path):
            return int(self.header.get("NumberOfFrames") or 1)

    def shown(self, least: int | None = None) -> Image.Image:
        """The first frame, in its own size."""
        with _refused(self.path, "pixels that can't be decoded: "):
            return _decoded(_first_frame(self.file, self.header), self.header)

    def pixels(self, least: int | None = None) -> npt.NDArray[np.uint8]:
        """The same in RGB, [H, W, 3]."""
        return np.array(self.shown(least).convert("RGB"))


def opened_dicom(path: Location, file: BinaryIO) -> Dicom:
    """Reads what stands before the pixels.

    Raises:
        InvalidInput: pydicom is not installed.
        BadImage: the file has no pixels.
    """
    if find_spec("pydicom") is None:
        raise InvalidInput(
            f"{path}: a DICOM file, and pydicom is not installed",
            hint="uv pip install 'nbclip-trainer[dicom]'; or convert the files to PNG",
        )
    from pydicom import config, dcmread

    # A value that breaks a rule of writing is no reason for a line on the terminal.
    config.settings.reading_validation_mode = config.IGNORE
    with _refused(path):
        header = dcmread(file, stop_before_pixels=True, force=True)
        if not {"Rows", "Columns", "PhotometricInterpretation"} <= set(header.dir()):
            file.seek(0)
            what = instead_of_image(file.read(START)) or "a DICOM file without pixels, or cut off before them"
            raise BadImage(f"{path}: {what}")
        return Dicom(path, file, header, (int(header.Columns), int(header.Rows)))


@contextmanager
def _refused(path: Location, what: str = "") -> Iterator[None]:
    """Whatever pydicom raises on damaged files and on what it can't decompress is a BadImage."""
    try:
        yield
    except NBClipError:
        raise
    except Exception as error:
        raise BadImage(f"{path}: {what}{' '.join(str(error).split()) or type(error).__name__:.300}") from error


def _decoded(pixels: npt.NDArray[Any], header: Dataset) -> Image.Image:
    from pydicom.pixels.processing import apply_color_lut

    kind, bits = str(header.PhotometricInterpretation), int(header.BitsStored)
    if kind in _GREYS:
        return _grey(pixels, header, inverted=kind == "MONOCHROME1")
    if kind == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, header)
        bits = 8 * pixels.itemsize
    if pixels.ndim != 3:
        raise ValueError(f"photometric interpretation {kind} is not known")
    return Image.fromarray((pixels >> max(bits - 8, 0)).astype(np.uint8))


def _first_frame(file: BinaryIO, header: Dataset) -> npt.NDArray[Any]:
    """Decoded, YBR as RGB: [H, W] or [H, W, 3]. A file without a meta header is of DICOM's default transfer syntax."""
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import ImplicitVRLittleEndian

    syntax = header.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
    file.seek(0)
    return pixel_array(file, index=0, transfer_syntax_uid=syntax)


def _grey(stored_HW: npt.NDArray[Any], header: Dataset, *, inverted: bool) -> Image.Image:
    """Through the modality's LUT and the first VOI LUT or window. Without, 8 bits as they are, more over their own range."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing

    grey_HW = apply_modality_lut(stored_HW, header)
    if header.get("VOILUTSequence"):
        table = header.VOILUTSequence[0]
        count, first, _ = table.LUTDescriptor
        # pydicom numbers a table's entries in the bits of their values, and 4,096 entries of 8 bits are common.
        table.LUTDescriptor = [count, first, 16]
        grey_HW = apply_voi(np.asarray(grey_HW).round().astype(np.int64), header)
        ends = apply_voi(first + np.arange(count or 2**16), header)
    elif _has_window(header):
        grey_HW = apply_windowing(grey_HW, header)
        ends = apply_windowing(np.array([-np.inf, np.inf]), header)
    elif header.BitsStored <= 8:
        ends = apply_modality_lut(
            np.arange(2**header.BitsStored) - header.PixelRepresentation * 2 ** (header.BitsStored - 1), header
        )
    else:
        # What a scanner fills its round field's corners with is no part of the range.
        seen_HW = stored_HW != header.get("PixelPaddingValue")
        ends = grey_HW[seen_HW] if seen_HW.any() else grey_HW
    return shown(grey_HW, float(ends.min()), float(ends.max()), inverted=inverted)


def _has_window(header: Dataset) -> bool:
    """Whether the first window can be used; without a width it is none, as in viewers. An empty function is the default one."""
    if not header.get("VOILUTFunction"):
        header.VOILUTFunction = "LINEAR"
    center, width = header.get("WindowCenter"), header.get("WindowWidth")
    if center is None or width is None:
        return False
    narrowest = 1 if header.VOILUTFunction == "LINEAR" else np.nextafter(0, 1)
    return bool(np.atleast_1d(np.asarray(width, float))[0] >= narrowest)
