"""Snapshots: publish, list, manifest, image vectors, remove."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Path, Query, Request, Response
from nbclip.codec import MEDIA_TYPE
from nbclip.errors import BrokenArtefact, Gone, NotFound
from nbclip.schemas.jobs import JobOut
from nbclip.schemas.snapshots import AppendCounts, PublishRequest, SnapshotImages, SnapshotList, SnapshotOut
from nbclip.schemas.targets import DEFAULT_REPRESENTATION, Knowledge, RepresentationName
from starlette.concurrency import run_in_threadpool

from kg_service.api.body import JsonBody, accepts, answer, parse
from kg_service.api.cursors import Cursor, cursor_of, key_of, no_cursor
from kg_service.api.dependencies import WiringOf, working
from kg_service.api.negotiation import safetensors_of
from kg_service.api.paths import beside
from kg_service.api.problems import BODY, KEYED, SNAPSHOT, described
from kg_service.api.routes.jobs import job_out
from kg_service.api.serving.connection import PartsResponse
from kg_service.app.wiring import Wiring
from kg_service.jobs.model import Job, PublishOrder
from kg_service.jobs.publishing import order_publication
from kg_service.jobs.spool import read_job
from kg_service.representations.from_settings import representations_of
from kg_service.snapshot import embeddings_parts
from kg_service.snapshot.manifest import on_the_wire
from kg_service.storage.writing import unwritten

router = APIRouter(prefix="/snapshots", tags=["snapshots"])
former = APIRouter(prefix="/snapshots", tags=["snapshots"])
"""To be included before `router` where paths have no version: what 0.1.0 answered otherwise."""

EXAMPLES = {
    "the training split": {"split": "train"},
    "everything": {},
    "what is new": {"append": True},
    "for an experiment": {
        "split": "train",
        "representations": {"hybrid": {"decay": 0.8}, "noise": {"seed": 7}},
        "is_a": {"shuffled": 1},
        "current": False,
    },
}
SnapshotIdPath = Annotated[str, Path(description="64 hexadecimal digits", examples=["0" * 64])]
_CONTENT = safetensors_of(
    "`sparse_indptr`, `sparse_indices` and `sparse_data` (CSR), and `dense`, a row for each image; the image ids as UTF-8 "
    "`id_bytes`, cut at `id_offsets`; in the header's metadata `columns` (of the sparse part), `snapshot`, `knowledge` and "
    "`representation`."
)
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,4})\b", re.IGNORECASE)
_ROW = re.compile(r"[0-9]{1,12}")
_LONGEST_WAIT_S = 60
_LOOKS_EVERY_S = 0.1


@router.post(
    "",
    status_code=202,
    response_model=JobOut,
    responses={
        201: {"model": SnapshotOut, "description": "Appended, or published within the time that `Prefer: wait` allows"},
        **described(*KEYED, *BODY, 409, 501),
    },
    dependencies=working("admin"),
    openapi_extra=accepts(PublishRequest, EXAMPLES),
)
async def publish_snapshot(
    request: Request,
    wiring: WiringOf,
    body: JsonBody,
    prefer: Annotated[str, Header(description="`wait=30`: answer once it is published, or after 30 seconds")] = "",
) -> Response:
    """Freezes the graph, or one dataset or split of it, in the background; `Location` is the job.

    The same graph gives the same id. With `Prefer: wait=N` (up to 60) the answer is 201 with the snapshot if it is published
    within N seconds, and otherwise 202 with the job so far. If the service is killed, it starts the job again by itself.

    `representations` says what is fitted, with which parameters; `is_a` puts another hierarchy in the place of the graph's,
    `relations` shuffles where the typed ones lead, and `concepts` leaves each image its rarest, as the manifest then says. With
    `current: false` what is served stays: such a snapshot is for requests that name it.

    With `append` the images that the current snapshot lacks are added to it, of its dataset and split, by its frozen tables: in a
    small part of the time, so the answer is 201, and its own images keep their vectors. `append` in the answer counts what else
    publishing anew would take up. Snapshots that trainings are pinned to stay as they are.
    """
    wanted = await run_in_threadpool(parse, PublishRequest, body, lambda _: None)
    if wanted.append:
        return await run_in_threadpool(_append, request, wiring)
    await run_in_threadpool(representations_of, wiring.settings, wanted.representations)  # or it is refused
    order = PublishOrder(kind="publish", **dict(wanted))
    job = await run_in_threadpool(order_publication, wiring.settings.jobs_folder, order)
    asked = _WAIT.search(prefer)
    wait_s = min(int(asked[1]), _LONGEST_WAIT_S) if asked else 0
    applied = {"Preference-Applied": f"wait={wait_s}"} if asked else {}
    if asked:
        job = await _once_over(job, wait_s)
    if job.state == "done" and job.progress and job.progress.snapshot:
        return await run_in_threadpool(_made, request, wiring, job.progress.snapshot, None, applied)
    return answer(job_out(job, wiring.settings), 202, {"Location": beside(request, f"/jobs/{job.id}"), **applied})


async def _once_over(job: Job, seconds: float) -> Job:
    """The job once it is over, or as it stands after so many seconds."""
    deadline = time.monotonic() + seconds
    while not job.is_over and time.monotonic() < deadline:
        await asyncio.sleep(_LOOKS_EVERY_S)
        job = await run_in_threadpool(read_job, job.folder.parent, job.id)
    return job


@former.post("", dependencies=working("admin"))
def publish_at_once(request: Request, wiring: WiringOf, body: JsonBody) -> Response:
    """As 0.1.0: answers 201 when the snapshot is published."""
    wanted = parse(PublishRequest, body, lambda _: None)
    if wanted.append:
        return _append(request, wiring)
    from kg_service.app.publication import publish_part

    with request.app.state.publishing.take(), _room_on_disk(wiring):
        new_id = publish_part(wiring.store, wiring.vocabulary, wiring.settings, wanted)
    return _made(request, wiring, new_id)


def _append(request: Request, wiring: Wiring) -> Response:
    # Brings libraries that the service need not wait for when it starts.
    from kg_service.snapshot.append import append, with_elsewhere

    with request.app.state.publishing.take(), _room_on_disk(wiring):
        new_id, counts = append(wiring.store, wiring.snapshots)
        counts = with_elsewhere(wiring.store, wiring.snapshots.manifest(new_id), counts)
    return _made(request, wiring, new_id, counts)


def _made(
    request: Request, wiring: Wiring, new_id: str, counts: AppendCounts | None = None, headers: dict[str, str] | None = None
) -> Response:
    location = beside(request, f"/snapshots/{new_id}")
    return answer(_shown(wiring, new_id, counts), 201, {"Location": location, **(headers or {})})


@contextmanager
def _room_on_disk(wiring: Wiring) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritten("the snapshot can't be written", wiring.snapshots.path, error) from error


@router.get(
    "",
    response_model=SnapshotList,
    responses=described(*KEYED, 410, 422),
    dependencies=working("read"),
)
def list_snapshots(wiring: WiringOf, cursor: Cursor = "", limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Response:
    """The snapshots; `current` is the one that is served. Those with a damaged manifest are listed by id alone."""
    held = wiring.snapshots.ids()
    start = _after(held, key_of(cursor)) if cursor else 0
    page, current = held[start : start + limit], wiring.snapshots.current()
    shown, damaged = [], []
    for each in page:
        try:
            manifest = wiring.snapshots.manifest(each)
        except BrokenArtefact as error:
            damaged.append(each)
            _log_damaged(error.message, error.hint)
        except (Gone, NotFound):
            continue  # removed meanwhile
        else:
            shown.append(SnapshotOut(id=each, current=each == current, manifest=on_the_wire(manifest), append=None))
    next_cursor = cursor_of(page[-1]) if len(held) > start + limit else None
    return answer(SnapshotList(snapshots=shown, damaged=damaged, next_cursor=next_cursor))


def _after(held: list[str], last: str) -> int:
    if last not in held:
        raise Gone("the last snapshot of the previous page was removed", hint="start again without a cursor")
    return held.index(last) + 1


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
def get_snapshot(wiring: WiringOf, snapshot_id: SnapshotIdPath) -> Response:
    """The manifest: what it was made from, what it holds, every file's digest."""
    return answer(_shown(wiring, snapshot_id))


