"""A graph of five images, small enough to be worked out by hand.

C0000001 pneumonia ─is_a─ C0000003 lung disease ─is_a─ C0000005 disease ─ C0000002 effusion is_a disease
C0000004 fracture has no parent

a: pneumonia     b: pneumonia, effusion     c: lung disease     d: fracture     e: nothing
"""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from kg_service.graph.store import Graph
from nbclip.ids import caption_sha256


@pytest.fixture
def memory(tmp_path):
    """A folder that is flushed in no time, where the system has one: what a killed process leaves there is the same."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def five_images():
    return Graph(
        image_ids=("a", "b", "c", "d", "e"),
        caption_sha256=tuple(caption_sha256(caption) for caption in ("pneumonia", "both", "lung disease", "fracture", "none")),
        cuis=("C0000001", "C0000002", "C0000003", "C0000004", "C0000005"),
        attribute_indptr=np.array([0, 1, 3, 4, 5, 5], np.int64),
        attribute_indices=np.array([0, 0, 1, 2, 3], np.int32),
        is_a=np.array([[0, 2], [1, 4], [2, 4]], np.int32),
        linkers=("given",),
    )
