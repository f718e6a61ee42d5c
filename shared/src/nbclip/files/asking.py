"""Questions to what holds files at addresses, through fsspec.

What may pass (a dropped connection, an overloaded server) is asked again, with growing pauses. What does not is an error that
names the address. No error repeats the query of an address that a protocol's package tells of: a redirect's is a signature.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import fsspec
import fsspec.asyn
import tenacity

from nbclip.errors import InvalidInput, NBClipError, NotFound, Unavailable
from nbclip.files.protocols import WEB, credentials, protocol_of

_LONGEST_PAUSE = 10.0
_SECONDS_BETWEEN_WARNINGS = 10.0
_CONNECT_SECONDS, _READ_SECONDS = 15, 60
_PASSING = frozenset({408, 425, 429})
_DENIED = frozenset({401, 403})
_MISSING, _CUT_OFF, _SERVER_ERROR = 404, 416, 500
REPLACED = "was it replaced? make what was made of it again: nbclip index DATA --out FOLDER"
_QUERY = re.compile(r"\?[^\s'\")>]+")
_CLIENTS = (
    ("aiohttp", "ClientError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
)
"""What packages raise beside OSError."""
_WITHOUT_KEYS = frozenset({"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError"})
"""Of these, where a key is missing or of no use."""
_log = logging.getLogger(__name__)
_warned = -_SECONDS_BETWEEN_WARNINGS
_file_systems: dict[tuple[int, str], Any] = {}
T = TypeVar("T")


def asked(url: str, ask: Callable[[], T], patience: float) -> T:
    """An answer, asked for again while what prevents it may pass.

    Args:
        url: the address that is asked for.
        ask: asks once.
        patience: seconds after which it is given up.

    Raises:
        NotFound: there is nothing.
        InvalidInput: it is refused.
        Unavailable: no answer.
    """
    started = time.monotonic()

    def passes(raised: BaseException) -> bool:
        error = _told(raised)
        if not isinstance(error, _client_errors()) or not _may_pass(error):
            return False
        _warn(url, error, time.monotonic() - started)
        return True

    pauses = tenacity.wait_exponential(multiplier=0.2, max=_LONGEST_PAUSE) + tenacity.wait_random(0, 0.5)
    stop, retry = tenacity.stop_before_delay(patience), tenacity.retry_if_exception(passes)
    try:
        return tenacity.Retrying(wait=pauses, stop=stop, retry=retry, reraise=True)(ask)
    except _client_errors() as error:
        raise _refusal(url, _told(error), time.monotonic() - started) from error


def _warn(url: str, error: BaseException, waited: float) -> None:
    """Says it once in some seconds: what fails for one image mostly fails for the others of its batch."""
    global _warned
    now = time.monotonic()
    if now - _warned >= _SECONDS_BETWEEN_WARNINGS:
        _warned = now
        _log.warning("no usable answer from %s (%s), asking again; waited %.0f s", url, _reason(error), waited)


def _told(error: BaseException) -> BaseException:
    """What is behind it: fsspec says of each failure to ask for an address by HTTP that there is no file."""
    behind = error.__cause__
    return behind if isinstance(error, FileNotFoundError) and isinstance(behind, _client_errors()) else error


def _may_pass(error: BaseException) -> bool:
    if (status := _status(error)) is not None:
        return status in _PASSING or status >= _SERVER_ERROR
    return not _is_denied(error) and not isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)


def _is_denied(error: BaseException) -> bool:
    # gcsfs has no other sign of it.
    is_forbidden = isinstance(error, OSError) and str(error).startswith("Forbidden")
    return (
        is_forbidden or isinstance(error, PermissionError) or _status(error) in _DENIED or type(error).__name__ in _WITHOUT_KEYS
    )


def _refusal(url: str, error: BaseException, waited: float) -> NBClipError:
    status = _status(error)
    if status == _MISSING or (status is None and isinstance(error, FileNotFoundError)):
        return NotFound(f"{url}: there is no such file", hint="check the address")
    if _is_denied(error):
        return InvalidInput(f"{url}: access denied ({_reason(error)})", hint=credentials(url))
    if status == _CUT_OFF:
        return InvalidInput(f"{url}: shorter than it was", hint=REPLACED)
    if not _may_pass(error):
        return InvalidInput(f"{url}: refused ({_reason(error)})", hint="check the address")
    return Unavailable(
        f"{url}: no answer for {waited:.0f} s ({_reason(error)})", hint="is it up? the same command goes on from there"
    )


def _status(error: BaseException) -> int | None:
    """The HTTP status of an error, as aiohttp, gcsfs and, in the cause of an OSError of s3fs, botocore tell it."""
    answers = (getattr(each, "response", None) for each in (error, error.__cause__))
    told = (each.get("ResponseMetadata", {}).get("HTTPStatusCode") for each in answers if isinstance(each, dict))
    status = getattr(error, "status", None) or getattr(error, "code", None) or next(told, None)
    return int(status) if isinstance(status, int | str) and str(status).isdigit() else None


def _reason(error: BaseException) -> str:
    """What an error says, without what follows an address."""
    if (status := _status(error)) is not None:
        return f"status {status}"
    said = _QUERY.sub("?…", " ".join(str(error).split()))
    return f"{type(error).__name__}: {said:.200}" if said else type(error).__name__


def _client_errors() -> tuple[type[Exception], ...]:
    """What protocols raise, of the packages that are loaded."""
    named = (getattr(sys.modules.get(module), name, None) for module, name in _CLIENTS)
    return (OSError, *(kind for kind in named if kind is not None))


def file_system_of(url: str) -> Any:
    """The protocol's, made once in each process: a forked one can't use its parent's."""
    protocol = protocol_of(url)
    key = (os.getpid(), protocol)
    if key not in _file_systems:
        _file_systems[key] = _new_file_system(url, protocol)
    return _file_systems[key]


def _new_file_system(url: str, protocol: str) -> Any:
    try:
        options = _web_options(protocol) if protocol in WEB else {}
        return fsspec.filesystem(protocol, skip_instance_cache=True, use_listings_cache=False, **options)
    except ImportError as error:
        missing = getattr(error.__cause__ or error, "name", None) or "its package"
        raise InvalidInput(
            f"{url}: {protocol}:// is read with {missing}, which is not installed", hint=f"pip install {missing}"
        ) from error
    except ValueError as error:
        raise InvalidInput(f"{url}: {protocol}:// is not known", hint="such as s3://, gs://, https://") from error


def _web_options(protocol: str) -> dict[str, Any]:
    """For aiohttp: proxies and passwords of the user's, an end to waiting, nothing packed; but the user's own first."""
    from fsspec.implementations.http import aiohttp

    own = fsspec.config.conf.get(protocol, {})
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
    return {
        "client_kwargs": {"trust_env": True, "timeout": timeout} | own.get("client_kwargs", {}),
        "headers": {"Accept-Encoding": "identity"} | own.get("headers", {}),
    }


# fsspec itself forgets the parent's loop, and not its lock.
os.register_at_fork(after_in_child=fsspec.asyn.reset_lock)
