"""Makes is_a acyclic, the same way each time. Shape legend: E edges, N nodes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from kg_service.storage.csr import pointers

Int32s = npt.NDArray[np.int32]


def cycle_edges(child_E: Int32s, parent_E: Int32s, nodes: int) -> npt.NDArray[np.int64]:
    """Edges whose removal leaves no cycle: within each strongly connected part, the back edges of a depth-first walk.

    The walk starts at the lowest node and takes parents in ascending order, so the same edges are cut whatever order they
    are given in.

    Args:
        child_E: nodes 0 to `nodes` - 1, int32, [E]; (child, parent) pairs are distinct.
        parent_E: int32, [E].
        nodes: N.

    Returns:
        Positions in [0, E), ascending, int64.
    """
    links = sparse.csr_array((np.ones(len(child_E), np.int8), (child_E, parent_E)), shape=(nodes, nodes))
    _, part_N = csgraph.connected_components(links, directed=True, connection="strong")
    inside = np.flatnonzero(part_N[child_E] == part_N[parent_E])
    parents: dict[int, list[tuple[int, int]]] = {}
    for edge in inside[np.lexsort((parent_E[inside], child_E[inside]))].tolist():
        parents.setdefault(int(child_E[edge]), []).append((int(parent_E[edge]), edge))
    return np.array(sorted(_back_edges(parents)), np.int64)


def _back_edges(parents: dict[int, list[tuple[int, int]]]) -> list[int]:
    """Edges that lead to a node of the current path, in a depth-first walk over `parents` (node to its (parent, edge) pairs)."""
    on_path: dict[int, bool] = {}
    back: list[int] = []
    for root in parents:
        if root in on_path:
            continue
        on_path[root] = True
        path = [(root, iter(parents[root]))]
        while path:
            node, remaining = path[-1]
            step = next(remaining, None)
            if step is None:
                on_path[node] = False
                path.pop()
            elif on_path.get(step[0]):
                back.append(step[1])
            elif step[0] not in on_path:
                on_path[step[0]] = True
                path.append((step[0], iter(parents.get(step[0], ()))))
    return back


def adjacency(from_E: Int32s, nodes: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row pointers int64 [N + 1] and edge order int64 [E] that group edges by `from_E`, keeping their order within a group."""
    return pointers(np.bincount(from_E, minlength=nodes)), np.argsort(from_E, kind="stable")
