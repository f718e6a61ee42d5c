"""Prometheus metrics: requests by route, method and status, how long they took, the process, and what `standing.py` looks up."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Depends, Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector, generate_latest
from starlette.responses import PlainTextResponse

from kg_service.api.auth import require
from kg_service.api.negotiation import text_of
from kg_service.api.problems import KEYED, described

router = APIRouter(tags=["service"])

UNKNOWN = "unknown"
"""The route or method of what has none: a path itself may hold anything."""
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Of one app, in a registry of its own.

    Args:
        unverified_bytes: says how many bytes of opened snapshots are still to be verified.
    """

    def __init__(self, unverified_bytes: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        labels = ("handler", "method", "status")
        self._requests = Counter("http_requests", "Requests by route, method and status.", labels, registry=self.registry)
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Seconds from the request to the end of its answer, by route and method.",
            ("handler", "method"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        unverified = Gauge(
            "snapshot_unverified_bytes", "Bytes of served snapshots that are still to be verified.", registry=self.registry
        )
        unverified.set_function(unverified_bytes)
        self._target_rows = Counter("target_rows", "Rows of targets or similarities that were answered.", registry=self.registry)

    def note(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts a request that was answered."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def note_target_rows(self, count: int) -> None:
        """Counts rows of a matrix that is answered."""
        self._target_rows.inc(count)

    def note_refusal(self, status: int) -> None:
        """Counts the refusal of what has no route, method or beginning: what is no request, or a connection too many."""
        self._requests.labels(UNKNOWN, UNKNOWN, str(status)).inc()


_FORM = text_of(
    "text/plain",
    "Prometheus' text form: HELP and TYPE of each metric, and a line for each set of labels",
    '# TYPE http_requests_total counter\nhttp_requests_total{handler="/v1/targets",method="POST",status="200"} 12.0\n',
)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: _FORM, **described(*KEYED)},
    dependencies=[Depends(require("read"))],
)
def metrics(request: Request) -> PlainTextResponse:
    """Metrics in the text format of Prometheus."""
    held: Metrics = request.app.state.metrics
    return PlainTextResponse(generate_latest(held.registry))
