"""What a batch does, written down before it begins: `plan.json`.

    plan ──▶ shard 0, 1, 2, …  ──link──▶ linked/00000.parquet, done/00000.json, …  ──publish──▶ snapshot

Shards follow from the files alone, never from who works on them, and so does all that is made of them: one process or a cluster,
in one go or after twenty kills, the bytes are the same. Whoever works on a plan must link as it says, or is refused.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

from nbclip.errors import BrokenArtefact, Conflict, InvalidInput, NotFound
from nbclip.files.lines import Span
from nbclip.files.sources import sources_of
from nbclip.files.spans import digest_of, spans_of
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_jsonable_python

from kg_service.batch.folders import check_folders, refuse_twice
from kg_service.ingest.readers import ReadOptions
from kg_service.linking.builder import build_linker
from kg_service.linking.linkers import paths_of
from kg_service.linking.model import Linker
from kg_service.linking.settings import LinkerSettings
from kg_service.vocabulary.vocabulary import Vocabulary

PLAN = "plan.json"
SHARD_ROWS: Final = 50_000
_VERSIONED = ("nbclip-kg-service", "numpy", "pyarrow")
PLAN_ANEW = "plan it in a new folder"


class _OnDisk(BaseModel):
    # A field that this version doesn't know may ask for what it can't do.
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_OnDisk):
    """A file of captions; `bytes` is its size."""

    path: Path
    bytes: int


class Shard(_OnDisk):
    """Consecutive rows of a file.

    Attributes:
        source: which of the plan's files.
        span: the rows.
        sha256: of all that they come of (`nbclip.files.spans.digest_of`).
    """

    source: int
    span: Span
    sha256: str


class Linking(_OnDisk):
    """What decides how captions are linked.

    Attributes:
        vocabulary: its SHA-256.
        linker: its name and version, and its prior's digest.
        settings: of the linker, but for paths: what lies there is in the linker's name.
        versions: of the packages that decide the bytes.
    """

    vocabulary: str
    linker: str
    settings: dict[str, Any]
    versions: dict[str, str]


class Plan(_OnDisk):
    """What is linked, in which shards, how it is read, and by what."""

    format: Literal[1] = 1
    sources: list[Source]
    shards: list[Shard]
    options: ReadOptions
    linking: Linking

    @functools.cached_property
    def content(self) -> bytes:
        """The bytes of `plan.json`."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    @functools.cached_property
    def id(self) -> str:
        """SHA-256 of `plan.json`, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def rows(self) -> int:
        """Rows of all shards, good and bad."""
        return sum(shard.span.rows for shard in self.shards)

    def place(self, number: int) -> str:
        """Where a shard's rows stand: `captions.csv:2-50001`."""
        shard = self.shards[number]
        return f"{self.sources[shard.source].path}:{shard.span.first}-{shard.span.stop - 1}"


@dataclass(frozen=True)
class LinkerChoice:
    """A linker that any process can open: its name in `LINKERS`, its settings, and where its vocabulary is."""

    name: str
    settings: LinkerSettings
    vocabulary: Path

    def open(self, vocabulary: Vocabulary) -> Linker:
        """The linker over its vocabulary; errors as `build_linker`."""
        return build_linker(self.name, vocabulary, self.settings)


def make_plan(
    paths: Iterable[Path],
    options: ReadOptions,
    linking: Linking,
    *,
    shard_rows: int = SHARD_ROWS,
    on_file: Callable[[int, int], None] = lambda done, files: None,
) -> Plan:
    """The plan for these files; the same files and options give the same one.

    Args:
        paths: files, folders and patterns, as `nbclip.files.reading` has them, but for folders of ROCO.
        options: how they are read.
        linking: how their captions are linked.
        shard_rows: rows of a shard.
        on_file: is told how many files are looked through, of how many.

    Raises:
        InvalidInput: a file can't be read as a whole, or none of them has a row; or as `check_folders` and `refuse_twice`.
    """
    paths = list(paths)
    check_folders(paths)
    files, layout = [path.absolute() for path in sources_of(paths)], options.layout()
    refuse_twice(files)
    shards = []
    for source, path in enumerate(files):
        spans = spans_of(path, layout, shard_rows)
        shards += [Shard(source=source, span=span, sha256=digest_of(path, layout, span)) for span in spans]
        on_file(source + 1, len(files))
    if not shards:
        raise InvalidInput(f"{', '.join(map(str, files)) or 'nothing'}: no rows", hint="are these the right files?")
    sources = [Source(path=path, bytes=path.stat().st_size) for path in files]
    return Plan(sources=sources, shards=shards, options=options, linking=linking)


def linking_of(linker: Linker, settings: LinkerSettings, vocabulary: Vocabulary) -> Linking:
    """What decides how this linker links."""
    told = {name: value for name, value in asdict(settings).items() if name not in paths_of(settings)}
    versions = {name: version(name) for name in _VERSIONED}
    return Linking(vocabulary=vocabulary.sha256, linker=linker.name, settings=to_jsonable_python(told), versions=versions)


def read_plan(folder: Path) -> Plan:
    """The plan in a folder.

    Raises:
        NotFound: there is none.
        BrokenArtefact: it is damaged, or of a form that this version does not know.
    """
    try:
        content = (folder / PLAN).read_bytes()
    except OSError as error:
        raise NotFound(f"no plan in {folder}", hint="make one: kg-service batch plan FILE… WORK") from error
    try:
        plan = Plan.model_validate_json(content)
    except ValidationError as error:
        raise BrokenArtefact(f"{folder / PLAN} is damaged, or of another version", hint=PLAN_ANEW) from error
    if plan.content != content:
        raise BrokenArtefact(f"{folder / PLAN} was changed", hint=PLAN_ANEW)
    return plan


def refuse_other_linking(folder: Path, plan: Plan, own: Linking) -> None:
    """Raises Conflict where this process would link otherwise than a plan says."""
    planned, here = plan.linking.model_dump(mode="json"), own.model_dump(mode="json")
    for what in planned:
        if planned[what] != here[what]:
            raise Conflict(
                f"{folder} was planned with {what} {apart(planned[what], here[what])}, here it is "
                f"{apart(here[what], planned[what])}",
                hint=f"use the same one, or {PLAN_ANEW}",
            )


def apart(value: Any, other: Any) -> str:
    """A value, or of a table the entries that differ from another one's."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items() if other.get(key) != each) or "nothing"
    return f"{value:.40}"
