"""Whether it lives, which work it can take, what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from nbclip.errors import Busy, NBClipError, Unavailable
from nbclip.schemas.service import Ability, Info, Live, NotReadyProblem, Readiness

from kg_service.api.auth import require
from kg_service.api.body import answer
from kg_service.api.dependencies import WiringOf
from kg_service.api.paths import API
from kg_service.api.problems import KEYED, NotReady, described, problem_content
from kg_service.app.own_paths import without_own_paths
from kg_service.app.readiness import ABILITIES, abilities, asked_by_default, failures, needed
from kg_service.app.wiring import Wiring
from kg_service.config import Settings
from kg_service.errors import ReadOnly

_NOT_READY = {"description": "Service Unavailable", "content": problem_content(NotReadyProblem)}

probes = APIRouter(tags=["service"])
router = APIRouter(tags=["service"])


@probes.get("/livez", response_model=Live, responses=described(400))
async def livez() -> Live:
    """The process is up."""
    return Live(status="ok")


@probes.get("/readyz", response_model=Readiness, responses={**described(400, 422), 503: _NOT_READY})
def readyz(
    request: Request,
    wiring: WiringOf,
    wanted: Annotated[
        list[Ability] | None,
        Query(
            alias="for",
            description="answer 503 unless all of these can be done, such as `targets`; default: `ingest`, "
            "of a service that only reads `targets`",
        ),
    ] = None,
) -> Response:
    """Which work the service can take: `can` says for each kind whether it is ready and, if not, why. A 503 has
    `can`, too, and names the parts that can't be used.

    Without `for`, it is ready once captions can be sent, because everything begins with them; one that only reads
    (`KG_READ_ONLY`), once targets can be. If you need targets, ask with `?for=targets`: a snapshot is enough, and they are served
    while the graph store is away.

    `degraded`: the snapshot that was published last is damaged, and a former one is served; or upkeep, such as an append, fails.
    `unverified_bytes`: so many bytes of large files of snapshots are still to be verified, while they are served.
    """
    if request.app.state.stopping:
        raise NotReady([{"where": "service", "message": "stopping"}], ["service"])
    asked = tuple(dict.fromkeys(wanted or ABILITIES))
    failed = _failures(request, wiring, needed(asked))
    can = abilities(asked, failed, wiring.settings)
    demanded = wanted or asked_by_default(wiring.settings)
    if not all(can[each].ready for each in demanded):
        lacking = [part for part in needed(demanded) if part in failed]
        raise NotReady(_errors(failed), lacking, can, for_good=_way_out([failed[part] for part in lacking]))
    degraded = "; ".join(
        filter(None, (_degraded(wiring) if "targets" in can and can["targets"].ready else None, _trouble(request)))
    )
    ready = Readiness(status="ready", can=can, degraded=degraded or None, unverified_bytes=wiring.snapshots.unverified_bytes())
    return Response(ready.model_dump_json(exclude_defaults=True), media_type="application/json")


def _errors(failed: Mapping[str, NBClipError]) -> list[dict[str, str]]:
    """Each part and why it can't be used; all that a replica refuses for one reason are one."""
    parts: dict[tuple[str, str], list[str]] = {}
    for part, error in failed.items():
        parts.setdefault((str(error), "" if isinstance(error, ReadOnly) else part), []).append(part)
    return [{"where": ", ".join(alike), "message": reason} for (reason, _), alike in parts.items()]


def _way_out(errors: Sequence[NBClipError]) -> str:
    """What to do where it is this service's to refuse, so that waiting doesn't help; else empty."""
    return next((error.hint for error in errors if isinstance(error, ReadOnly)), "")


def _failures(request: Request, wiring: Wiring, parts: list[str]) -> dict[str, NBClipError]:
    checks = {
        **wiring.checks(),
        "keys": request.app.state.guard.check,
        "store": lambda: _ask_store(request, wiring),
        "upkeep": lambda: _ask_upkeep(request),
    }
    return failures(checks, parts)


def _ask_store(request: Request, wiring: Wiring) -> None:
    try:
        with request.app.state.probes.take():
            wiring.store.check()
    except Busy as error:
        raise Unavailable("earlier probes are still waiting for it", hint="check the graph store") from error


def _ask_upkeep(request: Request) -> None:
    reason = request.app.state.upkeep_failure()
    if reason:
        raise Unavailable(f"jobs are not being processed: {reason}", hint="the service's log says why")


def _trouble(request: Request) -> str | None:
    trouble: str | None = request.app.state.upkeep_trouble()
    return without_own_paths(trouble, request.app.state.wiring.settings) if trouble else None


def _degraded(wiring: Wiring) -> str | None:
    current, last = wiring.snapshots.current(), wiring.snapshots.published_last()
    return None if current == last else f"snapshot {last} is damaged, {current} is served"


@router.get(
    "/info",
    response_model=Info,
    responses=described(*KEYED),
    dependencies=[Depends(require("read"))],
)
def info(request: Request, wiring: WiringOf) -> Response:
    """Versions, limits and counts, for clients. What targets don't need is left empty where it is not there: vocabulary, linker,
    counts."""
    settings = wiring.settings
    scheme, separator, _ = settings.store_url.partition("://")
    return answer(
        Info(
            name="nbclip-kg-service",
            version=request.app.version,
            api=API,
            vocabulary=_vocabulary(wiring),
            store=scheme if separator else "embedded",
            linker=_linker(wiring),
            snapshot=wiring.snapshots.current(),
            limits=limits(settings),
            counts=_counts(request, wiring),
            thumbnails=settings.images is not None,
        )
    )


def _vocabulary(wiring: Wiring) -> dict[str, str]:
    try:
        return wiring.vocabulary.describe()
    except NBClipError:
        return {}


def _linker(wiring: Wiring) -> str:
    try:
        return wiring.linker.name
    except NBClipError:
        return ""


def _counts(request: Request, wiring: Wiring) -> dict[str, int]:
    """Counts of the graph; empty while the store does not answer, since targets don't need it."""
    try:
        with request.app.state.graph_places.take():
            return wiring.store.counts().by_kind()
    except (Busy, Unavailable, ReadOnly):
        return {}


def limits(settings: Settings) -> dict[str, int]:
    """The limits that clients meet."""
    names = (
        "max_rows",
        "max_columns",
        "max_cells",
        "max_json_cells",
        "max_items",
        "max_body_bytes",
        "max_concurrent",
        "max_graph_requests",
    )
    return {name: getattr(settings, name) for name in names}
