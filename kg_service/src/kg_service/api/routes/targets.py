"""The soft-target matrix of a batch."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Response
from nbclip.codec import MEDIA_TYPE, TargetMatrix, decode, encode_parts, final_part
from nbclip.errors import LimitExceeded
from nbclip.schemas.targets import TargetsRequest, TargetsResponse

from kg_service.api.auth import require
from kg_service.api.body import accepts, is_short, parse_aside
from kg_service.api.negotiation import JSON, choose, safetensors_of
from kg_service.api.problems import BODY, KEYED, SNAPSHOT, described
from kg_service.api.serving.connection import PartsResponse
from kg_service.api.serving.growing import Growing, GrowingResponse, Tell
from kg_service.api.serving.limits import Places, check_matrix
from kg_service.api.work_route import WorkRequest, WorkRoute, opened, worked
from kg_service.snapshot import Snapshot, answer_targets

router = APIRouter(tags=["targets"], route_class=WorkRoute)

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
_SMALL = 1 << 16
"""Cells whose similarities are there in half a millisecond, their targets in one and a half."""
_CONTENT = safetensors_of(
    "the matrix, [R, C], as `targets` or `similarity`; `has_knowledge` and `unknown`, uint8, [C]; in the header's metadata "
    "what it was made from, such as `snapshot`. `nbclip.codec.decode` reads it."
)


@router.post(
    "/targets",
    response_model=TargetsResponse,
    responses={200: {"content": _CONTENT}, **described(*KEYED, *BODY, *SNAPSHOT, 406)},
    dependencies=[Depends(require("read"))],
    openapi_extra=accepts(TargetsRequest, EXAMPLES),
)
async def targets(request: WorkRequest) -> Response:
    """Soft targets of a batch, or the similarities that they are made from.

    Rows are one rank's images, columns the global batch. For large matrices ask for `application/vnd.safetensors`: JSON is for
    small ones.
    """
    form = choose(request.headers.get("accept", "*/*"), (JSON, MEDIA_TYPE))
    settings = request.wiring.settings
    wanted = await parse_aside(TargetsRequest, request.content, lambda values: check_matrix(values, settings))
    cells = len(wanted.image_ids) * len(wanted.column_ids or wanted.image_ids)
    if form == JSON:
        _refuse_large_json(cells, settings.max_json_cells)
    places: Places = request.app.state.cells
    request.held.enter_context(places.take(cells))
    snapshot = await opened(request.wiring.snapshots, wanted.snapshot)
    headers = {"ETag": _etag(snapshot.id, request.content, form), "Vary": "Accept"}
    if form != JSON and cells > _SMALL and wanted.dtype != "bfloat16":
        response: Response = await _growing(snapshot, wanted, headers)
    else:
        work = partial(_answer, snapshot, wanted, form, headers)
        small = form != JSON and cells <= _SMALL and is_short(request.content)
        response = await worked(snapshot, work, kind=_kind(wanted) if small else None)
    request.app.state.metrics.note_target_rows(len(wanted.image_ids))
    return response


def _kind(wanted: TargetsRequest) -> Hashable:
    square = wanted.column_ids in (None, wanted.image_ids)
    return "targets", wanted.representation, wanted.knowledge, wanted.output, wanted.dtype, wanted.form, square


def _answer(snapshot: Snapshot, wanted: TargetsRequest, form: str, headers: Mapping[str, str]) -> PartsResponse:
    parts = encode_parts(answer_targets(snapshot, wanted), wanted.dtype)
    if form == JSON:
        parts = [_as_json(decode(b"".join(parts))).model_dump_json().encode()]
    return PartsResponse(parts, form, headers)


async def _growing(snapshot: Snapshot, wanted: TargetsRequest, headers: Mapping[str, str]) -> GrowingResponse:
    """Sends rows that are final while the next ones are worked out: the way to the client takes almost no time besides."""

    def fill(tell: Tell) -> None:
        answer_targets(snapshot, wanted, lambda matrix, rows: tell(*final_part(matrix, rows)))

    growing = Growing(fill)
    body, _ = await growing.beyond(0)
    return GrowingResponse(growing, len(body), MEDIA_TYPE, headers)


def _refuse_large_json(cells: int, limit: int) -> None:
    if cells > limit:
        raise LimitExceeded(
            f"{cells} cells in JSON, at most {limit}", hint=f"send Accept: {MEDIA_TYPE}; the limit is KG_MAX_JSON_CELLS={limit}"
        )


def _etag(snapshot_id: str, asked: bytes, form: str) -> str:
    """Equal for equal requests; names the snapshot, and by a checksum all that was asked of it."""
    return f'"{snapshot_id[:16]}-{zlib.crc32(asked, len(form)):08x}"'


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
