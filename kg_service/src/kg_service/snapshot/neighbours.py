"""The answer of `GET /v1/images/{id}/neighbours`: the images of the snapshot that an image is most similar to.

Shape legend: N images of the snapshot.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from nbclip.errors import NotFound
from nbclip.schemas.concepts import ConceptRef
from nbclip.schemas.explanations import Neighbour, NeighboursResponse
from nbclip.schemas.targets import Knowledge

from kg_service.similarity.kernel import similarity_to_all
from kg_service.similarity.rows import Rows, has_knowledge
from kg_service.snapshot.explanation import NameOf
from kg_service.snapshot.opened import Snapshot

_ROUNDING = 1e-6
"""Similarities up to here are what rounding leaves of 0."""


def find_neighbours(
    snapshot: Snapshot, image_id: str, k: int, *, knowledge: Knowledge, representation: str, name_of: NameOf
) -> NeighboursResponse:
    """The k most similar images, each with the concepts that both have; fewer where fewer are similar at all.

    Raises:
        NotFound: the snapshot does not hold the image.
        InvalidInput: it lacks the variant.
    """
    vectors = snapshot.vectors(representation, knowledge)
    rows = snapshot.positions([image_id])
    if rows[0] < 0:
        raise NotFound(
            f"no image {image_id!r:.200} in the snapshot",
            hint="a snapshot holds what was ingested before it; kg-service snapshot append or publish adds what came later",
        )
    row = int(rows[0])
    sim_N = similarity_to_all(vectors, row)
    sim_N[row] = 0.0
    (caption,), concepts = snapshot.caption_keys(rows), snapshot.concepts(row)

    def neighbour(other: int) -> Neighbour:
        shared = map(snapshot.cui, np.intersect1d(concepts, snapshot.concepts(other)).tolist())
        return Neighbour(
            image_id=snapshot.image_id(other),
            similarity=float(sim_N[other]),
            same_caption=bool(snapshot.caption_keys(np.array([other]))[0] == caption),
            shared=[ConceptRef(cui=cui, name=name_of(cui)) for cui in shared],
        )

    return NeighboursResponse(
        image_id=image_id,
        has_knowledge=bool(has_knowledge(vectors, rows)[0]),
        # Rows are in the order of ids but for those of the tail.
        neighbours=[neighbour(other) for other in largest(sim_N, k, snapshot.image_id if snapshot.tail else None).tolist()],
        snapshot=snapshot.id,
        knowledge=knowledge,
        representation=representation,
    )


def largest(values_N: npt.NDArray[np.float32], k: int, id_of: Callable[[int], str] | None = None) -> Rows:
    """Where the k largest values are, the largest first; fewer where fewer are above rounding.

    Equal ones by id, or where no ids are given by position.
    """
    count = min(k, int((values_N > _ROUNDING).sum()))
    if count == 0:
        return np.zeros(0, np.int64)
    least = np.partition(values_N, -count)[-count]
    candidates = np.flatnonzero(values_N >= least)
    if id_of is not None:
        candidates = np.array(sorted(candidates.tolist(), key=id_of))
    found: Rows = candidates[np.argsort(-values_N[candidates], kind="stable")[:count]]
    return found