@router.delete(
    "/{snapshot_id}",
    status_code=204,
    responses=described(*KEYED, 404, 409, 410, 422),
    dependencies=working("admin"),
)
def delete_snapshot(wiring: WiringOf, snapshot_id: SnapshotIdPath) -> Response:
    """Removes a snapshot from the disk; the current one, and one that another stands on, are answered 409.

    A training run that is pinned to it can't be resumed.
    """
    from kg_service.snapshot.pruning import remove

    remove(wiring.snapshots, snapshot_id)
    return Response(status_code=204)


@router.get(
    "/{snapshot_id}/images",
    response_model=SnapshotImages,
    responses=described(*KEYED, *SNAPSHOT, 404, 422),
    dependencies=working("read"),
)
def list_snapshot_images(
    wiring: WiringOf,
    snapshot_id: SnapshotIdPath,
    cursor: Cursor = "",
    limit: Annotated[int, Query(ge=1, le=1_000, examples=[2])] = 100,
) -> Response:
    """Ids of the images that a snapshot holds, which targets can be asked for. It needs only the snapshot, no graph."""
    snapshot, after = wiring.snapshots.open(snapshot_id), key_of(cursor)
    if after and not _ROW.fullmatch(after):
        raise no_cursor(cursor)
    start = int(after) + 1 if after else 0
    end = min(start + limit, len(snapshot))
    image_ids = [snapshot.image_id(row) for row in range(start, end)]
    return answer(SnapshotImages(image_ids=image_ids, next_cursor=cursor_of(str(end - 1)) if end < len(snapshot) else None))


@router.get(
    "/{snapshot_id}/embeddings",
    response_class=Response,
    responses={
        200: {"content": _CONTENT, "description": "image vectors (safetensors)"},
        304: {"description": "Not Modified"},
        **described(*KEYED, *SNAPSHOT, 404, 422),
    },
    dependencies=working("read"),
)
def get_embeddings(
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
