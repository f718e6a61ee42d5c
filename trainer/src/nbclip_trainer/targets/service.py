"""The knowledge-graph service as a source of similarities, over HTTP.

A service that does not answer is asked again, with growing jittered pauses, until `service.give_up_after`; then the run
stops with `ServiceAway`. Nothing ever stands in for its answer.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import numpy as np
import stamina
from nbclip import codec, errors
from nbclip.codec import TargetMatrix
from nbclip.errors import InvalidInput, NBClipError, NotFound
from nbclip.schemas.service import Info, Problem
from nbclip.schemas.snapshots import SnapshotOut
from nbclip.vectors import VectorBatch, decode_vectors
from pydantic import BaseModel, ValidationError

from nbclip_trainer.config import ServiceSettings, TargetSettings
from nbclip_trainer.errors import ServiceAway
from nbclip_trainer.targets.source import Answer, Coverage

KEY_VARIABLE = "NBCLIP_SERVICE_KEY"
_PREFLIGHT_COLUMNS = 4096
_LONGEST_PAUSE = 30.0
_PATIENCE_AT_START = 30.0
_SECONDS_BETWEEN_WARNINGS = 10.0
_BUSY = frozenset({429, 500, 502, 503, 504})
_REFUSALS = {
    kind.status: kind
    for kind in (errors.Unauthorized, errors.Forbidden, errors.NotFound, errors.Gone, errors.Conflict, errors.LimitExceeded)
}
_log = logging.getLogger(__name__)
Parsed = TypeVar("Parsed", bound=BaseModel)


class _Busy(Exception):
    """The service answered that it can't now; `pause` is its Retry-After in seconds, if it gave one, `hint` its way out."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status, said = response.status_code, _problem(response)
        super().__init__(f"status {self.status}: {said.detail or said.title}" if said else f"status {self.status}")
        self.hint = said.hint if said else ""
        after = response.headers.get("retry-after", "")
        self.pause = min(float(after), _LONGEST_PAUSE) if after.isdigit() else None


class ServiceSource:
    """Similarities from one snapshot of a service; owns the connection.

    Attributes:
        snapshot: the snapshot that every answer comes from.
    """

    def __init__(self, client: httpx2.Client, service: ServiceSettings, targets: TargetSettings) -> None:
        self._client = client
        self._targets = targets
        # A service that never was there is more likely a wrong address than one that restarts.
        self._retry = _patient_for(min(service.give_up_after, _PATIENCE_AT_START))
        self._warned = -_SECONDS_BETWEEN_WARNINGS
        self._version = "unknown"
        info = _parsed(Info, self._ask("GET", "/info"))
        self._version = info.version
        self.snapshot = self._pin(targets.snapshot, info.snapshot)
        self._retry = _patient_for(service.give_up_after)

    def fetch(self, row_ids: Sequence[str], column_ids: Sequence[str]) -> Answer:
        """See `TargetSource`.

        Raises:
            ServiceAway: no answer within `give_up_after`.
            NBClipError: the service refuses: no such id, snapshot or knowledge, a wrong key.
        """
        if self._targets.mode == "representations":
            return self._vectors(column_ids)
        return self._matrix(row_ids, column_ids, "error")

    def coverage(self, image_ids: Sequence[str]) -> Coverage:
        """Looks all images up in the snapshot; raises as `fetch`."""
        unknown: list[str] = []
        known = without = 0
        for ids in _chunks(image_ids, _PREFLIGHT_COLUMNS):
            matrix = self._matrix(ids[:1], ids, "flag")
            unknown += [image_id for image_id, missing in zip(ids, matrix.unknown, strict=True) if missing]
            known += int(np.count_nonzero(~matrix.unknown))
            without += int(np.count_nonzero(~matrix.unknown & ~matrix.has_knowledge))
        return Coverage(unknown, without / max(known, 1))

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _pin(self, wanted: str | None, current: str | None) -> SnapshotOut:
        chosen = wanted or current
        if chosen is None:
            hint = "publish one: kg-service snapshot publish"
            raise NotFound(f"{self._client.base_url}: no current snapshot", hint=hint)
        try:
            response = self._ask("GET", f"/snapshots/{quote(chosen, safe='')}")
        except (NotFound, errors.Gone, InvalidInput) as error:
            raise NotFound(f"{self._client.base_url}: no snapshot {chosen}", hint=error.hint) from error
        return _parsed(SnapshotOut, response)

    def _matrix(self, row_ids: Sequence[str], column_ids: Sequence[str], on_unknown: str) -> TargetMatrix:
        body = {
            "image_ids": list(row_ids),
            "column_ids": list(column_ids),
            **self._what(),
            "output": "similarity",
            # Rounding to float16 makes ties, of which top_k keeps all.
            "dtype": "float16" if self._targets.top_k is None else "float32",
            "on_unknown": on_unknown,
        }
        matrix = codec.decode(self._ask("POST", "/targets", body).content)
        self._check((matrix.output, matrix.values.shape), ("similarity", (len(row_ids), len(column_ids))), matrix.metadata)
        return matrix

    def _vectors(self, image_ids: Sequence[str]) -> VectorBatch:
        body = {"image_ids": list(image_ids), **self._what()}
        batch = decode_vectors(self._ask("POST", "/representations", body).content)
        self._check(len(batch), len(image_ids), batch.metadata)
        return batch

    def _what(self) -> dict[str, str]:
        targets = self._targets
        return {"snapshot": self.snapshot.id, "knowledge": targets.knowledge, "representation": targets.representation}

    def _check(self, found: object, wanted: object, metadata: Mapping[str, str]) -> None:
        if found != wanted or metadata.get("snapshot", self.snapshot.id) != self.snapshot.id:
            raise InvalidInput(
                f"{self._client.base_url}: asked for {wanted} of {self.snapshot.id:.12}, "
                f"got {found} of {metadata.get('snapshot', ''):.12}",
                hint="is the service of this version?",
            )

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx2.Response:
        started = time.monotonic()

        def pause_after(error: Exception) -> bool | float:
            if not isinstance(error, _Busy | httpx2.TransportError):
                return False
            self._warn(error, time.monotonic() - started)
            return True if isinstance(error, httpx2.TransportError) or error.pause is None else error.pause

        try:
            return self._retry(pause_after, self._ask_once, method, path, body)
        except (_Busy, httpx2.TransportError) as error:
            raise self._away(error, f"{method} {path}", time.monotonic() - started) from error

    def _away(self, error: Exception, asked: str, waited: float) -> ServiceAway:
        service = f"{self._client.base_url} (kg-service {self._version})"
        resume = "then resume: nbclip train --resume --run DIR"
        if isinstance(error, _Busy) and error.status == httpx2.codes.INTERNAL_SERVER_ERROR:
            what, hint = "failed at", f"{error.hint or 'its log says why'}; {resume}"
        else:
            what, hint = "gave no answer to", f"start the service, {resume}"
        trainer = f"nbclip-trainer {version('nbclip-trainer')}"
        return ServiceAway(f"{service} {what} {asked} for {waited:.0f} s: {_reason(error)} ({trainer})", hint=hint)

    def _ask_once(self, method: str, path: str, body: dict[str, Any] | None) -> httpx2.Response:
        response = self._client.request(method, path, json=body)
        if response.status_code in _BUSY:
            raise _Busy(response)
        if response.status_code != 200:
            raise _refusal(response)
        return response

    def _warn(self, error: Exception, waited: float) -> None:
        now = time.monotonic()
        if now - self._warned >= _SECONDS_BETWEEN_WARNINGS:
            self._warned = now
            url, reason = self._client.base_url, _reason(error)
            _log.warning("no usable answer from %s (%s), asking again; waited %.0f s", url, reason, waited)


