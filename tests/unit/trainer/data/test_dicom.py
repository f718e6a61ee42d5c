"""DICOM files as viewers show them: values worked by hand from PS3.3, or those that were put in."""

import contextlib
import io
import random

import gdcm
import numpy as np
import pytest
from nbclip.errors import InvalidInput
from nbclip_trainer.data.checking import check_images
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.data.decoding import open_image, opened
from nbclip_trainer.data.settings import MAX_PIXELS, DataSettings
from nbclip_trainer.errors import BadImage
from PIL import Image
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)


def dataset(pixels, bits=None, photometric="MONOCHROME2", **elements):
    """An image as a scanner would keep it."""
    pixels = np.asarray(pixels)
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    made.PhotometricInterpretation = photometric
    made.BitsAllocated = 8 * pixels.itemsize
    made.BitsStored = bits or made.BitsAllocated
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.PixelData = pixels.tobytes().ljust((pixels.nbytes + 1) // 2 * 2, b"\0")
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def save(made, path):
    made.save_as(path, enforce_file_format=True)
    return path


def shown(made, tmp_path):
    """The greys of the first row."""
    pixels = np.asarray(open_image(save(made, tmp_path / "x")))
    assert (pixels[..., :1] == pixels).all()
    return pixels[0, :, 0].tolist()


def test_greys_of_more_than_8_bits_are_scaled_to_their_own_range(tmp_path):
    assert shown(dataset(np.array([[100, 200, 300]], np.uint16), 12), tmp_path) == [0, 128, 255]


def test_monochrome1_is_inverted(tmp_path):
    assert shown(dataset(np.array([[100, 200, 300]], np.uint16), 12, "MONOCHROME1"), tmp_path) == [255, 127, 0]
    assert shown(dataset(np.array([[0, 40, 255]], np.uint8), photometric="MONOCHROME1"), tmp_path) == [255, 215, 0]


def test_8_bits_without_a_window_are_as_they_are(tmp_path):
    assert shown(dataset(np.array([[10, 40, 200]], np.uint8)), tmp_path) == [10, 40, 200]
    rescaled = dataset(np.array([[10, 40, 200]], np.uint8), RescaleSlope=2, RescaleIntercept=-7)
    assert shown(rescaled, tmp_path) == [10, 40, 200]


@pytest.mark.parametrize(
    ("photometric", "shade"), [("MONOCHROME2", [0, 0, 64, 128, 255, 255]), ("MONOCHROME1", [255, 255, 191, 127, 0, 0])]
)
def test_hounsfield_units_go_through_the_first_window(tmp_path, photometric, shade):
    """Centre 40, width 401 of linear: y = (x - 39.5) / 400 + 0.5 between -160.5 and 239.5 (PS3.3 C.11.2.1.2)."""
    units = np.array([[-1000, -200, -61, 40, 240, 1000]])
    stored = (units + 1024).astype(np.uint16)
    made = dataset(stored, 12, photometric, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=[40, 500], WindowWidth=[401, 9])
    assert shown(made, tmp_path) == pytest.approx(shade, abs=1)


def test_a_window_is_not_stretched_to_what_is_in_it(tmp_path):
    made = dataset(np.array([[1100, 1200]], np.uint16), 12, WindowCenter=2048.5, WindowWidth=4097)
    assert shown(made, tmp_path) == [round(255 * value / 4096) for value in (1100, 1200)]


def test_signed_values_and_other_functions_of_a_window(tmp_path):
    exact = dataset(
        np.array([[-200, -100, 0, 100]], np.int16), 12, WindowCenter=-50, WindowWidth=300, VOILUTFunction="LINEAR_EXACT"
    )
    assert shown(exact, tmp_path) == pytest.approx([0, 255 / 3, 255 * 2 / 3, 255], abs=1)
    sigmoid = dataset(np.array([[-200, 0, 200]], np.int16), 12, WindowCenter=0, WindowWidth=400, VOILUTFunction="SIGMOID")
    assert shown(sigmoid, tmp_path) == pytest.approx([255 / (1 + np.e**2), 127.5, 255 / (1 + np.e**-2)], abs=1)


def test_padding_is_no_part_of_the_range(tmp_path):
    made = dataset(np.array([[-2000, 100, 200, 300]], np.int16), 16, PixelPaddingValue=-2000)
    assert shown(made, tmp_path) == [0, 0, 128, 255]
    assert shown(dataset(np.full((1, 2), 7, np.int16), 16, PixelPaddingValue=7), tmp_path) == [0, 0]


@pytest.mark.parametrize("window", [("", ""), (40, 0), (40, ""), ([40, 50], [0, 80])])
def test_a_window_without_a_width_is_none(tmp_path, window):
    made = dataset(np.array([[100, 200, 300]], np.uint16), 12, WindowCenter=window[0], WindowWidth=window[1])
    assert shown(made, tmp_path) == [0, 128, 255]


def test_an_empty_function_of_a_window_is_linear(tmp_path):
    made = dataset(np.array([[1100, 1200]], np.uint16), 12, WindowCenter=2048.5, WindowWidth=4097, VOILUTFunction="")
    assert shown(made, tmp_path) == [round(255 * value / 4096) for value in (1100, 1200)]


def table(first, entries, bits):
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = np.array(entries, "<u2").tobytes()
    return item


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_table_of_values_of_interest_goes_before_a_window(tmp_path, bits):
    """A table of 1,024 entries, of 8 bits too, begins at 100; what lies outside takes its ends. Its range is the screen's."""
    most = 2**bits - 1
    entries = np.linspace(0, most, 1024).round().astype(int).tolist()
    made = dataset(np.array([[0, 100, 612, 1123, 4000]], np.uint16), 12, WindowCenter=9, WindowWidth=9)
    made.VOILUTSequence = [table(100, entries, bits)]
    assert shown(made, tmp_path) == pytest.approx([0, 0, 255 * 512 / 1023, 255, 255], abs=1)


def test_a_modality_table_comes_first(tmp_path):
    made = dataset(np.array([[0, 1, 2, 3]], np.uint16), 12)
    made.ModalityLUTSequence = [table(0, [0, 300, 100, 200], 16)]
    made.ModalityLUTSequence[0].ModalityLUTType = "US"
    assert shown(made, tmp_path) == [0, 255, 85, 170]


COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [30, 60, 90]]], np.uint8)


