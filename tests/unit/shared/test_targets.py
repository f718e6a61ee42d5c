import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from nbclip.schemas.targets import TargetParameters
from nbclip.targets import build_targets, duplicate_mask, hard_targets

ENOUGH = 24


def similarities(seed, count):
    vectors = np.random.default_rng(seed).standard_normal((count, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def rows_of(similarity, knowledge=None, duplicates=None, own=None, **parameters):
    count = similarity.shape[1]
    knowledge = np.ones(count, bool) if knowledge is None else knowledge
    own = np.arange(len(similarity)) if own is None else own
    return build_targets(similarity, own, knowledge, TargetParameters(**parameters), duplicate_RC=duplicates)


def perplexity_beside_the_diagonal(rows):
    others = np.where(np.eye(len(rows), dtype=bool), 0, rows)
    share = others / others.sum(1, keepdims=True)
    return np.exp(-(share * np.log(np.where(share > 0, share, 1))).sum(1))


@st.composite
def batches(draw):
    count = draw(st.integers(2, 12))
    similarity = similarities(draw(st.integers(0, 1000)), count)
    knowledge = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    captions = np.array(draw(st.lists(st.integers(0, count), min_size=count, max_size=count)))
    parameters = {
        "neighbour_mass": draw(st.floats(0, 1)),
        "effective_neighbours": draw(st.floats(1, 20)),
        "temperature": draw(st.one_of(st.none(), st.floats(1e-3, 10))),
        "top_k": draw(st.one_of(st.none(), st.integers(1, 15))),
        "floor": draw(st.floats(-1, 1)),
        "form": draw(st.sampled_from(["recommended", "paper-literal"])),
    }
    return similarity, knowledge, duplicate_mask(captions, captions), parameters


@given(batches())
def test_every_row_is_a_distribution(batch):
    similarity, knowledge, duplicates, parameters = batch
    rows = rows_of(similarity, knowledge, duplicates, **parameters)
    assert (rows >= 0).all()
    assert np.allclose(rows.sum(1), 1)


@given(batches(), st.sampled_from([np.float32, np.float64]))
def test_torch_and_numpy_give_the_same_rows(batch, kind):
    similarity, knowledge, duplicates, parameters = batch
    similarity = similarity.astype(kind)
    # A similarity that lies on the floor to the last bit could fall on either side.
    assume(np.abs(similarity - parameters["floor"]).min() > 1e-6)
    own = np.arange(len(similarity))
    wanted = build_targets(similarity, own, knowledge, TargetParameters(**parameters), duplicate_RC=duplicates)
    tensors = [torch.from_numpy(array) for array in (similarity, own, knowledge, duplicates)]
    found = build_targets(*tensors[:3], TargetParameters(**parameters), duplicate_RC=tensors[3])
    assert found.dtype == tensors[0].dtype
    assert np.allclose(found.numpy(), wanted, atol=1e-4 if kind is np.float32 else 1e-9)


@given(batches(), st.sampled_from([torch.float16, torch.bfloat16]))
def test_rows_of_16_bit_similarities_are_those_of_float32_rounded(batch, kind):
    similarity, knowledge, duplicates, parameters = batch
    half = torch.from_numpy(similarity).to(kind)
    own, known, same = torch.arange(len(half)), torch.from_numpy(knowledge), torch.from_numpy(duplicates)
    found = build_targets(half, own, known, TargetParameters(**parameters), duplicate_RC=same)
    wanted = build_targets(half.float(), own, known, TargetParameters(**parameters), duplicate_RC=same)
    assert torch.equal(found, wanted.to(kind))


@pytest.mark.parametrize("convert", [lambda array: array, torch.from_numpy])
def test_float16_reaches_the_effective_neighbours_asked_for(convert):
    similarity = np.array([[1, 0.9, 0.8], [0.9, 1, 0.7], [0.8, 0.7, 1]], np.float16)
    parameters = TargetParameters(neighbour_mass=0.3, effective_neighbours=1.5)
    rows = np.asarray(build_targets(convert(similarity), convert(np.arange(3)), convert(np.ones(3, bool)), parameters))
    assert rows.dtype == np.float16
    assert np.allclose(perplexity_beside_the_diagonal(rows.astype(np.float64)), 1.5, atol=0.01)


@given(batches(), st.randoms(use_true_random=False))
def test_reordering_the_batch_reorders_rows_and_columns_alike(batch, random):
    similarity, knowledge, duplicates, parameters = batch
    order = np.array(random.sample(range(len(similarity)), len(similarity)))
    straight = rows_of(similarity, knowledge, duplicates, **parameters)
    grid = np.ix_(order, order)
    assert np.allclose(rows_of(similarity[grid], knowledge[order], duplicates[grid], **parameters), straight[grid], atol=1e-7)


@given(batches(), st.data())
def test_one_ranks_rows_are_the_rows_of_the_whole(batch, data):
    similarity, knowledge, duplicates, parameters = batch
    own = np.array(data.draw(st.lists(st.integers(0, len(similarity) - 1), min_size=1, unique=True)))
    share = rows_of(similarity[own], knowledge, duplicates[own], own, **parameters)
    assert np.allclose(share, rows_of(similarity, knowledge, duplicates, **parameters)[own], atol=1e-9)


@given(st.integers(0, 1000), st.floats(3, 15), st.floats(0, 1))
def test_each_row_gets_the_effective_neighbours_asked_for(seed, effective, mass):
    assume(mass > 0.01)
    rows = rows_of(similarities(seed, ENOUGH), effective_neighbours=effective, neighbour_mass=mass, floor=-1)
    assert np.allclose(perplexity_beside_the_diagonal(rows), effective, rtol=1e-3)


@given(st.integers(0, 1000), st.floats(0, 1))
def test_the_neighbours_get_their_share_of_the_mass(seed, mass):
    rows = rows_of(similarities(seed, ENOUGH), neighbour_mass=mass, floor=-1)
    assert np.allclose(np.diag(rows), 1 - mass)


def test_more_similar_neighbours_never_get_less():
    similarity = similarities(3, ENOUGH)
    rows = rows_of(similarity, floor=-1)
    for row in range(ENOUGH):
        others = np.delete(np.arange(ENOUGH), row)
        order = others[np.argsort(similarity[row, others])]
        assert (np.diff(rows[row, order]) >= 0).all()


def test_fewer_candidates_than_effective_neighbours_share_evenly():
    rows = rows_of(similarities(0, 4), effective_neighbours=8, neighbour_mass=0.3, floor=-1)
    assert np.allclose(rows, np.where(np.eye(4, dtype=bool), 0.7, 0.1), atol=1e-3)


def test_more_ties_at_the_top_than_effective_neighbours_share_evenly():
    similarity = np.full((6, 6), 0.9)
    similarity[:, 5] = similarity[5, :] = 0.2
    np.fill_diagonal(similarity, 1)
    rows = rows_of(similarity, effective_neighbours=2, neighbour_mass=0.4)
    assert np.allclose(rows[0], [0.6, 0.1, 0.1, 0.1, 0.1, 0], atol=1e-6)


def test_images_without_knowledge_are_one_hot_and_nobodys_neighbours():
    knowledge = np.array([True, False, True, True, True])
    rows = rows_of(similarities(1, 5), knowledge, floor=-1)
    assert rows[1].tolist() == [0, 1, 0, 0, 0]
    assert (np.delete(rows[:, 1], 1) == 0).all()
    assert (rows[[0, 2, 3, 4]].max(1) < 1).all()


def test_a_row_whose_best_neighbour_is_below_the_floor_stays_one_hot():
    similarity = np.array([[1, 0.3, 0.09], [0.3, 1, 0.09], [0.09, 0.09, 1]])
    rows = rows_of(similarity, floor=0.1)
    assert rows[2].tolist() == [0, 0, 1]
    assert rows[0, 1] > 0


def test_a_lone_image_is_its_own_target():
    assert rows_of(np.ones((1, 1))).tolist() == [[1]]


def test_duplicates_are_full_positives_and_no_neighbours():
    similarity = np.array([[1, 1, 0.5, 0.4], [1, 1, 0.5, 0.4], [0.5, 0.5, 1, 0.3], [0.4, 0.4, 0.3, 1]])
    duplicates = duplicate_mask(np.array([7, 7, 8, 9]), np.array([7, 7, 8, 9]))
    rows = rows_of(similarity, duplicates=duplicates, neighbour_mass=0.5, temperature=0.1)
    neighbours = np.exp([5, 4]) / np.exp([5, 4]).sum() / 2
    assert np.allclose(rows[0], [0.25, 0.25, *neighbours])
    assert rows_of(similarity, np.zeros(4, bool), duplicates)[0].tolist() == [0.5, 0.5, 0, 0]


def test_top_k_keeps_the_most_similar_and_all_ties_at_the_edge():
    similarity = np.array([[1, 0.8, 0.5, 0.5, 0.2]] * 5)
    rows = rows_of(similarity, top_k=2, temperature=1, neighbour_mass=0.3)
    assert rows[0, 4] == 0
    assert rows[0, 2] == rows[0, 3] > 0
    assert rows_of(similarity, top_k=1, temperature=1, neighbour_mass=0.3)[0].tolist() == [0.7, 0.3, 0, 0, 0]


def test_a_given_temperature_is_a_plain_softmax_over_the_others():
    similarity = similarities(5, 4)
    rows = rows_of(similarity, temperature=0.2, neighbour_mass=0.3, floor=-1)
    weights = np.exp(similarity[0, 1:] / 0.2)
    assert np.allclose(rows[0], [0.7, *0.3 * weights / weights.sum()])


@pytest.mark.parametrize(("given_temperature", "used"), [(None, 1.0), (0.1, 0.1)])
def test_the_papers_formula_by_hand(given_temperature, used):
    similarity = np.array([[1, 0.5], [0.5, 1]])
    rows = rows_of(similarity, form="paper-literal", temperature=given_temperature, neighbour_mass=0.9)
    one = 1 / (1 + np.exp(-0.5 / used))
    assert np.allclose(rows, [[one, 1 - one], [1 - one, one]])


def test_the_papers_formula_is_nearly_flat_at_temperature_one():
    rows = rows_of(similarities(0, 256), form="paper-literal", temperature=1)
    entropy = -(rows * np.log(rows)).sum(1).mean()
    assert entropy > 0.98 * np.log(256)


def test_rows_of_a_symmetric_similarity_are_not_symmetric():
    rows = rows_of(similarities(2, ENOUGH), floor=-1)
    assert not np.allclose(rows, rows.T, atol=1e-3)


def test_the_smallest_temperature_gives_numbers_in_every_form():
    similarity = np.array([[1, 0.3, 0.2], [0.3, 1, 0.9], [0.2, 0.9, 1]], np.float32)
    for form in ("recommended", "paper-literal"):
        parameters = TargetParameters(form=form, temperature=1e-4)
        rows = build_targets(similarity, np.arange(3), np.ones(3, bool), parameters)
        assert np.isfinite(rows).all()
        assert np.allclose(rows.sum(axis=1), 1)
    with pytest.raises(ValueError, match="temperature"):
        TargetParameters(temperature=1e-5)


def test_a_row_whose_best_similarity_is_the_floor_has_evidence():
    similarity = np.array([[1, 0.25], [0.25, 1]], np.float32)
    rows = build_targets(similarity, np.arange(2), np.ones(2, bool), TargetParameters(floor=0.25, neighbour_mass=0.4))
    assert np.allclose(rows, [[0.6, 0.4], [0.4, 0.6]])


@pytest.mark.parametrize("form", ["recommended", "paper-literal"])
def test_hard_targets_are_what_is_built_where_nothing_is_known(form):
    similarity, own = np.eye(4, dtype=np.float32), np.arange(4)
    duplicate = np.zeros((4, 4), bool)
    duplicate[0, 2] = duplicate[2, 0] = True
    built = build_targets(similarity, own, np.zeros(4, bool), TargetParameters(form=form), duplicate_RC=duplicate)
    assert np.array_equal(hard_targets(similarity, own, duplicate_RC=duplicate), built)
    assert built[0].tolist() == [0.5, 0, 0.5, 0]
