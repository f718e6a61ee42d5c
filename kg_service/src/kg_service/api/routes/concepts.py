"""Concepts of the vocabulary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from nbclip.ids import check_cui
from nbclip.schemas.concepts import ConceptOut, ConceptPage, ConceptRef

from kg_service.api.body import answer
from kg_service.api.dependencies import WiringOf, asking_graph, working
from kg_service.api.problems import KEYED, described
from kg_service.app.wiring import Wiring

router = APIRouter(prefix="/concepts", tags=["concepts"])


@router.get(
    "",
    response_model=ConceptPage,
    responses=described(*KEYED, 422),
    dependencies=working("read"),
)
def search(
    wiring: WiringOf,
    q: Annotated[str, Query(min_length=1, max_length=200, examples=["pleural eff"], description="beginnings of words")],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Concepts with a name in which every word of `q` begins a word; shortest name first."""
    found = wiring.vocabulary.search(q, limit)
    return answer(ConceptPage(concepts=_references(wiring, (concept.cui for concept in found))))


@router.get(
    "/{cui}",
    response_model=ConceptOut,
    responses=described(*KEYED, 404, 422),
    dependencies=asking_graph("read"),
)
def show(wiring: WiringOf, cui: Annotated[str, Path(examples=["C0032227"], description="C and seven digits")]) -> Response:
    """Names, semantic types, parents, children, all ancestors (nearest first), and how many images have it."""
    vocabulary = wiring.vocabulary
    check_cui(cui)
    concept = vocabulary.concept(cui)
    return answer(
        ConceptOut(
            cui=cui,
            name=wiring.name_of(cui),
            names=vocabulary.names(cui) if wiring.settings.show_names else [],
            semantic_types=list(concept.semantic_types),
            parents=_references(wiring, vocabulary.parents(cui)),
            children=_references(wiring, vocabulary.children(cui)),
            ancestors=_references(wiring, (ancestor.cui for ancestor in vocabulary.ancestors(cui))),
            image_count=wiring.store.image_count(cui),
        )
    )


def _references(wiring: Wiring, cuis: Iterable[str]) -> list[ConceptRef]:
    return [ConceptRef(cui=cui, name=wiring.name_of(cui)) for cui in cuis]
