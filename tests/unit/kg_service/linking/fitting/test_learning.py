"""How sure a prior must be is found on held-out labels."""

from dataclasses import dataclass

import pytest
from kg_service.linking.dictionary.linker import open_dictionary_linker
from kg_service.linking.dictionary.prior import ODDS, fit_prior, open_prior, save_prior
from kg_service.linking.fitting.evaluation import split_by_hash
from kg_service.linking.fitting.learning import learn

LUNG = "C0024109"


@dataclass(frozen=True)
class Labelled:
    text: str
    spans: tuple = ()
    cuis: frozenset = frozenset()


def lungs(documents, labelled_of_20):
    """Texts about the lung, of which some have it labelled."""
    spans = [((4, 8, frozenset({LUNG})),) if i % 20 < labelled_of_20 else () for i in range(documents)]
    return [Labelled(f"the lung {i}", found, frozenset({LUNG} if found else ())) for i, found in enumerate(spans)]


@pytest.fixture
def linker(vocabulary):
    return open_dictionary_linker(vocabulary)


def links(linker, prior):
    return [mention.cui for mention in linker.with_prior(prior).link(["the lung"])[0].mentions] == [LUNG]


def test_a_third_of_the_labels_is_worth_a_link_where_nothing_else_is(linker):
    """Linking all has precision .3 and recall 1, so F1 .46; linking none has 0."""
    documents = lungs(400, 6)
    assert not links(linker, fit_prior(documents, linker))
    prior = learn(documents, linker)
    assert prior.odds > ODDS
    assert links(linker, prior)
    assert learn(documents, linker).odds == prior.odds


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_what_a_hold_out_leaves_is_enough_to_choose_the_factor(linker, share):
    learned_from, _ = split_by_hash(lungs(500, 6), share)
    assert learn(learned_from, linker).odds > ODDS


@pytest.mark.parametrize("labelled", [14, 20])
def test_the_usual_factor_stays_where_others_are_not_better(linker, labelled):
    assert learn(lungs(400, labelled), linker).odds == ODDS


def test_few_texts_and_texts_without_spans_keep_the_usual_factor(linker):
    assert learn(lungs(60, 6), linker).odds == ODDS
    without = [Labelled(document.text, (), document.cuis) for document in lungs(400, 6)]
    assert learn(without, linker).odds == ODDS


def test_the_factor_is_saved_with_the_prior(linker, vocabulary, tmp_path):
    prior = learn(lungs(400, 6), linker)
    save_prior(prior, tmp_path / "prior", vocabulary, linker=linker.name, captions=400)
    assert open_prior(tmp_path / "prior", vocabulary, linker.name).odds == prior.odds
