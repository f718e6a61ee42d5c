import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nbclip.files.pictures import open_image_file, place_in_parquet

IMAGES = [bytes([number % 256]) * (number + 1) for number in range(300)]


@pytest.fixture(params=["image", "image.bytes"])
def file(tmp_path, request):
    """300 images in groups of 70, and the column they are in."""
    column = pa.array(IMAGES)
    if request.param == "image.bytes":
        column = pa.StructArray.from_arrays([column, pa.array(["x"] * 300)], ["bytes", "path"])
    path = tmp_path / "images.parquet"
    pq.write_table(pa.table({"image": column}), path, row_group_size=70)
    return path, request.param


def read(file, row):
    return open_image_file(Path(place_in_parquet(*file, row))).read()


@pytest.mark.parametrize("seed", range(3))
def test_images_of_parquet_are_read_in_any_order(file, seed):
    rows = list(range(300))
    assert [read(file, row) for row in rows] == IMAGES
    random.Random(seed).shuffle(rows)
    assert [read(file, row) for row in rows] == [IMAGES[row] for row in rows]


def test_a_row_that_is_not_there_is_an_error_and_the_next_one_is_read(file):
    with pytest.raises(OSError, match="no row 301"):
        read(file, 300)
    assert read(file, 299) == IMAGES[299]


def test_a_file_whose_name_looks_like_a_place_is_a_file(tmp_path):
    path = tmp_path / "scan#2.png"
    path.write_bytes(b"content")
    with open_image_file(path) as image:
        assert image.read() == b"content"
