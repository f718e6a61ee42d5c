"""Modality and organ by nearest neighbours, when no concept that names or betrays a class is left in the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from corpus import Image, frequencies, vocabulary
from halves import POOL
from kg_service.graph.store import Graph
from kg_service.similarity.kernel import similarity
from measures import ranking
from methods import Cuis, Embed

CLASSES: Mapping[str, Mapping[str, str]] = {
    "modality": {
        "CT": r"\bct\b|computed tomogra|computeri[sz]ed tomogra|\bcbct\b|\bmdct\b",
        "MR": r"\bmri?\b|magnetic resonance|\bt[12][- ]weighted|\bflair\b|\bmrcp\b",
        "X-ray": r"x-?rays?\b|radiogra|orthopantomogra",
        "ultrasound": r"ultraso|sonogra|doppler|echocardiogra",
        "angiography": r"angiogra|arteriogra|venogra",
        "nuclear": r"\bpet\b|scintigra|\bspect\b|positron",
    },
    "organ": {
        "lung": r"\blungs?\b|pulmonary|\bchest\b|pleura",
        "heart": r"\bheart\b|cardiac|myocard|coronary|aortic valve|mitral",
        "brain": r"\bbrain\b|cerebr|cerebell|intracranial",
        "liver": r"\bliver\b|hepatic|biliary|bile duct",
        "kidney": r"\bkidneys?\b|\brenal\b|ureter",
        "spine": r"\bspin(?:e|al)\b|vertebra|lumbar|cervical spine",
        "teeth": r"\bteeth\b|\btooth\b|dental|molar|incisor|mandib|maxilla",
        "breast": r"\bbreasts?\b|mammogra",
        "bowel": r"\bbowel\b|\bcolon\b|intestin|duoden|ileum|jejun",
        "hip and knee": r"\bhip\b|\bknee\b|femur|femoral|tibia",
        "uterus and ovary": r"uter(?:us|ine)|ovar(?:y|ian)|endometri",
        "pancreas": r"pancrea",
    },
}
_BETRAYS, _LIFT, _LEAST_IMAGES = 0.5, 2.0, 2


def classes_of(images: Sequence[Image], kind: str) -> list[frozenset[str]]:
    """The classes that each caption names."""
    patterns = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in CLASSES[kind].items()}
    return [frozenset(name for name, pattern in patterns.items() if pattern.search(image.caption)) for image in images]


def telling_concepts(images: Sequence[Image], kind: str) -> set[str]:
    """Concepts with a name that names a class, and those whose captions name one class in half the cases and twice as often as
    all captions do (in two images or more)."""
    counts, classes = frequencies(images), classes_of(images, kind)
    known = vocabulary()
    telling = {
        cui
        for cui in counts
        if cui in known and any(re.search(p, name, re.IGNORECASE) for name in known.names(cui) for p in CLASSES[kind].values())
    }
    for name in CLASSES[kind]:
        named = [image for image, found in zip(images, classes, strict=True) if name in found]
        base = len(named) / len(images)
        for cui, together in frequencies(named).items():
            share = together / counts[cui]
            if counts[cui] >= _LEAST_IMAGES and share >= _BETRAYS and share >= _LIFT * base:
                telling.add(cui)
    return telling


class Recovery:
    """The question for one kind of class: images whose captions name exactly one, and what the graph may hold of them."""

    def __init__(self, images: Sequence[Image], kind: str) -> None:
        classes = classes_of(images, kind)
        telling = telling_concepts(images, kind)
        self.seen: Cuis = [sorted(image.cuis - telling) for image in images]
        usable = [row for row, found in enumerate(classes) if len(found) == 1 and self.seen[row]]
        names = {name: code for code, name in enumerate(CLASSES[kind])}
        self.classes = np.array([names[next(iter(classes[row]))] for row in usable])
        self.rows = np.array(usable)
        order = np.random.default_rng(0).permutation(len(usable))
        self.pools = np.array_split(order, max(1, round(len(order) / POOL)))

    def precision(self, embed: Embed, graph: Graph) -> tuple[float, float]:
        """Share of the 10 and of the 30 nearest that have the image's class, mean over images."""
        vectors = embed(graph, self.seen)
        first, second = np.zeros(len(self.rows)), np.zeros(len(self.rows))
        for pool in self.pools:
            rows = self.rows[pool]
            order = ranking(similarity(vectors, rows, rows), 30)
            same = self.classes[pool][order] == self.classes[pool][:, None]
            first[pool], second[pool] = same[:, :10].mean(axis=1), same.mean(axis=1)
        return float(first.mean()), float(second.mean())
