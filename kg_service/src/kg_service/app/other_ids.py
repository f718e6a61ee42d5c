"""Whether a graph has the ids of a vocabulary: what was linked with another one would lose its names and its ancestors."""

from __future__ import annotations

from contextlib import closing
from itertools import takewhile

from nbclip.errors import InvalidInput, NotFound

from kg_service.app.wiring import open_graph
from kg_service.config import Settings
from kg_service.graph.store import GraphSource, GraphStore
from kg_service.vocabulary.vocabulary import Vocabulary

MOST = 0.5
"""A larger share of a graph's concepts that a vocabulary lacks is a fault; less of it is what releases retire."""
_SHOWN = 3


def refuse_other_ids(graph: GraphSource, vocabulary: Vocabulary, hint: str) -> None:
    """Raises InvalidInput, with this hint, if the vocabulary lacks most concepts of the graph."""
    concepts = _concepts(graph)
    missing = sorted(cui for cui in concepts if cui not in vocabulary)
    if len(missing) > MOST * len(concepts):
        raise InvalidInput(
            f"{len(missing)} of {len(concepts)} concepts of the graph are not in the vocabulary {vocabulary.release}, "
            f"such as {', '.join(missing[:_SHOWN])}",
            hint=hint,
        )


def refuse_to_replace(settings: Settings, built: Vocabulary) -> None:
    """As `refuse_other_ids`, before a vocabulary replaces the one that the graph of the settings was linked with.

    Raises:
        NBClipError: there is a graph, and it can't be read.
    """
    try:
        graph = open_existing_graph(settings)
    except NotFound:
        return
    with closing(graph):
        refuse_other_ids(
            graph,
            built,
            "nothing was replaced: take another data folder (--data) or place (--vocabulary) for it; --replace builds it here "
            "all the same",
        )


def open_existing_graph(settings: Settings) -> GraphStore:
    """The graph, as `open_graph` gives it to read.

    Raises:
        NotFound: there is none yet.
    """
    if not settings.store and not (settings.data / "graph.sqlite").exists():
        raise NotFound("no graph yet", hint="kg-service ingest FILE")
    return open_graph(settings, read_only=True)


def _concepts(graph: GraphSource) -> set[str]:
    """The ids of all concepts, which stand before a graph's images."""
    return {concept.cui for batch in takewhile(lambda batch: not batch.images, graph.batches()) for concept in batch.concepts}