def colours(made, tmp_path):
    return np.asarray(open_image(save(made, tmp_path / "x"))).astype(int)


def test_colours_of_either_order_and_depth(tmp_path):
    assert (colours(dataset(COLOURS, photometric="RGB"), tmp_path) == COLOURS).all()
    planes = dataset(COLOURS, photometric="RGB", PlanarConfiguration=1)
    planes.PixelData = COLOURS.transpose(2, 0, 1).tobytes() + b"\0"
    assert (colours(planes, tmp_path) == COLOURS).all()
    assert (colours(dataset(COLOURS.astype(np.uint16) << 4, 12, "RGB"), tmp_path) == COLOURS).all()


def test_ybr_is_made_rgb(tmp_path):
    ycbcr = np.asarray(Image.fromarray(COLOURS).convert("YCbCr"))
    assert np.abs(colours(dataset(ycbcr, photometric="YBR_FULL"), tmp_path) - COLOURS).max() <= 2


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_is_looked_up(tmp_path, bits):
    made = dataset(np.array([[0, 1, 2]], np.uint8), photometric="PALETTE COLOR")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        entries = np.append(COLOURS[0, :, channel], 0).astype("<u2") << (bits - 8)
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [4, 0, bits])
        data = entries.astype(f"<u{bits // 8}").tobytes()
        setattr(made, f"{name}PaletteColorLookupTableData", data)
    assert (colours(made, tmp_path) == COLOURS).all()


def test_of_several_frames_the_first_is_taken_and_the_file_is_named(tmp_path):
    frames = [np.full((4, 4), grey, np.uint8) for grey in (10, 100, 200)]
    made = dataset(frames[0], NumberOfFrames=3)
    made.PixelData = b"".join(frame.tobytes() for frame in frames)
    assert set(shown(made, tmp_path)) == {10}
    (tmp_path / "pairs.csv").write_text("image_id,file,caption\na,x,one\n")
    assert check_images(read_dataset([tmp_path / "pairs.csv"]), DataSettings()).frames == {0: 3}


