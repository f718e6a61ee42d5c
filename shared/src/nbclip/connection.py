"""A connection to a kg-service: asks until it answers, and turns its refusals into the errors they stand for."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any, TypeVar

import httpx2
import tenacity
from pydantic import BaseModel, ValidationError

from nbclip import codec, errors
from nbclip.errors import InvalidInput, NBClipError, NotFound, ServiceAway
from nbclip.schemas.service import Problem

KEY_VARIABLE = "NBCLIP_SERVICE_KEY"
_VERSION = "/v1"
"""What paths of this version begin with; those of 0.1.0 had no version."""
_LONGEST_PAUSE = 30.0
_PATIENCE_AT_START = 30.0
_SECONDS_BETWEEN_WARNINGS = 10.0
_BUSY = frozenset({429, 500, 502, 503, 504})
_REFUSALS = (
    errors.InvalidInput,
    errors.InvalidId,
    errors.UnknownImages,
    errors.Unauthorized,
    errors.Forbidden,
    errors.NotFound,
    errors.Gone,
    errors.Conflict,
    errors.LimitExceeded,
)
_BY_CODE: dict[str, type[NBClipError]] = {f"urn:nbclip:problem:{kind.code}": kind for kind in _REFUSALS}
_BY_STATUS: dict[int, type[NBClipError]] = {kind.status: kind for kind in reversed(_REFUSALS)}
_log = logging.getLogger(__name__)
Parsed = TypeVar("Parsed", bound=BaseModel)


class _Greeting(BaseModel):
    """What decides how to go on, of the answer to `GET /v1/info`."""

    version: str
    snapshot: str | None


class _Busy(Exception):
    """The service answered that it can't now; `pause` is its Retry-After in seconds, if it gave one, `hint` its way out."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status, said = response.status_code, _problem(response)
        super().__init__(f"status {self.status}: {said.detail or said.title}" if said else f"status {self.status}")
        self.hint = said.hint if said else ""
        after = response.headers.get("retry-after", "")
        self.pause = min(float(after), _LONGEST_PAUSE) if after.isdigit() else None


class Connection:
    """An open connection, of which `close` lets go. Threads may share it.

    Args:
        url: the service's address.
        key: the bearer key; None: that of the variable NBCLIP_SERVICE_KEY, if it is set.
        give_up_after: seconds for which a question is repeated; the first one for half a minute at most, as a service that
            never was there is more likely a wrong address than one that restarts.

    Attributes:
        current: id of the snapshot that was current when the connection was made; None where there was none.

    Raises:
        InvalidInput: no URL of HTTP, or what answers there is no kg-service.
        ServiceAway: no answer.
        NBClipError: the service refuses.
    """

    def __init__(self, url: str, key: str | None, give_up_after: float) -> None:
        self._prefix, self._version = "", "unknown"
        self._warned = -_SECONDS_BETWEEN_WARNINGS
        self._patience = min(give_up_after, _PATIENCE_AT_START)
        with ExitStack() as undo:
            self._client = undo.enter_context(_client(url, key))
            greeting = self._greeted()
            undo.pop_all()
        self._version, self.current = greeting.version, greeting.snapshot
        self._patience = give_up_after

    def _greeted(self) -> _Greeting:
        """What the service says of itself, by the paths of this version where it has them; 0.1.0 has the bare ones alone."""
        self._prefix = _VERSION
        try:
            return self.read(_Greeting, "/info")
        except NotFound:
            self._prefix = ""
            return self.read(_Greeting, "/info")

    @property
    def url(self) -> str:
        """The service's address."""
        return str(self._client.base_url)

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def read(self, kind: type[Parsed], path: str, body: dict[str, Any] | None = None) -> Parsed:
        """The answer to `GET path`, or to `POST path` of a body; raises as `post`, and InvalidInput for one of another kind."""
        response = self._ask("GET" if body is None else "POST", path, body)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            what = " ".join(f"{part}" for part in error.errors()[0]["loc"]) or "body"
            message = f"{response.url} is not an answer of a kg-service: {what}: {error.errors()[0]['msg']}"
            raise InvalidInput(message, hint="check the URL, and that both programs have the same version") from error

    def post(self, path: str, body: dict[str, Any]) -> bytes:
        """The answer's body to `POST path`.

        Raises:
            ServiceAway: no answer within `give_up_after`.
            NBClipError: the service refuses.
        """
        return self._ask("POST", path, body).content

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx2.Response:
        started, path = time.monotonic(), f"{self._prefix}{path}"

        def passes(error: BaseException) -> bool:
            if not isinstance(error, _Busy | httpx2.TransportError):
                return False
            self._warn(error, time.monotonic() - started)
            return True

        retry, stop = tenacity.retry_if_exception(passes), tenacity.stop_after_delay(self._patience)
        try:
            return tenacity.Retrying(wait=_pause, stop=stop, retry=retry, reraise=True)(self._ask_once, method, path, body)
        except (_Busy, httpx2.TransportError) as error:
            raise self._away(error, f"{method} {path}", time.monotonic() - started) from error

    def _ask_once(self, method: str, path: str, body: dict[str, Any] | None) -> httpx2.Response:
        if self._client.is_closed:
            raise InvalidInput(f"the connection to {self.url} is closed", hint="make a new Service, and use it inside its `with`")
        response = self._client.request(method, path, json=body, headers=_trace_of_caller())
        if response.status_code in _BUSY:
            raise _Busy(response)
        if not response.is_success:
            raise _refusal(response)
        return response

    def _away(self, error: Exception, asked: str, waited: float) -> ServiceAway:
        service = f"{self.url} (kg-service {self._version})"
        if isinstance(error, _Busy) and error.status == httpx2.codes.INTERNAL_SERVER_ERROR:
            what, hint = "failed at", error.hint or "its log says why"
        else:
            what, hint = "gave no answer to", "start the service"
        ours = f"nbclip {version('nbclip')}"
        return ServiceAway(f"{service} {what} {asked} for {waited:.0f} s: {_reason(error)} ({ours})", hint=hint)

    def _warn(self, error: Exception, waited: float) -> None:
        now = time.monotonic()
        if now - self._warned >= _SECONDS_BETWEEN_WARNINGS:
            self._warned = now
            _log.warning("no usable answer from %s (%s), asking again; waited %.0f s", self.url, _reason(error), waited)