def connect(service: ServiceSettings, targets: TargetSettings) -> ServiceSource:
    """Connects and pins the snapshot.

    Raises:
        InvalidInput: no URL, or not one of HTTP; an unreadable key file.
        ServiceAway: no answer within half a minute.
        NotFound: the service has no such snapshot.
    """
    if service.url is None:
        raise InvalidInput(
            f"targets.knowledge={targets.knowledge} comes from the service, and no URL is given",
            hint="--service http://127.0.0.1:8080, or targets.knowledge=identity for plain CLIP",
        )
    with ExitStack() as undo:
        client = undo.enter_context(service_client(service.url, service.key_file))
        source = ServiceSource(client, service, targets)
        undo.pop_all()
    return source


def service_client(url: str, key_file: Path | None = None) -> httpx2.Client:
    """A connection to the service, with the key of `key_file` or of the variable NBCLIP_SERVICE_KEY, if there is one.

    Raises:
        InvalidInput: not a URL of HTTP; an unreadable key file.
    """
    try:
        base = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise InvalidInput(f"service.url={url!r}: {error}", hint="such as http://127.0.0.1:8080") from error
    if base.scheme not in {"http", "https"} or not base.host:
        raise InvalidInput(f"service.url={url!r} is not a URL of HTTP", hint="such as http://127.0.0.1:8080")
    headers = {"accept": f"{codec.MEDIA_TYPE}, application/json;q=0.5", "accept-encoding": "identity", **_authorization(key_file)}
    # Connections are kept for longer than a step takes: a new one for each would cost more than the answer.
    limits = httpx2.Limits(keepalive_expiry=600)
    return httpx2.Client(base_url=base, headers=headers, timeout=httpx2.Timeout(60, connect=5), limits=limits)


def _authorization(key_file: Path | None) -> dict[str, str]:
    key = os.environ.get(KEY_VARIABLE, "")
    if key_file is not None:
        try:
            key = key_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"service.key_file={key_file}: can't be read: {error}", hint="a file with the key alone"
            ) from error
    return {"authorization": f"Bearer {key.strip()}"} if key.strip() else {}


def _patient_for(seconds: float) -> stamina.RetryingCaller:
    return stamina.RetryingCaller(attempts=None, timeout=seconds, wait_initial=0.2, wait_max=_LONGEST_PAUSE / 3, wait_jitter=1.0)


def _parsed(kind: type[Parsed], response: httpx2.Response) -> Parsed:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        what = " ".join(f"{part}" for part in error.errors()[0]["loc"]) or "body"
        message = f"{response.url} is not the answer of a kg-service: {what}: {error.errors()[0]['msg']}"
        raise InvalidInput(message, hint="check --service, and that both programs are of one version") from error


def _refusal(response: httpx2.Response) -> NBClipError:
    """The service's problem as the error it stands for."""
    kind = _REFUSALS.get(response.status_code, InvalidInput)
    problem = _problem(response)
    if problem is None:
        return kind(f"{response.url}: status {response.status_code}", hint="is this the URL of a kg-service?")
    reasons = "; ".join(f"{error.where}: {error.message}" for error in problem.errors)
    hint = f"--key-file FILE, or the variable {KEY_VARIABLE}" if kind is errors.Unauthorized else problem.hint
    return kind(f"{response.url}: {problem.detail or problem.title}{f' ({reasons})' if reasons else ''}", hint=hint)


def _problem(response: httpx2.Response) -> Problem | None:
    """What the service says of its refusal; None where it is no problem of a kg-service."""
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _chunks(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
