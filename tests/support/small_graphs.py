"""Small graphs for snapshots: by hand, and at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from kg_service.graph.store import Graph
from nbclip.ids import caption_sha256


class GraphOnly:
    """The one thing that publishing asks of a store."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def read_graph(self, *, dataset: str | None = None, split: str | None = None) -> Graph:
        return self.graph


def graph_of(
    concepts: Sequence[Sequence[int]],
    is_a: Sequence[tuple[int, int]] = (),
    captions: Sequence[str] | None = None,
    count: int = 0,
) -> Graph:
    """Images with these concepts, called i0, i1 and so on; every caption another one if none is given."""
    count = max(count, *(concept + 1 for row in concepts for concept in row))
    captions = captions or [str(index) for index in range(len(concepts))]
    return Graph(
        image_ids=tuple(f"i{index}" for index in range(len(concepts))),
        caption_sha256=tuple(map(caption_sha256, captions)),
        cuis=tuple(f"C{concept:07d}" for concept in range(count)),
        attribute_indptr=np.cumsum([0, *map(len, concepts)], dtype=np.int64),
        attribute_indices=np.array([concept for row in concepts for concept in sorted(row)], np.int32),
        is_a=np.array(sorted(is_a), np.int32).reshape(-1, 2),
        linkers=(),
    )


@st.composite
def random_graphs(draw: st.DrawFn) -> Graph:
    """Up to ten images: some without concepts, some with equal captions; is_a without cycles; at least one attribute."""
    count = draw(st.integers(1, 9))
    concept = st.integers(0, count - 1)
    rows = [{0}, *draw(st.lists(st.sets(concept), min_size=1, max_size=9))]
    is_a = draw(st.sets(st.tuples(concept, concept).filter(lambda edge: edge[0] < edge[1])))
    captions = draw(st.lists(st.sampled_from("xyz"), min_size=len(rows), max_size=len(rows)))
    return graph_of([sorted(row) for row in rows], sorted(is_a), captions, count)
