"""A graph of any size, such as ingest makes it: a batch of captions with their concepts, all ancestors and is_a."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, ImageNode, IsAEdge

CONCEPTS = 50_000
_MORE_PARENTS = 0.6
CUIS_OF_AN_IMAGE = 7.7
_CAPTION = "a caption of some length that says this and that about the picture " * 2


def batches(images: int, size: int, seed: int = 0) -> Iterator[GraphBatch]:
    """`images` images, `size` in a batch; CUIs by Zipf's law, one or two parents each.

    The same seed gives the same graph.
    """
    generator = np.random.default_rng(seed)
    parents = parents_of(generator)
    share = np.cumsum(1 / np.arange(1, CONCEPTS + 1))
    for start in range(0, images, size):
        drawn = {
            f"IMG_{number:08}": np.unique(
                np.searchsorted(share / share[-1], generator.random(1 + generator.poisson(CUIS_OF_AN_IMAGE)))
            )
            for number in range(start, min(start + size, images))
        }
        yield _batch(drawn, parents)


def _batch(drawn: dict[str, np.ndarray], parents: list[list[int]]) -> GraphBatch:
    concepts = sorted(with_ancestors(np.unique(np.concatenate([*drawn.values()])).tolist(), parents))
    return GraphBatch(
        [_image(image_id, positions.tolist()) for image_id, positions in drawn.items()],
        [ConceptNode(cui(position), f"name of {position}", ("T047",), "MSH") for position in concepts],
        [IsAEdge(cui(child), cui(parent), "MSH") for child in concepts for parent in parents[child]],
    )


def _image(image_id: str, positions: list[int]) -> ImageNode:
    edges = (
        AttributeEdge(cui(position), "some text", 10 * place, 10 * place + 9, 0.9, "exact", "present", "dictionary-1")
        for place, position in enumerate(positions)
    )
    return ImageNode(image_id, _CAPTION, tuple(edges), "synthetic", "train")


def parents_of(generator: np.random.Generator) -> list[list[int]]:
    """Parents of every concept, of a lower position: there is no cycle."""
    return [[]] + [
        sorted({int(parent) for parent in generator.integers(0, child, 1 + (generator.random() < _MORE_PARENTS))})
        for child in range(1, CONCEPTS)
    ]


def with_ancestors(positions: list[int], parents: list[list[int]]) -> set[int]:
    """These and all that is above them."""
    known, open_ = set(positions), list(positions)
    while open_:
        for parent in parents[open_.pop()]:
            if parent not in known:
                known.add(parent)
                open_.append(parent)
    return known


def cui(position: int) -> str:
    """The CUI of a concept by its number."""
    return f"C{position:07}"
