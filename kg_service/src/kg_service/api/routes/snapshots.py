"""Snapshots: publish, list, manifest, image vectors."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Path, Query, Request, Response
from nbclip.codec import MEDIA_TYPE
from nbclip.errors import BrokenArtefact, Unavailable
from nbclip.schemas.snapshots import AppendCounts, PublishRequest, SnapshotList, SnapshotOut
from nbclip.schemas.targets import DEFAULT_REPRESENTATION, Knowledge, RepresentationName

from kg_service.api.body import JsonBody, accepts, answer, parse
from kg_service.api.dependencies import WiringOf, working
from kg_service.api.problems import BODY, KEYED, described
from kg_service.api.serving.connection import PartsResponse
from kg_service.app.wiring import Wiring
from kg_service.snapshot import embeddings_parts
from kg_service.snapshot.manifest import on_the_wire

router = APIRouter(prefix="/snapshots", tags=["snapshots"])

EXAMPLES = {"everything": {}, "the training split": {"split": "train"}, "what is new": {"append": True}}
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
def publish_one(request: Request, wiring: WiringOf, body: JsonBody) -> Response:
    """Freezes the graph, or the part of it that one dataset or split has. The same graph gives the same id.

    With `append` the images that the current snapshot lacks are added to it, of its dataset and split, by its frozen tables: in a
    small part of the time, and its own images keep their vectors. `append` in the answer counts what else publishing anew would
    take up. Snapshots that trainings are pinned to stay as they are.
    """
    wanted = parse(PublishRequest, body, lambda _: None)
    counts = None
    with request.app.state.publishing.take(), _room_on_disk():
        if wanted.append:
            new_id, counts = _appended(wiring)
        else:
            new_id = _published(wiring, wanted)
    return answer(_shown(wiring, new_id, counts), status=201, headers={"Location": f"/snapshots/{new_id}"})


@contextmanager
def _room_on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"the snapshot can't be written: {error.strerror or error}", hint="make room in the data folder"
        ) from error


# What makes snapshots brings libraries that the service need not wait for when it starts.


def _appended(wiring: Wiring) -> tuple[str, AppendCounts]:
    from kg_service.snapshot.append import append, with_elsewhere

    new_id, counts = append(wiring.store, wiring.snapshots)
    return new_id, with_elsewhere(wiring.store, wiring.snapshots.manifest(new_id), counts)


def _published(wiring: Wiring, wanted: PublishRequest) -> str:
    from kg_service.representations.chosen import representations_of
    from kg_service.snapshot.publication import publish

    return publish(
        wiring.store,
        wiring.settings.snapshots_folder,
        dataset=wanted.dataset,
        split=wanted.split,
        vocabulary=wiring.vocabulary.describe(),
        hierarchy=wiring.vocabulary,
        representations=representations_of(wiring.settings),
    )


@router.get(
    "",
    response_model=SnapshotList,
    responses=described(*KEYED),
    dependencies=working("read"),
)
def list_all(wiring: WiringOf) -> Response:
    """Held snapshots; `current` is the one that is served. Those whose manifest is damaged by their ids alone."""
    current, listed = wiring.snapshots.current(), SnapshotList(snapshots=[])
    for held, manifest in wiring.snapshots.manifests():
        if isinstance(manifest, BrokenArtefact):
            listed.damaged.append(held)
            _log_damaged(manifest.message, manifest.hint)
        else:
            listed.snapshots.append(SnapshotOut(id=held, current=held == current, manifest=on_the_wire(manifest), append=None))
    return answer(listed)


@functools.lru_cache(maxsize=1024)
def _log_damaged(reason: str, hint: str) -> None:
    """Once for each."""
    structlog.get_logger().warning("damaged snapshot", reason=reason, hint=hint)


@router.get(
    "/{snapshot_id}",
    response_model=SnapshotOut,
    responses=described(*KEYED, 404, 410, 422),
    dependencies=working("read"),
)
def show(wiring: WiringOf, snapshot_id: SnapshotIdPath) -> Response:
    """The manifest: what it was made from, what it holds, every file's digest."""
    return answer(_shown(wiring, snapshot_id))


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
    wiring: WiringOf,
    snapshot_id: SnapshotIdPath,
    knowledge: Annotated[Knowledge, Query()] = "dk_ek",
    representation: Annotated[RepresentationName, Query()] = DEFAULT_REPRESENTATION,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """Image vectors, whose dot products are the similarities, and the image ids of their rows."""
    snapshot = wiring.snapshots.open(snapshot_id)
    etag = f'"{snapshot_id}-{representation}-{knowledge}"'
    if etag in if_none_match:
        return Response(status_code=304, headers={"ETag": etag})
    return PartsResponse(embeddings_parts(snapshot, knowledge, representation), MEDIA_TYPE, {"ETag": etag})


def _shown(wiring: Wiring, snapshot_id: str, counts: AppendCounts | None = None) -> SnapshotOut:
    manifest, current = wiring.snapshots.manifest(snapshot_id), snapshot_id == wiring.snapshots.current()
    return SnapshotOut(id=snapshot_id, current=current, manifest=on_the_wire(manifest), append=counts)
