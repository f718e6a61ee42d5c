"""Concepts of the vocabulary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from nbclip.errors import Busy, Unavailable
from nbclip.ids import Cui, check_cui
from nbclip.schemas.concepts import ConceptOut, ConceptPage, ConceptRef, DrawnConcept, IsA, Surroundings, TypedRelation

from kg_service.api.body import answer
from kg_service.api.cursors import Cursor, cursor_of, key_of, no_cursor
from kg_service.api.dependencies import WiringOf, working
from kg_service.api.problems import KEYED, described
from kg_service.app.wiring import Wiring
from kg_service.errors import ReadOnly

router = APIRouter(prefix="/concepts", tags=["concepts"])


@router.get(
    "",
    response_model=ConceptPage,
    responses=described(*KEYED, 422),
    dependencies=working("read"),
)
def list_concepts(
    wiring: WiringOf,
    q: Annotated[
        str, Query(min_length=1, max_length=200, examples=["pleural eff"], description="the beginnings of words of a name")
    ],
    cursor: Cursor = "",
    limit: Annotated[int, Query(ge=1, le=100, examples=[3])] = 20,
) -> Response:
    """Concepts with a name in which every word of `q` begins a word; shortest name first."""
    start = _start(cursor)
    # Names are in memory: what was shown is passed over faster than a place in the middle would be found.
    found = wiring.vocabulary.search(q, start + limit + 1)[start:]
    next_cursor = cursor_of(str(start + limit)) if len(found) > limit else None
    return answer(ConceptPage(concepts=_references(wiring, (each.cui for each in found[:limit])), next_cursor=next_cursor))


@router.get(
    "/surroundings",
    response_model=Surroundings,
    responses=described(*KEYED, 422),
    dependencies=working("read"),
)
def list_surroundings(
    wiring: WiringOf,
    cui: Annotated[list[Cui], Query(min_length=1, max_length=200, examples=[["C0032227"]], description="once for each concept")],
) -> Response:
    """What the graph has around concepts: these and their ancestors by is_a, what their typed relations lead to, and what is
    above that; with the edges among all of them.

    Concepts that the vocabulary lacks stand alone. It asks the vocabulary, as `POST /v1/images` does when it stores an image.
    """
    unknown = [each for each in dict.fromkeys(cui) if each not in wiring.vocabulary]
    found = wiring.vocabulary.surroundings(each for each in cui if each in wiring.vocabulary)
    shown = [*(concept.cui for concept in found.concepts), *unknown]
    return answer(
        Surroundings(
            concepts=[DrawnConcept(cui=each, name=wiring.name_of(each), groups=wiring.groups_of(each)) for each in shown],
            is_a=[IsA(child=edge.child, parent=edge.parent, source=edge.source) for edge in found.is_a],
            relations=[
                TypedRelation(subject=edge.subject, relation=edge.relation, target=edge.target, source=edge.source)
                for edge in found.relations
            ],
        )
    )


@router.get(
    "/{cui}",
    response_model=ConceptOut,
    responses=described(*KEYED, 404, 422),
    dependencies=working("read"),
)
def get_concept(
    request: Request,
    wiring: WiringOf,
    cui: Annotated[str, Path(examples=["C0032227"], description="a CUI, or the id that the vocabulary has")],
) -> Response:
    """Names, semantic types, parents, children, all ancestors (nearest first), and how many images have it.

    The number is null while the graph store does not answer, or is not asked as the service only reads; everything else comes
    from the vocabulary.
    """
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
            image_count=_image_count(request, wiring, cui),
        )
    )


def _start(cursor: str) -> int:
    """How many concepts the pages before have shown."""
    key = key_of(cursor)
    if key and not (key.isdecimal() and len(key) < 10):
        raise no_cursor(cursor)
    return int(key or 0)


def _image_count(request: Request, wiring: Wiring, cui: str) -> int | None:
    try:
        with request.app.state.graph_places.take():
            return wiring.store.image_count(cui)
    except (Busy, Unavailable, ReadOnly):
        return None


def _references(wiring: Wiring, cuis: Iterable[str]) -> list[ConceptRef]:
    return [ConceptRef(cui=cui, name=wiring.name_of(cui)) for cui in cuis]
