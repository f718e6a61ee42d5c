import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from nbclip_trainer.data.mapped import hashes_of
from nbclip_trainer.targets.lookup import IdTable


def table_of(ids):
    contents = [one.encode() for one in ids]
    offsets = np.cumsum([0, *map(len, contents)], dtype=np.int64)
    return IdTable(np.frombuffer(b"".join(contents), np.uint8), offsets)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_ids_have_the_rows_that_a_dict_gives(count, monkeypatch):
    monkeypatch.setattr("nbclip_trainer.targets.lookup._AT_ONCE", 7)
    ids = [f"image-{number * 7919 % 10_007}" if number % 3 else f"ä{number}" for number in range(count)]
    row_of = {one: row for row, one in enumerate(ids)}
    asked = [*reversed(ids), "image", "", "image-1x", *ids[:3], "Ä0"]
    assert table_of(ids).rows(asked).tolist() == [row_of.get(one, -1) for one in asked]
    assert table_of(ids).rows([]).tolist() == []


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_hashes_are_there_whose_ids_are(count):
    ids, others = [f"ä{number}" for number in range(count)], [f"x{number}" for number in range(50)]
    table = table_of(ids)
    hashes = hashes_of(pa.array([*ids, *others], pa.string()))
    order = np.argsort(hashes)
    assert table.has_hashes(hashes[order]).tolist() == (order < count).tolist()
    rows = np.arange(0, count, 3)
    assert np.array_equal(table.hashes_of_rows(rows), hashes[rows])


@pytest.mark.parametrize("kinds", [1, 2])
def test_ids_with_the_same_hash_are_told_apart(kinds, monkeypatch):
    monkeypatch.setattr(pl.Series, "hash", lambda series: (series.str.len_bytes() % kinds).cast(pl.UInt64))
    ids = [f"{'x' * (number % 5)}{number}" for number in range(20)]
    found = table_of(ids).rows([*ids, "none", "y"])
    assert found.tolist() == [*range(20), -1, -1]


def test_offsets_may_lie_anywhere_in_a_file():
    content = bytearray(3 + 8 * 3)
    offsets = np.frombuffer(content, np.uint8)[3:].view(np.int64)
    offsets[:] = [0, 1, 3]
    assert not offsets.flags.aligned
    assert IdTable(np.frombuffer(b"abc", np.uint8), offsets).rows(["bc", "a"]).tolist() == [1, 0]
