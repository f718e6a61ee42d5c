"""Snapshots whose is_a is not the graph's: shuffled, or brought; named in the manifest, appended to and compacted as such."""

from collections import Counter
from graphlib import TopologicalSorter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.weights import is_a_matrix
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.append import append
from kg_service.snapshot.changes import Changes
from kg_service.snapshot.other_is_a import with_is_a
from kg_service.snapshot.publication import compact, publish
from nbclip.errors import Conflict, InvalidInput
from nbclip.schemas.snapshots import OwnIsA, PublishRequest, ShuffledIsA
from pydantic import ValidationError
from support.small_graphs import GraphOnly, graph_of, random_graphs

ROWS = [[0], [1], [2], [3], [0, 1], [2, 3], [0, 3]]
TREE = [(0, 4), (1, 4), (2, 5), (3, 5), (4, 6), (5, 6)]


def edges_of(graph):
    return [(graph.cuis[child], graph.cuis[parent]) for child, parent in graph.is_a.tolist()]


def is_acyclic(edges):
    parents = {}
    for child, parent in edges:
        parents.setdefault(child, []).append(parent)
    TopologicalSorter(parents).prepare()
    return all(child != parent for child, parent in edges)


@given(random_graphs(), st.integers(0, 9))
def test_a_shuffle_keeps_what_each_concept_has_of_parents_and_children_and_makes_no_cycle(graph, seed):
    try:
        shuffled = with_is_a(graph, ShuffledIsA(shuffled=seed))
    except Conflict:
        return
    for side in (0, 1):
        assert Counter(graph.is_a[:, side].tolist()) == Counter(shuffled.is_a[:, side].tolist())
    assert is_acyclic(edges_of(shuffled))
    assert len(set(edges_of(shuffled))) == len(graph.is_a)
    assert edges_of(shuffled) == sorted(edges_of(shuffled))
    assert edges_of(shuffled) != edges_of(graph)
    assert (shuffled.cuis, shuffled.image_ids) == (graph.cuis, graph.image_ids)
    np.testing.assert_array_equal(shuffled.is_a, with_is_a(graph, ShuffledIsA(shuffled=seed)).is_a)


def test_a_shuffle_of_a_wide_hierarchy_leaves_little_as_it_was_and_other_seeds_give_others():
    children = 400
    graph = graph_of(
        [[child] for child in range(children)], [(child, children + child % 40) for child in range(children)], count=440
    )
    first, second = (with_is_a(graph, ShuffledIsA(shuffled=seed)) for seed in (1, 2))
    for one, other in ((first, graph), (second, graph), (first, second)):
        assert len(set(edges_of(one)) & set(edges_of(other))) < 0.1 * children  # by chance 1 / 40


def test_a_graph_with_a_cycle_gets_no_more_of_them():
    """A graph that was ingested with two vocabularies may have one."""
    graph = graph_of([*ROWS, [7]], [*TREE, (6, 4), (7, 5)], count=8)
    for seed in range(1, 9):
        shuffled = with_is_a(graph, ShuffledIsA(shuffled=seed))
        assert is_acyclic(
            [edge for edge in edges_of(shuffled) if edge not in {("C0000006", "C0000004"), ("C0000004", "C0000006")}]
        )


@pytest.mark.parametrize("is_a", [[], [(0, 1)], [(0, 2), (1, 2)]])
def test_where_nothing_can_change_places_is_said_so(is_a):
    with pytest.raises(Conflict, match="is_a of the graph are as they were"):
        with_is_a(graph_of([[0], [1]], is_a, count=3), ShuffledIsA(shuffled=0))


def test_an_own_hierarchy_takes_the_place_of_the_graphs_with_parents_that_it_lacks():
    graph = graph_of(ROWS, TREE, count=7)
    own = with_is_a(graph, OwnIsA(edges=[("C0000000", "C9000001"), ("C9000001", "C9000002"), ("C7000000", "C9000002")]))
    assert own.cuis == ("C0000000", "C0000001", "C0000002", "C0000003", "C9000001", "C9000002")
    assert edges_of(own) == [("C0000000", "C9000001"), ("C9000001", "C9000002")]
    assert (own.image_ids, own.caption_sha256, own.revision) == (graph.image_ids, graph.caption_sha256, graph.revision)
    before, after = (
        [
            [each.cuis[concept] for concept in each.attribute_indices[start:end]]
            for start, end in zip(each.attribute_indptr, each.attribute_indptr[1:], strict=False)
        ]
        for each in (graph, own)
    )
    assert before == after


def test_the_graphs_own_edges_brought_give_the_graph_and_none_give_it_without():
    graph = graph_of(ROWS, TREE, count=7)
    again = with_is_a(graph, OwnIsA(edges=edges_of(graph)[::-1]))
    for name in ("cuis", "attribute_indptr", "attribute_indices", "is_a"):
        np.testing.assert_array_equal(getattr(again, name), getattr(graph, name))
    assert is_a_matrix(with_is_a(graph, OwnIsA(edges=[]))).nnz == 0


def test_edges_that_no_concept_has_and_cycles_are_refused():
    with pytest.raises(InvalidInput, match="none of the 1 is_a edges begins at a concept of an image, such as C0000000"):
        with_is_a(graph_of(ROWS, TREE, count=7), OwnIsA(edges=[("C9000001", "C0000000")]))
    for edges in ([("C0000001", "C0000001")], [("C0000001", "C0000002"), ("C0000002", "C0000001")]):
        with pytest.raises(ValidationError, match=r"is_a has a cycle: C000000[12] is_a C000000"):
            PublishRequest(is_a={"edges": edges})


OTHER = [ShuffledIsA(shuffled=3), OwnIsA(edges=[("C0000000", "C9000001"), ("C0000002", "C9000001"), ("C0000007", "C9000001")])]


@pytest.mark.parametrize("is_a", OTHER, ids=["shuffled", "own"])
def test_it_is_told_kept_by_appends_and_made_again_by_a_compaction(tmp_path, is_a):
    made = {"vocabulary": {}, "representations": {"hybrid": Hybrid()}}
    few, more = (GraphOnly(graph_of([*ROWS, *further], TREE, count=8)) for further in ([], [[0, 2], [7]]))
    plain = publish(few, tmp_path, **made)
    other = publish(few, tmp_path, changes=Changes(is_a=is_a), **made)
    folder = SnapshotFolder(tmp_path)
    assert folder.manifest(plain).is_a is None
    assert b'is_a":{' not in (tmp_path / plain / "manifest.json").read_bytes()
    assert folder.manifest(other).is_a.kind == ("own" if isinstance(is_a, OwnIsA) else "shuffled")

    appended, counts = append(more, folder)
    assert (counts.appended, folder.manifest(appended).is_a) == (2, folder.manifest(other).is_a)
    assert edges_of_snapshot(folder.open(appended)) == edges_of_snapshot(folder.open(other))

    compacted = compact(more, folder, vocabulary={})
    assert compacted == publish(more, tmp_path / "elsewhere", changes=Changes(is_a=is_a), **made)
    assert folder.verify(compacted).images == len(ROWS) + 2


def edges_of_snapshot(snapshot):
    return [(snapshot.cui(child), snapshot.cui(parent)) for child, parent in np.asarray(snapshot.base.graph["is_a"]).tolist()]
