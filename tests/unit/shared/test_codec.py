import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from nbclip import codec
from nbclip.codec import TargetMatrix
from nbclip.errors import InvalidInput
from safetensors.numpy import load as load_with_numpy
from safetensors.torch import load as load_with_torch

shapes = st.tuples(st.integers(1, 7), st.integers(1, 7))
values = npst.arrays(np.float32, shapes, elements=st.floats(-1, 1, width=32))


def matrix_of(array, output="similarity"):
    columns = array.shape[1]
    return TargetMatrix(output, array, np.arange(columns) % 2 == 0, np.arange(columns) == 1, {"snapshot": "a" * 64})


@given(values)
def test_float32_travels_unchanged(array):
    decoded = codec.decode(codec.encode(matrix_of(array, "targets")))
    assert decoded.output == "targets"
    assert np.array_equal(decoded.values, array)
    assert decoded.has_knowledge.tolist() == [column % 2 == 0 for column in range(array.shape[1])]
    assert decoded.unknown.tolist() == [column == 1 for column in range(array.shape[1])]
    assert decoded.metadata == {"snapshot": "a" * 64}


@given(values)
def test_bfloat16_rounds_as_torch_does(array):
    expected = torch.from_numpy(array.copy()).bfloat16()
    body = codec.encode(matrix_of(array), "bfloat16")
    assert torch.equal(load_with_torch(body)["similarity"], expected)
    assert np.array_equal(codec.decode(body).values, expected.float().numpy())


@given(values)
def test_float16_similarities_lose_at_most_half_a_thousandth(array):
    decoded = codec.decode(codec.encode(matrix_of(array), "float16")).values
    assert decoded.dtype == np.float32
    assert np.abs(decoded - array).max() <= 2**-11


def test_a_transposed_view_is_written_in_row_order():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(codec.decode(codec.encode(matrix_of(array.T))).values, array.T)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>not found</html>", codec.encode(matrix_of(np.eye(2, dtype=np.float32)))[:-3]]
)
def test_what_is_no_matrix_is_refused_with_a_hint(body):
    with pytest.raises(InvalidInput, match="safetensors"):
        codec.decode(body)


@pytest.mark.parametrize(
    ("values", "known", "unknown"),
    [((2,), (2,), (2,)), ((2, 3), (2,), (3,)), ((2, 3), (3,), (3, 1)), ((0, 0), (0,), (1,)), ((1, 2, 3), (3,), (3,))],
)
def test_arrays_that_do_not_fit_together_are_no_matrix(values, known, unknown):
    flags = {"has_knowledge": np.ones(known, np.uint8), "unknown": np.zeros(unknown, np.uint8)}
    body = codec.write_tensors({"targets": np.ones(values, np.float32), **flags}, {})
    with pytest.raises(InvalidInput, match="no matrix: targets has shape"):
        codec.decode(body)


def test_metadata_may_be_null():
    header = b'{"__metadata__":null,"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    arrays, metadata = codec.read_tensors(len(header).to_bytes(8, "little") + header + b"\7")
    assert (arrays["a"].tolist(), metadata) == ([7], {})


def test_equal_matrices_give_equal_bytes_and_metadata_has_one_order():
    metadata = {name: name for name in ("snapshot", "knowledge", "representation", "parameters")}
    flags = np.ones(2, bool)
    bodies = {
        codec.encode(TargetMatrix("targets", np.eye(2, dtype=np.float32), flags, flags, dict(order)))
        for order in (list(metadata.items()), list(metadata.items())[::-1])
        for _ in range(10)
    }
    assert len(bodies) == 1


@given(st.sampled_from([np.float32, np.int32, np.int64, np.uint8]), shapes)
def test_the_librarys_own_reader_finds_tensors_as_they_were(kind, shape):
    array = np.arange(np.prod(shape), dtype=kind).reshape(shape)
    read = load_with_numpy(codec.write_tensors({"one": array, "empty": array[:0], "flipped": array.T}, {"name": "ü"}))
    assert {name: tensor.tolist() for name, tensor in read.items()} == {
        "one": array.tolist(),
        "empty": [],
        "flipped": array.T.tolist(),
    }
    assert read["one"].dtype == kind


KINDS = {"U8": 1, "BF16": 2, "F16": 2, "I32": 4, "F32": 4, "I64": 8}


def misplaced(body):
    """Tensors that no reader could look at where they lie, by the format's definition of the header."""
    length = int.from_bytes(body[:8], "little")
    tensors = json.loads(body[8 : 8 + length])
    tensors.pop("__metadata__")
    spans = sorted(tensor["data_offsets"] for tensor in tensors.values())
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])], "no gaps"
    assert spans[-1][1] == len(body) - 8 - length
    return [name for name, one in tensors.items() if (8 + length + one["data_offsets"][0]) % KINDS[one["dtype"]]]


