"""The fused rows against the definition, `nbclip.targets.build_targets`, in float64."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kg_service.similarity.target_rows import grouped, to_target_rows
from nbclip.schemas.targets import TargetParameters
from nbclip.targets import build_targets, duplicate_mask
from support.counts import often


@st.composite
def similarities(draw):
    """float32 [C, C]; some in steps, so that many are equal."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 70))
    vectors = generator.standard_normal((count, draw(st.integers(1, 8))))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    values = (vectors @ vectors.T).clip(-1, 1).astype(np.float32)
    step = draw(st.sampled_from([0, 0.25, 1]))
    values = np.round(values / step) * np.float32(step) if step else values
    np.fill_diagonal(values, 1)
    return values


@st.composite
def batches(draw):
    similarity = draw(similarities())
    count = len(similarity)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    own = generator.integers(0, count, draw(st.integers(1, count)))
    keys = generator.integers(-count, count * draw(st.integers(1, 9)), count)
    known = generator.random(count) < draw(st.sampled_from([0, 0.5, 0.9, 1]))
    form = draw(st.sampled_from(["recommended", "paper-literal"]))
    temperature = st.none() | st.floats(1e-4, 1e4)
    if form == "paper-literal":
        return similarity, own, keys, known, TargetParameters(form=form, temperature=draw(temperature))
    parameters = TargetParameters(
        neighbour_mass=draw(st.floats(0, 1)),
        effective_neighbours=draw(st.floats(1, 80) | st.sampled_from([1, 2, 8, 65_536])),
        temperature=draw(temperature),
        top_k=draw(st.none() | st.integers(1, 80)),
        floor=draw(st.floats(-1, 1) | st.sampled_from([-1, 0.1])),
    )
    return similarity, own, keys, known, parameters


def rows_of(similarity, own, keys, known, parameters):
    rows = similarity[own].copy()
    to_target_rows(rows, own, grouped(keys, known), parameters)
    return rows


def defined(similarity, own, keys, known, parameters):
    exact = similarity[own].astype(np.float64)
    return build_targets(exact, own, known, parameters, duplicate_RC=duplicate_mask(keys[own], keys))


@settings(max_examples=often(400, 20_000), deadline=None)
@given(batches())
def test_they_are_the_definitions_rows(batch):
    similarity, *_, parameters = batch
    # One that lies on the floor to the last bit could fall on either side.
    assume(np.abs(similarity - parameters.floor).min() > 1e-6)
    rows = rows_of(*batch)
    assert rows.dtype == np.float32
    assert np.abs(rows - defined(*batch)).max() <= 1e-6
    assert (rows >= 0).all()
    assert np.abs(rows.sum(axis=1, dtype=np.float64) - 1).max() <= 1e-5


@pytest.mark.parametrize("count", [600, 4_096])
@pytest.mark.parametrize("effective", [1.0, 3.0, 8.0, 500.0])
def test_they_are_in_long_rows(count, effective):
    generator = np.random.default_rng(count)
    similarity = (generator.beta(1, 6, (8, count)) * generator.choice([0, 1], (8, count), p=[0.7, 0.3])).astype(np.float32)
    own, keys, known = np.arange(8), np.arange(count) // 2, generator.random(count) < 0.95
    parameters = TargetParameters(effective_neighbours=effective)
    wanted = build_targets(similarity.astype(np.float64), own, known, parameters, duplicate_RC=duplicate_mask(keys[own], keys))
    to_target_rows(similarity, own, grouped(keys, known), parameters)
    assert np.abs(similarity - wanted).max() <= 1e-6


@pytest.mark.parametrize("asked", [{"effective_neighbours": 8}, {"effective_neighbours": 8, "top_k": 8}, {"top_k": 3}])
@pytest.mark.parametrize("candidates", [3, 8, 9, 40])
def test_as_many_neighbours_or_ties_as_asked_for_are_at_the_edge_of_what_can_be_solved(candidates, asked):
    """8 candidates, or 8 equal ones, of which 8 are wanted: the temperature has no bound above, or below."""
    similarity = np.full((candidates + 1, candidates + 1), 0.2, np.float32)
    similarity[:, :9] = 0.9
    similarity += np.linspace(0, 1e-6, candidates + 1, dtype=np.float32)
    np.fill_diagonal(similarity, 1)
    batch = similarity, np.arange(candidates + 1), np.arange(candidates + 1), np.ones(candidates + 1, bool)
    parameters = TargetParameters(**asked)
    assert np.abs(rows_of(*batch, parameters) - defined(*batch, parameters)).max() <= 1e-6


def test_a_row_whose_best_similarity_is_the_floor_has_evidence():
    similarity = np.array([[1, 0.1], [0.1, 1]], np.float32)
    batch = similarity, np.arange(2), np.arange(2), np.ones(2, bool)
    assert np.allclose(rows_of(*batch, TargetParameters(floor=0.1, neighbour_mass=0.4)), [[0.6, 0.4], [0.4, 0.6]])
    assert np.array_equal(rows_of(*batch, TargetParameters(floor=0.11)), np.eye(2))


@pytest.mark.parametrize("form", ["recommended", "paper-literal"])
def test_without_knowledge_a_row_is_its_image_and_its_duplicates(form):
    known, keys = np.zeros(4, bool), np.array([7, -3, 7, 9])
    rows = rows_of(np.eye(4, dtype=np.float32), np.arange(4), keys, known, TargetParameters(form=form))
    assert rows.tolist() == [[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1]]


def test_what_has_no_weight_is_zero():
    similarity = np.array([[1, 0.9, 0.1, -1]] * 4, np.float32)
    rows = rows_of(similarity, np.array([0]), np.arange(4), np.ones(4, bool), TargetParameters(temperature=1e-4))
    assert rows[0, 2:].tolist() == [0, 0]
