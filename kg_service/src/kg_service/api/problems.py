"""Every error as problem+json (RFC 9457): a stable type, what and where, a hint, the request id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from nbclip.errors import Busy, InvalidInput, LimitExceeded, NBClipError, Unauthorized, Unavailable
from nbclip.schemas.base import message_of
from nbclip.schemas.service import AbilityOut, NotReadyProblem, Problem
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from kg_service.app.own_paths import without_own_paths
from kg_service.config import Settings

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:nbclip:problem:"
_RETRY_AFTER_S = "1"
_ERRORS_AT_MOST = 20
_NOT_READY_FOR_GOOD = "Not ready, and not by waiting"

KEYED = (400, 401, 403, 429, 503)
"""What every route that needs a key may answer."""
BODY = (408, 413, 415, 422)
"""What every route with a body may answer besides."""
SNAPSHOT = (409, 410, 501)
"""What every route that reads a snapshot may answer besides: another version made it, it is not held, an extra is missing."""
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class NotAcceptable(InvalidInput):
    """406: the client accepts no form of the answer."""

    code, title, status = "not-acceptable", "No acceptable form of the answer", 406


class UnsupportedMediaType(InvalidInput):
    """415: the body has an unsupported type."""

    code, title, status = "unsupported-media-type", "Unsupported content type", 415


class BodyTooLarge(LimitExceeded):
    """413: the body is too large."""


class BodyTimeout(InvalidInput):
    """408: the body did not arrive in time."""

    code, title, status = "body-timeout", "The body did not arrive in time", 408


class InvalidHost(InvalidInput):
    """400: the Host header names something else."""

    code, title, status = "invalid-host", "Not a host of this service", 400


class InvalidBody(InvalidInput):
    """422: the body or a parameter is not what the schema says; `errors` says where."""

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        first = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"{first['where']}: {first['message']}{more}", hint="/docs has the schema and examples")
        self.errors = [dict(error) for error in errors[:_ERRORS_AT_MOST]]


class NotReady(Unavailable):
    """503: what was asked for lacks these parts. `errors` names all that can't be used now, `can` what can be done.

    Args:
        errors: part and message of each.
        lacking: the parts that were asked for.
        can: what can be done, and why other things can't.
        for_good: the way out where waiting is none; empty where it may be.
    """

    def __init__(
        self,
        errors: Sequence[Mapping[str, str]],
        lacking: Sequence[str],
        can: Mapping[str, AbilityOut] | None = None,
        for_good: str = "",
    ) -> None:
        super().__init__(f"not ready: {', '.join(lacking)}", hint=for_good or "kg-service doctor says what to do")
        self.waiting_helps = not for_good
        self.errors = [dict(error) for error in errors]
        self.can = dict(can or {})


def invalid_body(error: ValidationError | RequestValidationError, place: str = "") -> InvalidBody:
    """The places and messages of a validation error, without the values: they may be anything, NaN and surrogates included."""
    return InvalidBody(
        [
            {"where": ".".join(str(part) for part in (place, *each["loc"]) if part != ""), "message": message_of(each)}
            for each in error.errors()[: _ERRORS_AT_MOST + 1]
        ]
    )


def problem(error: NBClipError, request_id: str, settings: Settings) -> Response:
    """The answer that an error becomes. One of the service itself names files without the folders that they are in, and the log
    has these."""
    body = Problem(
        type=_TYPE + error.code,
        title=error.title if _waiting_helps(error) else _NOT_READY_FOR_GOOD,
        status=error.status,
        detail=error.message,
        hint=error.hint,
        request_id=request_id,
        errors=getattr(error, "errors", []),
    )
    if isinstance(error, NotReady):
        body = NotReadyProblem(**dict(body), can=error.can)
    if error.status >= 500:
        body = _without_own_paths(body, settings)
    headers = {}
    if isinstance(error, Busy | Unavailable) and _waiting_helps(error):
        headers["Retry-After"] = _RETRY_AFTER_S
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, BodyTooLarge | BodyTimeout):
        headers["Connection"] = "close"
    return Response(body.model_dump_json(), error.status, headers, MEDIA_TYPE)


def _waiting_helps(error: NBClipError) -> bool:
    return not isinstance(error, NotReady) or error.waiting_helps


def _without_own_paths(body: Problem, settings: Settings) -> Problem:
    told = body.model_copy(
        update={
            "detail": without_own_paths(body.detail, settings),
            "hint": without_own_paths(body.hint, settings),
            "errors": [each.model_copy(update={"message": without_own_paths(each.message, settings)}) for each in body.errors],
        }
    )
    if told != body:
        structlog.get_logger().warning(
            "problem", detail=body.detail, hint=body.hint, parts=[f"{each.where}: {each.message}" for each in body.errors]
        )
    return told


def internal_problem(request_id: str, settings: Settings) -> Response:
    """A 500 without details: the log has them under the request id."""
    return problem(NBClipError("unexpected error", hint="the service's log has it under this request id"), request_id, settings)


def handle_errors(app: FastAPI) -> None:
    """Makes problems of the errors that routes raise and of those of the framework."""
    for kind in (NBClipError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    request_id, settings = request.state.request_id, request.app.state.settings
    match error:
        case NBClipError():
            return problem(error, request_id, settings)
        case RequestValidationError():
            return problem(invalid_body(error), request_id, settings)
        case HTTPException():
            return _of_framework(error, request)
    raise error


def _of_framework(error: HTTPException, request: Request) -> Response:
    """No such route (404), or not by this method (405)."""
    status, headers = HTTPStatus(error.status_code), dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request) or [headers.get("Allow", "")])
    body = Problem(
        type=_TYPE + status.phrase.lower().replace(" ", "-"),
        title=status.phrase,
        status=status,
        detail=f"{request.method} {request.url.path!r:.200}: {error.detail}",
        hint="/docs lists the routes",
        request_id=request.state.request_id,
    )
    return Response(body.model_dump_json(), error.status_code, headers, MEDIA_TYPE)


def _allowed(request: Request) -> list[str]:
    """Methods of this path: of all its routes, while the framework names those of the first one."""
    routes, scope = request.app.router.routes, dict(request.scope)
    found = [each for each in _METHODS if any(route.matches({**scope, "method": each})[0] == Match.FULL for route in routes)]
    return [*found, "HEAD"] if "GET" in found else found


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI of problems with these statuses and 500, for `responses=`."""
    content = problem_content(Problem)
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in sorted({*statuses, 500})}


def problem_content(model: type[Problem]) -> dict[str, Any]:
    """OpenAPI of the content of problems of this form."""
    return {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
