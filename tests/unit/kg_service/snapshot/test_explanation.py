"""Shares against the sum that they must give, and against numbers worked out by hand."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.errors import OtherVersion
from kg_service.representations.both import Both
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.transe import TransE
from kg_service.snapshot import SnapshotFolder, answer_targets, explain
from kg_service.snapshot.publication import publish
from nbclip.errors import InvalidInput, UnknownImages
from nbclip.schemas.targets import TargetsRequest
from support.small_graphs import GraphOnly, graph_of, random_graphs

PNEUMONIA, EFFUSION, LUNG_DISEASE, FRACTURE, DISEASE = (f"C000000{number}" for number in range(1, 6))
SPARSE = Hybrid(smoothing=0, hub_share=1.0, redundancy=0, ancestor_weight=3, shrinkage=4)


def ask(snapshot, one, other, **options):
    return explain(snapshot, one, other, name_of=str.lower, **options)


def target(snapshot, one, other, **options):
    request = TargetsRequest(image_ids=[one, other], output="similarity", **options)
    return float(answer_targets(snapshot, request).values[0, 1])


def idf(df):
    return math.log(6 / (df + 0.5))


def cuis(references):
    return [each.cui for each in references]


def shares(answer):
    return {(part.kind, part.concept and part.concept.cui): part.share for part in answer.contributions}


def test_a_shared_concept_brings_the_product_of_its_weights(published, five_images):
    snapshot = published(five_images, hybrid=SPARSE)
    answer = ask(snapshot, "a", "b", knowledge="dk")
    # a is pneumonia alone, b has effusion beside it: idf^1.5 each
    weight = idf(2) ** 1.5 / math.hypot(idf(2) ** 1.5, idf(1) ** 1.5)
    (part,) = answer.contributions
    assert part.share == pytest.approx(weight, abs=1e-7)
    assert (part.kind, part.concept.cui, part.concept.name) == ("concept", PNEUMONIA, PNEUMONIA.lower())
    assert (cuis(part.concepts), cuis(part.other_concepts)) == ([PNEUMONIA], [PNEUMONIA])
    assert answer.similarity == target(snapshot, "a", "b", knowledge="dk")
    assert answer.snapshot == snapshot.id
    assert cuis(answer.image.concepts) == cuis(answer.shared) == [PNEUMONIA]
    assert cuis(answer.other.concepts) == [PNEUMONIA, EFFUSION]
    assert answer.parts.keys() == {"concept"}


def test_ancestors_bring_what_was_worked_out_by_hand_and_say_through_which_concepts(published, five_images):
    answer = ask(published(five_images, hybrid=SPARSE), "b", "c")
    # images under: pneumonia 2, effusion 1, lung disease 3, disease 3; ancestors weigh 3 · 4/(df + 4) · .5^steps · IC
    content, unit = math.log(6 / 3.5) / math.log(6 / 1.5), math.log(6)
    root = {1: idf(2) ** 0.5, 2: idf(1) ** 0.5, 3: idf(1) ** 0.5}
    b = {
        PNEUMONIA: root[1] * idf(2) / unit,
        EFFUSION: root[2] * idf(1) / unit,
        LUNG_DISEASE: root[1] * 3 * 4 / 6 * 0.5 * content,
        DISEASE: root[1] * 3 * 4 / 6 * 0.25 * content + root[2] * 3 * 4 / 5 * 0.5 * content,
    }
    c = {LUNG_DISEASE: root[3] * idf(1) / unit, DISEASE: root[3] * 3 * 4 / 5 * 0.5 * content}
    length = math.hypot(*b.values()) * math.hypot(*c.values())
    expected = {("ancestor", met): b[met] * c[met] / length for met in (LUNG_DISEASE, DISEASE)}
    assert shares(answer) == pytest.approx(expected, abs=1e-7)
    through = {part.concept.cui: (cuis(part.concepts), cuis(part.other_concepts)) for part in answer.contributions}
    assert through == {
        LUNG_DISEASE: ([PNEUMONIA], [LUNG_DISEASE]),
        DISEASE: ([PNEUMONIA, EFFUSION], [LUNG_DISEASE]),
    }
    assert [(each.cui, each.steps, each.other_steps) for each in answer.nearest_common_ancestors] == [(LUNG_DISEASE, 1, 0)]
    assert answer.shared == []
    assert "is_a is left out" not in answer.notes[-1]


def test_pairs_bring_what_their_vectors_of_cooccurrence_do(published, five_images):
    hybrid = Hybrid(ancestors=False, smoothing=0.5, redundancy=0)
    answer = ask(published(five_images, hybrid=hybrid), "a", "b", knowledge="dk")
    vectors = hybrid.fit(five_images).cooccurrence.astype(float)
    pneumonia, effusion = idf(2) ** 0.5 * vectors[0], idf(1) ** 0.5 * vectors[1]
    length = np.linalg.norm(pneumonia) * np.linalg.norm(pneumonia + effusion)
    # both parts of x have the lengths 1 and √.5 before x is scaled to length 1
    expected = {
        (PNEUMONIA, PNEUMONIA): 0.5 / 1.5 * pneumonia @ pneumonia / length,
        (PNEUMONIA, EFFUSION): 0.5 / 1.5 * pneumonia @ effusion / length,
    }
    pairs = [part for part in answer.contributions if part.kind == "cooccurrence"]
    found = {(part.concepts[0].cui, part.other_concepts[0].cui): part.share for part in pairs}
    assert found == pytest.approx({pair: share for pair, share in expected.items() if share}, abs=1e-6)
    assert answer.parts["concept"] == pytest.approx(idf(2) ** 1.5 / math.hypot(idf(2) ** 1.5, idf(1) ** 1.5) / 1.5, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(random_graphs(), st.sampled_from(["dk", "dk_ek"]), st.integers(1, 12), st.sampled_from([0.0, 0.6]), st.data())
def test_shares_add_up_to_the_similarity_of_targets(graph, knowledge, limit, redundancy, data):
    with tempfile.TemporaryDirectory() as folder:
        hybrid = Hybrid(hub_share=1.0, redundancy=redundancy)
        held = {"hybrid": hybrid, "concepts": replace(hybrid, smoothing=0.0)}
        publish(GraphOnly(graph), Path(folder), vocabulary={}, representations=held)
        snapshot = SnapshotFolder(Path(folder)).open()
        for representation in held:
            variant = {"knowledge": knowledge, "representation": representation}
            one, other = (data.draw(st.sampled_from(graph.image_ids)) for _ in range(2))
            answer = ask(snapshot, one, other, limit=limit, **variant)
            assert answer.similarity == target(snapshot, one, other, **variant)
            assert sum(part.share for part in answer.contributions) == pytest.approx(answer.similarity, abs=1e-6)
            assert sum(answer.parts.values()) == pytest.approx(answer.similarity, abs=1e-6)
            listed = [part for part in answer.contributions if part.kind not in ("rest", "unexplained")]
            assert len(listed) <= limit
            assert [abs(part.share) for part in listed] == sorted((abs(part.share) for part in listed), reverse=True)
            assert answer.additive or one == other


@settings(deadline=None, max_examples=40)
@given(random_graphs(), st.integers(0, 1), st.data())
def test_without_a_limit_the_rows_of_each_kind_add_up_to_its_part(graph, ancestors, data):
    fitted = Hybrid(ancestors=bool(ancestors), hub_share=1.0).fit(graph)
    sets = np.split(graph.attribute_indices, graph.attribute_indptr[1:-1])
    left, right = (data.draw(st.sampled_from(range(len(sets)))) for _ in range(2))
    account = fitted.contributions(sets[left], sets[right])
    # another way to the same sum: the vectors of both parts, as they are published
    vectors = fitted.embed(["l", "r"], [[graph.cuis[concept] for concept in sets[each]] for each in (left, right)])
    exact, smooth = vectors.sparse.toarray().astype(float), vectors.dense.astype(float)
    assert account.meeting_share.sum() == pytest.approx(exact[0] @ exact[1], abs=1e-6)
    assert account.pair_share.sum() == pytest.approx(smooth[0] @ smooth[1], abs=1e-6)
    weights = np.zeros(len(graph.cuis))
    weights[account.meeting] = account.meeting_share
    assert np.allclose(weights, exact[0] * exact[1], atol=1e-6)
    reached = fitted.spread.toarray() > 0
    assert np.array_equal(account.left_reaches, reached[sets[left]][:, account.meeting])
    assert np.array_equal(account.right_reaches, reached[sets[right]][:, account.meeting])


def test_what_is_left_over_the_limit_is_one_row_that_keeps_the_sum(published, five_images):
    snapshot = published(five_images, hybrid=Hybrid(hub_share=1.0))
    whole, cut = (ask(snapshot, "b", "b", limit=limit) for limit in (100, 2))
    assert cut.contributions[:2] == whole.contributions[:2]
    rest = cut.contributions[2]
    assert (rest.kind, rest.count, rest.concept) == ("rest", len(whole.contributions) - 2, None)
    assert rest.share == pytest.approx(sum(part.share for part in whole.contributions[2:]), abs=1e-9)
    assert rest.share > 0.01
    assert cut.parts == whole.parts


def test_learned_vectors_of_concepts_add_up_and_those_of_images_say_that_they_do_not(published, five_images):
    small = TransE(dimension=8, epochs=5, batch=4, negatives=2)
    snapshot = published(five_images, mean=small, own=replace(small, images="own"))
    mean = ask(snapshot, "a", "b", representation="mean")
    assert mean.additive
    assert {part.kind for part in mean.contributions} == {"learned"}
    assert sum(part.share for part in mean.contributions) == pytest.approx(mean.similarity, abs=1e-6)
    own = ask(snapshot, "a", "b", representation="own")
    assert not own.additive
    assert any("Not additive" in note for note in own.notes)
    # the concepts' vectors are the same in both: what differs is what was learned of the images
    assert own.contributions[:-1] == mean.contributions
    assert own.contributions[-1].kind == "unexplained"
    assert own.contributions[-1].share == pytest.approx(own.similarity - mean.similarity, abs=1e-6)
    assert abs(own.contributions[-1].share) > 1e-3


def test_both_methods_add_up_too_and_of_images_own_vectors_it_is_said_that_they_do_not(published, five_images):
    small = TransE(dimension=8, epochs=5, batch=4, negatives=2)
    hybrid, own = Hybrid(hub_share=1.0), replace(small, images="own")
    held = {"hybrid": hybrid, "transe": small, "both": Both(0.25, hybrid, small), "own": Both(0.25, hybrid, own)}
    snapshot = published(five_images, **held)
    one, other, both = (ask(snapshot, "a", "b", representation=name) for name in ("hybrid", "transe", "both"))
    assert both.additive
    assert both.similarity == pytest.approx(0.75 * one.similarity + 0.25 * other.similarity, abs=1e-6)
    assert sum(part.share for part in both.contributions) == pytest.approx(both.similarity, abs=1e-6)
    assert {"concept", "ancestor", "learned"} == both.parts.keys()
    not_additive = ask(snapshot, "a", "b", representation="own")
    assert not not_additive.additive
    assert not_additive.contributions[-1].kind == "unexplained"
    assert sum(part.share for part in not_additive.contributions) == pytest.approx(not_additive.similarity, abs=1e-6)


def test_noise_is_explained_by_nothing(published, five_images):
    snapshot = published(five_images, hybrid=SPARSE)
    answer = ask(snapshot, "a", "b", knowledge="noise")
    assert [(part.kind, part.share) for part in answer.contributions] == [("unexplained", answer.similarity)]
    assert answer.similarity == target(snapshot, "a", "b", knowledge="noise") != 0
    assert not answer.additive
    assert "Random by seed 42" in answer.notes[-1]


def test_the_same_image_is_the_diagonal(published, five_images):
    snapshot = published(five_images, hybrid=SPARSE)
    answer = ask(snapshot, "b", "b")
    assert answer.similarity == 1
    assert answer.additive
    assert "the diagonal" in answer.notes[0]
    assert sum(part.share for part in answer.contributions) == pytest.approx(1, abs=1e-6)
    empty = ask(snapshot, "e", "e")
    assert [(part.kind, part.share) for part in empty.contributions] == [("unexplained", 1)]
    assert not empty.additive
    assert [note.count("e has no concept") for note in empty.notes] == [0, 1, 0]


def test_an_image_without_concepts_is_said_to_be_similar_to_itself_alone(published, five_images):
    answer = ask(published(five_images, hybrid=SPARSE), "a", "e")
    assert (answer.similarity, answer.contributions, answer.parts) == (0, [], {})
    assert answer.notes[0] == "e has no concept in the snapshot: it is similar to itself alone."
    assert answer.nearest_common_ancestors == answer.shared == answer.other.concepts == []


def test_nothing_in_common_and_an_equal_caption_are_said(published, five_images):
    same = replace(five_images, caption_sha256=(five_images.caption_sha256[3], *five_images.caption_sha256[1:]))
    answer = ask(published(same, hybrid=SPARSE), "a", "d")
    assert "nothing in common" in answer.notes[0]
    assert "same caption" in answer.notes[1]
    assert not any("same caption" in note for note in ask(published(same, hybrid=SPARSE), "a", "b").notes)


def test_unknown_images_and_variants_are_refused(published, five_images):
    snapshot = published(five_images, hybrid=SPARSE)
    with pytest.raises(UnknownImages, match=r"2 images .*: ghost, zombie"):
        ask(snapshot, "zombie", "ghost")
    with pytest.raises(UnknownImages, match=r"1 images .*: ghost"):
        ask(snapshot, "ghost", "a")
    with pytest.raises(InvalidInput, match="transe"):
        ask(snapshot, "a", "b", representation="transe")


def test_a_snapshot_of_another_version_is_refused_with_the_way_out(published, five_images):
    snapshot = published(five_images, hybrid=Hybrid(hub_share=1.0))
    del snapshot.manifest.variants["hybrid/dk"]["redundancy"]
    with pytest.raises(OtherVersion, match=r"redundancy.*snapshot publish"):
        ask(snapshot, "a", "b", knowledge="dk")
    snapshot.manifest.variants["hybrid/dk_ek"]["smoothing"] = 0.0
    with pytest.raises(OtherVersion, match=r"another version: .* adds up to .*snapshot publish"):
        ask(snapshot, "a", "b")


def test_relations_by_which_two_images_meet_are_named(published):
    # 0 pneumonia is_a 1 lung disease has_finding_site 2 lung part_of 3 thorax; 4 rib fracture has_finding_site 3
    graph = replace(
        graph_of([[0], [4], [5]], [(0, 1)], count=6),
        relations={
            "has_finding_site": np.array([(1, 2), (4, 3)], np.int32),
            "part_of": np.array([(2, 3)], np.int32),
        },
    )
    snapshot = published(graph, hybrid=replace(SPARSE, relation_weight=2.0), transe=TransE(dimension=8, epochs=1))
    answer = ask(snapshot, "i0", "i1")
    assert [(each.subject.cui, each.relation, each.target.cui) for each in answer.relations] == [
        ("C0000001", "has_finding_site", "C0000002"),
        ("C0000002", "part_of", "C0000003"),
        ("C0000004", "has_finding_site", "C0000003"),
    ]
    assert answer.similarity > 0
    assert [part.concept.cui for part in answer.contributions] == ["C0000003"]
    assert answer.similarity == pytest.approx(sum(answer.parts.values()), abs=1e-6)
    assert ask(snapshot, "i0", "i2").relations == []
    assert snapshot.manifest.relation_edges == {"has_finding_site": 2, "part_of": 1}
    assert ask(snapshot, "i0", "i1", knowledge="dk").similarity == 0
