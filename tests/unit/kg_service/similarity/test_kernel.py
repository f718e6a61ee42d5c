"""The kernel against dense matrix products."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.representations.model import ImageVectors
from kg_service.similarity.kernel import fill_float16, similarity, similarity_to_all
from kg_service.similarity.rows import has_knowledge
from scipy import sparse


@st.composite
def batches(draw):
    """Vectors, rows and columns, with images that are not held, images without knowledge, and some asked for twice."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images, concepts, width = draw(st.integers(1, 40)), draw(st.integers(0, 30)), draw(st.integers(0, 5))
    density = draw(st.floats(0, 0.9))
    exact = generator.random((images, concepts)) * (generator.random((images, concepts)) < density)
    smooth = generator.normal(size=(images, width)) * (generator.random((images, 1)) < 0.8)
    length = np.sqrt((exact**2).sum(axis=1) + (smooth**2).sum(axis=1))[:, None]
    length[length == 0] = 1
    dense = (smooth / length).astype(np.float32)
    vectors = ImageVectors(sparse.csr_array((exact / length).astype(np.float32)), dense)
    rows, columns = (generator.integers(-4, images, draw(st.integers(1, 50))) for _ in range(2))
    return vectors, rows, columns


def expected(vectors, rows, columns):
    whole = np.hstack((vectors.sparse.toarray(), vectors.dense)).astype(np.float64)
    left, right = (np.where((at >= 0)[:, None], whole[at.clip(min=0)], 0) for at in (rows, columns))
    values = left @ right.T
    values[rows[:, None] == columns[None, :]] = 1
    return values


@settings(max_examples=150, deadline=None)
@given(batches())
def test_it_is_the_product_of_the_vectors_and_one_where_images_are_the_same(batch):
    vectors, rows, columns = batch
    assert np.allclose(similarity(vectors, rows, columns), expected(vectors, rows, columns), atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(batches())
def test_a_square_batch_is_symmetric_and_the_same_as_a_rectangular_one(batch):
    vectors, rows, _ = batch
    square = similarity(vectors, rows, rows)
    assert np.array_equal(square, square.T)
    assert np.allclose(square, similarity(vectors, rows, rows.copy()), atol=1e-6)
    assert abs(square).max() <= 1


@settings(max_examples=150, deadline=None)
@given(batches())
def test_one_row_against_all_images_is_a_row_of_the_matrix(batch):
    vectors, _, _ = batch
    everything = np.arange(len(vectors))
    for row in (0, len(vectors) - 1):
        values = similarity_to_all(vectors, row)
        assert np.allclose(values, expected(vectors, np.array([row]), everything)[0], atol=1e-6)
        assert values[row] == 1


@settings(max_examples=150, deadline=None)
@given(batches(), st.data())
def test_a_tail_changes_no_bit(batch, data):
    vectors, rows, columns = batch
    cut = data.draw(st.integers(0, len(vectors)))
    first, tail = (ImageVectors(vectors.sparse[part], vectors.dense[part]) for part in (slice(cut), slice(cut, None)))
    split = ImageVectors(first.sparse, first.dense, tail)
    assert len(split) == len(vectors)
    for side in (rows, columns):
        assert np.array_equal(similarity(split, rows, side), similarity(vectors, rows, side))
        assert np.array_equal(has_knowledge(split, side), has_knowledge(vectors, side))
    for row in (0, len(vectors) - 1):
        assert np.array_equal(similarity_to_all(split, row), similarity_to_all(vectors, row))


@pytest.mark.parametrize("size", [1, 31, 32, 33, 100])
def test_every_tile_is_mirrored(size):
    generator = np.random.default_rng(size)
    dense = generator.normal(size=(size, 3)).astype(np.float32)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    vectors = ImageVectors(sparse.csr_array((size, 0), dtype=np.float32), dense)
    rows = generator.permutation(size)
    assert np.allclose(similarity(vectors, rows, rows), expected(vectors, rows, rows), atol=1e-6)


def test_float16_is_rounded_as_numpy_rounds_it():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    held = every[np.abs(every) <= 1].astype(np.float32)
    between = np.concatenate([np.nextafter(held, np.float32(side)) for side in (-2, 2)] + [(held[1:] + held[:-1]) / 2])
    values = np.concatenate([held, between, np.random.default_rng(0).uniform(-1, 1, 100_000).astype(np.float32)]).clip(-1, 1)
    rounded = np.empty_like(values, np.float16)
    fill_float16(values, rounded)
    assert rounded.tobytes() == values.astype(np.float16).tobytes()


def test_float16_keeps_the_shape():
    rounded = np.empty((3, 5), np.float16)
    fill_float16(np.eye(3, 5, dtype=np.float32), rounded)
    assert rounded.tolist() == np.eye(3, 5).tolist()
