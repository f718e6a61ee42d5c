"""What routes ask for: the wiring, and the scope and work place that they need."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from kg_service.api.auth import require
from kg_service.api.serving.limits import graph_place, work_place
from kg_service.app.keys import Scope
from kg_service.app.wiring import Wiring


async def _wiring(request: Request) -> Wiring:
    wiring: Wiring = request.app.state.wiring
    return wiring


WiringOf = Annotated[Wiring, Depends(_wiring)]


def working(scope: Scope) -> list[Any]:
    """Dependencies of a route that works: first the key, then a work place, held until the client has taken the answer."""
    return [Depends(require(scope)), Depends(work_place, scope="request")]


def asking_graph(scope: Scope) -> list[Any]:
    """As `working`, for a route that asks the graph store: a store that hangs holds up these routes alone."""
    return [*working(scope), Depends(graph_place, scope="function")]
