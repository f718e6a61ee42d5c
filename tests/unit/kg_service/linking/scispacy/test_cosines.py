import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from kg_service.linking.scispacy.cosines import nearest
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity

floors = st.sampled_from([0.0, 0.2, 0.5, 0.75, 0.9, 1.0])


def unit_rows(rng, rows, columns, share):
    dense = rng.random((rows, columns)) * (rng.random((rows, columns)) < share)
    return (dense / np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-9)).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), floors, st.sampled_from([0.05, 0.2, 0.6, 1.0]))
def test_agrees_with_dense_cosines_at_any_floor(seed, k, floor, share):
    rng = np.random.default_rng(seed)
    alias_AF, query_QF = unit_rows(rng, 40, 12, share), unit_rows(rng, 4, 12, share)
    query_QF[0] = alias_AF[0]
    expected_QA = cosine_similarity(query_QF, alias_AF)
    found = nearest(sparse.csr_array(alias_AF.T), sparse.csr_array(query_QF), k, floor)
    for (alias, cosine), expected_A in zip(found, expected_QA, strict=True):
        np.testing.assert_allclose(expected_A[alias], cosine, atol=1e-5)
        assert np.all(cosine[:-1] >= cosine[1:])
        assert len(set(alias.tolist())) == len(alias) <= k
        surely, perhaps = (int((expected_A > max(floor + slack, 1e-9)).sum()) for slack in (2e-5, -2e-5))
        assert min(surely, k) <= len(alias) <= min(perhaps, k)
        np.testing.assert_allclose(cosine, np.sort(expected_A)[::-1][: len(alias)], atol=1e-5)


@given(st.integers(0, 2**32 - 1), floors)
def test_an_answer_does_not_depend_on_the_other_queries(seed, floor):
    rng = np.random.default_rng(seed)
    weights_FA, query_QF = sparse.csr_array(unit_rows(rng, 60, 12, 0.3).T), unit_rows(rng, 5, 12, 0.4)
    together = nearest(weights_FA, sparse.csr_array(query_QF), 3, floor)
    for row, (alias, cosine) in enumerate(together):
        [(alone, its_cosine)] = nearest(weights_FA, sparse.csr_array(query_QF[row : row + 1]), 3, floor)
        assert (alone.tolist(), its_cosine.tolist()) == (alias.tolist(), cosine.tolist())


def test_ties_go_to_the_lower_position():
    [(alias, cosine)] = nearest(sparse.csr_array(np.ones((1, 5), np.float32)), sparse.csr_array(np.ones((1, 1), np.float32)), 3)
    assert (alias.tolist(), cosine.tolist()) == ([0, 1, 2], [1.0, 1.0, 1.0])
