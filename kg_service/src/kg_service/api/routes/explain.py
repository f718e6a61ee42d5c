"""Why two images are as similar as they are."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from nbclip.schemas.explanations import ExplainRequest, ExplainResponse

from kg_service.api.body import JsonBody, accepts, answer, parse
from kg_service.api.dependencies import WiringOf, working
from kg_service.api.problems import BODY, KEYED, SNAPSHOT, described
from kg_service.snapshot import explain

router = APIRouter(tags=["targets"])

EXAMPLES: dict[str, Any] = {
    "two images": {"image_id": "RM_00001", "other_id": "RM_00002"},
    "without the ontology": {"image_id": "RM_00001", "other_id": "RM_00002", "knowledge": "dk", "limit": 5},
}


@router.post(
    "/explain",
    response_model=ExplainResponse,
    responses=described(*KEYED, *BODY, *SNAPSHOT),
    dependencies=working("read"),
    openapi_extra=accepts(ExplainRequest, EXAMPLES),
)
def explain_pair(wiring: WiringOf, body: JsonBody) -> Response:
    """Why two images are similar: shared concepts, ancestors, and concepts that occur together.

    The shares add up to the number that `POST /v1/targets` gives for the two with output `similarity`.
    It needs only the snapshot.
    """
    wanted = parse(ExplainRequest, body, lambda _: None)
    asked = wanted.model_dump(exclude={"snapshot"})
    return answer(explain(wiring.snapshots.open(wanted.snapshot), **asked, name_of=wiring.name_of))
