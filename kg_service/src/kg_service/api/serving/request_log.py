"""One log line and one count for each request, its id in and out, and a last resort for unexpected errors."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from contextlib import AbstractContextManager, nullcontext

import structlog
from nbclip.errors import NBClipError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kg_service.api.problems import internal_problem, problem
from kg_service.api.serving.metrics import UNKNOWN, Metrics
from kg_service.config import Settings
from kg_service.tracing import Attributes, answering

REQUEST_ID = "X-Request-ID"
_USABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = ("/livez", "/readyz", "/metrics")
_DISCONNECTED = 499
_log = structlog.get_logger()


class RequestLog:
    """ASGI middleware around all others: gives a request its id, logs and counts it by route, never by ids, captions, keys."""

    def __init__(self, app: ASGIApp, metrics: Metrics, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers in every case, and logs it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id), _traced(scope) as told:
            try:
                await self._app(scope, receive, send_with_id)
            except ClientDisconnect:
                status = _DISCONNECTED
            except NBClipError as error:
                await problem(error, request_id, self._settings)(scope, receive, send_with_id)
            except Exception:
                _log.exception("unexpected error", route=_route(scope))
                if status:
                    raise
                await internal_problem(request_id, self._settings)(scope, receive, send_with_id)
            finally:
                seconds = time.perf_counter() - started
                # What was sent last leaves when the loop turns: the client need not wait for the log.
                await asyncio.sleep(0)
                _log_line(scope, status, seconds)
                told |= _attributes(scope, status)
                self._metrics.note(_route(scope), scope["method"], status, seconds)


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID, "")
    return given if _USABLE_ID.fullmatch(given) else uuid.uuid4().hex


def _route(scope: Scope) -> str:
    """The path's template, or `unknown`."""
    return str(getattr(scope.get("route"), "path", UNKNOWN))


def _traced(scope: Scope) -> AbstractContextManager[Attributes]:
    return nullcontext({}) if scope["path"] in _QUIET else answering(Headers(scope=scope))


def _attributes(scope: Scope, status: int) -> Attributes:
    """By the names of OpenTelemetry's semantic conventions."""
    method = {"http.request.method": scope["method"], "http.route": _route(scope), "http.response.status_code": status}
    return {**method, "nbclip.request_id": scope["state"]["request_id"]}


def note_refusal(metrics: Metrics | None, request_id: str, status: int) -> None:
    """Logs and counts a refusal by the connection, before there is a request."""
    _log.info("request", request_id=request_id, method=UNKNOWN, route=UNKNOWN, status=status)
    if metrics is not None:
        metrics.note_refusal(status)


def _log_line(scope: Scope, status: int, seconds: float) -> None:
    route = _route(scope)
    log = _log.debug if route in _QUIET and status < 400 else _log.info
    log(
        "request",
        method=scope["method"],
        route=route,
        status=status,
        ms=round(1_000 * seconds, 1),
        key=scope["state"].get("key_name"),
    )
