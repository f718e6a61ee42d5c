"""MRREL of a synthetic release: pairs of concepts in both directions, with all that a compiler must survive.

Concepts stand in a hidden order, and most pairs lead from one to an earlier one, so is_a is some fifteen levels deep. Some
pairs are said again by another source, some the other way round (a cycle), some of a concept and itself, some of a CUI that
does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rows import Ints, identifiers, taken, weighted, write_rows
from sources import RELATIONS

_AGAIN, _FLIPPED, _SELF, _UNKNOWN = 0.15, 5e-4, 1e-3, 5e-3
_SUPPRESS = ("N", "O", "Y", "E")
_SUPPRESS_SHARES = (0.92, 0.05, 0.025, 0.005)
_BATCH = 250_000
"""Rows written at once."""
_SABS = [(kind, sab) for kind, relation in enumerate(RELATIONS) for sab in relation.sabs.split()]
_SHARES = [RELATIONS[kind].share / len(RELATIONS[kind].sabs.split()) for kind, _ in _SABS]


@dataclass(frozen=True, slots=True)
class _Pairs:
    """P pairs: concepts (positions; those past the last do not exist), position in `_SABS`, and in `_SUPPRESS`."""

    child: npt.NDArray[np.int32]
    parent: npt.NDArray[np.int32]
    said: npt.NDArray[np.int16]
    suppress: npt.NDArray[np.int8]


def write_relations(
    path: Path, cui: Ints, first_atom: Ints, kept: npt.NDArray[np.bool_], rows: int, luck: np.random.Generator
) -> tuple[int, int]:
    """Writes MRREL in the order of CUI1; returns its rows, and how many distinct is_a edges join concepts that are `kept`."""
    pairs = _pairs(len(cui), rows // 2, luck)
    unknown = int(pairs.child.max(initial=0)) + 1 - len(cui)
    # CUIs that do not exist: past the last, with the atom of nobody.
    cui = np.concatenate((cui, cui[-1] + 1 + np.arange(max(unknown, 0))))
    aui = np.concatenate((first_atom, np.full(max(unknown, 0), 99_999_999)))
    count = len(pairs.child)
    order = np.argsort(np.concatenate((pairs.parent, pairs.child)), kind="stable").astype(np.int32)
    with path.open("wb") as stream:
        for start in range(0, 2 * count, _BATCH):
            write_rows(stream, _rows(pairs, order[start : start + _BATCH], cui, aui, start))
    return 2 * count, _edges(pairs, kept)


def _pairs(concepts: int, count: int, luck: np.random.Generator) -> _Pairs:
    concept_at = luck.permutation(concepts).astype(np.int32)
    place = luck.integers(1, concepts, count)
    child, parent = concept_at[place], concept_at[(place * luck.random(count) ** 1.5).astype(np.int64)]
    said = weighted(luck, _SHARES, count).astype(np.int16)
    again = np.flatnonzero(luck.random(count) < _AGAIN)
    other = luck.integers(0, count, len(again))
    child[again], parent[again] = child[other], parent[other]
    flipped = np.flatnonzero(luck.random(count) < _FLIPPED)
    other = luck.integers(0, count, len(flipped))
    child[flipped], parent[flipped], said[flipped] = parent[other], child[other], said[other]
    loops = np.flatnonzero(luck.random(count) < _SELF)
    parent[loops] = child[loops]
    strange = np.flatnonzero(luck.random(count) < _UNKNOWN)
    child[strange] = concepts + luck.integers(0, 1 + len(strange) // 2, len(strange))
    return _Pairs(child, parent, said, weighted(luck, _SUPPRESS_SHARES, count).astype(np.int8))


def _rows(pairs: _Pairs, order: npt.NDArray[np.int32], cui: Ints, aui: Ints, first_row: int) -> list[pa.Array | str]:
    """Columns of MRREL. Row i below P has pair i from the parent (CUI1), row P + i from the child."""
    upward, pair = np.divmod(order.astype(np.int64), len(pairs.child))
    child, parent = pairs.child[pair], pairs.parent[pair]
    one, two = np.where(upward, child, parent), np.where(upward, parent, child)
    kind = 2 * np.array([kind for kind, _ in _SABS])[pairs.said[pair]] + upward
    rel = [rel for relation in RELATIONS for rel in (relation.rel, relation.inverse_rel)]
    rela = [rela for relation in RELATIONS for rela in (relation.rela, relation.inverse_rela)]
    sab = taken([sab for _, sab in _SABS], pairs.said[pair].astype(np.int64))
    ends = [[identifiers("C", cui[end], 7), identifiers("A", aui[end]), "AUI"] for end in (one, two)]
    rui = identifiers("R", first_row + np.arange(len(order)), 9)
    tail = [sab, sab, "", "", taken(_SUPPRESS, pairs.suppress[pair].astype(np.int64)), ""]
    return [*ends[0], taken(rel, kind), *ends[1], taken(rela, kind), rui, "", *tail]


def _edges(pairs: _Pairs, kept: npt.NDArray[np.bool_]) -> int:
    is_a = np.array([RELATIONS[kind].is_a for kind, _ in _SABS])[pairs.said]
    known = np.flatnonzero(is_a & (pairs.suppress == 0) & (pairs.child != pairs.parent) & (pairs.child < len(kept)))
    child, parent = pairs.child[known].astype(np.int64), pairs.parent[known].astype(np.int64)
    both = kept[child] & kept[parent]
    return len(np.unique(child[both] * len(kept) + parent[both]))
