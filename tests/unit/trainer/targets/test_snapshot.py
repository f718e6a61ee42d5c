"""A file of made-up vectors, whose coverage is counted one by one."""

import numpy as np
import pytest
from nbclip.codec import write_tensors
from nbclip_trainer.data.mapped import Column, Table, part_file, write_part
from nbclip_trainer.targets.settings import TargetSettings
from nbclip_trainer.targets.snapshot import SnapshotSource

KNOWN = 40


@pytest.fixture
def source(tmp_path):
    """Forty images: of every fourth there is no concept, and of every third of these no dense part either."""
    text = [f"image {number}" for number in range(KNOWN)]
    concepts = [0 if number % 4 == 0 else 2 for number in range(KNOWN)]
    dense = np.array([[0, 0] if number % 12 == 0 else [0.5, 0] for number in range(KNOWN)], np.float32)
    tensors = {
        "sparse_indptr": np.cumsum([0, *concepts], dtype=np.int64),
        "sparse_indices": np.zeros(sum(concepts), np.int32),
        "sparse_data": np.ones(sum(concepts), np.float32),
        "dense": dense,
        "id_bytes": np.frombuffer("".join(text).encode(), np.uint8),
        "id_offsets": np.cumsum([0, *map(len, text)], dtype=np.int64),
    }
    metadata = {"snapshot": "0" * 64, "knowledge": "dk", "representation": "hybrid", "columns": "9"}
    path = tmp_path / "vectors.safetensors"
    path.write_bytes(write_tensors(tensors, metadata))
    return SnapshotSource(path, TargetSettings(mode="snapshot", file=path, knowledge="dk"))


@pytest.mark.parametrize("numbers", [range(KNOWN), range(0, 60, 5), range(KNOWN, 50), [], [12, 1, 0, 99, 13]])
def test_coverage_is_what_looking_at_each_image_gives(source, tmp_path, numbers, monkeypatch):
    monkeypatch.setattr("nbclip_trainer.targets.snapshot._AT_ONCE", 3)
    ids = [f"image {number}" for number in numbers]
    unknown = [f"image {number}" for number in numbers if number >= KNOWN]
    without = sum(number % 12 == 0 for number in numbers if number < KNOWN)
    for start in range(0, len(ids), 7):
        write_part(part_file(tmp_path, start // 7), {"image_id": ids[start : start + 7]})
    of_table = Column(Table(tmp_path, len(ids), 7), "image_id", None)
    for asked in (ids, of_table):
        found = source.coverage(asked)
        assert found.unknown == unknown
        assert found.without_knowledge == without / max(len(ids) - len(unknown), 1)
