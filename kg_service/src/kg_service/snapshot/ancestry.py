"""Ancestors of concepts over is_a, from a snapshot's graph alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class IsA:
    """The parents of each concept: `parents[indptr[concept] : indptr[concept + 1]]`; int64, [M + 1], and int32, [E]."""

    indptr: npt.NDArray[np.int64]
    parents: npt.NDArray[np.int32]

    def parents_of(self, concept: int) -> list[int]:
        """One is_a step up."""
        parents: list[int] = self.parents[self.indptr[concept] : self.indptr[concept + 1]].tolist()
        return parents


def index_is_a(is_a_E2: npt.NDArray[np.int32], concepts: int) -> IsA:
    """From child and parent of each edge, sorted, as a snapshot has them; nothing is copied but one pointer a concept."""
    child_E, parent_E = np.asarray(is_a_E2).T
    return IsA(np.searchsorted(child_E, np.arange(concepts + 1)), parent_E)


@dataclass(frozen=True, slots=True)
class CommonAncestor:
    """A concept, and its least number of is_a steps from a concept of either side."""

    concept: int
    left_steps: int
    right_steps: int


def nearest_common_ancestors(is_a: IsA, left: Iterable[int], right: Iterable[int]) -> list[CommonAncestor]:
    """The lowest concepts that stand on both sides or above them: none of them stands above another one that does.

    A concept stands above itself by 0 steps. Those with the fewest steps in all come first, then the lower positions.
    """
    left_steps, right_steps = _steps_up(is_a, left), _steps_up(is_a, right)
    common = left_steps.keys() & right_steps.keys()
    # What is above a common concept is common itself, so to find the lowest their parents are enough.
    above = {parent for concept in common for parent in is_a.parents_of(concept)}
    found = [CommonAncestor(concept, left_steps[concept], right_steps[concept]) for concept in common - above]
    return sorted(found, key=lambda each: (each.left_steps + each.right_steps, each.concept))


def _steps_up(is_a: IsA, concepts: Iterable[int]) -> dict[int, int]:
    """Everything that stands above the concepts, themselves too, with the length of the shortest path."""
    steps = dict.fromkeys(concepts, 0)
    frontier, length = list(steps), 0
    while frontier:
        length += 1
        reached = {parent for concept in frontier for parent in is_a.parents_of(concept)}
        frontier = [concept for concept in reached if concept not in steps]
        steps |= dict.fromkeys(frontier, length)
    return steps
