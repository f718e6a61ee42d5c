"""What is answered to whoever asks for a caption's mentions: `POST /v1/link` and `kg-service link --json`."""

from __future__ import annotations

from collections.abc import Sequence

from nbclip.schemas.linking import Candidate, LinkedCaptionOut, LinkResponse, MentionOut

from kg_service.linking.model import LinkCandidate, Linker, Mention
from kg_service.tracing import stage
from kg_service.vocabulary.semantic_groups import groups_of
from kg_service.vocabulary.vocabulary import Vocabulary


def link_answer(captions: Sequence[str], linker: Linker, vocabulary: Vocabulary, *, with_names: bool) -> LinkResponse:
    """Links the captions; without names the concepts' are empty."""
    with stage("link", captions=len(captions)):
        results = [
            LinkedCaptionOut(
                caption=linked.caption, mentions=[_mention(each, vocabulary, with_names) for each in linked.mentions]
            )
            for linked in linker.link(captions)
        ]
    return LinkResponse(linker=linker.name, results=results)


def _mention(mention: Mention, vocabulary: Vocabulary, with_names: bool) -> MentionOut:
    def candidate(each: LinkCandidate) -> Candidate:
        return Candidate(cui=each.cui, name=each.name if with_names else "", score=each.score)

    return MentionOut(
        cui=mention.cui,
        name=mention.name if with_names else "",
        groups=list(groups_of(vocabulary.semantic_types(mention.cui))),
        text=mention.text,
        start=mention.start,
        end=mention.end,
        score=mention.score,
        rule=mention.rule,
        assertion=mention.assertion,
        candidates=[candidate(each) for each in mention.candidates],
    )
