"""Image vectors of a batch: the matrix multiplication is the trainer's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from nbclip.codec import MEDIA_TYPE
from nbclip.schemas.targets import RepresentationsRequest
from nbclip.vectors import encode_vectors

from kg_service.api.body import JsonBody, accepts, parse
from kg_service.api.dependencies import Held, WiringOf, working
from kg_service.api.negotiation import choose
from kg_service.api.problems import BODY, KEYED, SNAPSHOT, described
from kg_service.api.serving.limits import Places, check_items
from kg_service.snapshot import answer_representations

router = APIRouter(tags=["targets"])

EXAMPLES: dict[str, Any] = {"a batch": {"image_ids": ["RM_00001", "RM_00002", "RM_00003"], "dtype": "float16"}}
_CONTENT = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}


@router.post(
    "/representations",
    response_class=Response,
    responses={
        200: {"content": _CONTENT, "description": "image vectors (safetensors)"},
        **described(*KEYED, *BODY, *SNAPSHOT, 406),
    },
    dependencies=working("read"),
    openapi_extra=accepts(RepresentationsRequest, EXAMPLES),
)
def representations(
    request: Request, wiring: WiringOf, held: Held, body: JsonBody, accept: Annotated[str, Header()] = "*/*"
) -> Response:
    """Image vectors of a batch, whose dot products are the similarities of `POST /targets`.

    Smaller than the matrix from a thousand images on, and a GPU multiplies them faster than the matrix travels.
    """
    choose(accept, (MEDIA_TYPE,))
    wanted = parse(RepresentationsRequest, body, lambda values: check_items(values, "image_ids", wiring.settings.max_columns))
    batch = answer_representations(wiring.snapshots.open(wanted.snapshot), wanted)
    vectors = encode_vectors(batch, wanted.dtype)
    # Counted as cells of four bytes, once their number is known; one answer alone is never too large.
    places: Places = request.app.state.cells
    held.enter_context(places.take(min(len(vectors) // 4, places.capacity)))
    return Response(vectors, media_type=MEDIA_TYPE, headers={"Vary": "Accept"})
