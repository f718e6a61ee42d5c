"""Snapshots: publish, list, manifest, image vectors."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from nbclip_shared.codec import MEDIA_TYPE
from nbclip_shared.schemas import Knowledge, PublishRequest, SnapshotList, SnapshotOut

from kg_service.api.body import JsonBody, accepts, answer, parse
from kg_service.api.dependencies import PartsOf, working
from kg_service.api.parts import Parts, hybrid_of
from kg_service.api.problems import BODY, KEYED, described
from kg_service.snapshot import embeddings_file, publish

router = APIRouter(prefix="/snapshots", tags=["snapshots"])

EXAMPLES = {"everything": {}, "the training split": {"split": "train"}}
SnapshotIdPath = Annotated[str, Path(description="64 hexadecimal digits")]
_CONTENT = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}


@router.post(
    "",
    status_code=201,
    response_model=SnapshotOut,
    responses=described(*KEYED, *BODY),
    dependencies=working("admin"),
    openapi_extra=accepts(PublishRequest, EXAMPLES),
)
def publish_one(request: Request, parts: PartsOf, body: JsonBody) -> Response:
    """Freezes the graph, or the part of it that one dataset or split has. The same graph gives the same id."""
    wanted = parse(PublishRequest, body, lambda _: None)
    with request.app.state.publishing.take():
        new_id = publish(
            parts.store,
            parts.settings.snapshots_folder,
            dataset=wanted.dataset,
            split=wanted.split,
            vocabulary=parts.vocabulary.describe(),
            hybrid=hybrid_of(parts.settings),
        )
    return answer(_shown(parts, new_id), status=201, headers={"Location": f"/snapshots/{new_id}"})


@router.get(
    "",
    response_model=SnapshotList,
    responses=described(*KEYED),
    dependencies=working("read"),
)
def list_all(parts: PartsOf) -> Response:
    """Held snapshots, the current one first."""
    return answer(SnapshotList(snapshots=[_shown(parts, held) for held in parts.snapshots.ids()]))


@router.get(
    "/{snapshot_id}",
    response_model=SnapshotOut,
    responses=described(*KEYED, 404, 410, 422),
    dependencies=working("read"),
)
def show(parts: PartsOf, snapshot_id: SnapshotIdPath) -> Response:
    """The manifest: what it was made from, what it holds, every file's digest."""
    return answer(_shown(parts, snapshot_id))


@router.get(
    "/{snapshot_id}/embeddings",
    response_class=Response,
    responses={
        200: {"content": _CONTENT, "description": "image vectors (safetensors)"},
        304: {"description": "Not Modified"},
        **described(*KEYED, 404, 410, 422),
    },
    dependencies=working("read"),
)
def embeddings(
    parts: PartsOf,
    snapshot_id: SnapshotIdPath,
    knowledge: Annotated[Knowledge, Query()] = "dk_ek",
    representation: Annotated[str, Query(pattern=r"^[a-z0-9_-]{1,64}$")] = "hybrid",
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """Image vectors, whose dot products are the similarities, and the image ids of their rows."""
    snapshot = parts.snapshots.open(snapshot_id)
    etag = f'"{snapshot_id}-{representation}-{knowledge}"'
    if etag in if_none_match:
        return Response(status_code=304, headers={"ETag": etag})
    return Response(embeddings_file(snapshot, knowledge, representation), media_type=MEDIA_TYPE, headers={"ETag": etag})


def _shown(parts: Parts, snapshot_id: str) -> SnapshotOut:
    manifest = parts.snapshots.manifest(snapshot_id)
    return SnapshotOut(id=snapshot_id, current=snapshot_id == parts.snapshots.current(), manifest=manifest)
