"""Jobs, which run in the background: bulk ingests of files of any size, and publications."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from nbclip.errors import InvalidInput
from nbclip.schemas.base import WITHOUT_NUL
from nbclip.schemas.jobs import JobList, JobOut
from starlette.concurrency import run_in_threadpool

from kg_service.api.auth import demand, require
from kg_service.api.body import answer
from kg_service.api.cursors import Cursor, cursor_of, key_of, no_cursor
from kg_service.api.dependencies import WiringOf, working
from kg_service.api.paths import beside
from kg_service.api.problems import BODY, KEYED, UnsupportedMediaType, described
from kg_service.api.serving.limits import upload_place
from kg_service.app.own_paths import without_own_paths
from kg_service.app.wiring import Wiring
from kg_service.config import Settings
from kg_service.graph.store import OnConflict
from kg_service.ingest.readers import FIELDS
from kg_service.jobs.model import BodyFormat, IngestOrder, Job, Progress
from kg_service.jobs.receiving import Spooled, receiving
from kg_service.jobs.spool import cancel, newest_jobs, read_job, remove

router = APIRouter(prefix="/jobs", tags=["jobs"])
former = APIRouter(prefix="/jobs", tags=["jobs"])
"""To be included before `router` where paths have no version: what 0.1.0 answered otherwise."""

_TYPES: dict[str, BodyFormat] = {
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
}
_ENCODINGS = {"": False, "identity": False, "gzip": True}
_EXAMPLES = {
    "text/csv": "image_id,caption\nmine/3,Chest X-ray showing a pneumothorax.\n",
    "text/tab-separated-values": "image_id\tcaption\nmine/3\tChest X-ray showing a pneumothorax.\n",
    "application/x-ndjson": '{"image_id": "mine/3", "caption": "Chest X-ray showing a pneumothorax."}\n',
    "application/jsonl": '{"image_id": "mine/3", "caption": "Chest X-ray showing a pneumothorax."}\n',
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}, "example": example}
            for media_type, example in _EXAMPLES.items()
        },
    }
}
JobIdPath = Annotated[str, Path(description="64 hexadecimal digits", examples=["0" * 64])]


@router.post(
    "/ingest",
    status_code=202,
    response_model=JobOut,
    responses=described(*KEYED, *BODY),
    dependencies=[Depends(require("ingest")), Depends(upload_place, scope="function")],
    openapi_extra=_BODY,
)
async def ingest_file(
    request: Request,
    wiring: WiringOf,
    on_conflict: Annotated[
        OnConflict, Query(description="what to do with an image that is stored with different content")
    ] = "reject",
    dataset: Annotated[str | None, Query(max_length=200, pattern=WITHOUT_NUL, description="of rows without one")] = None,
    split: Annotated[str | None, Query(max_length=200, pattern=WITHOUT_NUL, description="of rows without one")] = None,
    relink: Annotated[bool, Query(description="link every caption, even if its row has CUIs")] = False,
    column: Annotated[
        list[str] | None, Query(description="FIELD=COLUMN, such as image_id=ID; caption=findings,impression joins two columns")
    ] = None,
) -> Response:
    """Stores a file of captions, answers, and ingests it in the background; `Location` is the job.

    It accepts NDJSON (one item of `POST /v1/images` per line), CSV and TSV with a header; gzip by Content-Encoding. A table
    without a header, as in ROCO, is `text/tab-separated-values; header=absent`. Bad rows are counted and named by line; the
    others are stored. So are CUIs that the vocabulary lacks, as in `POST /v1/images`. If the service is killed, it continues
    the job by itself. If the most recent body is sent again with the same options, it is the same job until that is done, and
    resumes if it failed or was cancelled; otherwise it is a new job, in which rows that are already stored are `unchanged`.
    """
    order = IngestOrder(
        format=_format_of(request),
        packed=_is_packed(request),
        columns=_columns(column or []),
        dataset=dataset,
        split=split,
        relink=relink,
        on_conflict=on_conflict,
    )
    with receiving(wiring.settings.jobs_folder, order) as spooled:
        await _take_in(request, spooled)
        job = await run_in_threadpool(spooled.keep)
    return answer(job_out(job, wiring.settings), 202, {"Location": beside(request, f"/jobs/{job.id}")})


@router.get("", response_model=JobList, responses=described(*KEYED, 422), dependencies=working("ingest"))
def list_jobs(wiring: WiringOf, cursor: Cursor = "", limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Response:
    """Bulk ingests and publications, the newest first."""
    settings = wiring.settings
    jobs = newest_jobs(settings.jobs_folder, limit + 1, _age_of(cursor))
    next_cursor = cursor_of(" ".join(jobs[limit - 1].age)) if len(jobs) > limit else None
    return answer(JobList(jobs=[job_out(job, settings) for job in jobs[:limit]], next_cursor=next_cursor))


@router.get("/{job_id}", response_model=JobOut, responses=described(*KEYED, 404, 422), dependencies=working("ingest"))
def get_job(wiring: WiringOf, job_id: JobIdPath) -> Response:
    """The progress of a job: for a bulk ingest its counts, rate, time left and first problems; for a publication its stage."""
    return answer(job_out(read_job(wiring.settings.jobs_folder, job_id), wiring.settings))


@router.post("/{job_id}/cancel", response_model=JobOut, responses=described(*KEYED, 404, 422), dependencies=working("ingest"))
def cancel_job(request: Request, wiring: WiringOf, job_id: JobIdPath) -> Response:
    """Ends a bulk ingest after its current transaction, a publication at once; what is stored or published stays.

    A job that has ended stays as it is. To end a publication, a key needs the scope `admin`.
    """
    cancel(_own(request, wiring, job_id))
    return answer(job_out(read_job(wiring.settings.jobs_folder, job_id), wiring.settings))


@router.delete("/{job_id}", status_code=204, responses=described(*KEYED, 404, 409, 422), dependencies=working("ingest"))
def delete_job(request: Request, wiring: WiringOf, job_id: JobIdPath) -> Response:
    """Removes the record of a job that has ended; answers 409 if it is queued or running."""
    remove(_own(request, wiring, job_id))
    return Response(status_code=204)


@former.delete("/{job_id}", dependencies=working("ingest"))
def cancel_by_delete(request: Request, wiring: WiringOf, job_id: JobIdPath) -> Response:
    """As 0.1.0: cancels."""
    return cancel_job(request, wiring, job_id)


def _own(request: Request, wiring: Wiring, job_id: str) -> Job:
    """The job, if the request's key may order such."""
    job = read_job(wiring.settings.jobs_folder, job_id)
    if job.order.kind == "publish":
        demand(request, "admin")
    return job


