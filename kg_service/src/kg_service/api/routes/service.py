"""Whether it lives, whether it is ready, what it is."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Depends, Request, Response
from nbclip.errors import Busy, Unavailable
from nbclip.schemas.service import Info

from kg_service.api.auth import require
from kg_service.api.body import answer
from kg_service.api.dependencies import WiringOf
from kg_service.api.problems import KEYED, NotReady, described
from kg_service.app.wiring import Wiring
from kg_service.config import Settings

router = APIRouter(tags=["service"])


@router.get("/livez", responses=described(400))
async def livez() -> dict[str, str]:
    """The process is up."""
    return {"status": "ok"}


@router.get("/readyz", responses=described(400, 503))
def readyz(request: Request, wiring: WiringOf) -> dict[str, str]:
    """Store, vocabulary, linker and a snapshot can be used; the answer 503 names those that can't, and why.

    `degraded`: the snapshot that was published last is damaged, and a former one is served.
    """
    if request.app.state.stopping:
        raise NotReady([{"where": "service", "message": "stopping"}])
    try:
        with request.app.state.probes.take():
            failures = wiring.failures()
    except Busy as error:
        raise NotReady([{"where": "store", "message": "earlier probes still wait for it"}]) from error
    if failures:
        raise NotReady([{"where": name, "message": str(error)} for name, error in failures.items()])
    current, last = wiring.snapshots.current(), wiring.snapshots.published_last()
    if current != last:
        return {"status": "ready", "degraded": f"snapshot {last} is damaged, {current} is served"}
    return {"status": "ready"}


@router.get(
    "/info",
    response_model=Info,
    responses=described(*KEYED),
    dependencies=[Depends(require("read"))],
)
def info(request: Request, wiring: WiringOf) -> Response:
    """Versions, limits, counts: what a client needs to fit in."""
    settings = wiring.settings
    scheme, separator, _ = settings.store_url.partition("://")
    return answer(
        Info(
            name="nbclip-kg-service",
            version=request.app.version,
            vocabulary=wiring.vocabulary.describe(),
            store=scheme if separator else "embedded",
            linker=wiring.linker.name,
            snapshot=wiring.snapshots.current(),
            limits=limits(settings),
            counts=_counts(request, wiring),
        )
    )


def _counts(request: Request, wiring: Wiring) -> dict[str, int]:
    """Of the graph; empty while the store does not answer, which a client of targets need not care for."""
    try:
        with request.app.state.graph_places.take():
            return asdict(wiring.store.counts())
    except (Busy, Unavailable):
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
