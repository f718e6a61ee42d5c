"""The web application: middleware, routes, and the wiring they stand on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version

import structlog
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from kg_service.api.auth import Guard
from kg_service.api.head_requests import HeadAsGet
from kg_service.api.openapi import schema_of
from kg_service.api.paths import API, UnderPrefix
from kg_service.api.problems import handle_errors
from kg_service.api.routes import (
    concepts,
    explain,
    images,
    jobs,
    link,
    neighbours,
    page,
    representations,
    root,
    service,
    snapshots,
    targets,
    thumbnails,
)
from kg_service.api.routes.neo4j_browser import neo4j_browser
from kg_service.api.serving import metrics
from kg_service.api.serving.http1 import METRICS
from kg_service.api.serving.limits import Gate, Places
from kg_service.api.serving.request_log import RequestLog
from kg_service.api.serving.standing import Standing
from kg_service.api.work_route import Shortcut
from kg_service.app.sweep import sweep
from kg_service.app.upkeep import Upkeep
from kg_service.app.wiring import Wiring
from kg_service.config import Settings
from kg_service.errors import MissingPart

_DESCRIPTION = """
Captions to UMLS concepts, to a graph, to soft targets: `POST /v1/images`, then `POST /v1/snapshots`, then `POST /v1/targets`.
Every error is `application/problem+json` with a stable `type`, a `hint` and the request id.
A request with a field that this version does not know is refused. Answers may gain fields, which clients must ignore.
Paths without `/v1` are aliases of the newest version.
"""


def create_app(settings: Settings) -> FastAPI:
    """The service over the data folder that the settings name; nothing is opened before it starts."""
    app = FastAPI(
        title="NB-CLIP knowledge graph service",
        version=version("nbclip-kg-service"),
        description=_DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,
        root_path=settings.root_path,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.settings = settings
    app.state.wiring = Wiring(settings, first_bytes=settings.verify_first_bytes)
    app.state.metrics = metrics.Metrics(app.state.wiring.snapshots.unverified_bytes)
    app.state.guard = Guard(settings)
    app.state.places = Places(settings.max_concurrent, "requests")
    app.state.graph_places = Places(settings.max_graph_requests, "requests to the graph")
    app.state.probes = Places(4, "probes")
    app.state.uploads = Places(4, "uploads")
    app.state.cells = Places(2 * settings.max_cells, "matrix cells")
    app.state.publishing = Places(1, "publications")
    app.state.stopping = False
    app.state.upkeep_failure = app.state.upkeep_trouble = _no_failure
    app.state.metrics.registry.register(Standing(app.state.wiring, app.state))
    _include_routes(app)
    handle_errors(app)
    app.openapi = schema_of(app)  # type: ignore[method-assign]
    app.add_middleware(Shortcut, routes=(*targets.router.routes, *representations.router.routes), prefixes=(f"/{API}", ""))
    app.add_middleware(HeadAsGet)
    app.add_middleware(Gate, settings=settings)
    app.add_middleware(RequestLog, metrics=app.state.metrics, settings=settings)
    app.add_middleware(UnderPrefix)
    return app


def _include_routes(app: FastAPI) -> None:
    """Each route as `/v1/…`, and without a version, as 0.1.0 had it."""
    # Looked through in this order: what each training step asks comes first, neighbours and thumbnails before images,
    # whose paths take slashes.
    for room in (targets, representations, neighbours, thumbnails, images, jobs, link, concepts, explain, snapshots, service):
        app.include_router(room.router, prefix=f"/{API}")
        if room in (jobs, snapshots):
            app.include_router(room.former, include_in_schema=False)
        app.include_router(room.router, include_in_schema=False)
    for router in (service.probes, metrics.router, page.router, root.router):
        app.include_router(router)
    app.mount("/neo4j-browser", neo4j_browser())


def _no_failure() -> str | None:
    """Nothing is known to be wrong with upkeep."""
    return None


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, metrics.Metrics]]:
    wiring: Wiring = app.state.wiring
    if not wiring.settings.read_only:
        await run_in_threadpool(sweep, wiring.settings)
    # Without asking the store, which may keep us waiting, and without the linker, whose libraries take a second: targets need
    # neither, readiness asks both.
    for name, error in (await run_in_threadpool(wiring.local_failures)).items():
        if name == "snapshot" and wiring.settings.read_only and isinstance(error, MissingPart):
            where = str(wiring.snapshots.path.absolute())
            structlog.get_logger().warning("no snapshot yet", folder=where, hint="served once the writer has published one there")
        else:
            structlog.get_logger().warning("not ready", part=name, reason=str(error))
    async with _upkeep(app, wiring.settings):
        yield {METRICS: app.state.metrics}
    wiring.close()


@asynccontextmanager
async def _upkeep(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """What the service does by itself during the block, which is nothing if it only reads."""
    if settings.read_only:
        yield
        return
    upkeep = Upkeep(settings)
    app.state.upkeep_failure, app.state.upkeep_trouble = upkeep.failure, upkeep.trouble
    upkeep.start()
    yield
    await run_in_threadpool(upkeep.close)
