"""Settings: `KG_…` variables, `.env`, files in `/run/secrets`, in this order.

What belongs to one linker or one representation is declared beside it, in a frozen dataclass: a field that is `Annotated` with a
described `Field` can be set as `KG_<PREFIX>_<FIELD>`. Here such variables are kept as they were written (`Settings.others`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar, get_type_hints
from urllib.parse import urlsplit

from nbclip.errors import InvalidInput
from nbclip.schemas.base import MAX_ITEMS, message_of
from nbclip.schemas.targets import DEFAULT_REPRESENTATION, MAX_BATCH
from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, NoDecode, SettingsConfigDict

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PREFIX = "KG_"
SECRETS = Path("/run/secrets")

Parameters = TypeVar("Parameters", bound="DataclassInstance")


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _address(value: str) -> str:
    """The address as it was written; raises ValueError where it is none that can be handed to clients."""
    problem = "not the address of a service, such as https://kg.example.org"
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(problem) from error
    if value and (parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f]", value)):
        raise ValueError(problem)
    if parts.username is not None:
        raise ValueError("an address with a login, which every client would be told")
    return value


List = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Written with commas."""


class Settings(BaseSettings):
    """Every setting of the service. Lists are separated by commas."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    data: Path = Field(Path("data"), description="data folder: vocabulary/, graph.sqlite or mirror/, snapshots/, keys.json")
    store: str = Field(
        "", description="graph store, `embedded:///PATH` or `neo4j://HOST:PORT`; empty: graph.sqlite in the data folder"
    )
    store_user: str = Field("neo4j", description="user name for a Neo4j server; empty if it has no logins")
    store_password: SecretStr = Field(SecretStr(""), description="password for a Neo4j server")
    vocabulary: Path | None = Field(None, description="compiled vocabulary; default: vocabulary/ in the data folder")
    relations: List = Field(
        (), description="relations that `vocabulary build` reads beside is_a, by their RELA, such as `has_finding_site,part_of`"
    )
    images: Path | None = Field(
        None,
        description="folder of the images, for thumbnails in `/ui`: the path of an image's file in it is the image's id, "
        "with or without a suffix such as `.jpg`; default: no thumbnails",
    )
    show_names: bool = Field(True, description="answer with the vocabulary's names; false: CUIs only, for licensed sources")

    linker: str = Field("dictionary", description="linker that finds concepts in captions")
    linker_workers: int = Field(1, ge=1, le=256, description="number of processes in which `ingest` links captions")
    semantic_types: List = Field(
        (), description="semantic types (TUIs, names or groups): only concepts with one of them are linked; empty: all"
    )

    representations: List = Field(
        (DEFAULT_REPRESENTATION,), min_length=1, description="representations that snapshots hold, besides `noise`"
    )

    append_every_s: float = Field(
        0,
        ge=0,
        description="seconds between appends of new images to the current snapshot while serving; 0: never",
    )
    compact_after: float = Field(
        0.2, ge=0, le=1, description="share of appended images from which the service publishes again; 0: never"
    )

    read_only: bool = Field(
        False,
        description="serve published snapshots and the vocabulary alone: nothing is written, no graph is opened, and whatever "
        "needs either is refused; for services that share a folder",
    )
    verify_first_bytes: int = Field(
        256 << 20,
        ge=0,
        description="of a snapshot's files, the smallest that have at most so many bytes together are verified before it is "
        "served, the others in the background while it is",
    )
    writer: Annotated[str, AfterValidator(_address)] = Field(
        "",
        description="address of the service that stores and publishes, such as `https://kg.example.org`, for the refusals of a "
        "read-only one",
    )

    host: str = Field("127.0.0.1", description="address to listen on; anything but loopback needs a key")
    port: int = Field(8080, ge=0, le=65_535, description="port to listen on; 0: any free one")
    uds: Path | None = Field(None, description="unix socket to listen on instead")
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="path under which a proxy exposes the service, such as `/kg`, whether or not the proxy strips the path",
    )
    trusted_hosts: List = Field(
        ("localhost", "127.0.0.1", "[::1]"), description="names to accept in the Host header, such as `*.example.org`; `*`: all"
    )
    keys_file: Path | None = Field(
        None, description="file of keys (`kg-service keys add`); default: keys.json in the data folder"
    )
    log_format: Literal["console", "json"] = Field("console", description="`console` or `json`")

    max_rows: int = Field(4_096, ge=1, le=MAX_BATCH, description="maximum number of rows of a matrix (R)")
    max_columns: int = Field(65_536, ge=1, le=MAX_BATCH, description="maximum number of columns of a matrix (C)")
    max_cells: int = Field(
        1 << 24, ge=1, description="maximum number of cells of a matrix (R × C); all requests together may use twice as many"
    )
    max_json_cells: int = Field(1 << 16, ge=1, description="maximum number of cells of a matrix in JSON")
    max_items: int = Field(MAX_ITEMS, ge=1, le=MAX_ITEMS, description="maximum number of images or captions in one request")
    max_body_bytes: int = Field(4 << 20, ge=1_024, description="maximum size of a request's body in bytes")
    max_job_bytes: int = Field(
        4 << 30, ge=1_024, description="maximum size of the body of `POST /v1/jobs/ingest` in bytes, as sent"
    )
    max_concurrent: int = Field(
        32, ge=1, description="maximum number of requests in work at a time; a further one is answered 429"
    )
    max_graph_requests: int = Field(8, ge=1, description="maximum number of those that wait for the graph store")
    max_failed_keys: int = Field(60, ge=1, description="wrong keys from one address in a minute before it is answered 429")
    body_timeout_s: float = Field(10, gt=0, description="seconds within which a body must arrive")
    send_timeout_s: float = Field(
        60, gt=0, description="seconds after which the connection is closed if the client reads nothing of its answer"
    )
    keep_failed_days: float = Field(7, ge=0, description="days to keep the body of a failed bulk ingest")
    keep_jobs: int = Field(1_000, ge=1, description="number of ended jobs that `GET /v1/jobs` still lists")
    job_timeout_s: float = Field(3_600, gt=0, description="seconds within which the body of `POST /v1/jobs/ingest` must arrive")
    job_pause_s: float = Field(30, gt=0, description="seconds without a byte after which such a body is refused")
    head_timeout_s: float = Field(10, gt=0, description="seconds within which a request's head must arrive, once it has begun")
    max_connections: int = Field(
        1_024,
        ge=1,
        description="maximum number of open connections, limited to the descriptor limit less 256; a further one is answered 503",
    )
    keep_alive_s: int = Field(620, ge=1, description="seconds to keep an idle connection; should be longer than a training step")
    drain_s: float = Field(
        1, ge=0, le=10, description="seconds after SIGTERM during which the service still answers, but `/readyz` says 503"
    )
    stop_s: int = Field(20, ge=1, description="seconds after SIGTERM by which the process has ended")

    _others: dict[str, Any] = PrivateAttr(default_factory=lambda: _other_variables())

    @property
    def others(self) -> Mapping[str, Any]:
        """What is set under names that no field has: of a linker, of a representation, or misspelt; names without `KG_`."""
        return self._others

    @property
    def store_url(self) -> str:
        """The store's address."""
        return self.store or str(self.data / "graph.sqlite")

    @property
    def mirror_folder(self) -> Path:
        """Where the local copy of a Neo4j graph is."""
        return self.data / "mirror"

    @property
    def vocabulary_folder(self) -> Path:
        """Where the compiled vocabulary is."""
        return self.vocabulary or self.data / "vocabulary"

    @property
    def snapshots_folder(self) -> Path:
        """Where snapshots are."""
        return self.data / "snapshots"

    @property
    def jobs_folder(self) -> Path:
        """Where bulk ingests and their bodies are."""
        return self.data / "jobs"

    @property
    def keys_path(self) -> Path:
        """Where the keys are."""
        return self.keys_file or self.data / "keys.json"


