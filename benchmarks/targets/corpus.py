"""ROCO's validation captions as concepts, their articles and their labels, and the open vocabulary's is_a.

The data folder is NBCLIP_DATA, or `shared/data` beside the repository.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from kg_service.graph.arrays import assemble_graph
from kg_service.graph.store import Graph
from kg_service.linking.builder import build_linker
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import Vocabulary, open_vocabulary

Part = Literal["choose", "report"]

CACHE = Path.home() / ".cache" / "nbclip-bench"
_PART_SEED = 20260101


@dataclass(frozen=True, slots=True)
class Image:
    """An image without its pixels: its caption, the article it is from, its concepts."""

    id: str
    caption: str
    article: str
    cuis: frozenset[str]


def data_folder() -> Path:
    """Where the corpora lie.

    Raises:
        SystemExit: they are not there.
    """
    folder = Path(os.environ.get("NBCLIP_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
    if not (folder / "open-umls").is_dir():
        raise SystemExit(f"no corpora in {folder}: set NBCLIP_DATA to the folder with open-umls and roco")
    return folder


@cache
def roco() -> tuple[Image, ...]:
    """The 8,180 radiology images of ROCO's validation part, with the concepts that its own column gives."""
    folder = data_folder() / "roco" / "validation" / "radiology"

    def rows(name: str) -> Iterable[list[str]]:
        return (line.split("\t") for line in (folder / name).read_text(encoding="utf-8").splitlines())

    cuis = {key: frozenset(filter(None, found)) for key, *found in rows("cuis.txt")}
    articles = {key: re.findall(r"PMC\d+", command)[0] for key, command, *_ in rows("dlinks.txt")}
    return tuple(Image(key, text.strip(), articles[key], cuis.get(key, frozenset())) for key, text in rows("captions.txt"))


def part(images: Sequence[Image], name: Part) -> list[Image]:
    """One half of the articles' images: settings are chosen on `choose`, figures are those of `report`."""
    articles = sorted({image.article for image in images})
    order = np.random.default_rng(_PART_SEED).permutation(len(articles))
    chosen = {articles[index] for index in order[: len(articles) // 2]}
    return [image for image in images if (image.article in chosen) == (name == "choose")]


@cache
def vocabulary() -> Vocabulary:
    """The open vocabulary, compiled once into `~/.cache/nbclip-bench/open-umls`."""
    folder = CACHE / "open-umls"
    if not (folder / "manifest.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        build_vocabulary(data_folder() / "open-umls", folder, release="open-umls")
    return open_vocabulary(folder)


@cache
def linked() -> tuple[Image, ...]:
    """The same images with the concepts that this repository's linker finds present in the captions."""
    images = roco()
    linker = build_linker("dictionary", vocabulary())
    found = linker.link([image.caption for image in images])
    present = (frozenset(m.cui for m in each.mentions if m.assertion == "present") for each in found)
    return tuple(Image(i.id, i.caption, i.article, cuis) for i, cuis in zip(images, present, strict=True))


def is_a_edges(cuis: Iterable[str]) -> list[tuple[str, str]]:
    """(child, parent) of everything above these concepts; concepts that the vocabulary lacks have nothing above them."""
    known = vocabulary()
    _, edges = known.is_a_closure(cui for cui in cuis if cui in known)
    return [(edge.child, edge.parent) for edge in edges]


def graph_of(image_ids: Sequence[str], cuis: Sequence[Iterable[str]], edges: Sequence[tuple[str, str]]) -> Graph:
    """The graph that a store would give for these images and is_a edges."""
    names = sorted({cui for row in cuis for cui in row} | {cui for edge in edges for cui in edge})
    key = {cui: index for index, cui in enumerate(names)}
    attributes = [(image, key[cui]) for image, row in enumerate(cuis) for cui in row]
    return assemble_graph(
        [(index, image_id, "0" * 64) for index, image_id in enumerate(image_ids)],
        [(index, cui) for cui, index in key.items()],
        np.array(attributes, np.int64).reshape(-1, 2),
        np.array([(key[child], key[parent]) for child, parent in edges], np.int64).reshape(-1, 2),
        [],
    )


def frequencies(images: Iterable[Image]) -> Mapping[str, int]:
    """Images of each concept."""
    counts: dict[str, int] = {}
    for image in images:
        for cui in image.cuis:
            counts[cui] = counts.get(cui, 0) + 1
    return counts
