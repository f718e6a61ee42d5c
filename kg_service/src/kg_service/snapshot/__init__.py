"""Immutable, content-addressed, memory-mapped view of the graph: what serving reads, never a store."""

from kg_service.snapshot.answer import answer_targets, embeddings_file
from kg_service.snapshot.publication import publish
from kg_service.snapshot.reader import Snapshot, SnapshotFolder

__all__ = ["Snapshot", "SnapshotFolder", "answer_targets", "embeddings_file", "publish"]
