"""Evaluation of a linker, against figures counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.linking.fitting.evaluation import LabelledCaption, evaluate, findable, score, split_by_hash, trace_curve
from kg_service.linking.fitting.scoring import Score

LUNG, EFFUSION, PNEUMOTHORAX, AORTA, UNKNOWN = "C0024109", "C0013687", "C0032326", "C0003483", "C9999999"


def caption(text, *cuis):
    return LabelledCaption(text, cuis=frozenset(cuis))


CAPTIONS = [
    caption("Effusion near the aorta.", EFFUSION, AORTA),
    caption("The aorta. The aorta again.", LUNG),
    caption("No pneumothorax.", PNEUMOTHORAX, UNKNOWN),
    caption("Nothing that is known."),
]


@pytest.fixture
def evaluated(vocabulary, dictionary_linker):
    return evaluate(CAPTIONS, vocabulary, dictionary_linker, findable(vocabulary, ()))


def test_scores_are_those_counted_by_hand(evaluated, dictionary_linker):
    # Found: effusion and aorta, aorta, pneumothorax.
    assert evaluated.scores.documents == Score(3, 4, 4)
    assert evaluated.scores.of_all == Score(3, 4, 5)
    assert evaluated.scores.spans is None
    assert (evaluated.captions, evaluated.unknown_labels, evaluated.linker) == (4, 1, dictionary_linker.name)


def test_groups_share_the_scores_out(evaluated):
    assert evaluated.groups == {"ANAT": Score(1, 2, 2), "DISO": Score(2, 2, 2)}


def test_faults_are_counted_by_caption_with_words_and_examples(evaluated):
    (false,), (missed,) = evaluated.false_positives, evaluated.false_negatives
    assert (false.cui, false.name, false.count, false.words) == (AORTA, "Aorta", 1, "aorta")
    assert (missed.cui, missed.name, missed.count, missed.words) == (LUNG, "Lung", 1, "")
    assert false.examples == missed.examples == (CAPTIONS[1].text,)


def test_the_most_frequent_faults_come_first(vocabulary, dictionary_linker):
    captions = [caption(f"Aorta, effusion {i}.", AORTA) for i in range(5)] + [caption("Aorta."), caption("Aorta!")]
    found = evaluate(captions, vocabulary, dictionary_linker, vocabulary, faults=1)
    (worst,) = found.false_positives
    assert (worst.cui, worst.count, len(worst.examples)) == (EFFUSION, 5, 3)


def test_spans_are_scored_where_labels_have_them(vocabulary, dictionary_linker):
    text = "Effusion near the aorta."
    spans = ((0, 8, frozenset({EFFUSION})), (14, 23, frozenset({AORTA})))
    labelled = [LabelledCaption(text, spans, frozenset({EFFUSION, AORTA}), True)]
    found = evaluate(labelled, vocabulary, dictionary_linker, vocabulary)
    assert found.scores.spans == Score(1, 2, 2)
    assert found.scores.documents == Score(2, 2, 2)


def test_labels_of_other_semantic_types_are_left_out(vocabulary, linker_with):
    linker = linker_with(semantic_types=("T047",))
    known = findable(vocabulary, ("T047",))
    assert AORTA not in known
    assert score(CAPTIONS[:1], linker, known, False).documents == Score(1, 1, 1)


def test_the_curve_is_what_each_setting_gives(vocabulary, linker_with):
    def linker_at(threshold):
        return linker_with(min_score=threshold)

    points = trace_curve(CAPTIONS, linker_at, vocabulary, (0.5, 0.99, 1.0))
    assert [point.min_score for point in points] == [0.5, 0.99, 1.0]
    for point in points:
        assert point.documents == score(CAPTIONS, linker_at(point.min_score), vocabulary, False).documents
    assert points[0].documents.predicted >= points[-1].documents.predicted


@given(st.lists(st.text(max_size=8), max_size=30), st.floats(0, 0.9))
def test_parts_are_whole_disjoint_and_the_same_in_any_order(texts, share):
    captions = [caption(text) for text in texts]
    learned, held = split_by_hash(captions, share)
    assert sorted(each.text for each in learned + held) == sorted(texts)
    assert not {each.text for each in learned} & {each.text for each in held}
    again, _ = split_by_hash(captions[::-1], share)
    assert sorted(each.text for each in again) == sorted(each.text for each in learned)


@pytest.mark.parametrize("side", [0, 1])
def test_a_part_is_split_again_with_another_salt(side):
    part = split_by_hash([caption(f"caption {i}") for i in range(5_000)], 0.5)[side]
    assert sorted(map(len, split_by_hash(part, 0.5))) == [0, len(part)]
    assert all(0.4 < len(each) / len(part) < 0.6 for each in split_by_hash(part, 0.5, "another"))


def test_the_share_is_held_out():
    _, held = split_by_hash([caption(f"caption {i}") for i in range(5_000)], 0.2)
    assert 900 < len(held) < 1_100
    assert split_by_hash(CAPTIONS, 0)[1] == []
