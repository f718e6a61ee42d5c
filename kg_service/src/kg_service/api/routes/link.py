"""Captions to mentions; nothing is stored."""

from __future__ import annotations

from fastapi import APIRouter, Response
from nbclip_shared.schemas import Candidate, LinkedCaptionOut, LinkRequest, LinkResponse, MentionOut

from kg_service.api.body import JsonBody, accepts, answer, parse
from kg_service.api.dependencies import PartsOf, working
from kg_service.api.limits import check_items
from kg_service.api.problems import BODY, KEYED, described
from kg_service.linking.model import LinkCandidate, Mention

router = APIRouter(tags=["concepts"])

EXAMPLES = {"negation": {"captions": ["Chest X-ray showing a pleural effusion, no pneumothorax."]}}


@router.post(
    "/link",
    response_model=LinkResponse,
    responses=described(*KEYED, *BODY),
    dependencies=working("read"),
    openapi_extra=accepts(LinkRequest, EXAMPLES),
)
def link(parts: PartsOf, body: JsonBody) -> Response:
    """Mentions of each caption: span, concept, score, rule, whether it is present, absent or uncertain, and what lost."""
    request = parse(LinkRequest, body, lambda values: check_items(values, "captions", parts.settings.max_items))
    linked = parts.linker.link(request.captions)
    results = [
        LinkedCaptionOut(caption=each.caption, mentions=[_shown(mention, parts.settings.show_names) for mention in each.mentions])
        for each in linked
    ]
    return answer(LinkResponse(linker=parts.linker.name, results=results))


def _shown(mention: Mention, with_names: bool) -> MentionOut:
    def candidate(each: LinkCandidate) -> Candidate:
        return Candidate(cui=each.cui, name=each.name if with_names else "", score=each.score)

    return MentionOut(
        cui=mention.cui,
        name=mention.name if with_names else "",
        text=mention.text,
        start=mention.start,
        end=mention.end,
        score=mention.score,
        rule=mention.rule,
        assertion=mention.assertion,
        candidates=[candidate(each) for each in mention.candidates],
    )
