"""Merged shards are what sorting all their rows in memory gives, however runs and buckets cut them."""

from itertools import groupby
from operator import itemgetter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kg_service.batch.merging import merge
from kg_service.batch.tables import parquet_of, table_of
from kg_service.graph.store import AttributeEdge, ImageNode
from kg_service.vocabulary.codes import Codes

_ID = st.text("aZ\u00e9\u4e2d\U0001f600", min_size=1, max_size=3)
_EDGE = st.builds(
    AttributeEdge,
    cui=st.sampled_from(["C0000001", "UBERON:0002048", "39607008"]),
    assertion=st.sampled_from(["present", "absent"]),
    linker=st.just("given"),
)
_IMAGE = st.builds(
    ImageNode,
    image_id=_ID,
    caption=st.text("xy", max_size=2),
    attributes=st.lists(_EDGE, max_size=3).map(tuple),
    split=st.sampled_from([None, "train"]),
)


@given(shards=st.lists(st.lists(_IMAGE, max_size=12), min_size=1, max_size=4), run=st.integers(1, 5), bucket=st.integers(1, 4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_merged_rows_are_the_first_of_each_id_by_id(shards, run, bucket, memory, monkeypatch):
    for name, value in (("_RUN", run), ("_SAMPLED", 1), ("_BUCKET", bucket)):
        monkeypatch.setattr(f"kg_service.batch.merging.{name}", value)
    paths = [memory / f"{number}.parquet" for number in range(len(shards))]
    for path, images in zip(paths, shards, strict=True):
        path.write_bytes(parquet_of([table_of(range(len(images)), images)]))
    rows = [(image.image_id, shard, row, image) for shard, images in enumerate(shards) for row, image in enumerate(images)]
    by_id = [list(same) for _, same in groupby(sorted(rows, key=itemgetter(0, 1, 2)), itemgetter(0))]

    merged = merge(paths, memory, Codes("CUI"))

    assert merged.images["image_id"].to_pylist() == [same[0][0] for same in by_id]
    assert merged.images["split"].to_pylist() == [same[0][3].split for same in by_id]
    cuis = merged.cuis.values()
    assert [[cuis[code] for code in codes] for codes in merged.images["concepts"].to_pylist()] == [
        present(same[0][3]) for same in by_id
    ]
    assert merged.images["linker"].to_pylist() == ["given" if present(same[0][3]) else None for same in by_id]
    assert merged.repeated == tuple(same[0][0] for same in by_id if len(same) > 1)
    first = {(shard, row) for same in by_id for _, shard, row, _ in same[:1]}
    for shard, (mask, images) in enumerate(zip(merged.masks, shards, strict=True)):
        in_table = sorted(range(len(images)), key=lambda row: (images[row].image_id, row))
        assert mask.tolist() == [(shard, row) in first for row in in_table]


def present(image):
    return [edge.cui for edge in image.attributes if edge.assertion == "present"]


def test_what_was_merged_stays_when_its_files_are_gone(memory):
    path = memory / "0.parquet"
    path.write_bytes(parquet_of([table_of([1], [ImageNode("a", "x")])]))
    merged = merge([path], memory, Codes("CUI"))
    for file in memory.iterdir():
        file.unlink()
    assert merged.images["image_id"].to_pylist() == ["a"]
    assert [mask.tolist() for mask in merged.masks] == [[True]]


@pytest.mark.parametrize("rows", [0, 1])
def test_shards_without_rows_are_merged_too(memory, rows):
    paths = [memory / "0.parquet", memory / "1.parquet"]
    for path, count in zip(paths, (0, rows), strict=True):
        path.write_bytes(parquet_of([table_of(range(count), [ImageNode("a", "x")] * count)]))
    merged = merge(paths, memory, Codes("CUI"))
    assert merged.images["image_id"].to_pylist() == ["a"] * rows
    assert np.concatenate(merged.masks).tolist() == [True] * rows
