import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from kg_service.storage.csr import pointers, ranges

ROWS = st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 5)), max_size=20)


@given(ROWS, st.sampled_from([np.int32, np.int64]))
def test_ranges_are_those_of_a_loop(rows, dtype):
    starts, counts = (np.array([row[side] for row in rows], dtype) for side in (0, 1))
    found = ranges(starts, counts)
    assert found.tolist() == [at for start, count in rows for at in range(start, start + count)]
    assert found.dtype == np.int64


@given(st.lists(st.integers(0, 9), max_size=20))
def test_pointers_begin_at_0_and_end_with_the_sum(counts):
    found = pointers(np.array(counts, np.int32))
    assert found.dtype == np.int64
    assert (found[0], found[-1]) == (0, sum(counts))
    assert np.diff(found).tolist() == counts
