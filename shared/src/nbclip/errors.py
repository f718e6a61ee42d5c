"""The errors both programs raise, and what each becomes outside the process.

    NBClipError
    ├── InvalidInput        what the user gave can't be used       422   exit 2
    │   ├── InvalidId       not a CUI, image id or snapshot id     422   exit 2
    │   └── UnknownImages   image ids that the snapshot lacks      422   exit 2
    ├── NotFound            no such image, concept, snapshot       404   exit 2
    ├── Gone                existed and was removed                410   exit 2
    ├── Conflict            conflicts with what is stored          409   exit 2
    ├── LimitExceeded       more than the configured limit         413   exit 2
    ├── Unauthorized        no key, or a wrong one                 401   exit 2
    ├── Forbidden           the key lacks the scope                403   exit 2
    ├── Busy                all work places taken: retry           429   exit 75
    ├── Unavailable         a part needed is not ready: retry      503   exit 75
    │   └── ServiceAway     kg-service gave a client no answer     503   exit 75
    └── BrokenArtefact      a file on disk is damaged              500   exit 1

`code` is the stable end of the problem type (`urn:nbclip:problem:<code>`), `status` the HTTP status, `exit_code` the exit
status of both commands (75 is sysexits' EX_TEMPFAIL).
"""

from __future__ import annotations

from typing import ClassVar


class NBClipError(Exception):
    """Root of every expected error: one line that says what and where, and one that says how to fix it."""

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return joined(self.message, self.hint)


def joined(message: str, hint: str) -> str:
    """Both in one line: a sentence, and its hint, which begins in lower case, as a part of it."""
    return f"{message.removesuffix('.')}; {hint}" if hint else message


def os_reason(error: OSError) -> str:
    """`FILE: No such file or directory`: what the operating system says, without Python's `[Errno 2]`."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


class InvalidInput(NBClipError):
    code, title, status, exit_code = "invalid-input", "Invalid input", 422, 2


class InvalidId(InvalidInput):
    code, title = "invalid-id", "Invalid identifier"


class UnknownImages(InvalidInput):
    code, title = "unknown-images", "Images that the snapshot does not hold"


class NotFound(NBClipError):
    code, title, status, exit_code = "not-found", "Not found", 404, 2


class Gone(NBClipError):
    code, title, status, exit_code = "gone", "No longer available", 410, 2


class Conflict(NBClipError):
    code, title, status, exit_code = "conflict", "Conflict with what is stored", 409, 2


class LimitExceeded(NBClipError):
    code, title, status, exit_code = "limit-exceeded", "Over a limit of the service", 413, 2


class Unauthorized(NBClipError):
    code, title, status, exit_code = "unauthorized", "A valid key is needed", 401, 2


class Forbidden(NBClipError):
    code, title, status, exit_code = "forbidden", "The key lacks the scope", 403, 2


class Busy(NBClipError):
    code, title, status, exit_code = "busy", "Busy, try again", 429, 75


class Unavailable(NBClipError):
    code, title, status, exit_code = "unavailable", "Not ready, try again", 503, 75


class ServiceAway(Unavailable):
    code, title = "service-away", "The knowledge-graph service stayed away"


class BrokenArtefact(NBClipError):
    code, title, status, exit_code = "broken-artefact", "A file on disk is damaged", 500, 1
