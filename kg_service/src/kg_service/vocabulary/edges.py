"""Compiles is_a and typed relations of a release: edges by where they leave, each once, with the SABs that say them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kg_service.storage.arrays import save_arrays
from kg_service.vocabulary.codes import Codes, Int32s
from kg_service.vocabulary.hierarchy import adjacency, cycle_edges
from kg_service.vocabulary.model import Edge
from kg_service.vocabulary.pairs import Distinct, recoded
from kg_service.vocabulary.relations import Relations
from kg_service.vocabulary.release import Release


def write_is_a(
    release: Release, folder: Path, cui_of: Callable[[int], str], index: Int32s, concepts: int
) -> tuple[list[str], int, tuple[Edge, ...]]:
    """Writes is_a by child and by parent without its cycles; returns the values of `source`, the edge count, and what was cut.

    Args:
        release: what was read.
        folder: where to.
        cui_of: the id of the concept at a position.
        index: as `builder` makes it.
        concepts: N.
    """
    child, parent, source, edge_sources = _edges(release.is_a, release.is_a_sabs, index)
    cut = cycle_edges(child, parent, concepts)
    cut_edges = tuple(Edge(cui_of(int(child[e])), cui_of(int(parent[e])), edge_sources[source[e]]) for e in cut)
    child, parent, source = (np.delete(array, cut) for array in (child, parent, source))
    parents_of, _ = adjacency(child, concepts)
    children_of, by_parent = adjacency(parent, concepts)
    arrays: dict[str, npt.NDArray[Any]] = {"parents_of": parents_of, "parents": parent, "edge_source": source}
    arrays |= {"children_of": children_of, "children": child[by_parent]}
    save_arrays(folder, arrays)
    lines = (f"{edge.child}\t{edge.parent}\t{edge.source}\n" for edge in cut_edges)
    (folder / "cut_edges.tsv").write_text("child\tparent\tsource\n" + "".join(lines), encoding="utf-8")
    return edge_sources, len(child), cut_edges


def write_relations(relations: Relations, folder: Path, index: Int32s, concepts: int) -> Mapping[str, Any]:
    """Writes the typed edges by where they leave; returns what the manifest says of them, nothing where none were asked for.

    Cycles stay: a relation need be no order.
    """
    if not relations:
        return {}
    found = {name: _edges(edges, relations.sabs, index) for name, edges in relations.named()}
    texts = sorted({text for *_, sources in found.values() for text in sources})
    place = {text: position for position, text in enumerate(texts)}
    parts = [
        (subject, np.full(len(subject), code, np.uint16), target, np.array([place[text] for text in sources], np.int32)[source])
        for code, (subject, target, source, sources) in enumerate(found.values())
    ]
    subject, kind, target, source = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((target, kind, subject))
    arrays: dict[str, npt.NDArray[Any]] = {"relations_of": adjacency(subject, concepts)[0], "relation": kind[order]}
    save_arrays(folder, arrays | {"relation_target": target[order], "relation_source": source[order]})
    return {"relations": {name: len(edges[0]) for name, edges in found.items()}, "relation_sources": texts}


def _edges(edges: Distinct, sabs: Codes, index: Int32s) -> tuple[Int32s, Int32s, Int32s, list[str]]:
    """Both ends' positions and the position of `source` in the list that follows, int32, [E], in ascending order of the ends.

    Edges with an end that is not kept are left out. `index` as `builder` makes it.
    """
    first_end, second_end, code, values = recoded(*edges.rows(), sabs)
    known = (index[first_end] >= 0) & (index[second_end] >= 0)
    first_end, second_end, code = index[first_end[known]], index[second_end[known]], code[known]
    first = np.flatnonzero((np.diff(first_end, prepend=-1) != 0) | (np.diff(second_end, prepend=-1) != 0))
    sources, source = _joined(values, code, first)
    return first_end[first], second_end[first], source, sources


def _joined(
    values: list[str], code: npt.NDArray[np.int32], first: npt.NDArray[np.int64]
) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The values of each group of codes, joined by commas: distinct texts, sorted, and each group's position among them."""
    sizes = np.diff(first, append=len(code))
    texts = {(single,): values[single] for single in np.unique(code[first[sizes == 1]]).tolist()}
    several = np.flatnonzero(sizes > 1)
    groups = [tuple(code[start : start + size].tolist()) for start, size in zip(first[several], sizes[several], strict=True)]
    texts |= {group: ",".join(values[one] for one in group) for group in set(groups)}
    order = sorted(texts, key=texts.__getitem__)
    position = {group: i for i, group in enumerate(order)}
    of_single = np.zeros(len(values), np.int32)
    for group in order:
        if len(group) == 1:
            of_single[group[0]] = position[group]
    found = of_single[code[first]] if len(first) else np.zeros(0, np.int32)
    found[several] = [position[group] for group in groups]
    return [texts[group] for group in order], found