def _trace_of_caller() -> dict[str, str]:
    """`traceparent` of the current span; nothing, and nothing is imported, where this process does not use OpenTelemetry."""
    headers: dict[str, str] = {}
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry.propagate import inject

        inject(headers)
    return headers


def _client(url: str, key: str | None) -> httpx2.Client:
    try:
        base = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError) as error:
        raise InvalidInput(f"{url!r} is not a URL: {error}", hint="such as http://127.0.0.1:8080") from error
    if base.scheme not in {"http", "https"} or not base.host:
        raise InvalidInput(f"{url!r} is not an HTTP URL", hint="such as http://127.0.0.1:8080")
    key = (os.environ.get(KEY_VARIABLE, "") if key is None else key).strip()
    headers = {"accept": f"{codec.MEDIA_TYPE}, application/json;q=0.5", "accept-encoding": "identity"}
    # Connections are kept for longer than a step takes: a new one for each would cost more than the answer.
    limits = httpx2.Limits(keepalive_expiry=600)
    authorized = {**headers, "authorization": f"Bearer {key}"} if key else headers
    return httpx2.Client(base_url=base, headers=authorized, timeout=httpx2.Timeout(60, connect=5), limits=limits)


_GROWING = tenacity.wait_exponential(multiplier=0.2, max=_LONGEST_PAUSE / 3) + tenacity.wait_random(0, 1)


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the question is asked again: as many as the service said, or growing ones."""
    error = state.outcome.exception() if state.outcome else None
    return error.pause if isinstance(error, _Busy) and error.pause is not None else _GROWING(state)


def _refusal(response: httpx2.Response) -> NBClipError:
    """The service's problem as the error it stands for."""
    problem = _problem(response)
    if problem is None:
        kind = _BY_STATUS.get(response.status_code, InvalidInput)
        return kind(f"{response.url}: status {response.status_code}", hint="check that this is the URL of a kg-service")
    kind = _BY_CODE.get(problem.type) or _BY_STATUS.get(response.status_code, InvalidInput)
    reasons = "; ".join(f"{error.where}: {error.message}" for error in problem.errors)
    hint = f"give its key, or set {KEY_VARIABLE}" if kind is errors.Unauthorized else problem.hint
    return kind(f"{response.url}: {problem.detail or problem.title}{f' ({reasons})' if reasons else ''}", hint=hint)


def _problem(response: httpx2.Response) -> Problem | None:
    """What the service says of its refusal; None where it is no problem of a kg-service."""
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
