"""The folder that snapshots are published to: which there are, which one is current, and each of them opened.

Every file's digest is checked when a snapshot is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from nbclip.errors import BrokenArtefact, Gone, NotFound
from nbclip.ids import check_snapshot_id, is_snapshot_id

from kg_service.errors import MissingPart
from kg_service.snapshot.ancestry import RELATION_ARRAYS
from kg_service.snapshot.aside import was_served
from kg_service.snapshot.damage import Damage
from kg_service.snapshot.manifest import PUBLISH, Manifest, decoded, republish, stands_on
from kg_service.snapshot.once import OpenOnce
from kg_service.snapshot.opened import Base, Snapshot
from kg_service.snapshot.pointer import Pointer
from kg_service.snapshot.segment import Segment, joined, load_segment, open_snapshot_arrays
from kg_service.storage.artefact import MANIFEST, check_files

CURRENT = "CURRENT"
"""The file that names the snapshot that was published last."""


Found = TypeVar("Found")


class SnapshotFolder:
    """The folder that snapshots are published to. Opened ones stay open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._damage = Damage(path)
        self._pointer = Pointer(path / CURRENT)
        self._open = OpenOnce(self._open_checked, most=4)
        self._open_base = OpenOnce(self._base, most=8)
        self.segment = OpenOnce(self._segment, most=32)

    def ids(self) -> list[str]:
        """Held snapshots, the one that was published last first, then by age, the newest first."""
        # What is being written, or was left by a crash, lies beside them under other names.
        held = [file for file in self.path.glob(f"*/{MANIFEST}") if is_snapshot_id(file.parent.name)]
        held.sort(key=lambda file: (-_written_at(file), file.parent.name))
        last = self.published_last()
        return sorted((file.parent.name for file in held), key=lambda held_id: held_id != last)

    def current(self) -> str | None:
        """The id of what `open` gives by default, None where nothing is published.

        It is what was published last, unless `open` found that damaged and gives another.
        """
        last = self.published_last()
        former = self._former(last) if last is not None and self._damage.of(last) else None
        return last if former is None else former.id

    def published_last(self) -> str | None:
        """The id that the last publication, append or compaction wrote down, whole or damaged; None before the first.

        Raises:
            Unavailable: it can't be read.
        """
        return self._pointer.read()

    def open(self, wanted: str | None = None) -> Snapshot:
        """The snapshot of this id, or the current one: what was published last or, where that is damaged, the newest whole one
        of the same part of the graph.

        Raises:
            MissingPart: nothing is published yet.
            Gone: this id is not held; names those that are.
            BrokenArtefact: a file is missing or not what the manifest says; of what was published last, and no other is whole.
        """
        if wanted:
            return self._open(check_snapshot_id(wanted))
        last = self.published_last()
        if last is None:
            raise MissingPart("no snapshot is published", hint=PUBLISH)
        try:
            if not is_snapshot_id(last):
                raise BrokenArtefact(f"{self.path / CURRENT} names no snapshot", hint=PUBLISH)
            return self._open_whole(last)
        except (BrokenArtefact, Gone):
            former = self._former(last)
            if former is None:
                raise
            return former

    def opened(self, wanted: str | None = None) -> Snapshot | None:
        """What `open` gives, if it was opened before: at once, without a look at its files."""
        return self._open.get(wanted or self.published_last() or "")

    def _former(self, damaged: str) -> Snapshot | None:
        """The newest whole snapshot but this one, of the same dataset and split as far as its manifest says."""
        part = self._part(damaged)
        for held in self.ids():
            if held == damaged or (part and self._part(held) != part) or not was_served(self.path / held):
                continue
            try:
                return self._open_whole(held)
            except (BrokenArtefact, Gone):
                continue
        return None

    def _part(self, held: str) -> tuple[str | None, str | None] | None:
        """Dataset and split, or None where the manifest is damaged, or it is no id at all."""
        if not is_snapshot_id(held):
            return None
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

    def manifest(self, wanted: str) -> Manifest:
        """The manifest of a held snapshot, checked against its id.

        Raises:
            NotFound: nothing is held at all.
            Gone: this id is not held.
            BrokenArtefact: the manifest is damaged, or of a form that this version does not know.
        """
        try:
            return decoded(self.path / check_snapshot_id(wanted) / MANIFEST, wanted)
        except FileNotFoundError as error:
            others = self.ids()
            if not others:
                raise NotFound(f"no snapshot {wanted}: none is published", hint=PUBLISH) from error
            raise Gone(f"snapshot {wanted} is not held", hint=f"held: {', '.join(others[:5])}") from error

    def manifests(self) -> Iterator[tuple[str, Manifest | BrokenArtefact]]:
        """Held snapshots in the order of `ids`, each with its manifest, or with what is wrong with that."""
        for held in self.ids():
            try:
                yield held, self.manifest(held)
            except BrokenArtefact as error:
                yield held, error
            except (Gone, NotFound):
                continue  # pruned meanwhile

    def verify(self, wanted: str) -> Manifest:
        """Checks every file's size and digest, and of the snapshots that it stands on too; returns the manifest.

        Raises:
            BrokenArtefact: naming the first file that differs, or a snapshot that it needs and that is not held.
        """
        manifest = self._verify_own(wanted)
        for other in stands_on(manifest):
            self._needed(wanted, other, self._verify_own)
        return manifest

    def _verify_own(self, wanted: str) -> Manifest:
        manifest = self.manifest(wanted)
        check_files(self.path / wanted, manifest.files, hint=republish(manifest), digests=True)
        return manifest

    def _needed(self, wanted: str, other: str, look: Callable[[str], Found]) -> Found:
        try:
            return look(other)
        except (Gone, NotFound) as error:
            raise BrokenArtefact(
                f"snapshot {wanted} builds on {other}, which is missing", hint=f"publish again: {PUBLISH}"
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
        graph = open_snapshot_arrays(folder, manifest.files, "graph.")
        held = {name: graph[name] for name in ("cuis", "is_a", *RELATION_ARRAYS) if name in graph}
        return Base(folder, manifest, load_segment(folder, manifest), held)

    def _segment(self, wanted: str) -> Segment:
        """The images in a snapshot's own files, checked."""
        manifest = self._verify_own(wanted)
        return load_segment(self.path / wanted, manifest)


def _written_at(file: Path) -> int:
    """Nanoseconds of the epoch; 0 if it is gone."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
