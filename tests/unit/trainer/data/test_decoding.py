import gzip
import io
import random
import struct
import zlib

import numpy as np
import pytest
from nbclip_trainer.data.decoding import open_image, opened
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


UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored.swapaxes(0, 1), 2),
    8: np.rot90,
}
"""What is to be done with what is stored, by the orientation's definition in EXIF: where its first row and column belong."""


def lying(orientation=None):
    """Four fields of 16 x 24 pixels, no two alike, and the EXIF that says how they are to be turned."""
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    return np.kron(np.array([[10, 90], [160, 240]], np.uint8), np.ones((16, 24), np.uint8)), exif


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_image_is_set_upright_by_its_exif(tmp_path, kind, orientation):
    stored, exif = lying(orientation)
    Image.fromarray(stored).convert("RGB").save(tmp_path / "x", kind, exif=exif, lossless=True, quality=95)
    found = np.asarray(open_image(tmp_path / "x", max_pixels=stored.size))
    wanted = UPRIGHT[orientation](stored)
    assert found.shape[:2] == wanted.shape
    assert np.abs(found[..., 0].astype(int) - wanted).max() <= 3


def test_an_orientation_in_xmp_alone_counts_and_one_that_means_nothing_does_not(tmp_path):
    stored, _ = lying()
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    Image.fromarray(stored).save(tmp_path / "xmp.jpg", xmp=packet)
    assert open_image(tmp_path / "xmp.jpg").size == (32, 48)
    for orientation in (0, 9, 65535):
        Image.fromarray(stored).save(tmp_path / "odd.jpg", exif=lying(orientation)[1])
        assert open_image(tmp_path / "odd.jpg").size == (48, 32)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", b"\0" * 40])
def test_exif_that_cant_be_read_does_not_cost_the_image(tmp_path, exif):
    Image.fromarray(lying()[0]).save(tmp_path / "x.jpg", exif=exif)
    assert open_image(tmp_path / "x.jpg").size == (48, 32)


def png(path, depth, kind, samples, *chunks, raw=None):
    """Writes a PNG of a bit depth and a colour type that Pillow writes none of: one row, of samples or of their bytes."""
    width = len(samples)
    raw = b"\0" + (raw or np.array(samples, ">u2" if depth == 16 else np.uint8).tobytes())
    head = struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0)
    whole = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in whole
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def first_row(path):
    """The greys of an image, which has no colours."""
    pixels = np.asarray(open_image(path))
    assert (pixels[..., :1] == pixels).all()
    return pixels[0, :, 0].tolist()


def opaque_half_clear(mode):
    """Black, black at half and black not at all; then white in the same way."""
    pixels = [(value, alpha) for value in (0, 255) for alpha in (255, 128, 0)]
    image = Image.new(mode, (6, 1))
    image.putdata([pair if mode == "LA" else (pair[0],) * 3 + pair[1:] for pair in pixels])
    return image


ON_WHITE = [0, 127, 255, 255, 255, 255]
"""v·a + 255·(1 - a)."""


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG2000"])
def test_what_is_transparent_is_white(tmp_path, mode, kind):
    opaque_half_clear(mode).save(tmp_path / "x", kind, **{"lossless": True, "exact": True} if kind == "WEBP" else {})
    assert first_row(tmp_path / "x") == ON_WHITE


def test_16_bits_with_alpha_are_on_white(tmp_path):
    pixels = [(value, alpha) for value in (0, 65535) for alpha in (65535, 32896, 0)]
    png(tmp_path / "grey.png", 16, 4, pixels)
    png(tmp_path / "colour.png", 16, 6, [(value,) * 3 + (alpha,) for value, alpha in pixels])
    assert first_row(tmp_path / "grey.png") == first_row(tmp_path / "colour.png") == ON_WHITE


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_entry_is_on_white(tmp_path, kind):
    image = Image.new("P", (3, 1))
    image.putpalette([0, 0, 0, 0, 0, 0, 90, 90, 90])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "x", kind, transparency=1)
    assert first_row(tmp_path / "x") == [0, 255, 90]


def test_a_palette_with_an_alpha_for_each_entry_is_on_white(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([0, 0, 0, 0, 0, 0, 90, 90, 90])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "x.png", transparency=bytes([0, 128, 255]))
    assert first_row(tmp_path / "x.png") == [255, 127, 90]


def test_one_transparent_grey_or_colour_is_white(tmp_path):
    png(tmp_path / "grey.png", 8, 0, [0, 40, 200], (b"tRNS", b"\0\0"))
    png(tmp_path / "colour.png", 8, 2, [(0, 0, 0), (40,) * 3, (200,) * 3], (b"tRNS", b"\0\0" * 3))
    assert first_row(tmp_path / "grey.png") == first_row(tmp_path / "colour.png") == [255, 40, 200]


