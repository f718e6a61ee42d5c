"""Snapshots whose typed relations lead elsewhere: named in the manifest, kept by appends, made again by a compaction."""

from collections import Counter
from dataclasses import replace
from graphlib import TopologicalSorter

import numpy as np
import pytest
from kg_service.representations.hybrid import Hybrid
from kg_service.snapshot import SnapshotFolder, explain
from kg_service.snapshot.append import append
from kg_service.snapshot.changes import Changes, changed
from kg_service.snapshot.other_relations import with_relations
from kg_service.snapshot.publication import compact, publish
from nbclip.errors import Conflict
from nbclip.schemas.snapshots import OwnIsA, ShuffledIsA, ShuffledRelations
from support.small_graphs import GraphOnly, graph_of

# disorders 0 to 3 have sites 4 to 7, which are part of 8 and 9, and these of 10
SITES, PARTS = [(0, 4), (1, 5), (2, 6), (3, 7), (3, 4)], [(4, 8), (5, 8), (6, 9), (7, 9), (8, 10), (9, 10)]
ROWS = [[0], [1], [2], [3], [0, 1], [2, 3]]


def graph(rows=ROWS, sites=SITES, parts=PARTS):
    edges = {"has_finding_site": np.array(sorted(sites), np.int32), "part_of": np.array(sorted(parts), np.int32)}
    return replace(graph_of(rows, [(1, 0)], count=11), relations=edges)


def pairs_of(edges_E2):
    return list(map(tuple, edges_E2.tolist()))


def test_a_shuffle_keeps_what_each_concept_has_of_edges_and_moves_no_edge_to_another_relation():
    before = graph()
    others = set()
    for seed in range(10):
        after = with_relations(before, ShuffledRelations(shuffled=seed))
        for name, edges_E2 in before.relations.items():
            pairs = pairs_of(after.relations[name])
            assert (len(set(pairs)), pairs) == (len(edges_E2), sorted(pairs))
            for side in (0, 1):
                assert Counter(after.relations[name][:, side].tolist()) == Counter(edges_E2[:, side].tolist())
        TopologicalSorter({part: {whole} for part, whole in pairs_of(after.relations["part_of"])}).prepare()
        np.testing.assert_array_equal(after.is_a, before.is_a)
        again = with_relations(before, ShuffledRelations(shuffled=seed))
        assert all(np.array_equal(again.relations[name], after.relations[name]) for name in before.relations)
        others.add(tuple(pairs_of(after.relations["has_finding_site"])))
    assert len(others) > 5


@pytest.mark.parametrize("seed", range(1, 10))
def test_a_relation_that_can_not_change_stays_beside_one_that_does(seed):
    after = with_relations(graph(parts=[(4, 8)]), ShuffledRelations(shuffled=seed))
    assert pairs_of(after.relations["part_of"]) == [(4, 8)]
    assert pairs_of(after.relations["has_finding_site"]) != sorted(SITES)


def test_where_there_is_nothing_to_shuffle_is_said_so():
    with pytest.raises(Conflict, match=r"no typed relations to shuffle.*vocabulary build --relation"):
        with_relations(graph_of(ROWS), ShuffledRelations(shuffled=1))
    with pytest.raises(Conflict, match="all typed relations of the graph are as they were"):
        with_relations(graph(sites=[(0, 4), (1, 4)], parts=[(4, 8)]), ShuffledRelations(shuffled=1))
    own = Changes(is_a=OwnIsA(edges=[("C0000000", "C9000001")]), relations=ShuffledRelations(shuffled=1))
    with pytest.raises(Conflict, match="an own is_a leaves them out"):
        changed(graph(), own)


def test_parents_and_relations_are_shuffled_each_by_itself():
    before = replace(graph(), is_a=np.array([(0, 8), (1, 9), (2, 10)], np.int32))
    wanted = ShuffledIsA(shuffled=1), ShuffledRelations(shuffled=2)
    both = changed(before, Changes(is_a=wanted[0], relations=wanted[1]))
    np.testing.assert_array_equal(both.is_a, changed(before, Changes(is_a=wanted[0])).is_a)
    for name, edges_E2 in with_relations(before, wanted[1]).relations.items():
        np.testing.assert_array_equal(both.relations[name], edges_E2)


def test_it_is_told_kept_by_appends_and_made_again_by_a_compaction(tmp_path):
    made = {"vocabulary": {}, "representations": {"hybrid": Hybrid(hub_share=1.0, smoothing=0)}}
    changes = Changes(relations=ShuffledRelations(shuffled=3))
    few, more = GraphOnly(graph()), GraphOnly(graph([*ROWS, [0, 2]]))
    folder = SnapshotFolder(tmp_path)
    plain, other = publish(few, tmp_path, **made), publish(few, tmp_path, changes=changes, **made)
    assert folder.manifest(plain).relations is None
    assert b'"relations":{' not in (tmp_path / plain / "manifest.json").read_bytes()
    origin = folder.manifest(other).relations
    assert (origin.kind, origin.seed) == ("shuffled", 3)
    assert folder.manifest(other).relation_edges == folder.manifest(plain).relation_edges

    told = explain(folder.open(other), "i0", "i1", name_of=str)
    assert "targets shuffled by seed 3" in " ".join(told.notes)
    expected = with_relations(graph(), changes.relations).relations
    led = {name: dict(pairs_of(edges_E2)) for name, edges_E2 in expected.items()}
    assert list(folder.open(other).relations(0)) == [("has_finding_site", led["has_finding_site"][0])]

    appended, counts = append(more, folder)
    assert (counts.appended, folder.manifest(appended).relations) == (1, origin)
    compacted = compact(more, folder, vocabulary={})
    assert compacted == publish(more, tmp_path / "elsewhere", changes=changes, **made)
