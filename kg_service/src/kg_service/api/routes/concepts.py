"""Concepts of the vocabulary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from nbclip.ids import check_cui
from nbclip.schemas.concepts import ConceptOut, ConceptPage, ConceptRef

from kg_service.api.body import answer
from kg_service.api.dependencies import PartsOf, asking_graph, working
from kg_service.api.problems import KEYED, described
from kg_service.app.wiring import Parts

router = APIRouter(prefix="/concepts", tags=["concepts"])


@router.get(
    "",
    response_model=ConceptPage,
    responses=described(*KEYED, 422),
    dependencies=working("read"),
)
def search(
    parts: PartsOf,
    q: Annotated[str, Query(min_length=1, max_length=200, examples=["pleural eff"], description="beginnings of words")],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Concepts with a name in which every word of `q` begins a word; shortest name first."""
    found = parts.vocabulary.search(q, limit)
    return answer(ConceptPage(concepts=_references(parts, (concept.cui for concept in found))))


@router.get(
    "/{cui}",
    response_model=ConceptOut,
    responses=described(*KEYED, 404, 422),
    dependencies=asking_graph("read"),
)
def show(parts: PartsOf, cui: Annotated[str, Path(examples=["C0032227"], description="C and seven digits")]) -> Response:
    """Names, semantic types, parents, children, all ancestors (nearest first), and how many images have it."""
    vocabulary = parts.vocabulary
    check_cui(cui)
    concept = vocabulary.concept(cui)
    return answer(
        ConceptOut(
            cui=cui,
            name=parts.name_of(cui),
            names=vocabulary.names(cui) if parts.settings.show_names else [],
            semantic_types=list(concept.semantic_types),
            parents=_references(parts, vocabulary.parents(cui)),
            children=_references(parts, vocabulary.children(cui)),
            ancestors=_references(parts, (ancestor.cui for ancestor in vocabulary.ancestors(cui))),
            image_count=parts.store.image_count(cui),
        )
    )


def _references(parts: Parts, cuis: Iterable[str]) -> list[ConceptRef]:
    return [ConceptRef(cui=cui, name=parts.name_of(cui)) for cui in cuis]
