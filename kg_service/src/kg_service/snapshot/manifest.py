"""What a snapshot says of itself: `manifest.json`, the SHA-256 of whose bytes is the snapshot's id. The files of a snapshot:

manifest.json                          `Manifest`, as JSON without white space, keys sorted
images.<array>.npy                     ids, the table that finds their rows (`lookup.py`), caption keys
graph.<array>.npy                      CUIs, has_attribute (CSR), is_a; typed relations where there are any (`ancestry.py`)
<representation>.<knowledge>.x.<part>  image vectors
<representation>.<knowledge>.t.<table> frozen tables, for captions that are not in the snapshot

An appended snapshot (`append.py`) has the files of its own images alone: ids and caption keys, has_attribute, and vectors but for
noise, which follows from the image id. Its manifest names the snapshots that have the rest.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Final, Literal

import pydantic
from nbclip.errors import BrokenArtefact
from nbclip.ids import SnapshotId
from nbclip.schemas.snapshots import SnapshotManifest

from kg_service.representations.model import Card
from kg_service.storage.artefact import FileRecord

FORMAT: Final = 2
PUBLISH = "kg-service snapshot publish, with --split train if the captions have splits"
"""Where it isn't known what the graph or the snapshot holds; `publish_command` is for where it is."""
_PRUNE = "then kg-service snapshot prune removes the damaged one"


class _OnDisk(pydantic.BaseModel):
    """Fields of later versions of the same format are tolerated."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True)


class Appended(_OnDisk):
    """On what an appended snapshot stands.

    Attributes:
        base: the published snapshot: its images, concepts and frozen tables.
        earlier: appended snapshots whose own images it has too, oldest first.
        images: appended to the base in all.
        own: of those, in this snapshot's own files.
    """

    base: SnapshotId
    earlier: list[SnapshotId]
    images: int
    own: int


class IsAOrigin(_OnDisk):
    """Where the is_a come from: `shuffled` are the graph's with their parents permuted by a seed, `own` are a request's."""

    kind: Literal["shuffled", "own"]
    seed: int | None = None


class RelationsOrigin(_OnDisk):
    """Where the typed relations come from: the graph's with their targets permuted by a seed."""

    kind: Literal["shuffled"] = "shuffled"
    seed: int


class Manifest(_OnDisk):
    """What a snapshot holds, and what it was made from.

    Attributes:
        format: of the files.
        vocabulary: release, sha256 and licence of the vocabulary; empty if unknown.
        linkers: those that made the edges of the graph, sorted.
        dataset: only images of this dataset; None: of all.
        split: only images of this split; None: of all.
        images: how many.
        images_with_knowledge: of those, with a concept.
        concepts: how many, ancestors included.
        attributes: edges from images to concepts.
        is_a_edges: edges among the concepts.
        relation_edges: typed edges among them, by relation.
        variants: model cards by `<representation>/<knowledge>`.
        versions: of the packages that decide the bytes.
        files: all but the manifest.
        appended: on what it stands; None where it was published whole.
        is_a: where its is_a come from; None: from the graph.
        relations: where its typed relations come from; None: from the graph.
        rarest_concepts: how many of each image's concepts it has, the rarest; None: all.
    """

    format: Literal[2] = FORMAT
    vocabulary: dict[str, str]
    linkers: list[str]
    dataset: str | None
    split: str | None
    images: int
    images_with_knowledge: int
    concepts: int
    attributes: int
    is_a_edges: int
    relation_edges: dict[str, int] = {}
    variants: dict[str, Card]
    versions: dict[str, str]
    files: list[FileRecord]
    appended: Appended | None = None
    is_a: IsAOrigin | None = None
    relations: RelationsOrigin | None = None
    rarest_concepts: int | None = None


def encoded(manifest: Manifest) -> bytes:
    """The bytes of a new `manifest.json`."""
    # What is empty is left out, so that the same graph has the id that it had before there were such fields.
    later = ("appended", "is_a", "relation_edges", "relations", "rarest_concepts")
    left_out = {name for name in later if not getattr(manifest, name)}
    return json.dumps(manifest.model_dump(mode="json", exclude=left_out), sort_keys=True, separators=(",", ":")).encode()


def id_of(content: bytes) -> str:
    """The id of the snapshot whose `manifest.json` has these bytes."""
    return hashlib.sha256(content).hexdigest()


def decoded(path: Path, wanted: str) -> Manifest:
    """The manifest in a file, which has the digest `wanted`.

    Raises:
        BrokenArtefact: it is damaged, or of a form that this version does not know.
    """
    content = path.read_bytes()
    try:
        held = json.loads(content)
    except ValueError as error:
        raise _broken(path, "is not a manifest") from error
    if isinstance(held, dict) and held.get("format") not in (None, FORMAT):
        raise _broken(path, f"was made by another version: format {held['format']!r:.20}, and this one reads {FORMAT}")
    try:
        manifest = Manifest.model_validate(held)
    except pydantic.ValidationError as error:
        raise _broken(path, "is not a manifest") from error
    if id_of(content) != wanted:
        raise _broken(path, "does not have the digest that names it")
    return manifest


def on_the_wire(manifest: Manifest) -> SnapshotManifest:
    """What answers say of a snapshot."""
    held = manifest.model_dump()
    return SnapshotManifest.model_validate({name: held[name] for name in SnapshotManifest.model_fields})


def publish_command(*, dataset: str | None = None, split: str | None = None) -> str:
    """The command that publishes this part of the graph."""
    part = [word for name, value in (("dataset", dataset), ("split", split)) if value for word in (f"--{name}", value)]
    return shlex.join(["kg-service", "snapshot", "publish", *part])


def republish(manifest: Manifest) -> str:
    """How a snapshot with damaged files is made whole."""
    return f"publish anew: {publish_command(dataset=manifest.dataset, split=manifest.split)}; {_PRUNE}"


def stands_on(manifest: Manifest) -> tuple[str, ...]:
    """The snapshots that it needs beside its own files."""
    return () if manifest.appended is None else (manifest.appended.base, *manifest.appended.earlier)


def _broken(path: Path, what: str) -> BrokenArtefact:
    return BrokenArtefact(f"{path} {what}", hint=f"publish anew: {PUBLISH}; {_PRUNE}")
