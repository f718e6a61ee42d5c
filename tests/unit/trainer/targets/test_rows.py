import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from nbclip.codec import TargetMatrix
from nbclip_trainer.targets.rows import caption_keys, target_rows
from nbclip_trainer.targets.settings import TargetSettings

CPU = torch.device("cpu")


def matrix(values, known):
    return TargetMatrix("similarity", np.array(values, np.float32), np.array(known), np.zeros(len(known), bool), {})


def test_captions_that_differ_in_white_space_only_have_one_key():
    keys = caption_keys(["chest  x-ray", "chest x-ray ", "Chest x-ray"])
    assert keys[0] == keys[1] != keys[2]
    assert (keys >= 0).all()


def test_duplicate_captions_are_positives_of_rows_and_similarity():
    keys = caption_keys(["a", "a", "b"])
    values = matrix([[1, 0, 0.2], [0, 1, 0.2], [0.2, 0.2, 1]], [False, False, True])
    targets = target_rows(values, torch.arange(3), keys, keys, TargetSettings(duplicates="positive"), CPU)
    assert targets.rows[0].tolist() == [0.5, 0.5, 0]
    assert targets.similarity[0].tolist() == [1, 1, np.float32(0.2)]
    assert targets.has_knowledge.tolist() == [False, False, True]


def test_duplicates_can_be_ignored():
    keys = caption_keys(["a", "a"])
    values = matrix([[1, 0], [0, 1]], [False, False])
    targets = target_rows(values, torch.arange(2), keys, keys, TargetSettings(duplicates="ignore"), CPU)
    assert targets.rows.tolist() == [[1, 0], [0, 1]]
    assert targets.similarity.tolist() == [[1, 0], [0, 1]]


def test_a_ranks_rows_know_their_own_columns():
    values = matrix([[0.3, 0.2, 1]], [True, True, False])
    targets = target_rows(values, torch.tensor([2]), torch.tensor([5]), torch.tensor([3, 4, 5]), TargetSettings(), CPU)
    assert targets.rows.tolist() == [[0, 0, 1]]
    assert targets.has_knowledge.tolist() == [False]


def test_paper_literal_rows_come_from_the_similarities_as_they_are():
    keys = caption_keys(["a", "a", "b"])
    similarity = np.array([[1, 0.3, 0.6], [0.3, 1, 0.1], [0.6, 0.1, 1]], np.float32)
    settings = TargetSettings(form="paper-literal", temperature=0.2, duplicates="positive")
    rows = target_rows(matrix(similarity, [True] * 3), torch.arange(3), keys, keys, settings, CPU).rows
    expected = np.exp(similarity / 0.2) / np.exp(similarity / 0.2).sum(axis=1, keepdims=True)
    assert np.allclose(rows.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("done", "over", "mass", "neighbours"),
    [(0, 1, 0.4, 8), (0.25, 1, 0.3, 10), (0.25, 0.5, 0.2, 12), (0.5, 0.5, 0, 16), (0.9, 0.5, 0, 16)],
)
def test_a_schedule_goes_straight_to_its_end_and_stays(done, over, mass, neighbours):
    schedule = {"neighbour_mass": 0, "effective_neighbours": 16, "over": over}
    now = TargetSettings(neighbour_mass=0.4, schedule=schedule).parameters(done)
    assert (now.neighbour_mass, now.effective_neighbours) == pytest.approx((mass, neighbours))
    assert now.temperature is None


def test_rows_are_those_of_the_step_they_are_made_for():
    keys = torch.arange(3)
    similarity = matrix([[1, 0.5, 0.2], [0.5, 1, 0.2], [0.2, 0.2, 1]], [True] * 3)
    settings = TargetSettings(neighbour_mass=0.4, schedule={"neighbour_mass": 0.2})
    diagonals = [
        target_rows(similarity, torch.arange(3), keys, keys, settings, CPU, done).rows.diagonal().tolist() for done in (0, 0.5)
    ]
    assert np.allclose(diagonals, [[0.6] * 3, [0.7] * 3])


@example(1e-4, 1e-4, 1, 1, 0.3, 0.7)
@given(st.floats(1e-4, 1e4), st.floats(1e-4, 1e4), st.floats(1, 4096), st.floats(1, 4096), st.floats(0, 1), st.floats(0.01, 1))
def test_a_schedule_stays_between_its_ends(start, end, first, last, done, over):
    of_temperature = TargetSettings(temperature=start, schedule={"temperature": end, "over": over})
    of_neighbours = TargetSettings(effective_neighbours=first, schedule={"effective_neighbours": last, "over": over})
    assert of_temperature.parameters(1).temperature == end
    assert of_neighbours.parameters(1).effective_neighbours == last
    assert min(start, end) <= of_temperature.parameters(done).temperature <= max(start, end)
    assert min(first, last) <= of_neighbours.parameters(done).effective_neighbours <= max(first, last)
