"""The service's own errors; the tree and what each becomes outside is drawn in `nbclip.errors`."""

from __future__ import annotations

from nbclip.errors import Forbidden, NBClipError, Unavailable

_NAME_IT = "to have its address here, set KG_WRITER, such as KG_WRITER=https://kg.example.org"


class MissingExtra(NBClipError):
    """A heavy optional library is not installed: this service does not do it (501), wrong input for who set it (exit 2)."""

    code, title, status, exit_code = "missing-extra", "An optional part is not installed", 501, 2

    def __init__(self, extra: str, purpose: str, hint: str = "") -> None:
        install = f"install it: uv pip install 'nbclip-kg-service[{extra}]'"
        super().__init__(f"{purpose} needs the extra '{extra}'", hint=hint or install)


class OtherVersion(NBClipError):
    """What another version of this program made does not do for what is asked of it (409), until it is made anew (exit 2)."""

    code, title, status, exit_code = "other-version", "Made by another version", 409, 2


class WrongCredentials(Unavailable):
    """A login or a name that the settings give is refused: not ready for a client (503), wrong input for who set it (exit 2)."""

    code, title, exit_code = "wrong-credentials", "The graph store refuses the login", 2


class UnusableStore(Unavailable):
    """A graph store can't be used as it is set up: not ready for a client (503), to be mended by who set it up (exit 2)."""

    code, title, exit_code = "unusable-store", "The graph store can't be used as it is", 2


class UnusablePath(Unavailable):
    """A file can't be opened where the settings say: not ready for a client (503), wrong input for who set it (exit 2)."""

    code, title, exit_code = "unusable-path", "A file can't be used", 2


class ReadOnly(Forbidden):
    """A service that only reads was asked to store or publish, or for the graph: another one does that (403).

    Args:
        writer: the address of that one; empty where the settings don't say.
        reason: why it can't do what was asked for.
        remedy: how this service could do it; empty where it never will.
    """

    code, title = "read-only", "This service only serves snapshots"

    def __init__(
        self, writer: str, reason: str = "this service only serves published snapshots (KG_READ_ONLY)", remedy: str = ""
    ) -> None:
        ask = f"ask {writer}" if writer else f"ask the service that writes the snapshots; {_NAME_IT}"
        super().__init__(reason, hint=f"{remedy}, or {ask}" if remedy else ask)


class MissingPart(Unavailable):
    """What an earlier step makes is not there: not ready for a client (503), a step left out for who runs a command (exit 2)."""

    exit_code = 2