def _age_of(cursor: str) -> tuple[str, str] | None:
    created_at, _, job_id = key_of(cursor).partition(" ")
    if cursor and not job_id:
        raise no_cursor(cursor)
    return (created_at, job_id) if cursor else None


async def _take_in(request: Request, spooled: Spooled) -> None:
    async for chunk in request.stream():
        await run_in_threadpool(spooled.write, chunk)


def _format_of(request: Request) -> BodyFormat:
    media_type, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    if media_type not in _TYPES:
        raise UnsupportedMediaType(f"Content-Type {media_type!r:.80}", hint=f"send {', '.join(_TYPES)}")
    return "roco" if _TYPES[media_type] == "tsv" and "header=absent" in parameters else _TYPES[media_type]


def _is_packed(request: Request) -> bool:
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise UnsupportedMediaType(f"Content-Encoding {encoding!r:.80}", hint="send it uncompressed or as gzip")
    return _ENCODINGS[encoding]


def _columns(given: list[str]) -> dict[str, str]:
    columns = dict(each.partition("=")[::2] for each in given)
    wrong = [field for field, name in columns.items() if field not in FIELDS or not name]
    if wrong:
        raise InvalidInput(f"column={wrong[0]!r:.80}", hint=f"FIELD=COLUMN; fields are {', '.join(FIELDS)}")
    return columns


def job_out(job: Job, settings: Settings) -> JobOut:
    """What is told of a job."""
    now = job.progress or Progress()
    rows = sum(now.counts.values()) + now.bad_rows
    rate = now.bytes_read / now.seconds if now.seconds else 0
    ingests = job.order.kind == "ingest"
    fraction = now.bytes_read / max(job.bytes_total, 1) if ingests else now.fraction
    return JobOut(
        id=job.id,
        kind=job.order.kind,
        state=job.state,
        created_at=job.created_at,
        fraction=1.0 if job.state == "done" else round(fraction, 4),
        seconds=round(now.seconds, 3),
        eta_seconds=round((job.bytes_total - now.bytes_read) / rate, 1) if rate and job.state == "running" else None,
        error=now.error and without_own_paths(now.error, settings),
        hint=now.hint and without_own_paths(now.hint, settings),
        rows=rows,
        counts=now.counts,
        bad_rows=now.bad_rows,
        problems=list(now.problems),
        unknown_cuis=now.unknown_cuis,
        first_unknown_cuis=list(now.first_unknown_cuis),
        bytes_read=now.bytes_read,
        bytes_total=job.bytes_total,
        rows_per_second=round(rows / now.seconds, 1) if ingests and now.seconds else None,
        stage=now.stage,
        snapshot=now.snapshot,
    )
