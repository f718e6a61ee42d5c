import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nbclip.vectors import take_vectors
from nbclip_trainer.targets.multiply import multiply, similarity_on
from nbclip_trainer.targets.rows import target_rows
from nbclip_trainer.targets.settings import TargetSettings
from scipy import sparse

CPU = torch.device("cpu")


def unit_batch(seed, images=9, columns=30, dimensions=4):
    """Unit vectors of which the third is zero, and the last image is unknown."""
    generator = np.random.default_rng(seed)
    dense = generator.standard_normal((images, columns + dimensions)) * (generator.random((images, columns + dimensions)) < 0.3)
    dense[2] = 0
    norm = np.linalg.norm(dense, axis=1, keepdims=True)
    dense = np.divide(dense, norm, out=np.zeros_like(dense), where=norm > 0).astype(np.float32)
    matrix = sparse.csr_array(dense[:, :columns])
    rows = np.array([*range(images), -1])
    return take_vectors((matrix.indptr, matrix.indices, matrix.data), dense[:, columns:], columns, rows, {}), dense


@given(st.integers(0, 1_000), st.lists(st.integers(0, 9), min_size=1, max_size=10))
def test_it_is_the_dot_product_of_all_pairs(seed, rows):
    batch, dense = unit_batch(seed)
    dense = np.vstack((dense, np.zeros_like(dense[:1])))
    similarity = multiply(batch, torch.tensor(rows), CPU)
    np.testing.assert_allclose(similarity, np.clip(dense[rows] @ dense.T, -1, 1), atol=1e-6)


def test_blocks_of_columns_give_what_all_at_once_give(monkeypatch):
    batch, _ = unit_batch(3)
    at_once = multiply(batch, torch.arange(10), CPU)
    monkeypatch.setattr("nbclip_trainer.targets.multiply._COLUMNS_AT_ONCE", 3)
    torch.testing.assert_close(multiply(batch, torch.arange(10), CPU), at_once)


def test_an_image_without_a_vector_is_similar_to_itself_alone():
    batch, _ = unit_batch(0)
    similarity = similarity_on(CPU, batch, torch.tensor([2, 9]))
    assert similarity.tolist() == np.eye(10)[[2, 9]].tolist()


def test_the_precision_that_the_user_chose_is_left_as_it_was():
    torch.set_float32_matmul_precision("medium")
    try:
        multiply(unit_batch(0)[0], torch.arange(3), CPU)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("knowledge", [True, False])
def test_targets_of_vectors_are_targets(knowledge):
    batch, _ = unit_batch(1)
    if not knowledge:
        nothing = np.zeros(2, int), np.zeros(0, int), np.zeros(0, np.float32)
        batch = take_vectors(nothing, np.zeros((1, 0), np.float32), 1, np.zeros(10, int), {})
    keys = torch.arange(10)
    targets = target_rows(batch, torch.tensor([4, 5]), keys[4:6], keys, TargetSettings(), CPU)
    torch.testing.assert_close(targets.rows.sum(dim=1), torch.ones(2))
    assert targets.similarity[0, 4] == targets.similarity[1, 5] == 1
    assert targets.has_knowledge.tolist() == [knowledge] * 2
