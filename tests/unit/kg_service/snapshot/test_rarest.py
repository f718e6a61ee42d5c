"""Snapshots whose images have only their rarest concepts; the oracle is a graph of images that never had others."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.representations.both import Both
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.transe import TransE
from kg_service.snapshot import SnapshotFolder, answer_targets, explain
from kg_service.snapshot.append import append
from kg_service.snapshot.changes import Changes, changed
from kg_service.snapshot.publication import compact, publish
from nbclip.schemas.snapshots import RarestConcepts, ShuffledIsA, ShuffledRelations
from nbclip.schemas.targets import TargetsRequest
from support.small_graphs import GraphOnly, graph_of, random_graphs

# 0 stands in five images, 1 and 2 in three each, 3 in two, 4 in one; 5 stands above 0, 6 above 1 and 3, and 2 above 4
ROWS = [[0, 1, 2], [0, 1, 3], [0, 2, 3], [0, 1, 2, 4], [0], []]
IS_A = [(0, 5), (1, 6), (3, 6), (4, 2)]
TWO = [[1, 2], [1, 3], [2, 3], [1, 4], [0], []]
HELD = {
    "hybrid": Hybrid(hub_share=1.0),
    "both": Both(0.5, Hybrid(hub_share=1.0), TransE(dimension=8, epochs=2, batch=4, negatives=2)),
}


def graph(rows, count=7):
    return graph_of(rows, IS_A, count=count)


def rarest(number):
    return Changes(concepts=RarestConcepts(rarest=number))


def sets_of(graph):
    return [
        [graph.cuis[concept] for concept in row.tolist()]
        for row in np.split(graph.attribute_indices, graph.attribute_indptr[1:-1])
    ]


def same(one, other):
    for name in ("attribute_indptr", "attribute_indices", "is_a"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.cuis, one.image_ids, one.caption_sha256) == (other.cuis, other.image_ids, other.caption_sha256)
    assert {name: edges.tolist() for name, edges in one.relations.items()} == {
        name: edges.tolist() for name, edges in other.relations.items()
    }


@pytest.mark.parametrize(
    ("number", "left"),
    [
        (1, [[1], [3], [3], [4], [0], []]),
        (2, TWO),  # of 1 and 2, which are as rare, the first by CUI
        (3, [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 4], [0], []]),
        (4, ROWS),
    ],
)
def test_each_image_keeps_its_rarest_worked_out_by_hand(number, left):
    cut = changed(graph(ROWS), rarest(number))
    assert sets_of(cut) == [[f"C{concept:07d}" for concept in row] for row in left]
    assert cut.image_ids == tuple(f"i{index}" for index in range(6))


def test_what_nothing_leads_to_any_more_is_gone_and_what_stands_above_stays():
    cut = changed(graph(ROWS), rarest(1))
    assert cut.cuis == ("C0000000", "C0000001", "C0000002", "C0000003", "C0000004", "C0000005", "C0000006")
    bare = changed(graph(ROWS[:4]), rarest(1))
    assert bare.cuis == ("C0000001", "C0000002", "C0000003", "C0000004", "C0000006")
    assert [(bare.cuis[child], bare.cuis[parent]) for child, parent in bare.is_a.tolist()] == [
        ("C0000001", "C0000006"), ("C0000003", "C0000006"), ("C0000004", "C0000002"),
    ]  # fmt: skip


@given(random_graphs(), st.integers(1, 4))
def test_it_is_the_graph_of_images_that_never_had_the_others(whole, number):
    sets = [row.tolist() for row in np.split(whole.attribute_indices, whole.attribute_indptr[1:-1])]
    frequency = {concept: sum(concept in row for row in sets) for row in sets for concept in row}
    left = [sorted(sorted(row, key=lambda concept: (frequency[concept], concept))[:number]) for row in sets]
    thin = replace(graph_of(left, whole.is_a.tolist(), count=len(whole.cuis)), caption_sha256=whole.caption_sha256)
    same(changed(whole, rarest(number)), changed(thin, rarest(99)))


def test_relations_begin_at_what_is_left_and_everything_is_shuffled_after():
    relations = {
        "has_finding_site": np.array([(0, 5), (1, 7), (3, 8)], np.int32),
        "part_of": np.array([(5, 8), (7, 8)], np.int32),
    }
    whole = replace(graph(ROWS[:4], 9), relations=relations)
    cut = changed(whole, rarest(1))
    edges = {name: [(cut.cuis[a], cut.cuis[b]) for a, b in pairs.tolist()] for name, pairs in cut.relations.items()}
    assert edges == {
        "has_finding_site": [("C0000001", "C0000007"), ("C0000003", "C0000008")],
        "part_of": [("C0000007", "C0000008")],
    }
    shuffles = {"is_a": ShuffledIsA(shuffled=5), "relations": ShuffledRelations(shuffled=5)}
    same(changed(whole, Changes(RarestConcepts(rarest=1), **shuffles)), changed(cut, Changes(**shuffles)))


@pytest.fixture(params=["dk", "dk_ek"])
def similarity_of(request):
    def ask(snapshot, representation):
        wanted = {"representation": representation, "knowledge": request.param, "output": "similarity"}
        return answer_targets(snapshot, TargetsRequest(image_ids=[f"i{row}" for row in range(6)], **wanted)).values

    return ask


def test_a_snapshot_is_that_of_thin_captions_and_has_an_id_of_its_own(tmp_path, similarity_of):
    made = {"vocabulary": {}, "representations": HELD}
    plain = publish(GraphOnly(graph(ROWS)), tmp_path, **made)
    cut = publish(GraphOnly(graph(ROWS)), tmp_path, changes=rarest(2), **made)
    thin = publish(GraphOnly(graph(TWO)), tmp_path, **made)
    assert len({plain, cut, thin}) == 3
    folder = SnapshotFolder(tmp_path)
    assert (folder.manifest(plain).rarest_concepts, folder.manifest(cut).rarest_concepts) == (None, 2)
    assert b"rarest" not in (tmp_path / plain / "manifest.json").read_bytes()
    for representation in HELD:
        one, other, whole = (similarity_of(folder.open(each), representation) for each in (cut, thin, plain))
        assert np.array_equal(one, other)
        assert not np.allclose(one, whole, atol=1e-3)
    told = explain(folder.open(cut), "i0", "i1", name_of=str)
    assert [each.cui for each in told.image.concepts] == ["C0000001", "C0000002"]
    assert "the 2 rarest concepts" in " ".join(told.notes)


def test_appended_images_are_cut_by_the_numbers_of_the_publication_and_a_compaction_counts_anew(tmp_path):
    made = {"vocabulary": {}, "representations": HELD}
    folder = SnapshotFolder(tmp_path)
    publish(GraphOnly(graph(ROWS)), tmp_path, changes=rarest(2), **made)
    # 3 becomes the most frequent one, which the published numbers do not know; 7 was never seen, and is rarer than all
    later = GraphOnly(graph([*ROWS, *[[1, 2, 3]] * 4, [0, 3, 7]], 8))
    appended, counts = append(later, folder)
    assert (counts.appended, counts.replaced, counts.concepts_left_out) == (5, 0, 1)
    snapshot = folder.open(appended)
    rows = snapshot.positions(["i0", "i6", "i9", "i10"]).tolist()
    concepts = [[snapshot.cui(concept) for concept in snapshot.concepts(row)] for row in rows]
    assert concepts == [["C0000001", "C0000002"], *[["C0000001", "C0000003"]] * 2, ["C0000003"]]
    assert append(later, folder)[1].model_dump(include={"appended", "replaced"}) == {"appended": 0, "replaced": 0}
    # without its most frequent concept, which was cut, an image is as it was; without another one it is not
    for row, replaced in (([1, 3], 0), ([0, 3], 1)):
        assert append(GraphOnly(graph([ROWS[0], row, *ROWS[2:]])), folder)[1].replaced == replaced
    compacted = compact(later, folder, vocabulary={})
    assert compacted == publish(later, tmp_path / "elsewhere", changes=rarest(2), **made)
    assert folder.manifest(compacted).rarest_concepts == 2
