"""Runs a method over trials; every figure is kept by image, so that methods can be compared image by image."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from corpus import Image, graph_of, is_a_edges
from halves import Trial
from kg_service.graph.store import Graph
from kg_service.similarity.kernel import similarity
from measures import Floats, ncg, precision, ranking, spearman
from methods import Method

MEASURES = ("nCG@10", "nCG@50", "P@10rare", "Spearman")
_DROPPED, _ADDED = 0.3, 0.1


@dataclass(frozen=True, slots=True)
class Figures:
    """A method's figures, one a measure and image (the mean over trials, NaN where the image asks nothing), [N].

    `fit_s` is CPU seconds to fit on one graph and embed its images.
    """

    by_image: dict[str, Floats]
    fit_s: float

    def mean(self, measure: str) -> float:
        """Over all images that ask something."""
        return float(np.nanmean(self.by_image[measure]))


def graphs_of(images: Sequence[Image], trials: Iterable[Trial]) -> list[Graph]:
    """The graph of what each trial shows, with everything above it."""
    ids = [image.id for image in images]
    return [graph_of(ids, trial.seen, is_a_edges({cui for row in trial.seen for cui in row})) for trial in trials]


def figures(method: Method, trials: Sequence[Trial], graphs: Sequence[Graph], *, correlate: bool = True) -> Figures:
    """The method's figures over all trials."""
    measures = MEASURES if correlate else MEASURES[:-1]
    table = {measure: np.full((len(trials[0].seen), len(trials)), np.nan) for measure in measures}
    spent = 0.0
    for index, (trial, graph) in enumerate(zip(trials, graphs, strict=True)):
        began = time.process_time()
        vectors = method.embed(graph, trial.seen)
        spent += time.process_time() - began
        for pool in trial.pools:
            sim = similarity(vectors, pool.rows, pool.rows)
            order = ranking(sim, 50)
            found = [ncg(order, pool.gain, 10), ncg(order, pool.gain, 50), precision(order, pool.rare, 10)]
            if correlate:
                found.append(spearman(sim, pool.gain))
            for measure, values in zip(measures, found, strict=True):
                table[measure][pool.rows, index] = values
    return Figures({measure: _mean_over_trials(values) for measure, values in table.items()}, spent / len(trials))


def _mean_over_trials(values: Floats) -> Floats:
    asked = (~np.isnan(values)).sum(axis=1)
    return np.divide(np.nansum(values, axis=1), asked, out=np.full(len(values), np.nan), where=asked > 0)


def damaged(trial: Trial, *, drop: bool, add: bool, seed: int = 0) -> Trial:
    """The trial with 30 % of each image's shown concepts gone, or a tenth as many others added at random, or both."""
    rng = np.random.default_rng(seed)
    concepts = sorted({cui for row in trial.seen for cui in row})

    def damage(row: list[str]) -> list[str]:
        kept = [cui for cui in row if not drop or rng.random() >= _DROPPED]
        extra = rng.choice(concepts, rng.binomial(len(row), _ADDED)).tolist() if add else []
        return sorted({*kept, *extra})

    return Trial([damage(row) for row in trial.seen], trial.pools)