class Variable(NamedTuple):
    """A setting as it is shown: `KG_…`, its default, what it does."""

    name: str
    default: str
    meaning: str

    @property
    def key(self) -> str:
        """As `Settings.others` has it."""
        return self.name.removeprefix(PREFIX).lower()


def load_settings(**overrides: Any) -> Settings:
    """The settings; an override that is None changes nothing.

    Raises:
        InvalidInput: naming the first variable with an unusable value.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    own = {name: value for name, value in given.items() if name in Settings.model_fields}
    try:
        settings = Settings(_secrets_dir=SECRETS if SECRETS.is_dir() else None, **own)
    except ValidationError as error:
        raise _unusable(error, PREFIX, options=own) from error
    settings._others.update({name: value for name, value in given.items() if name not in own})
    return settings


def with_settings(
    start: Parameters,
    prefix: str,
    settings: Settings,
    asked: Mapping[str, Any] | None = None,
    *,
    beside: Iterable[str] = (),
) -> Parameters:
    """`start` with what is set of its fields as `KG_<PREFIX>_<FIELD>`, and over it what is `asked` of them.

    `beside`: other parameters that whoever asks could have given; they are named where one is not known.

    Raises:
        InvalidInput: naming the first variable, or the first of what is asked, with an unusable value; or what can't be set.
    """
    asked, known = asked or {}, settable(start)
    if unknown := next((name for name in asked if name not in known), None):
        raise InvalidInput(
            f"{prefix} has no parameter {unknown!r:.80}", hint=f"parameters of {prefix}: {', '.join((*known, *beside))}"
        )
    values = {field.name: getattr(start, field.name) for field in fields(start)}
    for name in known:
        values[name] = asked.get(name, settings.others.get(f"{prefix}_{name}", values[name]))
    try:
        changed: Parameters = _adapter(type(start)).validate_python(values)
    except ValidationError as error:
        is_asked = error.errors()[0]["loc"][0] in asked
        raise _unusable(error, f"{prefix}." if is_asked else f"{PREFIX}{prefix}_") from error
    return changed


@functools.cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def own_variables() -> Iterator[Variable]:
    """The settings that are declared here."""
    for name, field in Settings.model_fields.items():
        yield _variable(name, field.default, field.description or "")


def variables_of(start: DataclassInstance, prefix: str) -> Iterator[Variable]:
    """The settings that a dataclass declares, with the values of `start` as defaults."""
    for name, meaning in settable(start).items():
        yield _variable(f"{prefix}_{name}", getattr(start, name), meaning)


def _variable(name: str, default: object, meaning: str) -> Variable:
    shown = "" if default is None or isinstance(default, SecretStr) else default
    return Variable(f"{PREFIX}{name}".upper(), ",".join(shown) if isinstance(shown, tuple) else str(shown), meaning)


def settable(start: DataclassInstance) -> dict[str, str]:
    """The fields that can be set, with what they mean."""
    return _meanings(type(start))


@functools.cache
def _meanings(kind: type[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        for each in getattr(hint, "__metadata__", ()):
            if isinstance(each, FieldInfo) and each.description:
                found[name] = each.description
    return found


def _unusable(error: ValidationError, prefix: str, options: Collection[str] = ()) -> InvalidInput:
    """Names the variable, or the option of the command that overrode it."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    setting = f"{prefix}{key}=".upper() if prefix.startswith(PREFIX) else f"{prefix}{key}="
    name = f"--{key.replace('_', '-')} " if key in options else setting
    given = re.sub(r"//[^/@]*@", "//…@", f"{first['input']!r}")  # a password in an address is for nobody's log
    return InvalidInput(f"{name}{given:.80}: {message_of(first)}", hint="kg-service settings lists them all")


def _other_variables() -> dict[str, Any]:
    """`KG_…` variables that no field of `Settings` has, by their names without it."""
    secrets = {file.name.lower(): file for file in SECRETS.glob("*")} if SECRETS.is_dir() else {}
    prefix = PREFIX.lower()
    found: dict[str, Any] = {name: file.read_text().strip() for name, file in secrets.items() if name.startswith(prefix)}
    found |= DotEnvSettingsSource(Settings).env_vars
    found |= EnvSettingsSource(Settings).env_vars
    named = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix) and value is not None}
    return {name: value for name, value in named.items() if name not in Settings.model_fields}
