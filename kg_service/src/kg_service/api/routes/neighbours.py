"""The images that an image is most similar to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from nbclip.ids import check_image_id
from nbclip.schemas.explanations import MAX_NEIGHBOURS, NeighboursResponse
from nbclip.schemas.targets import DEFAULT_REPRESENTATION, Knowledge, RepresentationName

from kg_service.api.body import answer
from kg_service.api.dependencies import WiringOf, working
from kg_service.api.problems import KEYED, SNAPSHOT, described
from kg_service.api.routes.images import ImageIdPath
from kg_service.snapshot import find_neighbours

router = APIRouter(prefix="/images", tags=["images"])
"""To be included before the images' own router, whose paths take slashes; so an image whose id ends in `/neighbours` is found by
`GET /v1/images` alone."""


@router.get(
    "/{image_id:path}/neighbours",
    response_model=NeighboursResponse,
    responses=described(*KEYED, *SNAPSHOT, 404, 422),
    dependencies=working("read"),
)
def list_neighbours(
    wiring: WiringOf,
    image_id: ImageIdPath,
    k: Annotated[int, Query(ge=1, le=MAX_NEIGHBOURS, description="number of neighbours", examples=[2])] = 10,
    snapshot: Annotated[str | None, Query(description="default: the current one")] = None,
    knowledge: Annotated[Knowledge, Query()] = "dk_ek",
    representation: Annotated[RepresentationName, Query()] = DEFAULT_REPRESENTATION,
) -> Response:
    """The k images of a snapshot with the largest similarity, equal ones ordered by id, with the concepts that both have.

    Fewer than k if fewer are similar at all (above 1e-6, because rounding may leave that much of 0).

    The similarities are those of `POST /v1/targets`, up to float32 rounding. Asks the snapshot alone.
    """
    return answer(
        find_neighbours(
            wiring.snapshots.open(snapshot),
            check_image_id(image_id),
            k,
            knowledge=knowledge,
            representation=representation,
            name_of=wiring.name_of,
        )
    )
