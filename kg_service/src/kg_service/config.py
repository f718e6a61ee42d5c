"""Settings: `KG_…` variables, `.env`, files in `/run/secrets`, in this order. The table in the README is printed from here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from nbclip.errors import InvalidInput
from nbclip.schemas.base import MAX_ITEMS
from nbclip.schemas.targets import MAX_BATCH
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "KG_"
SECRETS = Path("/run/secrets")

List = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """What can be set of the service. Lists are written with commas."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    data: Path = Field(Path("data"), description="data folder: vocabulary/, graph.sqlite or mirror/, snapshots/, keys.json")
    store: str = Field(
        "", description="graph store, `embedded:///PATH` or `neo4j://HOST:PORT`; empty: graph.sqlite in the data folder"
    )
    store_user: str = Field("neo4j", description="login of a Neo4j server; empty for a server without")
    store_password: SecretStr = Field(SecretStr(""), description="its password")
    vocabulary: Path | None = Field(None, description="compiled vocabulary; default: vocabulary/ in the data folder")
    show_names: bool = Field(True, description="answer with the vocabulary's names; off: CUIs only, for licensed sources")

    linker: Literal["dictionary", "scispacy"] = Field("dictionary", description="`dictionary` or `scispacy`")
    linker_model: str = Field("", description="spaCy pipeline that finds mentions (scispacy only); empty: a blank one")
    linker_knowledge_base: Literal["", "umls", "mesh", "rxnorm", "go", "hpo"] = Field(
        "", description="knowledge base that scispacy publishes, from its cache (scispacy only); empty: the vocabulary's names"
    )
    linker_prior: Path | None = Field(None, description="fitted prior (`kg-service linker fit`, dictionary only); empty: none")
    linker_min_score: float = Field(0.75, ge=0, le=1, description="mentions below are left out")
    linker_nested: Literal["all", "distinct", "none"] = Field(
        "distinct", description="mentions inside longer ones: `all`, `distinct` (of another semantic group, or anatomy) or `none`"
    )
    linker_synonyms: bool = Field(True, description="read renal damage as kidney disease where it is no name itself")
    linker_misspellings: bool = Field(True, description="read misspelt words as the vocabulary's own")
    linker_workers: int = Field(1, ge=1, le=256, description="processes that `ingest` links in")
    linker_candidates: int = Field(5, ge=0, le=100, description="losing concepts that a mention keeps")
    semantic_types: List = Field((), description="TUIs; only concepts with one of them are linked; empty: all")

    representations: Annotated[tuple[Literal["hybrid", "concepts", "transe"], ...], NoDecode] = Field(
        ("hybrid",), min_length=1, description="what snapshots hold: `hybrid`, `concepts` (without co-occurrence), `transe`"
    )
    hybrid_decay: float = Field(0.5, gt=0, le=1, description="weight of one is_a step in the hybrid representation")
    hybrid_ancestor_weight: float = Field(4.0, ge=0, le=100, description="weight of a rare concept's ancestors")
    hybrid_max_distance: int = Field(6, ge=1, le=100, description="longest is_a path that is followed")
    hybrid_hub_share: float = Field(0.1, gt=0, le=1, description="ancestors over a larger share of the images are dropped")
    hybrid_smoothing: float = Field(0.6, ge=0, le=100, description="weight of the co-occurrence part; 0 leaves it out")
    hybrid_smoothing_dimension: int = Field(64, ge=1, le=4_096, description="dimensions of the co-occurrence part")
    hybrid_shrinkage: float = Field(10.0, gt=0, description="images from which a concept's co-occurrence counts for half")
    hybrid_redundancy: float = Field(
        1.0, ge=0, le=100, description="how far concepts of the same images share weight; 0: not at all"
    )
    transe_preset: Literal["fast", "paper"] = Field("fast", description="`fast`, or the `paper`'s 6000 epochs at d = 512")
    transe_epochs: int | None = Field(None, ge=1, description="passes over the triples; default: the preset's")
    transe_seed: int = Field(42, ge=0, description="seed of the vectors' start and of sampling")

    append_every_s: float = Field(
        0,
        ge=0,
        description="seconds between appends of what is new in the graph to the current snapshot, while serving; 0: never",
    )
    compact_after: float = Field(
        0.2, ge=0, le=1, description="share of appended images at which a service publishes the current snapshot anew; 0: never"
    )

    host: str = Field("127.0.0.1", description="address to listen on; any but loopback needs a key")
    port: int = Field(8080, ge=0, le=65_535, description="port to listen on; 0: any free one")
    uds: Path | None = Field(None, description="unix socket to listen on instead")
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="path under which a proxy shows the service, such as `/kg`, whether or not the proxy takes it away",
    )
    trusted_hosts: List = Field(
        ("localhost", "127.0.0.1", "[::1]"), description="names in Host that are answered, such as `*.example.org`; `*`: all"
    )
    keys_file: Path | None = Field(None, description="keys (`kg-service keys add`); default: keys.json in the data folder")
    log_format: Literal["console", "json"] = Field("console", description="`console` or `json`")

    max_rows: int = Field(4_096, ge=1, le=MAX_BATCH, description="R, rows of a matrix")
    max_columns: int = Field(65_536, ge=1, le=MAX_BATCH, description="C, columns of a matrix")
    max_cells: int = Field(1 << 24, ge=1, description="R × C; those in work or being sent at one time may be twice as many")
    max_json_cells: int = Field(1 << 16, ge=1, description="R × C of a matrix in JSON")
    max_items: int = Field(MAX_ITEMS, ge=1, le=MAX_ITEMS, description="images or captions of one request")
    max_body_bytes: int = Field(4 << 20, ge=1_024, description="bytes of a request's body")
    max_job_bytes: int = Field(4 << 30, ge=1_024, description="bytes of the body of `POST /v1/jobs/ingest`, as it comes")
    max_concurrent: int = Field(32, ge=1, description="requests in work or being answered at one time; one more is answered 429")
    max_graph_requests: int = Field(8, ge=1, description="of those, requests that wait for the graph store")
    max_failed_keys: int = Field(60, ge=1, description="wrong keys of one address in a minute before it is answered 429")
    body_timeout_s: float = Field(10, gt=0, description="seconds in which a body must have arrived")
    send_timeout_s: float = Field(
        60, gt=0, description="seconds in which a client must have taken some of its answer, or the connection is closed"
    )
    keep_failed_days: float = Field(
        7, ge=0, description="days that the body of a bulk ingest that failed is kept, so that it can be looked at"
    )
    keep_jobs: int = Field(1_000, ge=1, description="jobs that have ended of which `GET /v1/jobs` still knows")
    job_timeout_s: float = Field(3_600, gt=0, description="seconds in which the body of `POST /v1/jobs/ingest` must have arrived")
    job_pause_s: float = Field(30, gt=0, description="seconds after which such a body is given up if no byte of it comes")
    head_timeout_s: float = Field(10, gt=0, description="seconds in which a request's head must have arrived, once it has begun")
    max_connections: int = Field(
        1_024, ge=1, description="open connections, at most the limit of descriptors less 256; one more is answered 503"
    )
    keep_alive_s: int = Field(620, ge=1, description="seconds that an idle connection is kept; longer than a training step")
    drain_s: float = Field(1, ge=0, le=10, description="seconds after SIGTERM in which /readyz says 503 and all else is answered")
    stop_s: int = Field(20, ge=1, description="seconds after SIGTERM in which the process has ended")

    @field_validator("semantic_types", "trusted_hosts", "representations", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("linker_prior", mode="before")
    @classmethod
    def _none_if_empty(cls, value: object) -> object:
        return value or None

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


def load_settings(**overrides: Any) -> Settings:
    """Reads the settings; an override that is None leaves the setting as it is.

    Raises:
        InvalidInput: naming the first variable with an unusable value.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(_secrets_dir=SECRETS if SECRETS.is_dir() else None, **given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            f"{PREFIX}{name.upper()}={first['input']!r:.80}: {first['msg']}", hint="kg-service settings lists them all"
        ) from error


def unknown_variables() -> list[str]:
    """`KG_…` variables that set nothing: misspelt, or of another program."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def settings_table() -> str:
    """All settings as a Markdown table."""
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *_rows()])


def _rows() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        shown = f"`{default}`" if default not in (None, "") and not isinstance(default, SecretStr) else ""
        yield f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |"
