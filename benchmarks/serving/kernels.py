"""The arithmetic of a square batch, by this repository's kernel and by what others would use."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from kg_service.similarity.kernel import similarity, similarity_to_all
from kg_service.snapshot import Snapshot, explain, find_neighbours

_RUNS = 7
_LONG_S = 10.0


def kernel_seconds(snapshot: Snapshot, rows: np.ndarray) -> dict[str, float]:
    """CPU seconds by method, one thread; `torch, dense` has as many columns as the batch has concepts."""
    torch.set_num_threads(1)
    vectors = snapshot.vectors("hybrid", "dk_ek")
    sparse, dense = vectors.sparse[rows], vectors.dense[rows]
    others = rows.copy()
    concepts = np.unique(sparse.indices)
    whole = torch.from_numpy(np.hstack((sparse[:, concepts].toarray(), dense)))
    values = similarity(vectors, rows, rows)
    return {
        "this kernel, square": least_seconds(lambda: similarity(vectors, rows, rows)),
        "this kernel, rows × other columns": least_seconds(lambda: similarity(vectors, rows, others)),
        "scipy": least_seconds(lambda: _by_scipy(sparse, dense)),
        "torch, dense": least_seconds(lambda: whole @ whole.T),
        "memcpy of S": least_seconds(values.copy),
    }


def look_seconds(snapshot: Snapshot, rows: np.ndarray) -> dict[str, float]:
    """CPU seconds, one thread, of what is asked of one image or two."""
    vectors = snapshot.vectors("hybrid", "dk_ek")
    one, other = (snapshot.image_id(int(row)) for row in rows[:2])
    row, everything = rows[:1], np.arange(len(vectors))
    variant = {"knowledge": "dk_ek", "representation": "hybrid", "name_of": lambda _: ""}
    weight, dense = vectors.sparse[row].toarray()[0], vectors.dense[row[0]]
    return {
        "10 nearest images": least_seconds(lambda: find_neighbours(snapshot, one, 10, **variant)),
        "of that S": least_seconds(lambda: similarity_to_all(vectors, int(row[0]))),
        "S by scipy and BLAS": least_seconds(lambda: vectors.sparse @ weight + vectors.dense @ dense),
        "S by the kernel of batches": least_seconds(lambda: similarity(vectors, row, everything)),
        "explanation of a pair": least_seconds(lambda: explain(snapshot, one, other, **variant)),
    }


def _by_scipy(sparse: Any, dense: np.ndarray) -> np.ndarray:
    values: np.ndarray = (sparse @ sparse.T).toarray() + dense @ dense.T
    np.clip(values, -1, 1, out=values)
    np.fill_diagonal(values, 1)
    return values


def least_seconds(work: Callable[[], object], clock: Callable[[], float] = time.process_time, runs: int = _RUNS) -> float:
    """The least of several runs after a first one; fewer where they take long, the first alone where it does."""
    until = time.perf_counter() + _LONG_S
    first, least = _seconds(work, clock), math.inf
    for _ in range(runs):
        if time.perf_counter() > until:
            break
        least = min(least, _seconds(work, clock))
    return first if least == math.inf else least


def least_in_turns(works: Mapping[str, Callable[[], object]], lasting: float) -> dict[str, float]:
    """The least of each, by the clock, in turns that last so many seconds in all, seven of them at least."""
    least = {name: _seconds(work, time.perf_counter) for name, work in works.items()}
    until, turns = time.perf_counter() + lasting, 0
    while turns < _RUNS or time.perf_counter() < until:
        least = {name: min(least[name], _seconds(work, time.perf_counter)) for name, work in works.items()}
        turns += 1
    return least


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    begun = clock()
    work()
    return clock() - begun
