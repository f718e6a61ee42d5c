"""Ancestors of concepts over is_a, and their typed relations, from a snapshot's graph alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kg_service.storage.arrays import Arrays
from kg_service.vocabulary.model import TRANSITIVE


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


RELATION_ARRAYS = ("relations", "relation_names")


def relation_arrays(relations: Mapping[str, npt.NDArray[np.int32]]) -> dict[str, npt.NDArray[Any]]:
    """Typed edges as a snapshot has them; none where there are none.

    `relations`: subject, position of the relation among the names, target; int32, [E, 3], sorted; `relation_names`: UTF-8.
    """
    if not relations:
        return {}
    edges_E3 = np.concatenate([np.insert(edges_E2, 1, place, axis=1) for place, edges_E2 in enumerate(relations.values())])
    names = np.array([name.encode() for name in relations])
    return {"relations": edges_E3[np.lexsort(edges_E3.T[::-1])].astype(np.int32), "relation_names": names}


def relations_of(graph: Arrays, concept: int) -> Iterator[tuple[str, int]]:
    """Relation and target of each typed edge that leaves a concept, by relation and target."""
    if "relations" in graph:
        start, stop = np.searchsorted(graph["relations"][:, 0], [concept, concept + 1])
        for _, relation, target in graph["relations"][start:stop].tolist():
            yield bytes(graph["relation_names"][relation]).decode(), target


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
    left_steps, right_steps = steps_up(is_a, left), steps_up(is_a, right)
    common = left_steps.keys() & right_steps.keys()
    # What is above a common concept is common itself, so to find the lowest their parents are enough.
    above = {parent for concept in common for parent in is_a.parents_of(concept)}
    found = [CommonAncestor(concept, left_steps[concept], right_steps[concept]) for concept in common - above]
    return sorted(found, key=lambda each: (each.left_steps + each.right_steps, each.concept))


def steps_up(is_a: IsA, concepts: Iterable[int]) -> dict[int, int]:
    """Everything that stands above the concepts, themselves too, with the length of the shortest path."""
    steps = dict.fromkeys(concepts, 0)
    frontier, length = list(steps), 0
    while frontier:
        length += 1
        reached = {parent for concept in frontier for parent in is_a.parents_of(concept)}
        frontier = [concept for concept in reached if concept not in steps]
        steps |= dict.fromkeys(frontier, length)
    return steps


Relations = Callable[[int], Iterable[tuple[str, int]]]
"""Relation and target of each typed edge that leaves a concept."""


def led_to(is_a: IsA, relations: Relations, concepts: Iterable[int]) -> set[int]:
    """The concepts, what their relations lead to, and all above that; with the concepts are those above them by is_a."""
    found = set(concepts)
    return found | on_from(is_a, relations, (target for concept in found for _, target in relations(concept)))


def on_from(is_a: IsA, relations: Relations, concepts: Iterable[int]) -> set[int]:
    """The concepts, and all above them by is_a and transitive relations."""
    found: set[int] = set()
    pending = list(concepts)
    while pending:
        concept = pending.pop()
        if concept not in found:
            found.add(concept)
            pending += is_a.parents_of(concept)
            pending += [target for relation, target in relations(concept) if relation in TRANSITIVE]
    return found