def test_compressed_pixels_are_read(tmp_path):
    grey = np.kron(np.array([[10, 200], [90, 150]], np.uint8), np.ones((16, 16), np.uint8))
    rle = dataset(grey)
    rle.compress(RLELossless)
    assert (np.asarray(open_image(save(rle, tmp_path / "rle")))[..., 0] == grey).all()
    for uid, kind, options in ((JPEGBaseline8Bit, "JPEG", {"quality": 95}), (JPEG2000Lossless, "JPEG2000", {"no_jp2": True})):
        made, body = dataset(grey), io.BytesIO()
        Image.fromarray(grey).save(body, kind, **options)
        made.PixelData = encapsulate([body.getvalue()])
        made["PixelData"].VR = "OB"
        made.file_meta.TransferSyntaxUID = uid
        found = np.asarray(open_image(save(made, tmp_path / "x")))[..., 0]
        assert np.abs(found.astype(int) - grey).max() <= (0 if kind == "JPEG2000" else 3)


@pytest.mark.parametrize("kind", [gdcm.TransferSyntax.JPEGLosslessProcess14_1, gdcm.TransferSyntax.JPEGLSLossless])
def test_what_archives_compress_with_is_read(tmp_path, kind):
    """12 bits, as X-rays have them, made lossless by another library."""
    deep = np.random.default_rng(0).integers(0, 4096, (32, 24), dtype=np.uint16)
    deep[0, :2] = 0, 4095
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(save(dataset(deep, 12), tmp_path / "plain")))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(kind))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(tmp_path / "small"))
    assert writer.Write()
    found = np.asarray(open_image(tmp_path / "small"))[..., 0]
    assert (found == (deep * (255 / 4095)).astype(np.float32).round()).all()


def test_a_file_is_known_by_its_magic_or_its_name(tmp_path):
    grey = np.array([[10, 40, 200]], np.uint8)
    assert shown(dataset(grey), tmp_path) == [10, 40, 200]
    bare = dataset(grey)
    del bare.file_meta
    for name in ("bare.dcm", "BARE.DCM"):
        bare.save_as(tmp_path / name, implicit_vr=True, little_endian=True)
        assert np.asarray(open_image(tmp_path / name))[0, :, 0].tolist() == [10, 40, 200]
    assert ImplicitVRLittleEndian.is_implicit_VR
    (tmp_path / "text.dcm").write_text("no image " * 40)
    with pytest.raises(BadImage, match=r"text\.dcm"):
        open_image(tmp_path / "text.dcm")


def test_a_report_without_pixels_and_too_many_pixels_are_refused(tmp_path):
    report = dataset(np.zeros((2, 2), np.uint8))
    for name in ("Rows", "Columns", "PixelData", "PhotometricInterpretation"):
        delattr(report, name)
    with pytest.raises(BadImage, match="a DICOM file without pixels"):
        open_image(save(report, tmp_path / "sr.dcm"))
    save(dataset(np.zeros((30, 40), np.uint8)), tmp_path / "large.dcm")
    with pytest.raises(BadImage, match="40 x 30 pixels, over the limit of 1000"):
        open_image(tmp_path / "large.dcm", max_pixels=1000)
    with opened(tmp_path / "large.dcm", MAX_PIXELS) as picture:
        assert (picture.size, picture.frames()) == ((40, 30), 1)


def test_without_the_extra_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("nbclip_trainer.data.dicom.find_spec", lambda name: None)
    path = save(dataset(np.zeros((2, 2), np.uint8)), tmp_path / "x")
    with pytest.raises(InvalidInput, match="a DICOM file, and pydicom is not installed") as refused:
        open_image(path)
    assert not isinstance(refused.value, BadImage), "one missing package is not a bad image after the other"
    assert "uv pip install 'nbclip-trainer[dicom]'" in refused.value.hint


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_bytes_decode_or_are_refused_and_nothing_else(tmp_path):
    generator = random.Random(0)
    made = dataset(np.random.default_rng(0).integers(0, 4096, (24, 24), dtype=np.uint16), 12, WindowCenter=9, WindowWidth=9)
    whole = save(made, tmp_path / "whole").read_bytes()
    made.compress(RLELossless)
    packed = save(made, tmp_path / "packed").read_bytes()
    for _ in range(300):
        content = bytearray(generator.choice((whole, packed)))
        for _ in range(generator.randrange(1, 6)):
            content[generator.randrange(132, 700)] = generator.randrange(256)
        (tmp_path / "x").write_bytes(content[: generator.choice([len(content), generator.randrange(140, len(content))])])
        with contextlib.suppress(BadImage):
            assert open_image(tmp_path / "x", max_pixels=1_000_000).mode == "RGB"
