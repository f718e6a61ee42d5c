"""How linkers are scored, against hand-worked counts and a plain counterpart."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.linking.fitting.scoring import Hit, score_documents, score_groups, score_spans, within


@dataclass(frozen=True)
class Document:
    text: str
    spans: tuple
    cuis: frozenset


def text_of(*spans):
    spans = tuple((start, end, frozenset(cuis)) for start, end, cuis in spans)
    return Document("x" * 50, spans, frozenset(cui for *_, cuis in spans for cui in cuis))


def counts(score):
    return score.right, score.predicted, score.gold


def test_a_span_is_right_with_its_bounds_and_one_of_its_concepts():
    document = text_of((0, 5, {"C1", "C2"}), (10, 15, {"C3"}), (20, 25, {"C4"}))
    hits = [Hit(0, 5, "C2"), Hit(10, 14, "C3"), Hit(20, 25, "C5"), Hit(30, 35, "C3")]
    score = score_spans([document], [hits])
    assert counts(score) == (1, 4, 3)
    assert score.precision == pytest.approx(1 / 4)
    assert score.recall == pytest.approx(1 / 3)
    assert score.f1 == pytest.approx(2 / 7)


def test_spans_without_a_concept_are_left_out_with_the_hits_on_them():
    document = text_of((0, 5, set()), (10, 15, {"C3"}))
    assert counts(score_spans([document], [[Hit(0, 5, "C9"), Hit(10, 15, "C3")]])) == (1, 1, 1)


def test_of_several_hits_on_one_span_the_others_are_wrong():
    hits = [Hit(0, 5, "C1"), Hit(0, 5, "C2"), Hit(0, 5, "C7")]
    assert counts(score_spans([text_of((0, 5, {"C1", "C2"}))], [hits])) == (1, 3, 1)


def test_a_concept_counts_once_a_document():
    documents = [text_of((0, 5, {"C1"}), (10, 15, {"C1"})), text_of((0, 5, {"C1"}))]
    hits = [[Hit(0, 5, "C1"), Hit(30, 35, "C1")], [Hit(1, 3, "C2")]]
    assert counts(score_documents(documents, hits)) == (1, 2, 2)


def test_nothing_found_scores_zero():
    score = score_documents([text_of()], [[]])
    assert (score.precision, score.recall, score.f1) == (0, 0, 0)


def test_groups_share_the_document_scores_out():
    document = text_of((0, 5, {"C1"}), (10, 15, {"C2"}))
    groups = {"C1": ("anatomy",), "C2": ("disorders",), "C3": ("disorders", "other")}
    scores = score_groups([document], [[Hit(0, 5, "C1"), Hit(10, 15, "C3")]], groups)
    assert {name: counts(score) for name, score in scores.items()} == {
        "anatomy": (1, 1, 1),
        "disorders": (0, 1, 1),
        "other": (0, 1, 0),
    }


spans = st.tuples(st.integers(0, 3), st.integers(4, 6), st.sampled_from(["C1", "C2", "C3"]))


@given(st.lists(st.tuples(st.sets(spans), st.sets(spans)), max_size=4))
def test_with_one_concept_a_span_scores_are_those_of_sets(cases):
    gold = [{(start, end): cui for start, end, cui in wanted} for wanted, _ in cases]
    documents = [text_of(*((start, end, {cui}) for (start, end), cui in wanted.items())) for wanted in gold]
    hits = [[Hit(*span) for span in found] for _, found in cases]
    expected = [{(start, end, cui) for (start, end), cui in wanted.items()} for wanted in gold]
    right = sum(len(wanted & found) for wanted, (_, found) in zip(expected, cases, strict=True))
    predicted, total = sum(len(found) for _, found in cases), sum(map(len, expected))
    assert counts(score_spans(documents, hits)) == (right, predicted, total)


def test_labels_that_are_not_known_make_their_span_unmapped():
    known = within([text_of((0, 5, {"C1", "C2"}), (10, 15, {"C3"}))], {"C1"})
    assert known == [Document("x" * 50, ((0, 5, frozenset({"C1"})), (10, 15, frozenset())), frozenset({"C1"}))]
    assert counts(score_spans(known, [[Hit(0, 5, "C1"), Hit(10, 15, "C9")]])) == (1, 1, 1)
