"""Image vectors of a batch: the matrix multiplication is the trainer's."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Response
from nbclip.codec import MEDIA_TYPE
from nbclip.schemas.targets import RepresentationsRequest
from nbclip.vectors import encode_vectors

from kg_service.api.auth import require
from kg_service.api.body import accepts, is_short, parse_aside
from kg_service.api.negotiation import choose, safetensors_of
from kg_service.api.problems import BODY, KEYED, SNAPSHOT, described
from kg_service.api.serving.connection import PartsResponse
from kg_service.api.serving.limits import Places, check_items
from kg_service.api.work_route import WorkRequest, WorkRoute, opened, worked
from kg_service.snapshot import Snapshot, answer_representations

router = APIRouter(tags=["targets"], route_class=WorkRoute)

EXAMPLES: dict[str, Any] = {"a batch": {"image_ids": ["RM_00001", "RM_00002", "RM_00003"], "dtype": "float16"}}
_SMALL = 1 << 10
"""Images whose vectors are there in half a millisecond."""
_CONTENT = safetensors_of(
    "`sparse_indptr`, `sparse_indices` and `sparse_data` (CSR, [C, A]), `dense` ([C, d]), `has_knowledge` and `unknown` "
    "(uint8, [C]); in the header's metadata `columns` (A) and what it was made from. `nbclip.vectors.decode_vectors` reads it."
)


@router.post(
    "/representations",
    response_class=Response,
    responses={
        200: {"content": _CONTENT, "description": "image vectors (safetensors)"},
        **described(*KEYED, *BODY, *SNAPSHOT, 406),
    },
    dependencies=[Depends(require("read"))],
    openapi_extra=accepts(RepresentationsRequest, EXAMPLES),
)
async def representations(request: WorkRequest) -> PartsResponse:
    """Image vectors of a batch, whose dot products are the similarities of `POST /v1/targets`.

    Smaller than the matrix from a thousand images on, and a GPU multiplies them faster than the matrix travels.
    """
    choose(request.headers.get("accept", "*/*"), (MEDIA_TYPE,))
    most = partial(check_items, field="image_ids", limit=request.wiring.settings.max_columns, setting="KG_MAX_COLUMNS")
    wanted = await parse_aside(RepresentationsRequest, request.content, most)
    small = len(wanted.image_ids) <= _SMALL and is_short(request.content)
    kind = ("representations", wanted.representation, wanted.knowledge, wanted.dtype) if small else None
    snapshot = await opened(request.wiring.snapshots, wanted.snapshot)
    response = await worked(snapshot, partial(_answer, snapshot, wanted), kind=kind)
    # Counted as cells of four bytes, once their number is known; one answer alone is never too large.
    places: Places = request.app.state.cells
    request.held.enter_context(places.take(min(response.length // 4, places.capacity)))
    return response


def _answer(snapshot: Snapshot, wanted: RepresentationsRequest) -> PartsResponse:
    batch = answer_representations(snapshot, wanted)
    return PartsResponse([encode_vectors(batch, wanted.dtype)], MEDIA_TYPE, {"Vary": "Accept"})
