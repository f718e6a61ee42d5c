"""Images and their captions: upsert, look, page, remove."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from nbclip.errors import NotFound
from nbclip.ids import MAX_IMAGE_ID_BYTES, Cui, caption_sha256, check_image_id
from nbclip.schemas.base import WITHOUT_NUL
from nbclip.schemas.images import Attribute, ImageOut, ImagePage, ImagesRequest, ImagesResponse, UnknownCui

from kg_service.api.body import JsonBody, accepts, answer, parse
from kg_service.api.cursors import Cursor, cursor_of, key_of
from kg_service.api.dependencies import WiringOf, asking_graph
from kg_service.api.problems import BODY, KEYED, described
from kg_service.api.serving.limits import check_items
from kg_service.app.wiring import Wiring
from kg_service.graph.store import ImageNode, Wanted
from kg_service.ingest.pipeline import ingest_items
from kg_service.ingest.unknown import FIRST_UNKNOWN, unknown_cuis

router = APIRouter(prefix="/images", tags=["images"])

EXAMPLES = {
    "captions": {
        "items": [
            {"image_id": "mine/1", "caption": "Chest X-ray showing a pleural effusion, no pneumothorax.", "split": "train"},
            {"image_id": "mine/2", "caption": "Axial CT of the chest.", "cuis": ["C0040405", "C0817096"]},
        ]
    },
    "replacing": {"items": [{"image_id": "mine/1", "caption": "Normal chest X-ray."}], "on_conflict": "replace"},
}
ImageIdPath = Annotated[str, Path(description="may contain slashes", examples=["RM_00001"], max_length=MAX_IMAGE_ID_BYTES)]


@router.post(
    "",
    response_model=ImagesResponse,
    responses=described(*KEYED, *BODY, 501),
    dependencies=asking_graph("ingest"),
    openapi_extra=accepts(ImagesRequest, EXAMPLES),
)
def put_images(wiring: WiringOf, body: JsonBody) -> Response:
    """Stores images in one transaction. Given `cuis` are used as they are, otherwise the caption is linked.

    An image with `cuis` needs no caption. An empty list says that it has no concept; null, or none, that its caption is to be
    linked. A caption that is empty, or `nan`, `null` and the like, is none. `unknown_cuis` counts those given that the
    vocabulary lacks: they are stored, without a name and without ancestors. In Neo4j what is too large for one transaction
    takes several.

    The same id with the same content is `unchanged`. With other content it is `rejected`, or `replaced` if `on_conflict` is
    `replace`.

    Targets include them once the graph is published or appended (`POST /v1/snapshots`), which the service does by itself where
    `KG_APPEND_EVERY_S` says so.
    """
    request = parse(ImagesRequest, body, lambda values: check_items(values, "items", wiring.settings.max_items))
    results = ingest_items(request.items, wiring.store, wiring.linker, wiring.vocabulary, request.on_conflict)
    counts = dict(Counter(result.outcome for result in results))
    unknown = unknown_cuis(request.items, wiring.vocabulary)
    first = [UnknownCui(cui=cui, image_id=item.image_id) for cui, item in islice(unknown.items(), FIRST_UNKNOWN)]
    return answer(ImagesResponse(results=results, counts=counts, unknown_cuis=len(unknown), first_unknown_cuis=first))


@router.get(
    "",
    response_model=ImagePage,
    responses=described(*KEYED, 422),
    dependencies=asking_graph("read"),
)
def list_images(
    wiring: WiringOf,
    cursor: Cursor = "",
    limit: Annotated[int, Query(ge=1, le=1_000, examples=[2])] = 100,
    q: Annotated[
        str,
        Query(
            max_length=200,
            pattern=WITHOUT_NUL,
            examples=["pleural eff"],
            description="words, each a part of the caption, in whichever case",
        ),
    ] = "",
    cui: Annotated[
        Cui | None,
        Query(description="images with a mention of exactly this concept, whatever its `assertion` in `attributes`: also denied"),
    ] = None,
    score_below: Annotated[
        float | None, Query(gt=0, le=1, description="images with a mention of a lower score, which the linker is less sure of")
    ] = None,
) -> Response:
    """Images ordered by id: all, or those that have everything that is asked for.

    There is no index of words: what few images have takes the store as long as looking at all of them.
    """
    after = key_of(cursor)
    wanted = Wanted(tuple(q.split()), cui or "", score_below)
    nodes = wiring.store.images(after=check_image_id(after) if after else "", limit=limit, wanted=wanted)
    next_cursor = cursor_of(nodes[-1].image_id) if len(nodes) == limit else None
    return answer(ImagePage(images=[_shown(wiring, node) for node in nodes], next_cursor=next_cursor))


@router.get(
    "/{image_id:path}",
    response_model=ImageOut,
    responses=described(*KEYED, 404, 422),
    dependencies=asking_graph("read"),
)
def get_image(wiring: WiringOf, image_id: ImageIdPath) -> Response:
    """One image, with the concepts of its caption."""
    node = wiring.store.image(check_image_id(image_id))
    if node is None:
        raise unknown_image(image_id)
    return answer(_shown(wiring, node))


@router.delete(
    "/{image_id:path}",
    status_code=204,
    responses=described(*KEYED, 404, 422),
    dependencies=asking_graph("ingest"),
)
def delete_image(wiring: WiringOf, image_id: ImageIdPath) -> Response:
    """Removes an image from the graph; snapshots that hold it stay as they are.

    A repeated request may answer 404: the image is already removed.
    """
    if not wiring.store.delete_image(check_image_id(image_id)):
        raise unknown_image(image_id)
    return Response(status_code=204)


def unknown_image(image_id: str) -> NotFound:
    """The error of an id that the graph has no image of."""
    return NotFound(f"no image {image_id!r:.200}", hint="GET /v1/images lists them")


def _shown(wiring: Wiring, node: ImageNode) -> ImageOut:
    return ImageOut(
        image_id=node.image_id,
        caption=node.caption,
        caption_sha256=caption_sha256(node.caption),
        dataset=node.dataset,
        split=node.split,
        ingested_at=node.ingested_at,
        attributes=[
            Attribute(
                cui=edge.cui,
                name=wiring.name_of(edge.cui),
                groups=wiring.groups_of(edge.cui),
                text=edge.text,
                start=edge.start,
                end=edge.end,
                score=edge.score,
                rule=edge.rule,
                assertion=edge.assertion,
                linker=edge.linker,
            )
            for edge in node.attributes
        ],
    )
