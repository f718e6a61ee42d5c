import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nbclip.errors import InvalidInput
from nbclip_trainer.evaluation.ranking import NOTHING, rank


def whole(query, gallery, query_case, gallery_case, **options):
    chunks = list(rank(query.astype(np.float32), gallery.astype(np.float32), query_case, gallery_case, **options))
    index = np.concatenate([chunk.index for chunk in chunks])
    return index, np.concatenate([chunk.score for chunk in chunks]), np.concatenate([chunk.candidates for chunk in chunks])


def nobody(n):
    return np.full(n, -1)


def test_order_is_by_falling_cosine_and_ties_keep_the_gallery_order():
    query = np.array([[1.0, 0.0]])
    gallery = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, -1.0]])
    index, score, _ = whole(query, gallery, nobody(1), np.arange(5))
    assert index.tolist() == [[1, 3, 0, 4, 2]]
    assert score.tolist() == [[1, 1, 0, 0, -1]]


def test_the_querys_own_case_is_no_candidate():
    features = np.eye(4)[[0, 0, 0, 1]]
    case = np.array([7, 7, 8, 9])
    index, _, candidates = whole(features, features, case, case)
    assert index.tolist() == [[2, 3, NOTHING, NOTHING], [2, 3, NOTHING, NOTHING], [0, 1, 3, NOTHING], [0, 1, 2, NOTHING]]
    assert candidates.tolist() == [2, 2, 3, 3]


@settings(max_examples=60)
@given(
    hnp.arrays(np.int8, (9, 3), elements=st.integers(-3, 3)),
    hnp.arrays(np.int64, 9, elements=st.integers(0, 4)),
    st.integers(1, 12),
    st.integers(1, 10),
)
def test_a_ranking_holds_each_candidate_once_best_first_whatever_the_chunk(features, case, depth, chunk):
    index, _, candidates = whole(features, features, case, case, depth=depth, chunk=chunk)
    cosine = features.astype(int) @ features.astype(int).T
    for query in range(9):
        others = [g for g in range(9) if case[g] != case[query]]
        expected = sorted(others, key=lambda g: (-cosine[query, g], g))[:depth]
        assert index[query].tolist() == expected + [NOTHING] * (min(depth, 9) - len(expected))
        assert candidates[query] == len(others)


def test_features_of_two_spaces_are_refused():
    with pytest.raises(InvalidInput, match="queries are 2 wide and the gallery 3"):
        whole(np.eye(2), np.eye(3), nobody(2), nobody(3))


def test_features_that_are_not_finite_are_refused_by_row():
    gallery = np.eye(3)
    gallery[1, 0] = np.nan
    with pytest.raises(InvalidInput, match="1 gallery features are not finite, first at row 1"):
        whole(np.eye(3), gallery, nobody(3), np.arange(3))
