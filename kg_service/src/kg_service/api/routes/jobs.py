"""Bulk ingests: a file of captions of any size, kept first and worked on behind."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from nbclip.errors import InvalidInput
from nbclip.schemas.base import WITHOUT_NUL
from nbclip.schemas.jobs import JobList, JobOut
from starlette.concurrency import run_in_threadpool

from kg_service.api.auth import require
from kg_service.api.body import answer
from kg_service.api.dependencies import WiringOf, working
from kg_service.api.problems import BODY, KEYED, UnsupportedMediaType, described
from kg_service.api.serving.limits import upload_place
from kg_service.app.own_paths import without_own_paths
from kg_service.config import Settings
from kg_service.graph.store import OnConflict
from kg_service.ingest.readers import ALIASES, Format
from kg_service.jobs.spool import Job, Order, Progress, Spooled, all_jobs, cancel, read_job, receiving

router = APIRouter(prefix="/jobs", tags=["jobs"])

_TYPES: dict[str, Format] = {
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
}
_ENCODINGS = {"": False, "identity": False, "gzip": True}
_SHOWN = 100
_BODY = {
    "requestBody": {
        "required": True,
        "content": {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in _TYPES},
    }
}
JobIdPath = Annotated[str, Path(description="64 hexadecimal digits")]


@router.post(
    "/ingest",
    status_code=202,
    response_model=JobOut,
    responses=described(*KEYED, *BODY),
    dependencies=[Depends(require("ingest")), Depends(upload_place, scope="function")],
    openapi_extra=_BODY,
)
async def submit(
    request: Request,
    wiring: WiringOf,
    on_conflict: Annotated[OnConflict, Query(description="what happens to an image stored with other content")] = "reject",
    dataset: Annotated[str | None, Query(max_length=200, pattern=WITHOUT_NUL, description="of rows that name none")] = None,
    split: Annotated[str | None, Query(max_length=200, pattern=WITHOUT_NUL, description="of rows that name none")] = None,
    relink: Annotated[bool, Query(description="link all captions, of rows that bring CUIs too")] = False,
    column: Annotated[list[str] | None, Query(description="FIELD=COLUMN of a table, such as image_id=ID")] = None,
) -> Response:
    """Keeps a file of captions on disk, answers, and ingests it behind: `GET` what Location names.

    NDJSON (one item of `POST /images` a line), CSV or TSV with a header; gzip by Content-Encoding. A table without header as ROCO
    has it is `text/tab-separated-values; header=absent`. Bad rows are counted and named by line, and end nothing. A service that
    is killed goes on by itself. The body that came last, sent again with the same options, is the same job until it is done, and
    goes on if it failed or was cancelled; otherwise it is a new job, whose rows are `unchanged` where they are stored.
    """
    order = Order(
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
    return answer(_shown(job, wiring.settings), 202, {"Location": f"/jobs/{job.id}"})


@router.get("", response_model=JobList, responses=described(*KEYED), dependencies=working("ingest"))
def list_all(wiring: WiringOf) -> Response:
    """The newest 100 bulk ingests."""
    return answer(
        JobList(jobs=[_shown(job, wiring.settings) for job in reversed(all_jobs(wiring.settings.jobs_folder)[-_SHOWN:])])
    )


@router.get("/{job_id}", response_model=JobOut, responses=described(*KEYED, 404, 422), dependencies=working("ingest"))
def show(wiring: WiringOf, job_id: JobIdPath) -> Response:
    """How far a bulk ingest is: counts, rate, what is left, the first problems."""
    return answer(_shown(read_job(wiring.settings.jobs_folder, job_id), wiring.settings))


@router.delete("/{job_id}", response_model=JobOut, responses=described(*KEYED, 404, 422), dependencies=working("ingest"))
def stop(wiring: WiringOf, job_id: JobIdPath) -> Response:
    """Ends a bulk ingest after the transaction it is in; what is stored stays. One that has ended stays as it is."""
    cancel(read_job(wiring.settings.jobs_folder, job_id))
    return answer(_shown(read_job(wiring.settings.jobs_folder, job_id), wiring.settings))


async def _take_in(request: Request, spooled: Spooled) -> None:
    async for chunk in request.stream():
        await run_in_threadpool(spooled.write, chunk)


def _format_of(request: Request) -> Format:
    media_type, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    if media_type not in _TYPES:
        raise UnsupportedMediaType(f"Content-Type {media_type!r:.80}", hint=f"send {', '.join(_TYPES)}")
    return "roco" if _TYPES[media_type] == "tsv" and "header=absent" in parameters else _TYPES[media_type]


def _is_packed(request: Request) -> bool:
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise UnsupportedMediaType(f"Content-Encoding {encoding!r:.80}", hint="send it plain or gzip")
    return _ENCODINGS[encoding]


def _columns(given: list[str]) -> dict[str, str]:
    columns = dict(each.partition("=")[::2] for each in given)
    wrong = [field for field, name in columns.items() if field not in ALIASES or not name]
    if wrong:
        raise InvalidInput(f"column={wrong[0]!r:.80}", hint=f"FIELD=COLUMN; fields are {', '.join(ALIASES)}")
    return columns


def _shown(job: Job, settings: Settings) -> JobOut:
    now = job.progress or Progress()
    rows = sum(now.counts.values()) + now.bad_rows
    rate = now.bytes_read / now.seconds if now.seconds else 0
    return JobOut(
        id=job.id,
        state=job.state,
        created_at=job.created_at,
        rows=rows,
        counts=now.counts,
        bad_rows=now.bad_rows,
        problems=list(now.problems),
        bytes_read=now.bytes_read,
        bytes_total=job.bytes_total,
        seconds=round(now.seconds, 3),
        rows_per_second=round(rows / now.seconds, 1) if now.seconds else None,
        eta_seconds=round((job.bytes_total - now.bytes_read) / rate, 1) if rate and job.state == "running" else None,
        error=now.error and without_own_paths(now.error, settings),
        hint=now.hint and without_own_paths(now.hint, settings),
    )