@pytest.mark.parametrize(
    ("depth", "kind", "raw", "clear", "wanted"),
    [
        (1, 0, [0b00011011], [0, 0], [255, 255, 255, 255]),
        (2, 0, [0b00011011], [0, 1], [0, 255, 170, 255]),
        (4, 0, [0x0F, 0x3A], [0, 3], [0, 255, 255, 170]),
        (16, 2, [0x12, 0x34] * 3 + [0x43, 0x21] * 3, [0x12, 0x34] * 3, [255, 67]),
    ],
)
def test_what_is_transparent_is_a_sample_of_the_files_own_depth(tmp_path, depth, kind, raw, clear, wanted):
    png(tmp_path / "x.png", depth, kind, wanted, (b"tRNS", bytes(clear)), raw=bytes(raw))
    assert first_row(tmp_path / "x.png") == wanted


def test_one_transparent_grey_of_16_bits_is_white_and_no_part_of_the_range(tmp_path):
    png(tmp_path / "x.png", 16, 0, [0, 1000, 2000, 3000], (b"tRNS", b"\0\0"))
    assert first_row(tmp_path / "x.png") == [255, 0, 128, 255]
    png(tmp_path / "all.png", 16, 0, [7, 7], (b"tRNS", b"\0\x07"))
    assert first_row(tmp_path / "all.png") == [255, 255]


def tiff(path, photometric, samples, extra):
    """Writes a TIFF of 8 bits a sample whose last one is an alpha: 1 premultiplied, 2 not."""
    data = np.array(samples, np.uint8)
    count = data.shape[1]
    bits = struct.pack(f"<{count}H", *[8] * count).ljust(4, b"\0") if count <= 2 else None
    entries = [
        (256, 3, 1, len(data)), (257, 3, 1, 1), (258, 3, count, bits), (259, 3, 1, 1), (262, 3, 1, photometric),
        (273, 4, 1, None), (277, 3, 1, count), (278, 3, 1, 1), (279, 4, 1, data.nbytes), (338, 3, 1, extra),
    ]  # fmt: skip
    end = 8 + 2 + 12 * len(entries) + 4
    body = b"".join(
        struct.pack("<HHI", tag, kind, number)
        + (value if isinstance(value, bytes) else struct.pack("<I", {258: end + data.nbytes, 273: end}.get(tag, value)))
        for tag, kind, number, value in entries
    )
    deep = b"" if bits else struct.pack(f"<{count}H", *[8] * count)
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + b"\0" * 4 + data.tobytes() + deep)


def test_premultiplied_alpha_is_on_white(tmp_path):
    """What is stored is v·a already: on white it is v·a + 255·(1 - a)."""
    tiff(tmp_path / "grey.tif", 1, [(255, 255), (64, 128), (0, 0)], extra=1)
    tiff(tmp_path / "colour.tif", 2, [(255,) * 4, (64, 64, 64, 128), (0,) * 4], extra=1)
    assert first_row(tmp_path / "grey.tif") == pytest.approx([255, 64 + 127, 255], abs=1)
    assert first_row(tmp_path / "colour.tif") == pytest.approx([255, 64 + 127, 255], abs=1)


def test_cmyk_of_photoshop_has_its_own_colours_and_not_their_negative(tmp_path):
    """Adobe writes CMYK inverted, and YCCK as the YCC of what it has inverted."""
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "cmyk.jpg", quality=100)
    cyan = np.array([0, 255, 255])
    assert np.abs(np.asarray(open_image(tmp_path / "cmyk.jpg")) - cyan).max() <= 2
    # Pure cyan inverted, (0, 255, 255, 255): the RGB of its three inks' complement is red, whose YCC is (76, 85, 255).
    stored = (76, 85, 255, 255)
    Image.new("CMYK", (8, 8), tuple(255 - value for value in stored)).save(tmp_path / "ycck.jpg", quality=100)
    body = (tmp_path / "ycck.jpg").read_bytes()
    at = body.index(b"Adobe") + 11
    (tmp_path / "ycck.jpg").write_bytes(body[:at] + b"\x02" + body[at + 1 :])
    assert np.abs(np.asarray(open_image(tmp_path / "ycck.jpg")) - cyan).max() <= 3


def test_greys_of_16_bits_whose_zero_is_white_are_inverted(tmp_path):
    Image.fromarray(np.array([[1000, 2000, 3000]], np.uint16)).save(tmp_path / "x.tif")
    assert first_row(tmp_path / "x.tif") == [0, 128, 255]
    body = (tmp_path / "x.tif").read_bytes()
    entry = struct.pack("<HHI", 262, 3, 1)
    at = body.index(entry) + len(entry)
    (tmp_path / "x.tif").write_bytes(body[:at] + b"\0\0" + body[at + 2 :])
    assert first_row(tmp_path / "x.tif") == [255, 127, 0]


