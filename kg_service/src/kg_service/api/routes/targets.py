"""The soft-target matrix of a batch."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from nbclip.codec import MEDIA_TYPE, TargetMatrix, decode, encode_parts
from nbclip.errors import LimitExceeded
from nbclip.schemas.targets import TargetsRequest, TargetsResponse

from kg_service.api.body import JsonBody, accepts, answer, parse
from kg_service.api.dependencies import Held, WiringOf, working
from kg_service.api.negotiation import JSON, choose
from kg_service.api.problems import BODY, KEYED, SNAPSHOT, described
from kg_service.api.serving.connection import PartsResponse
from kg_service.api.serving.limits import Places, check_matrix
from kg_service.snapshot import answer_targets

router = APIRouter(tags=["targets"])

EXAMPLES: dict[str, Any] = {
    "a square batch": {"image_ids": ["RM_00001", "RM_00002", "RM_00003"]},
    "one rank of two": {
        "image_ids": ["RM_00001", "RM_00002"],
        "column_ids": ["RM_00001", "RM_00002", "RM_00003", "RM_00005"],
        "knowledge": "dk",
        "output": "similarity",
        "on_unknown": "flag",
    },
}
_CONTENT = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}


@router.post(
    "/targets",
    response_model=TargetsResponse,
    responses={200: {"content": _CONTENT}, **described(*KEYED, *BODY, *SNAPSHOT, 406)},
    dependencies=working("read"),
    openapi_extra=accepts(TargetsRequest, EXAMPLES),
)
def targets(request: Request, wiring: WiringOf, held: Held, body: JsonBody, accept: Annotated[str, Header()] = "*/*") -> Response:
    """Soft targets of a batch, or the similarities that they are made of.

    Rows are one rank's images, columns the global batch. Ask for `application/vnd.safetensors`: JSON is for small matrices.
    """
    form = choose(accept, (JSON, MEDIA_TYPE))
    wanted = parse(TargetsRequest, body, lambda values: check_matrix(values, wiring.settings))
    cells = len(wanted.image_ids) * len(wanted.column_ids or wanted.image_ids)
    if form == JSON:
        _refuse_large_json(cells, wiring.settings.max_json_cells)
    places: Places = request.app.state.cells
    snapshot = wiring.snapshots.open(wanted.snapshot)
    headers = {"ETag": _etag(snapshot.id, wanted, form), "Vary": "Accept"}
    held.enter_context(places.take(cells))
    parts_of_body = encode_parts(answer_targets(snapshot, wanted), wanted.dtype)
    if form == JSON:
        return answer(_as_json(decode(b"".join(parts_of_body))), headers=headers)
    return PartsResponse(parts_of_body, MEDIA_TYPE, headers)


def _refuse_large_json(cells: int, limit: int) -> None:
    if cells > limit:
        raise LimitExceeded(f"{cells} cells in JSON, at most {limit}", hint=f"send Accept: {MEDIA_TYPE}")


def _etag(snapshot_id: str, wanted: TargetsRequest, form: str) -> str:
    """Equal for equal answers: names the snapshot and all that was asked of it."""
    asked = wanted.model_dump_json(exclude={"snapshot"})
    return f'"{snapshot_id[:16]}-{hashlib.sha256(f"{form} {asked}".encode()).hexdigest()[:16]}"'


def _as_json(matrix: TargetMatrix) -> TargetsResponse:
    """From the decoded bytes, so that both forms give the same numbers."""
    return TargetsResponse.model_validate(
        {
            "output": matrix.output,
            "values": matrix.values.tolist(),
            "has_knowledge": matrix.has_knowledge.tolist(),
            "unknown": matrix.unknown.tolist(),
            **{name: matrix.metadata[name] for name in ("snapshot", "knowledge", "representation")},
        }
    )
