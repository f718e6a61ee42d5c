"""The synthetic graph of the benchmarks of stores as linked shards of a batch, of any size: made in seconds a million images.

    python benchmarks/stores/shards.py FOLDER IMAGES

Ids are in no order, as files have them; captions are left out but for their digests.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from kg_service.batch.graph import LinkedGraph
from kg_service.batch.tables import SCHEMA, parquet_of
from kg_service.graph.arrays import distinct_pairs
from kg_service.storage.csr import pointers
from kg_service.vocabulary.model import Concept, Edge, Surroundings
from synthetic import CONCEPTS, CUIS_OF_AN_IMAGE, cui, parents_of, with_ancestors

SHARD = 50_000
_SCATTER = 7_919
"""Prime to numbers of images that are round."""


class Hierarchy:
    """The concepts of the synthetic graph, as a vocabulary has them."""

    def __init__(self) -> None:
        self._parents = parents_of(np.random.default_rng(0))

    def __contains__(self, wanted: object) -> bool:
        return isinstance(wanted, str) and int(wanted[1:]) < CONCEPTS

    def surroundings(self, cuis: Iterable[str]) -> Surroundings:
        """These concepts with all that is above them."""
        held = sorted(with_ancestors([int(each[1:]) for each in cuis], self._parents))
        concepts = [Concept(cui(each), f"name of {each}", ("T047",), "MSH") for each in held]
        is_a = [Edge(cui(each), cui(parent), "MSH") for each in held for parent in self._parents[each]]
        return Surroundings(concepts, is_a, [])


def linked(folder: Path, images: int) -> LinkedGraph:
    """The graph of so many images, in shards that are written where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05}.parquet" for number in range(-(-images // SHARD))]
    for number, path in enumerate(paths):
        if not path.exists():
            scratch = path.with_suffix(".new")
            scratch.write_bytes(parquet_of([_table(range(number * SHARD, min((number + 1) * SHARD, images)), images)]))
            scratch.replace(path)
    return LinkedGraph(folder, None, tuple(paths), ("",) * len(paths), Hierarchy())  # type: ignore[arg-type]


def _table(numbers: range, images: int) -> pa.Table:
    generator, rows = np.random.default_rng([1, numbers.start]), len(numbers)
    share = np.cumsum(1 / np.arange(1, CONCEPTS + 1))
    row_A = np.repeat(np.arange(rows), 1 + generator.poisson(CUIS_OF_AN_IMAGE, rows))
    drawn_A = np.searchsorted(share / share[-1], generator.random(len(row_A)))
    row_A, concept_A = distinct_pairs(row_A, drawn_A, CONCEPTS)
    ids = [f"IMG_{number * _SCATTER % images:08}" for number in numbers]
    digests = generator.bytes(32 * rows)
    columns = {
        "image_id": ids,
        "row": np.arange(rows),
        "caption": [""] * rows,
        "caption_sha256": [digests[32 * at : 32 * at + 32] for at in range(rows)],
        "dataset": ["synthetic"] * rows,
        "split": ["train"] * rows,
    }
    arrays = [pa.array(values, SCHEMA.field(name).type) for name, values in columns.items()]
    offsets = pa.array(pointers(np.bincount(row_A, minlength=rows)).astype(np.int32))
    lists = pa.ListArray.from_arrays(offsets, _edges(concept_A), type=SCHEMA.field("attributes").type)
    return pa.Table.from_arrays([*arrays, lists], schema=SCHEMA)


def _edges(concept_A: np.ndarray) -> pa.StructArray:
    cuis = pa.array([cui(each) for each in range(CONCEPTS)]).take(pa.array(concept_A))
    same = {"text": "some text", "start": 0, "end": 9, "score": 0.9, "rule": "exact", "assertion": "present"}
    fields = list(SCHEMA.field("attributes").type.value_type)
    values = same | {"linker": "dictionary-1"}
    columns = [
        cuis if field.name == "cui" else pa.repeat(pa.scalar(values[field.name], field.type), len(cuis)) for field in fields
    ]
    return pa.StructArray.from_arrays(columns, fields=fields)


def main() -> None:
    folder, images = sys.argv[1:]
    print(len(linked(Path(folder), int(images)).shards), "shards")


if __name__ == "__main__":
    main()