def test_floats_that_are_no_numbers_are_no_part_of_the_range(tmp_path):
    Image.fromarray(np.array([[np.nan, 1, 2, np.inf]], np.float32)).save(tmp_path / "x.tif")
    assert first_row(tmp_path / "x.tif") == [0, 0, 255, 255]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_of_several_images_the_first_is_taken(tmp_path, kind):
    pages = [Image.new("RGB", (8, 8), (grey,) * 3) for grey in (10, 100, 200)]
    pages[0].save(tmp_path / "x", kind, save_all=True, append_images=pages[1:], lossless=True)
    assert set(first_row(tmp_path / "x")) == {10}


def test_what_is_no_image_is_refused_without_pythons_words(tmp_path):
    (tmp_path / "x.png").write_text("no image")
    with pytest.raises(BadImage) as refused:
        open_image(tmp_path / "x.png")
    assert refused.value.message == f"{tmp_path}/x.png: no image of a known format"
    with pytest.raises(BadImage, match=r"none\.png: No such file"):
        open_image(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "no image, but empty"),
        (b"<!doctype html><title>403", "no image, but a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no image, but a pointer of Git LFS instead of the file"),
        (gzip.compress(b"\x5c\x01\0\0", mtime=0), "no image, but packed with gzip"),
        (b"%PDF-1.4", "no image, but a PDF"),
        (b"\x89PNG\r\n", "no image of a known format"),
    ],
)
def test_a_file_of_another_kind_is_called_that(tmp_path, content, what):
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(BadImage) as refused:
        open_image(tmp_path / "x.jpg")
    assert refused.value.message == f"{tmp_path}/x.jpg: {what}"


@pytest.mark.parametrize("content", [b"", b"<html>403"])
def test_what_is_dicom_by_its_name_alone_is_called_what_it_is(tmp_path, content):
    (tmp_path / "x.dcm").write_bytes(content)
    with pytest.raises(BadImage, match=r"x\.dcm: no image, but (empty|a web page)"):
        open_image(tmp_path / "x.dcm")


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ("a b.png", "a%20b.png"),
        ("R_1.JPG", "R_1.png"),
        ("R_1.jpeg", "R_1.png"),
        ("1.2.840.dcm", "1.2.840"),
    ],
)
def test_a_file_that_is_there_under_a_name_written_otherwise_is_named(tmp_path, there, asked):
    (tmp_path / there).touch()
    with pytest.raises(BadImage) as refused:
        open_image(tmp_path / asked)
    assert refused.value.message == f"{tmp_path / asked}: No such file or directory; there is {there!r}"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_bytes_decode_or_are_refused_and_nothing_else(tmp_path, kind):
    generator = random.Random(0)
    whole = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(whole, kind, exif=lying(6)[1])
    path = tmp_path / "damaged"
    for _ in range(150):
        content = bytearray(whole.getvalue())
        for _ in range(generator.randrange(1, 6)):
            content[generator.randrange(min(len(content), 400))] = generator.randrange(256)
        path.write_bytes(content[: generator.choice([len(content), generator.randrange(len(content))])])
        found = {way: decoded_or_refused(path, way) for way in ("shown", "pixels")}
        assert np.array_equal(found["shown"], found["pixels"])


def decoded_or_refused(path, way):
    """What one of the ways of a `Picture` gives, in RGB, or why it does not."""
    try:
        with opened(path, 1_000_000) as picture:
            found = getattr(picture, way)()
    except BadImage as error:
        return error.message
    return np.asarray(found.convert("RGB") if way == "shown" else found)


KINDS_OF_JPEG = {
    "small": {},
    "each colour in full": {"subsampling": "4:4:4"},
    "half the colour": {"subsampling": "4:2:2"},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "coarse": {"quality": 5},
    "kept as RGB": {"keep_rgb": True},
    "turned": {"exif": lying(6)[1]},
    "bad EXIF": {"exif": b"Exif\0\0garbage"},
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("saved", KINDS_OF_JPEG.values(), ids=KINDS_OF_JPEG)
def test_a_jpegs_pixels_are_those_of_pillow(tmp_path, saved, mode):
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)).resize((83, 61))
    smooth.convert(mode).save(tmp_path / "x.jpg", **saved if mode == "RGB" or "keep_rgb" not in saved else {})
    shown, found = (decoded_or_refused(tmp_path / "x.jpg", way) for way in ("shown", "pixels"))
    assert np.array_equal(found, shown)
    assert found.flags.writeable


def test_a_jpeg_that_is_cut_off_is_bad_and_one_whose_last_bytes_alone_are_missing_is_not(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(lying()[0]).save(whole, "JPEG")
    (tmp_path / "end.jpg").write_bytes(whole.getvalue()[:-2])
    (tmp_path / "half.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) - 60])
    for name in ("end", "half"):
        shown, found = (decoded_or_refused(tmp_path / f"{name}.jpg", way) for way in ("shown", "pixels"))
        assert np.array_equal(found, shown)