arrays = st.sampled_from([np.uint8, np.float16, np.int32, np.float32, np.int64]).flatmap(
    lambda kind: npst.arrays(kind, npst.array_shapes(max_dims=2, min_side=0, max_side=7), elements=st.integers(0, 9))
)


@given(st.dictionaries(st.text(max_size=5), arrays, min_size=1, max_size=6), st.text(max_size=9))
def test_every_tensor_begins_at_a_multiple_of_its_item_size(tensors, said):
    body = codec.write_tensors(tensors, {"said": said})
    assert misplaced(body) == []
    read = load_with_numpy(body)
    assert {name: (array.dtype, array.tolist()) for name, array in read.items()} == {
        name: (array.dtype, array.tolist()) for name, array in tensors.items()
    }


@given(st.dictionaries(st.text(max_size=5), st.tuples(st.sampled_from(["?", "f2", "i4", "i8"]), shapes), min_size=1, max_size=6))
def test_what_is_filled_in_place_is_aligned_and_keeps_the_order_it_was_asked_in(layout):
    body, arrays = codec.blank_body(layout, {}, lambda count: np.zeros(count, np.uint8))
    assert misplaced(bytes(body)) == []
    assert list(arrays) == list(layout)
    for number, array in enumerate(arrays.values()):
        array[...] = number % 2 if array.dtype == bool else number
    read = codec.read_tensors(bytes(body))[0]
    assert all(np.array_equal(read[name], array) for name, array in arrays.items())


@given(values, st.sampled_from(["float32", "bfloat16", "float16"]), st.text(max_size=9))
def test_every_dtype_of_a_matrix_is_aligned(array, dtype, snapshot):
    assert misplaced(codec.encode(replace(matrix_of(array), metadata={"snapshot": snapshot}), dtype)) == []


def test_what_was_written_unaligned_before_is_still_read():
    """As 0.1.0 wrote `GET /snapshots/{id}/embeddings`: bytes before int64."""
    header = {"id_bytes": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}
    header["id_offsets"] = {"dtype": "I64", "shape": [2], "data_offsets": [3, 19]}
    text = json.dumps(header).encode()
    body = len(text).to_bytes(8, "little") + text + b"abc" + np.array([0, 3], "<i8").tobytes()
    arrays, _ = codec.read_tensors(body)
    assert (arrays["id_bytes"].tobytes(), arrays["id_offsets"].tolist()) == (b"abc", [0, 3])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("output", ["targets", "similarity"])
def test_what_is_filled_in_place_is_the_body_that_is_encoded(output, dtype):
    values = np.random.default_rng(0).random((3, 7)).astype(dtype)
    flags = np.arange(7) % 2 == 0, np.arange(7) == 1
    metadata = {"snapshot": "ü" * 5, "knowledge": "dk"}
    blank = codec.blank_matrix(output, (3, 7), dtype, metadata, lambda count: np.full(count, 255, np.uint8))
    blank.values[:], blank.has_knowledge[:], blank.unknown[:] = values, *flags
    plain = TargetMatrix(output, values, *flags, metadata)
    assert bytes(codec.encode_parts(blank, dtype)[0]) == codec.encode(plain, dtype)
    assert blank.values.__array_interface__["data"][0] % 64 == 0
    assert codec.encode(blank, "bfloat16") == codec.encode(plain, "bfloat16")


def test_a_mapped_file_has_the_arrays_that_are_read(tmp_path):
    arrays = {
        "a": np.arange(12, dtype=np.float32).reshape(3, 4),
        "none": np.zeros((0, 2), np.int32),
        "b": np.arange(5, dtype=np.uint8),
    }
    path = tmp_path / "file.safetensors"
    path.write_bytes(codec.write_tensors(arrays, {"snapshot": "s"}))
    mapped, metadata = codec.map_tensors(path)
    read, said = codec.read_tensors(path.read_bytes())
    assert metadata == said == {"snapshot": "s"}
    assert mapped.keys() == read.keys()
    assert all(np.array_equal(mapped[name], array) and mapped[name].dtype == array.dtype for name, array in read.items())
    assert not mapped["a"].flags.writeable


@pytest.mark.parametrize("content", [b"", b"{}", (1 << 40).to_bytes(8, "little") + b"{}"])
def test_what_is_no_file_of_tensors_is_not_mapped(content, tmp_path):
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="not a safetensors file"):
        codec.map_tensors(path)
