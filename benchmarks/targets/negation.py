"""Should what a caption denies make targets, too? The default beside variants that hear it.

    python benchmarks/targets/negation.py [--part choose]

Two tests. *Halves*: as in `run.py`, of this linker's concepts; what is present in half B judges. *Polarity*: pairs of captions
that differ in one assertion, a finding that is there and the same finding denied; the finding's other images ask.

A concept that a caption denies is `absent:CUI` here, and stays on its CUI's side of every split.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from corpus import Image, Part, graph_of, is_a_edges, part, roco, vocabulary
from halves import concept_groups, trial
from kg_service.graph.store import Graph
from kg_service.linking.builder import build_linker
from kg_service.linking.model import LinkedCaption
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.model import ImageVectors
from kg_service.similarity.kernel import similarity
from measures import paired_interval
from methods import Cuis, Method
from scipy import sparse
from trials import Figures, figures

_ABSENT = "absent:"
_DEFAULT = Hybrid()
_MEASURES = ("nCG@10", "nCG@50", "P@10rare")
_SEEDS: dict[Part, tuple[int, ...]] = {"choose": (0, 1, 2, 3), "report": (100, 101, 102, 103)}
_FINDINGS = ("T019", "T020", "T033", "T037", "T046", "T047", "T184", "T190", "T191")
"""Semantic types of what a report says to be there or not: anomalies, findings, injuries, diseases, signs, neoplasms."""


def ignored(graph: Graph, cuis: Cuis) -> ImageVectors:
    """The default: what is denied makes no targets."""
    return _DEFAULT.fit(graph).embed(graph.image_ids, cuis)


def of_its_own(graph: Graph, cuis: Cuis) -> ImageVectors:
    """A denied concept is one more concept, without ancestors: images that lack the same are alike."""
    edges = is_a_edges({cui for row in cuis for cui in row if not cui.startswith(_ABSENT)})
    return _DEFAULT.fit(graph_of(graph.image_ids, cuis, edges)).embed(graph.image_ids, cuis)


def subtracted(weight: float) -> Callable[[Graph, Cuis], ImageVectors]:
    """x1 of the hybrid with -weight · w_c E[c,c] for each denied concept c that other images have: images that lack the same are
    alike, and an image that has it is less like one that lacks it."""

    def embed(graph: Graph, cuis: Cuis) -> ImageVectors:
        held = _DEFAULT.fit(graph)
        concepts = len(held.cuis)
        denied_MM = sparse.diags_array(-weight * held.spread.diagonal(), format="csr")
        hearing = replace(
            held,
            cuis=(*held.cuis, *(f"{_ABSENT}{cui}" for cui in held.cuis)),
            idf=np.tile(held.idf, 2),
            spread=sparse.csr_array(sparse.vstack([held.spread, denied_MM]).astype(np.float32)),
            cooccurrence=np.concatenate([held.cooccurrence, np.zeros_like(held.cooccurrence)]),
            overlap=sparse.csr_array(sparse.block_diag([held.overlap, sparse.csr_array((concepts, concepts), dtype=np.float32)])),
        )
        return hearing.embed(graph.image_ids, cuis)

    return embed


VARIANTS = (
    Method("ignored (default)", True, ignored),
    Method("a concept of its own", True, of_its_own),
    *(Method(f"subtracted, {weight:g} of its weight", True, subtracted(weight)) for weight in (0.25, 0.5, 1, 2)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["choose", "report"], default="report", help="which half of the articles")
    arguments = parser.parse_args()
    os.nice(10)
    everything = heard(roco())
    of_halves(everything, arguments.part)
    of_polarity(part(everything, arguments.part))


def heard(images: Sequence[Image]) -> list[Image]:
    """The images with what this linker finds present in their captions, and what it finds denied."""
    return [replace(image, cuis=_heard(answer)) for image, answer in zip(images, _link(images), strict=True)]


def of_halves(everything: Sequence[Image], name: Part) -> None:
    """Prints the half-split test: each variant and its difference to the default, of all queries and of those that deny."""
    images = part(everything, name)
    judges = [replace(image, cuis=frozenset(_present(image.cuis))) for image in images]
    groups = concept_groups([replace(image, cuis=frozenset(map(_concept, image.cuis))) for image in everything])
    groups = {**groups, **{f"{_ABSENT}{cui}": group for cui, group in groups.items()}}
    trials = [trial(images, judges, groups, seed, swapped) for seed in _SEEDS[name] for swapped in (False, True)]
    graphs = [_graph([image.id for image in images], each.seen) for each in trials]
    denies = np.array([any(cui.startswith(_ABSENT) for cui in image.cuis) for image in images])
    articles = np.unique([image.article for image in images], return_inverse=True)[1]
    print(f"{name}: {len(images)} images, of which {denies.sum()} deny something; {len(trials)} trials")
    print("| denied concepts | queries |", " | ".join(_MEASURES), "|", " | ".join(f"Δ {measure}" for measure in _MEASURES), "|")
    default = figures(VARIANTS[0], trials, graphs, correlate=False)
    for method in VARIANTS:
        found = figures(method, trials, graphs, correlate=False)
        for queries, chosen in (("all", np.ones(len(images), bool)), ("that deny", denies)):
            print(f"| {method.name} | {queries} | {_cells(found, default, chosen, articles)} |", flush=True)


def _cells(found: Figures, default: Figures, chosen: npt.NDArray[np.bool_], articles: npt.NDArray[np.int64]) -> str:
    own = [found.by_image[measure][chosen] for measure in _MEASURES]
    theirs = [default.by_image[measure][chosen] for measure in _MEASURES]
    clusters = np.unique(articles[chosen], return_inverse=True)[1]
    differences = [paired_interval(first, second, clusters) for first, second in zip(own, theirs, strict=True)]
    return " | ".join(
        [*(f"{np.nanmean(each):.4f}" for each in own), *(f"{d:+.4f} ({low:+.4f} to {high:+.4f})" for d, low, high in differences)]
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """A caption that says a finding is there, with the finding denied.

    Attributes:
        finding: its CUI.
        denied: what is heard when it is denied.
        without: what is heard when nothing is said of it.
    """

    finding: str
    denied: frozenset[str]
    without: frozenset[str]


def of_polarity(images: Sequence[Image]) -> None:
    """Prints how often a denial moves a caption away from images that have the finding, and towards others that lack it.

    Each is the share of those images that are nearer (farther) than when nothing is said of the finding; a tie counts half.
    """
    pairs = polarity_pairs(images)
    print(f"\npolarity: {len(pairs)} pairs of captions")
    print("| denied concepts | farther from images that have the finding | nearer to images that lack it |")
    asked = [*(pair.denied for pair in pairs), *(pair.without for pair in pairs)]
    cuis = [sorted(row) for row in (*(image.cuis for image in images), *asked)]
    # Questions stand in no graph: a concept's frequency is that of the images.
    graph = _graph(
        [*(image.id for image in images), *(f"asked-{n}" for n in range(len(asked)))], [*cuis[: len(images)], *[[]] * len(asked)]
    )
    rows = len(images) + np.arange(len(asked))
    for method in VARIANTS:
        sim = similarity(method.embed(graph, cuis), rows, np.arange(len(images)))
        shift = sim[: len(pairs)] - sim[len(pairs) :]
        away = [_share(-shift[n], [pair.finding in image.cuis for image in images]) for n, pair in enumerate(pairs)]
        near = [_share(shift[n], [f"{_ABSENT}{pair.finding}" in image.cuis for image in images]) for n, pair in enumerate(pairs)]
        print(f"| {method.name} | {np.nanmean(away):.3f} | {np.nanmean(near):.3f} |", flush=True)


def polarity_pairs(images: Sequence[Image]) -> list[Pair]:
    """Captions in which *no* before a finding denies it and changes nothing else, by the linker.

    Only findings that another caption denies: of others no variant can hear anything.
    """
    answers = _link(images)
    elsewhere = {cui for image in images for cui in image.cuis if cui.startswith(_ABSENT)}
    tried = [
        (
            replace(image, caption=f"{image.caption[: mention.start]}no {image.caption[mention.start :]}"),
            mention.cui,
            _heard(answer),
        )
        for image, answer in zip(images, answers, strict=True)
        for mention in answer.mentions
        if mention.assertion == "present" and f"{_ABSENT}{mention.cui}" in elsewhere and _is_finding(mention.cui)
    ]
    pairs = []
    for (_, finding, before), answer in zip(tried, _link([image for image, _, _ in tried]), strict=True):
        without, denied = before - {finding}, _heard(answer)
        if denied == without | {f"{_ABSENT}{finding}"}:
            pairs.append(Pair(finding, denied, without))
    return pairs


def _share(shift: npt.NDArray[np.float32], of: list[bool]) -> float:
    """Share of these images with a shift above 0; NaN where there are none."""
    chosen = shift[of]
    return float(((chosen > 0) + 0.5 * (chosen == 0)).mean()) if len(chosen) else float("nan")


def _link(images: Sequence[Image]) -> list[LinkedCaption]:
    return build_linker("dictionary", vocabulary()).link([image.caption for image in images])


def _heard(answer: LinkedCaption) -> frozenset[str]:
    present = {mention.cui for mention in answer.mentions if mention.assertion == "present"}
    denied = {mention.cui for mention in answer.mentions if mention.assertion == "absent"} - present
    return frozenset(present | {f"{_ABSENT}{cui}" for cui in denied})


def _is_finding(cui: str) -> bool:
    return not set(_FINDINGS).isdisjoint(vocabulary().semantic_types(cui))


def _graph(image_ids: Sequence[str], cuis: Cuis) -> Graph:
    """The graph of what is present."""
    rows = [_present(row) for row in cuis]
    return graph_of(image_ids, rows, is_a_edges({cui for row in rows for cui in row}))


def _present(cuis: Iterable[str]) -> list[str]:
    return [cui for cui in cuis if not cui.startswith(_ABSENT)]


def _concept(cui: str) -> str:
    return cui.removeprefix(_ABSENT)


if __name__ == "__main__":
    main()
