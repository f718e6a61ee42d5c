"""Arrays that are written batch by batch have the bytes of those that are written at once."""

import numpy as np
import pytest
from kg_service.storage.arrays import ArrayWriter, open_array, retype, save_arrays
from nbclip.errors import BrokenArtefact


@pytest.mark.parametrize("shape", [(0,), (7,), (12_345,), (7, 3), (7, 0), (0, 3), (1, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_batches_give_the_bytes_of_all_rows_at_once(tmp_path, shape, dtype):
    array = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    save_arrays(tmp_path, {"whole": array})
    with ArrayWriter(tmp_path / "parts.npy", dtype, shape[1:]) as writer:
        for part in np.array_split(array, 3):
            writer.add(part)
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


@pytest.mark.parametrize(("before", "after"), [(np.int32, np.int64), (np.int64, np.int32)])
def test_an_array_of_another_type_has_the_bytes_of_one_that_was_written_so(tmp_path, monkeypatch, before, after):
    monkeypatch.setattr("kg_service.storage.arrays._AT_ONCE", 4)
    array = np.arange(-5, 6, dtype=before)
    save_arrays(tmp_path, {"one": array, "other": array.astype(after)})
    retype(tmp_path / "one.npy", after)
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "other.npy").read_bytes()
    np.testing.assert_equal(open_array(tmp_path / "one.npy"), array)


@pytest.mark.filterwarnings("ignore:Data type alias:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
def test_a_damaged_header_is_refused_without_the_values(tmp_path):
    """Each bit of it; what can't be told is whether bytes stand in another order, or mean another type of the same size."""
    path = tmp_path / "array.npy"
    save_arrays(tmp_path, {"array": np.arange(5_000, dtype=np.int32)})
    content = path.read_bytes()
    others = []
    for bit in range(8 * (len(content) - 5_000 * 4)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            array = open_array(path)
        except BrokenArtefact:
            continue
        others.append((array.dtype.itemsize, array.shape))
    assert set(others) == {(4, (5_000,))}
    assert len(others) < 8
