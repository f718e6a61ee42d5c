"""Neighbours against the whole matrix of `/targets`, sorted."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.representations.hybrid import Hybrid
from kg_service.snapshot import SnapshotFolder, answer_targets, find_neighbours
from kg_service.snapshot.neighbours import largest
from kg_service.snapshot.publication import publish
from nbclip.errors import InvalidInput, NotFound
from nbclip.schemas.targets import TargetsRequest
from support.small_graphs import GraphOnly, graph_of, random_graphs


def ask(snapshot, image_id, k=10, knowledge="dk_ek", representation="hybrid"):
    return find_neighbours(snapshot, image_id, k, knowledge=knowledge, representation=representation, name_of=str.lower)


@settings(deadline=None, max_examples=40)
@given(random_graphs(), st.sampled_from(["noise", "dk", "dk_ek"]), st.integers(1, 12))
def test_they_are_the_largest_similarities_of_targets_in_order(graph, knowledge, k):
    with tempfile.TemporaryDirectory() as folder:
        publish(GraphOnly(graph), Path(folder), vocabulary={}, representations={"hybrid": Hybrid(hub_share=1.0)})
        snapshot = SnapshotFolder(Path(folder)).open()
        request = TargetsRequest(image_ids=list(graph.image_ids), output="similarity", knowledge=knowledge)
        matrix = answer_targets(snapshot, request)
        sets = np.split(graph.attribute_indices, graph.attribute_indptr[1:-1])
        for row, image_id in enumerate(graph.image_ids):
            answer = ask(snapshot, image_id, k, knowledge)
            found = [graph.image_ids.index(each.image_id) for each in answer.neighbours]
            values = matrix.values[row].astype(float)
            values[row] = -1
            order = np.argsort(-values, kind="stable")[:k]
            # rounding may put a value at 0, or two that are equal, on either side
            assert np.allclose([each.similarity for each in answer.neighbours], values[found], atol=1e-6)
            expected = values[order]
            assert np.allclose(values[found], expected[: len(found)], atol=1e-6)
            assert (expected[len(found) :] < 2e-6).all()
            assert row not in found
            assert len(set(found)) == len(found)
            assert answer.has_knowledge == matrix.has_knowledge[row]
            for other, each in zip(found, answer.neighbours, strict=True):
                assert [one.cui for one in each.shared] == [graph.cuis[c] for c in sorted({*sets[row]} & {*sets[other]})]
                assert each.same_caption == (graph.caption_sha256[row] == graph.caption_sha256[other])


def test_equal_vectors_stand_in_the_snapshots_order(published):
    concepts = [[0, 1], [2], [0], [0, 1], [0, 1], [1], [0, 1]]
    snapshot = published(graph_of(concepts), hybrid=Hybrid())
    answer = ask(snapshot, "i3")
    assert [each.image_id for each in answer.neighbours][:3] == ["i0", "i4", "i6"]
    assert len({each.similarity for each in answer.neighbours[:3]}) == 1
    assert [each.image_id for each in ask(snapshot, "i0", 2).neighbours] == ["i3", "i4"]
    assert {each.image_id for each in answer.neighbours} == {"i0", "i4", "i6", "i2", "i5"}  # i1 has nothing in common


def test_many_equal_vectors_tie_to_the_bit(published):
    rng = np.random.default_rng(0)
    kinds = [sorted(rng.choice(40, rng.integers(2, 12), replace=False).tolist()) for _ in range(7)]
    concepts = [kinds[kind] for kind in rng.integers(0, 7, 500)]
    snapshot = published(graph_of(concepts), hybrid=Hybrid(hub_share=1.0))
    twins = [f"i{at}" for at, row in enumerate(concepts) if row == concepts[0]][1:]
    found = [each.image_id for each in ask(snapshot, "i0", 100).neighbours]
    assert len(twins) > 40
    assert found[: len(twins)] == sorted(twins, key=lambda image_id: int(image_id[1:]))[:100]


def test_names_captions_and_shared_concepts_are_told(published, five_images):
    first, _, *others = five_images.caption_sha256
    same = replace(five_images, caption_sha256=(first, first, *others))
    answer = ask(published(same, hybrid=Hybrid(hub_share=1.0)), "a")
    first = answer.neighbours[0]
    assert (first.image_id, first.same_caption) == ("b", True)
    assert [(each.cui, each.name) for each in first.shared] == [("C0000001", "c0000001")]
    assert [(each.image_id, each.shared, each.same_caption) for each in answer.neighbours[1:]] == [("c", [], False)]


def test_an_image_without_concepts_has_no_neighbours(published, five_images):
    for knowledge in ("noise", "dk_ek"):
        answer = ask(published(five_images, hybrid=Hybrid()), "e", knowledge=knowledge)
        assert (answer.has_knowledge, answer.neighbours) == (False, [])


def test_an_unknown_image_or_variant_is_refused(published, five_images):
    snapshot = published(five_images, hybrid=Hybrid())
    with pytest.raises(NotFound, match=r"'ghost' in the snapshot.*publish"):
        ask(snapshot, "ghost")
    with pytest.raises(InvalidInput, match="transe"):
        ask(snapshot, "a", representation="transe")


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.75]), max_size=30), st.integers(1, 40))
def test_the_largest_are_those_of_a_stable_sort(values, k):
    array = np.array(values, np.float32)
    expected = [at for at in np.argsort(-array, kind="stable").tolist() if array[at] > 0][:k]
    assert largest(array, k).tolist() == expected
