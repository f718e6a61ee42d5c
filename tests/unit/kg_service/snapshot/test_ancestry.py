"""Nearest common ancestors against sets and paths worked out by enumeration."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.snapshot.ancestry import CommonAncestor, index_is_a, nearest_common_ancestors


@st.composite
def hierarchies(draw):
    concepts = draw(st.integers(1, 12))
    concept = st.integers(0, concepts - 1)
    edges = draw(st.sets(st.tuples(concept, concept).filter(lambda edge: edge[0] < edge[1]), max_size=25))
    # numbers in another order than that of the hierarchy
    new = draw(st.permutations(range(concepts)))
    renumbered = sorted((new[child], new[parent]) for child, parent in edges)
    left, right = (draw(st.sets(concept, max_size=4)) for _ in range(2))
    return np.array(renumbered, np.int32).reshape(-1, 2), left, right


def paths_up(edges, concept, length=0):
    """(ancestor, length) of every path, the empty one too."""
    yield concept, length
    for child, parent in edges:
        if child == concept:
            yield from paths_up(edges, parent, length + 1)


@settings(max_examples=300, deadline=None)
@given(hierarchies())
def test_they_are_the_lowest_of_both_sides_with_their_shortest_paths(drawn):
    is_a, left, right = drawn
    edges = [tuple(edge) for edge in is_a.tolist()]
    sides = []
    for side in (left, right):
        steps = {}
        for ancestor, length in (path for concept in side for path in paths_up(edges, concept)):
            steps[ancestor] = min(length, steps.get(ancestor, length))
        sides.append(steps)
    common = set(sides[0]) & set(sides[1])
    strictly_above = {concept: {reached for reached, length in paths_up(edges, concept) if length} for concept in common}
    lowest = {concept for concept in common if not any(concept in strictly_above[other] for other in common)}
    found = nearest_common_ancestors(index_is_a(is_a, 12), left, right)
    assert {each.concept for each in found} == lowest
    assert all((each.left_steps, each.right_steps) == tuple(side[each.concept] for side in sides) for each in found)
    keys = [(each.left_steps + each.right_steps, each.concept) for each in found]
    assert keys == sorted(keys)


def test_a_concept_is_above_itself_and_hides_what_stands_above_it():
    is_a = index_is_a(np.array([[0, 2], [1, 2], [2, 3]], np.int32), 4)
    assert nearest_common_ancestors(is_a, [0], [1]) == [CommonAncestor(2, 1, 1)]
    assert nearest_common_ancestors(is_a, [0], [2]) == [CommonAncestor(2, 1, 0)]
    assert nearest_common_ancestors(is_a, [0, 1], [0]) == [CommonAncestor(0, 0, 0)]
    assert nearest_common_ancestors(is_a, [0], []) == []
    assert nearest_common_ancestors(index_is_a(np.zeros((0, 2), np.int32), 2), [0], [1]) == []
