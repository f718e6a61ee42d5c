"""Addresses of files that lie elsewhere, such as `s3://bucket/000.tar`, beside paths of this machine; `remote.py` reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from nbclip.errors import InvalidInput
from nbclip.files.protocols import WEB, credentials

if TYPE_CHECKING:
    from nbclip.files.remote import Found

_ADDRESS = re.compile(r"(?P<protocol>[a-z][a-z0-9+.:-]*)://(?P<authority>[^/]*)(?P<path>.*)", re.IGNORECASE | re.DOTALL)
_LOCAL = ("file", "local")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True, slots=True)
class Address:
    """A file elsewhere, with what readers of files ask of a `Path`.

    Attributes:
        url: as fsspec takes it; it has neither a password nor a signature.

    Raises:
        InvalidInput: when made, it has one, or is no address.
    """

    url: str

    def __post_init__(self) -> None:
        match = _ADDRESS.fullmatch(self.url)
        if match is None:
            raise InvalidInput(f"{self.url}: no address", hint="such as s3://bucket/train-000.tar")
        user, _, host = match["authority"].rpartition("@")
        path, _, query = match["path"].partition("?")
        plain, is_web = f"{match['protocol']}://{host}{path}", match["protocol"].lower() in WEB
        # In `abfs://container@account` it is none, and in a pattern `?` is any character.
        if user and (is_web or ":" in user):
            raise InvalidInput(f"{plain}: the address has a user or a password in it", hint=f"leave it out; {credentials(plain)}")
        if query and (is_web or "=" in query):
            raise InvalidInput(
                f"{plain}: the address has a query after it, as signatures are", hint=f"leave it out; {credentials(plain)}"
            )

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot on."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Address:
        """The folder."""
        protocol, _, rest = self.url.partition("://")
        return Address(f"{protocol}://{rest.rpartition('/')[0]}")

    def absolute(self) -> Address:
        """Itself."""
        return self

    @property
    def copy(self) -> Path | None:
        """The copy of this process, if it has one (`copied`)."""
        return cast(Path | None, _remote().copies.get(self.url))

    def open(self, mode: str = "rb") -> BinaryIO:
        """The content, read by ranges of bytes when it is asked for; raises as `remote.read_range`."""
        return cast(BinaryIO, _remote().opened(self.url))

    def found(self) -> Found:
        """Its size and version; raises as `remote.found_at`."""
        return cast("Found", _remote().found_at(self.url))

    def listed(self) -> list[Address]:
        """The addresses that match it as a pattern, sorted; raises as `remote.listed`."""
        return [Address(url) for url in _remote().listed(self.url)]

    def copied(self, done: Callable[[float], None]) -> AbstractContextManager[None]:
        """A copy, from which all is read while the block runs; raises as `remote.copied`."""
        return cast(AbstractContextManager[None], _remote().copied(self.url, done))

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`; raises as `remote.read_range`."""
        return cast(bytes, _remote().read_range(self.url, start, end))


Location = Path | Address


def location(text: str | Location) -> Location:
    """An address, or a path of this machine, which `file://` is too; raises InvalidInput where an address has a secret in it."""
    match = _ADDRESS.match(text) if isinstance(text, str) else None
    if match is None:
        return Path(text) if isinstance(text, str) else text
    return Path(f"{match['authority']}{match['path']}") if match["protocol"].lower() in _LOCAL else Address(str(text))


def size_of(place: Location) -> int:
    """Bytes of a file; raises OSError, or as `Address.found`."""
    return place.found().size if isinstance(place, Address) else place.stat().st_size


def _remote() -> Any:
    try:
        from nbclip.files import remote
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"addresses are read with {error.name}, which is not installed", hint="pip install 'nbclip[remote]'"
        ) from error
    return remote


def braces_written_out(text: str) -> list[str]:
    """`train-{000..002}.tar` and `{a,b}.tar` as the texts they stand for, as in a shell; one without braces is itself."""
    parts = _BRACES.split(text)
    choices = [_choices(part) if place % 2 else [part] for place, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def _choices(inside: str) -> list[str]:
    if (match := _RANGE.fullmatch(inside)) is None:
        return inside.split(",") if "," in inside else [f"{{{inside}}}"]
    first, last = int(match[1]), int(match[2])
    width = max(map(len, match.groups())) if any(one.startswith("0") and one != "0" for one in match.groups()) else 0
    step = 1 if first <= last else -1
    return [f"{number:0{width}}" for number in range(first, last + step, step)]
