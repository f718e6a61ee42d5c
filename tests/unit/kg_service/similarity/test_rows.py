"""Rows taken into a table of their own, against the numpy form that travels with `nbclip`."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.representations.model import ImageVectors
from kg_service.similarity.rows import entries_of, has_knowledge, take_rows
from nbclip.vectors import take_vectors
from scipy import sparse

INDEX = st.sampled_from([np.int32, np.int64])


@st.composite
def tables(draw):
    """Vectors, some of them a tail, and rows: some not held, some asked for twice."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images, concepts, width = draw(st.integers(1, 40)), draw(st.integers(1, 60)), draw(st.integers(0, 40))
    exact = (generator.random((images, concepts)) * (generator.random((images, concepts)) < draw(st.floats(0, 0.9)))).astype("f")
    dense = (generator.normal(size=(images, width)) * (generator.random((images, 1)) < 0.8)).astype("f")
    whole = ImageVectors(sparse.csr_array(exact), dense)
    cut = draw(st.integers(0, images))
    first, tail = (ImageVectors(whole.sparse[part], dense[part]) for part in (slice(cut), slice(cut, None)))
    # scipy gives 32 or 64 bits by where the numbers came from.
    tail.sparse.indptr, tail.sparse.indices = (each.astype(draw(INDEX)) for each in (tail.sparse.indptr, tail.sparse.indices))
    vectors = draw(st.sampled_from([whole, ImageVectors(first.sparse, first.dense, tail)]))
    return whole, vectors, generator.integers(-3, images, draw(st.integers(1, 50)))


@settings(max_examples=100, deadline=None)
@given(tables())
def test_a_row_is_the_images_vector_or_zero(table):
    whole, vectors, rows = table
    csr = whole.sparse.indptr, whole.sparse.indices, whole.sparse.data
    wanted = take_vectors(csr, whole.dense, whole.sparse.shape[1], rows, {})
    taken = take_rows(vectors, rows)
    for mine, theirs in zip(taken, (wanted.indptr, wanted.indices, wanted.data, wanted.dense), strict=True):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    assert entries_of(vectors, rows) == len(wanted.data)
    assert has_knowledge(vectors, rows).tolist() == wanted.has_knowledge.tolist()
