"""Captions to mentions; nothing is stored."""

from __future__ import annotations

from fastapi import APIRouter, Response
from nbclip.schemas.linking import LinkRequest, LinkResponse

from kg_service.api.body import JsonBody, accepts, answer, parse
from kg_service.api.dependencies import WiringOf, working
from kg_service.api.problems import BODY, KEYED, described
from kg_service.api.serving.limits import check_items
from kg_service.linking.answer import link_answer

router = APIRouter(tags=["concepts"])

EXAMPLES = {"negation": {"captions": ["Chest X-ray showing a pleural effusion, no pneumothorax."]}}


@router.post(
    "/link",
    response_model=LinkResponse,
    responses=described(*KEYED, *BODY, 501),
    dependencies=working("read"),
    openapi_extra=accepts(LinkRequest, EXAMPLES),
)
def link_captions(wiring: WiringOf, body: JsonBody) -> Response:
    """Mentions of each caption: span, concept, score, rule, assertion (whether it is present), and other candidates."""
    request = parse(LinkRequest, body, lambda values: check_items(values, "captions", wiring.settings.max_items))
    return answer(link_answer(request.captions, wiring.linker, wiring.vocabulary, with_names=wiring.settings.show_names))
