from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclip.errors import InvalidInput
from nbclip.vectors import VectorBatch, blank_vectors, decode_vectors, encode_vectors, take_vectors
from safetensors.numpy import load
from scipy import sparse

PARTS = ("indptr", "indices", "data", "dense", "has_knowledge", "unknown")


@st.composite
def tables(draw):
    """A table of vectors and rows to take of it."""
    images, columns, dimensions = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(0, 3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    matrix = sparse.csr_array(generator.random((images, columns)) * (generator.random((images, columns)) < 0.4), dtype=np.float32)
    rows = draw(st.lists(st.integers(-3, images - 1), min_size=1, max_size=8))
    return matrix, generator.random((images, dimensions), np.float32), np.array(rows)


def take(matrix, dense, rows):
    return take_vectors((matrix.indptr, matrix.indices, matrix.data), dense, matrix.shape[1], rows, {"snapshot": "s"})


def whole(batch):
    return sparse.csr_array((batch.data, batch.indices, batch.indptr), shape=(len(batch), batch.columns)).toarray()


@given(tables())
def test_rows_are_taken_as_scipy_takes_them_and_unknown_ones_are_zero(table):
    matrix, dense, rows = table
    batch = take(*table)
    held = rows >= 0
    taken = rows.clip(0)
    assert np.array_equal(whole(batch), matrix.toarray()[taken] * held[:, None])
    assert np.array_equal(batch.dense, dense[taken] * held[:, None])
    assert batch.unknown.tolist() == (~held).tolist()
    assert batch.has_knowledge.tolist() == np.any(np.hstack((whole(batch), batch.dense)), axis=1).tolist()


@given(tables())
def test_a_batch_travels_unchanged(table):
    batch = take(*table)
    decoded = decode_vectors(encode_vectors(batch))
    assert all(np.array_equal(getattr(decoded, part), getattr(batch, part)) for part in PARTS)
    assert (decoded.columns, decoded.metadata) == (batch.columns, {"snapshot": "s"})


def test_float16_halves_the_values():
    batch = take(sparse.csr_array(np.eye(2, dtype=np.float32)), np.ones((2, 3), np.float32), np.arange(2))
    tensors = load(encode_vectors(batch, "float16"))
    assert tensors["sparse_data"].dtype == tensors["dense"].dtype == np.float16
    assert tensors["sparse_indices"].dtype == np.int32


def test_a_matrix_is_no_batch_of_vectors():
    whole_numbers, values = np.zeros(1, np.int32), np.zeros(0, np.float32)
    flags = np.zeros(0, bool)
    body = encode_vectors(VectorBatch(whole_numbers, whole_numbers[:0], values, values[:, None], 0, flags, flags, {}))
    with pytest.raises(InvalidInput, match="columns"):
        decode_vectors(body.replace(b'"columns"', b'"colours"'))


@pytest.mark.parametrize(
    "changed",
    [
        {"indptr": np.array([0, 1], np.int32)},
        {"indptr": np.array([0, 2, 1], np.int32)},
        {"indptr": np.array([1, 1, 2], np.int32)},
        {"indptr": np.array([0, 1, 2], np.int64)},
        {"indices": np.zeros(3, np.int32)},
        {"indices": np.zeros(2, np.float32)},
        {"dense": np.zeros(2, np.float32)},
        {"dense": np.zeros((1, 2), np.float32)},
        {"unknown": np.zeros(3, bool)},
        {"columns": -1},
    ],
    ids=str,
)
def test_arrays_that_do_not_fit_together_are_no_batch_of_vectors(changed):
    batch = take(sparse.csr_array(np.eye(2, dtype=np.float32)), np.ones((2, 3), np.float32), np.arange(2))
    with pytest.raises(InvalidInput, match=r"no batch of vectors of -?\d columns: indptr is int"):
        decode_vectors(encode_vectors(replace(batch, **changed)))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_filled_in_place_is_the_body_that_is_encoded(dtype):
    generator = np.random.default_rng(0)
    exact = sparse.random(9, 30, 0.3, "csr", np.float32, 0)
    known, unknown = generator.random(9) < 0.5, generator.random(9) < 0.5
    arrays = exact.indptr, exact.indices, exact.data.astype(dtype), generator.random((9, 4)).astype(dtype)
    plain = VectorBatch(*arrays, 30, known, unknown, {"snapshot": "s"})
    blank = blank_vectors(9, exact.nnz, (30, 4), dtype, {"snapshot": "s"}, lambda count: np.full(count, 255, np.uint8))
    for name in ("indptr", "indices", "data", "dense", "has_knowledge", "unknown"):
        getattr(blank, name)[:] = getattr(plain, name)
    assert bytes(encode_vectors(blank, dtype)) == encode_vectors(plain, dtype)
    assert encode_vectors(blank, dtype) is blank.body
    assert np.array_equal(decode_vectors(bytes(blank.body)).dense, plain.dense)
