"""The half-split test of every representation, its ablations and its robustness; writes `docs/targets.md`.

    python benchmarks/targets/run.py [--quick] [--part choose]

Figures are those of the reporting part; `--part choose` prints those of the part that settings are chosen on. `--quick` takes one
trial of everything and prints.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from corpus import Image, Part, graph_of, is_a_edges, linked, part, roco
from edges import OTHER_EDGES
from halves import Trial, concept_groups, trial
from measures import paired_interval
from methods import ABLATIONS, DEFAULT, LEARNED, METHODS, ROBUST, Method
from recovery import CLASSES, Recovery
from report import PairedInterval, Report, Row, render, write_report
from trials import Figures, damaged, figures, graphs_of

_SEEDS: dict[Part, tuple[int, ...]] = {"choose": (0, 1), "report": (100, 101)}
"""Of the splits of the concepts; settings are chosen on other splits, too, than those reported."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one trial of everything; prints")
    parser.add_argument("--part", choices=["choose", "report"], default="report", help="which half of the articles")
    arguments = parser.parse_args()
    os.nice(10)
    report = measure(arguments.part, quick=arguments.quick)
    if arguments.quick or arguments.part != "report":
        print(render(report))
    else:
        write_report(report)


def measure(name: Part, *, quick: bool) -> Report:
    """All tables."""
    images = part(roco(), name)
    groups = concept_groups(roco())
    seeds = _SEEDS[name][:1] if quick else _SEEDS[name]
    trials = [trial(images, images, groups, seed, swapped) for seed in seeds for swapped in (False, True)]
    articles = np.unique([image.article for image in images], return_inverse=True)[1]
    return Report(
        part=name,
        images=len(images),
        articles=int(articles.max()) + 1,
        pools=[len(pool.rows) for pool in trials[0].pools],
        trials=len(trials),
        rows=_rows(images, articles, trials),
        learned=_compared(images, articles, trials[:2], LEARNED),
        ablations=_compared(images, articles, trials[:2], ABLATIONS),
        robustness=_robustness(name, images, articles, trials[:2]),
        edges={
            "ROCO's concepts": _compared(images, articles, trials[:2], OTHER_EDGES),
            "our linker's": _compared(images, articles, _linked_trials(name, images, len(trials[:2])), OTHER_EDGES),
        },
    )


def _rows(images: Sequence[Image], articles: npt.NDArray[np.int64], trials: Sequence[Trial]) -> list[Row]:
    """The main table, with the recoveries."""
    recoveries = {kind: _Recovered(images, kind) for kind in CLASSES}
    rows = _compared(images, articles, trials, METHODS, correlate=True)
    return [replace(row, recovered={kind: each.precision(row.method) for kind, each in recoveries.items()}) for row in rows]


class _Recovered:
    """A recovery with its graph."""

    def __init__(self, images: Sequence[Image], kind: str) -> None:
        self.recovery = Recovery(images, kind)
        seen = self.recovery.seen
        self.graph = graph_of([image.id for image in images], seen, is_a_edges({cui for row in seen for cui in row}))

    def precision(self, method: Method) -> tuple[float, float]:
        """P@10 and P@30."""
        return self.recovery.precision(method.embed, self.graph)


def _compare(found: Figures, default: Figures, articles: npt.NDArray[np.int64]) -> dict[str, PairedInterval]:
    return {
        measure: PairedInterval(*paired_interval(values, default.by_image[measure], articles))
        for measure, values in found.by_image.items()
    }


def _robustness(
    name: Part, images: Sequence[Image], articles: npt.NDArray[np.int64], trials: Sequence[Trial]
) -> dict[str, list[Row]]:
    conditions = {
        "clean": trials,
        "30 % dropped": [damaged(each, drop=True, add=False) for each in trials],
        "10 % random added": [damaged(each, drop=False, add=True) for each in trials],
        "both": [damaged(each, drop=True, add=True) for each in trials],
        "our linker": _linked_trials(name, images, len(trials)),
    }
    return {condition: _compared(images, articles, each, ROBUST) for condition, each in conditions.items()}


def _compared(
    images: Sequence[Image],
    articles: npt.NDArray[np.int64],
    trials: Sequence[Trial],
    methods: Sequence[Method],
    *,
    correlate: bool = False,
) -> list[Row]:
    """Each method beside the default."""
    graphs = graphs_of(images, trials)
    default = figures(DEFAULT, trials, graphs, correlate=correlate)
    rows = []
    for method in methods:
        found = default if method == DEFAULT else figures(method, trials, graphs, correlate=correlate)
        rows.append(Row(method, found, {}, _compare(found, default, articles)))
        print(method.name, {measure: round(found.mean(measure), 4) for measure in found.by_image}, flush=True)
    return rows


def _linked_trials(name: Part, images: Sequence[Image], count: int) -> list[Trial]:
    """Trials whose graph holds what the linker found; ROCO's own concepts of half B judge as before."""
    by_id = {image.id: image for image in linked()}
    both = [replace(image, cuis=image.cuis | by_id[image.id].cuis) for image in roco()]
    groups = concept_groups(both)
    seeds = [(seed, swapped) for seed in _SEEDS[name] for swapped in (False, True)][:count]
    return [trial([by_id[image.id] for image in images], images, groups, seed, swapped) for seed, swapped in seeds]


if __name__ == "__main__":
    main()
