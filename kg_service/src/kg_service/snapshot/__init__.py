"""Immutable, content-addressed, memory-mapped view of the graph: what serving reads, never a store.

What makes snapshots (`publication.py`, `append.py`) is not imported here: serving starts without it.
"""

from kg_service.snapshot.answer import answer_representations, answer_targets, embeddings_parts
from kg_service.snapshot.explanation import explain
from kg_service.snapshot.folder import SnapshotFolder
from kg_service.snapshot.neighbours import find_neighbours
from kg_service.snapshot.opened import Snapshot

__all__ = [
    "Snapshot",
    "SnapshotFolder",
    "answer_representations",
    "answer_targets",
    "embeddings_parts",
    "explain",
    "find_neighbours",
]
