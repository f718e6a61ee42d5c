"""Fits a prior, and finds how sure it must be.

Which share of a run's occurrences makes it worth linking depends on the labels: where they cover every word, F1 is best with a
low one. So of texts with spans a fifth is held out, a prior fitted to the others is scored on it with several factors of the
odds, and the best one, if it is better by more than chance, goes with the prior that is then fitted to all. Texts without spans
keep the usual factor: the counts that refute or teach a name (`prior.py`) are meant for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kg_service.linking.dictionary.dictionary import DictionaryLinker
from kg_service.linking.dictionary.prior import ODDS, LabelledText, Prior, fit_prior
from kg_service.linking.fitting.evaluation import split_by_hash
from kg_service.linking.fitting.scoring import hits_of, score_spans

_FACTORS = (ODDS, 2.0, 3.0, 6.75, 9.0, 12.0)
_LEAST_GAIN = 0.005
"""Of F1, that another factor must bring: less is chance, and the usual one stays."""
_HELD_OUT, _LEAST_HELD_OUT = 0.2, 20
_SALT = "odds:"
"""The texts may themselves be what a split by hash has left to learn from."""


def learn(documents: Sequence[LabelledText], linker: DictionaryLinker) -> Prior:
    """A prior for `linker` (which has none), from documents all with spans or all without; the same ones give the same."""
    prior = fit_prior(documents, linker)
    learned_from, held_out = split_by_hash(documents, _HELD_OUT, _SALT)
    if prior.several or len(held_out) < _LEAST_HELD_OUT:
        return prior
    trial = fit_prior(learned_from, linker)
    texts = [document.text for document in held_out]

    def f1(odds: float) -> float:
        linked = linker.with_prior(replace(trial, odds=odds)).link(texts)
        return score_spans(held_out, [hits_of(one) for one in linked]).f1

    scores = {odds: f1(odds) for odds in _FACTORS}
    best = max(scores, key=lambda odds: scores[odds])
    return replace(prior, odds=best) if scores[best] > scores[ODDS] + _LEAST_GAIN else prior
