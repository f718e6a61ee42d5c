"""Whether a graph's is_a edges match a vocabulary: a graph keeps the edges of every vocabulary it was ingested with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import structlog
from nbclip.errors import NBClipError

from kg_service.snapshot.folder import SnapshotFolder
from kg_service.storage.arrays import open_array
from kg_service.vocabulary.vocabulary import Vocabulary


def with_other_parents(cuis: Sequence[str], is_a_E2: npt.NDArray[np.int32], vocabulary: Vocabulary) -> list[str]:
    """Concepts of a graph that have other parents in it than in the vocabulary; none where the graph came of it alone.

    Args:
        cuis: M CUIs, ancestors included.
        is_a_E2: int32, [E, 2]: child and parent positions in `cuis`.
        vocabulary: what the graph is compared with.
    """
    parents: defaultdict[str, set[str]] = defaultdict(set)
    for child, parent in is_a_E2.tolist():
        parents[cuis[child]].add(cuis[parent])
    return [cui for cui in cuis if parents[cui] != set(vocabulary.parents(cui) if cui in vocabulary else ())]


def warn_of_other_is_a(cuis: Sequence[str], is_a_E2: npt.NDArray[np.int32], vocabulary: Vocabulary) -> None:
    """Logs a warning with the way out if the graph's is_a are not those of the vocabulary."""
    other = with_other_parents(cuis, is_a_E2, vocabulary)
    if other:
        structlog.get_logger().warning(
            f"{len(other)} of {len(cuis)} concepts have other is_a in the graph than in the vocabulary, such as {other[0]}",
            vocabulary=str(vocabulary.directory),
            hint="a graph keeps the is_a of earlier vocabularies: ingest into a new data folder, or an empty Neo4j database",
        )


def warn_before_ingest(snapshots: SnapshotFolder, vocabulary: Vocabulary) -> None:
    """As `warn_of_other_is_a`, of the graph as it was last published, if that was with another vocabulary.

    A snapshot that is absent or damaged says nothing.
    """
    with suppress(NBClipError, OSError, ValueError):
        current = snapshots.current()
        if current is None:
            return
        manifest = snapshots.manifest(current)
        if manifest.is_a is None and manifest.vocabulary.get("sha256", vocabulary.sha256) != vocabulary.sha256:
            folder = snapshots.path / (manifest.appended.base if manifest.appended else current)
            cuis = open_array(folder / "graph.cuis.npy").astype(str).tolist()
            warn_of_other_is_a(cuis, open_array(folder / "graph.is_a.npy"), vocabulary)
