"""Opens snapshots: checks every file's digest once, maps the arrays, finds images by id."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pydantic
from nbclip.errors import BrokenArtefact, Gone, InvalidInput, NotFound, Unavailable
from nbclip.ids import check_snapshot_id, is_snapshot_id
from nbclip.schemas.snapshots import SnapshotManifest
from nbclip.schemas.targets import Knowledge

from kg_service.representations.model import FittedRepresentation, ImageVectors
from kg_service.snapshot.ancestry import IsA, index_is_a
from kg_service.snapshot.damage import Damage
from kg_service.snapshot.files import CURRENT, MANIFEST, Arrays, load_array, load_arrays, snapshot_id
from kg_service.snapshot.once import OpenOnce
from kg_service.snapshot.segment import Segment, Variant, joined, load_segment
from kg_service.storage.durable import sha256_of

Found = TypeVar("Found")
_FORMAT = SnapshotManifest.model_fields["format"].default

_USUAL = "hybrid"
"""What requests name by default, so that noise can be asked for without a name."""


@dataclass(frozen=True)
class Base:
    """What a publication froze: its images, the graph's concepts, the fitted tables. Mapped, and shared by every process.

    Attributes:
        folder: where its files are.
        manifest: of the publication.
        segment: its images.
        graph: `cuis` and `is_a`.
    """

    folder: Path
    manifest: SnapshotManifest
    segment: Segment
    graph: Arrays

    @functools.cached_property
    def cuis(self) -> tuple[str, ...]:
        """M CUIs, sorted."""
        return tuple(self.graph["cuis"].astype(str).tolist())

    @functools.cached_property
    def is_a(self) -> IsA:
        """The hierarchy over `cuis`."""
        return index_is_a(self.graph["is_a"], len(self.graph["cuis"]))

    def fitted(self, variant: Variant) -> FittedRepresentation:
        """The representation that gave the image vectors; made of its tables when it is first asked for."""
        if variant not in self._fitted:
            # The methods' own libraries: images that are held have their vectors without them.
            from kg_service.representations.restored import restore

            tables = load_arrays(self.folder, f"{'.'.join(variant)}.t.")
            self._fitted[variant] = restore(self.manifest.variants["/".join(variant)], self.cuis, tables)
        return self._fitted[variant]

    @functools.cached_property
    def _fitted(self) -> dict[Variant, FittedRepresentation]:
        return {}


@dataclass(frozen=True)
class Snapshot:
    """An opened snapshot: what was published, and images that were appended to it, whose rows follow.

    Its arrays are read-only.
    """

    id: str
    manifest: SnapshotManifest
    base: Base
    tail: Segment | None = None

    def __len__(self) -> int:
        return sum(map(len, self.segments))

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The base's, and the tail if there is one."""
        return (self.base.segment,) if self.tail is None else (self.base.segment, self.tail)

    def vectors(self, representation: str, knowledge: Knowledge) -> ImageVectors:
        """Image vectors in row order.

        Raises:
            InvalidInput: the snapshot does not hold this variant.
        """
        variant = self._variant(representation, knowledge)
        vectors = self.base.segment.vectors[variant]
        return vectors if self.tail is None else replace(vectors, tail=self._tail_vectors(self.tail, variant))

    def fitted(self, representation: str, knowledge: Knowledge) -> FittedRepresentation:
        """The representation that gave the image vectors; made of its tables when it is first asked for.

        Raises:
            InvalidInput: the snapshot does not hold this variant, or it is of a form that this version does not know.
        """
        return self.base.fitted(self._variant(representation, knowledge))

    def _variant(self, representation: str, knowledge: Knowledge) -> Variant:
        names = {name for name, _ in self.base.segment.vectors} | {_USUAL}
        variant = ("noise" if knowledge == "noise" and representation in names else representation, knowledge)
        if variant not in self.base.segment.vectors:
            held = ", ".join(sorted("/".join(each) for each in self.base.segment.vectors))
            raise InvalidInput(f"snapshot without the variant {'/'.join(variant)}", hint=f"it holds {held}")
        return variant

    def _tail_vectors(self, tail: Segment, variant: Variant) -> ImageVectors:
        """Those that are held, or those that follow from image ids and concepts: made when they are first asked for."""
        if variant in tail.vectors:
            return tail.vectors[variant]
        if variant not in self._made:
            ids = [tail.image_id(row) for row in range(len(tail))]
            self._made[variant] = self.base.fitted(variant).embed_known(ids, tail.has(len(self.base.graph["cuis"])))
        return self._made[variant]

    @functools.cached_property
    def _made(self) -> dict[Variant, ImageVectors]:
        return {}

    @property
    def cuis(self) -> tuple[str, ...]:
        """M CUIs, sorted."""
        return self.base.cuis

    @property
    def is_a(self) -> IsA:
        """The hierarchy over `cuis`."""
        return self.base.is_a

    def cui(self, concept: int) -> str:
        """The CUI at a position, without making `cuis`."""
        return bytes(self.base.graph["cuis"][concept]).decode()

    def concepts(self, row: int) -> npt.NDArray[np.int32]:
        """Where the concepts of a row's image stand in `cuis`, ascending."""
        segment, place = self._place(row)
        return segment.concepts_of(place)

    def positions(self, image_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Row of each image, [R]; -1 where the snapshot does not hold it."""
        rows = self.base.segment.positions(image_ids)
        if self.tail is not None and (missing := np.flatnonzero(rows < 0)).size:
            found = self.tail.positions([image_ids[at] for at in missing.tolist()])
            rows[missing] = np.where(found < 0, -1, found + len(self.base.segment))
        return rows

    def image_id(self, row: int) -> str:
        """The id of a row's image."""
        segment, place = self._place(row)
        return segment.image_id(place)

    def caption_keys(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """`caption_key` of the images of these rows, [R]."""
        images = len(self.base.segment)
        if self.tail is None:
            own: npt.NDArray[np.int64] = self.base.segment.images["caption_keys"][rows]
            return own
        later = rows >= images
        keys = np.empty(len(rows), np.int64)
        keys[~later] = self.base.segment.images["caption_keys"][rows[~later]]
        keys[later] = self.tail.images["caption_keys"][rows[later] - images]
        return keys

    def _place(self, row: int) -> tuple[Segment, int]:
        """The segment that a row is in, and where."""
        images = len(self.base.segment)
        return (self.base.segment, row) if self.tail is None or row < images else (self.tail, row - images)


class SnapshotFolder:
    """The folder that snapshots are published to. Opened ones stay open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._damage = Damage(path)
        self._pointer: tuple[tuple[int, int, int], str] | None = None
        self._open = OpenOnce(self._open_checked, most=4)
        self._open_base = OpenOnce(self._base, most=8)
        self.segment = OpenOnce(self._segment, most=32)

    def ids(self) -> list[str]:
        """Held snapshots, the current one first, then the newest."""
        # What is being written, or was left by a crash, lies beside them under other names.
        held = [file for file in self.path.glob(f"*/{MANIFEST}") if is_snapshot_id(file.parent.name)]
        held.sort(key=lambda file: (-_written_at(file), file.parent.name))
        current = self.current()
        return sorted((file.parent.name for file in held), key=lambda held_id: held_id != current)

    def current(self) -> str | None:
        """The snapshot that was published last, or None."""
        pointer = self.path / CURRENT
        try:
            status = pointer.stat()
        except FileNotFoundError:
            return None
        # Each request asks, and the pointer is another file whenever it names another snapshot.
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if self._pointer is None or self._pointer[0] != stamp:
            self._pointer = stamp, pointer.read_text().strip()
        return self._pointer[1]

    def open(self, wanted: str | None = None) -> Snapshot:
        """The snapshot of this id, or the current one. Where that is damaged, the newest whole one of the same part of the graph.

        Raises:
            Unavailable: nothing is published yet.
            Gone: this id is not held; names those that are.
            BrokenArtefact: a file is missing or not what the manifest says; of the current one, and no other can be served.
        """
        if wanted:
            return self._open(check_snapshot_id(wanted))
        current = self.current()
        if current is None:
            raise Unavailable("no snapshot is published", hint="kg-service snapshot publish")
        try:
            return self._open_whole(check_snapshot_id(current))
        except (BrokenArtefact, Gone):
            former = self._former(current)
            if former is None:
                raise
            return former

    def opened(self, wanted: str | None = None) -> Snapshot | None:
        """What `open` gives, if it was opened before: at once, without a look at its files."""
        return self._open.get(wanted or self.current() or "")

    def served(self) -> str | None:
        """What `open` gives by default: the current one, or another if `open` found it damaged; None without any."""
        current = self.current()
        former = self._former(current) if current is not None and self._damage.of(current) else None
        return current if former is None else former.id

    def _former(self, current: str) -> Snapshot | None:
        """The newest whole snapshot but the current one, of the same dataset and split as far as that one's manifest says."""
        part = self._part(current)
        for held in self.ids():
            if held == current or (part and self._part(held) != part):
                continue
            try:
                return self._open_whole(held)
            except (BrokenArtefact, Gone):
                continue
        return None

    def _part(self, held: str) -> tuple[str | None, str | None] | None:
        """Dataset and split, or None where the manifest is damaged."""
        try:
            manifest = self.manifest(held)
        except (BrokenArtefact, Gone):
            return None
        return manifest.dataset, manifest.split

    def _open_whole(self, chosen: str) -> Snapshot:
        """Opens it, unless it was found damaged and is as it was then: digests of all files for each request cost too much."""
        known = self._damage.of(chosen)
        if known is not None:
            raise known
        try:
            return self._open(chosen)
        except (BrokenArtefact, Gone) as error:
            self._damage.note(chosen, error, self._needs(chosen))
            raise

    def _needs(self, held: str) -> tuple[str, ...]:
        try:
            return stands_on(self.manifest(held))
        except (BrokenArtefact, Gone):
            return ()

    def manifest(self, wanted: str) -> SnapshotManifest:
        """The manifest of a held snapshot, checked against its id.

        Raises:
            NotFound: nothing is held at all.
            Gone: this id is not held.
            BrokenArtefact: the manifest is damaged, or of a form that this version does not know.
        """
        path = self.path / check_snapshot_id(wanted) / MANIFEST
        if not path.exists():
            others = self.ids()
            if not others:
                raise NotFound(f"no snapshot {wanted}: none is published", hint="kg-service snapshot publish")
            raise Gone(f"snapshot {wanted} is not held", hint=f"held: {', '.join(others[:5])}")
        try:
            held = json.loads(path.read_bytes())
        except ValueError as error:
            raise _broken(path, "is not a manifest") from error
        if isinstance(held, dict) and held.get("format") not in (None, _FORMAT):
            raise _broken(path, f"was made by another version: format {held['format']!r:.20}, and this one reads {_FORMAT}")
        try:
            manifest = SnapshotManifest.model_validate(held)
        except pydantic.ValidationError as error:
            raise _broken(path, "is not a manifest") from error
        if snapshot_id(manifest) != wanted:
            raise _broken(path, "does not have the digest that names it")
        return manifest

    def manifests(self) -> Iterator[tuple[str, SnapshotManifest | BrokenArtefact]]:
        """Held snapshots in the order of `ids`, each with its manifest, or with what is wrong with that."""
        for held in self.ids():
            try:
                yield held, self.manifest(held)
            except BrokenArtefact as error:
                yield held, error
            except (Gone, NotFound):
                continue  # pruned meanwhile

    def verify(self, wanted: str) -> SnapshotManifest:
        """Checks every file's size and digest, and of the snapshots that it stands on too; returns the manifest.

        Raises:
            BrokenArtefact: naming the first file that differs, or a snapshot that it needs and that is not held.
        """
        manifest = self._verify_own(wanted)
        for other in stands_on(manifest):
            self._needed(wanted, other, self._verify_own)
        return manifest

    def _verify_own(self, wanted: str) -> SnapshotManifest:
        manifest = self.manifest(wanted)
        for file in manifest.files:
            path = self.path / wanted / file.name
            if not path.exists():
                raise _broken(path, "is missing")
            if path.stat().st_size != file.bytes or sha256_of(path) != file.sha256:
                raise _broken(path, "is not the file that was published")
        return manifest

    def _needed(self, wanted: str, other: str, look: Callable[[str], Found]) -> Found:
        try:
            return look(other)
        except (Gone, NotFound) as error:
            raise BrokenArtefact(
                f"snapshot {wanted} stands on {other}, which is not held", hint="publish anew: kg-service snapshot publish"
            ) from error

    def _open_checked(self, chosen: str) -> Snapshot:
        manifest = self.manifest(chosen)
        appended = manifest.appended
        if appended is None:
            base = self._open_base(chosen)
            return Snapshot(chosen, base.manifest, base)
        base = self._needed(chosen, appended.base, self._open_base)
        segments = [self._needed(chosen, each, self.segment) for each in (*appended.earlier, chosen)]
        return Snapshot(chosen, manifest, base, joined(segments))

    def _base(self, wanted: str) -> Base:
        manifest, folder = self._verify_own(wanted), self.path / wanted
        graph = {name: load_array(folder, f"graph.{name}") for name in ("cuis", "is_a")}
        return Base(folder, manifest, load_segment(folder, manifest.variants), graph)

    def _segment(self, wanted: str) -> Segment:
        """The images in a snapshot's own files, checked."""
        manifest = self._verify_own(wanted)
        return load_segment(self.path / wanted, manifest.variants)


def stands_on(manifest: SnapshotManifest) -> tuple[str, ...]:
    """The snapshots that it needs beside its own files."""
    return () if manifest.appended is None else (manifest.appended.base, *manifest.appended.earlier)


def _broken(path: Path, what: str) -> BrokenArtefact:
    return BrokenArtefact(
        f"{path} {what}", hint="publish anew: kg-service snapshot publish; then kg-service snapshot prune removes the damaged one"
    )


def _written_at(file: Path) -> int:
    """Nanoseconds of the epoch; 0 if it is gone."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
