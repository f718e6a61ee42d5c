"""The folder that snapshots are published to: which there are, which one is current, and each of them opened.

Every file's digest is checked when a snapshot is opened. A service checks those of large files while it serves: what is found
damaged then is refused from then on, as what was found damaged when it was opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from nbclip.errors import BrokenArtefact, Gone, NotFound
from nbclip.ids import check_snapshot_id, is_snapshot_id

from kg_service.errors import MissingPart
from kg_service.snapshot.ancestry import RELATION_ARRAYS
from kg_service.snapshot.aside import was_served
from kg_service.snapshot.damage import Damage, Stamp, stamp_again, stamp_of_files
from kg_service.snapshot.manifest import PUBLISH, Manifest, decoded, republish, stands_on
from kg_service.snapshot.once import OpenOnce
from kg_service.snapshot.opened import Base, Snapshot
from kg_service.snapshot.pointer import Pointer
from kg_service.snapshot.segment import Segment, joined, load_segment, open_snapshot_arrays
from kg_service.snapshot.verification import Unverified, Verification, first_and_later
from kg_service.storage.artefact import MANIFEST, FileRecord, check_digests, check_files

CURRENT = "CURRENT"
"""The file that names the snapshot that was published last."""


Found = TypeVar("Found")


class SnapshotFolder:
    """The folder that snapshots are published to. Opened ones stay open.

    Args:
        path: of the folder.
        first_bytes: how many bytes of each snapshot's own files, the smallest first, are verified before it is served; the
            digests of the others are checked in the background. None: all before.
    """

    def __init__(self, path: Path, *, first_bytes: int | None = None) -> None:
        self.path = path
        self._first_bytes = first_bytes
        self._damage = Damage(path)
        self._own_damage = Damage(path)
        self._verified: dict[str, Stamp] = {}
        self._verification = Verification(self._end_of_verification)
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
            if self._own_damage.of(chosen) is None:  # or it was said when it was found
                self._damage.log(chosen, error)
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
        return self._own(wanted, _load_base)

    def _segment(self, wanted: str) -> Segment:
        """The images in a snapshot's own files, checked."""
        return self._own(wanted, load_segment)

    def _own(self, wanted: str, load: Callable[[Path, Manifest], Found]) -> Found:
        """What a snapshot's own files give: all are there and as long as they should be, and the smallest are verified."""
        known = self._own_damage.of(wanted)
        if known is not None:
            raise known
        manifest, folder = self.manifest(wanted), self.path / wanted
        hint = republish(manifest)
        check_files(folder, manifest.files, hint=hint, digests=False)
        stamp = stamp_of_files(folder, manifest.files)
        is_verified = self._verified.get(wanted) == stamp
        first, later = ([], []) if is_verified else first_and_later(manifest.files, self._first_bytes)
        check_digests(folder, first, hint=hint)
        try:
            opened = load(folder, manifest)
        except BrokenArtefact as error:
            raise BrokenArtefact(error.message, hint=hint) from error
        if later:
            self._verification.add(Unverified(wanted, folder, later, stamp, hint))
        else:
            self._verified[wanted] = stamp
        return opened

    def note_verified(self, own: str, files: Iterable[FileRecord]) -> None:
        """This process knows the digests of a snapshot's own files, as it has just written them: they are not read again."""
        self._verified[own] = stamp_of_files(self.path / own, files)

    def verify_rest(self, snapshot: Snapshot) -> None:
        """Checks now what of an opened snapshot would be checked in the background, before anything is made of it.

        Raises:
            BrokenArtefact: naming the first file that differs.
        """
        for own in (snapshot.id, *stands_on(snapshot.manifest)):
            if self._verification.waits(own):
                try:
                    manifest = self._verify_own(own)
                except BrokenArtefact as error:
                    self._refuse(own, error)
                    raise
                self._verification.drop(own)
                self.note_verified(own, manifest.files)

    def unverified_bytes(self) -> int:
        """How many bytes of opened snapshots are still to be verified in the background."""
        return self._verification.bytes_left()

    def close(self) -> None:
        """Ends the verification in the background."""
        self._verification.close()

    def _end_of_verification(self, checked: Unverified, error: BrokenArtefact | None) -> None:
        if error is not None:
            self._refuse(checked.snapshot, error)
            return
        with suppress(FileNotFoundError):  # pruned: who has it open goes on with it
            if stamp_again(checked.stamp) == checked.stamp:
                self._verified[checked.snapshot] = checked.stamp
            else:
                self._forget(checked.snapshot)  # published anew meanwhile: what was verified is not what is mapped

    def _refuse(self, own: str, error: BrokenArtefact) -> None:
        """From now on neither the snapshot whose own files are damaged nor one that stands on it is given, until they change."""
        self._own_damage.note(own, error)
        self._damage.log(own, error)
        for held in self._forget(own):
            self._damage.note(held.id, error, stands_on(held.manifest))

    def _forget(self, own: str) -> list[Snapshot]:
        """What was opened of a snapshot's own files is opened anew when it is next asked for; the snapshots that had it."""
        needing = [each for each in self._open.held().values() if own in (each.id, *stands_on(each.manifest))]
        self._open_base.forget([own])
        self.segment.forget([own])
        self._open.forget([each.id for each in needing])
        return needing


def _load_base(folder: Path, manifest: Manifest) -> Base:
    graph = open_snapshot_arrays(folder, manifest.files, "graph.")
    held = {name: graph[name] for name in ("cuis", "is_a", *RELATION_ARRAYS) if name in graph}
    return Base(folder, manifest, load_segment(folder, manifest), held)


def _written_at(file: Path) -> int:
    """Nanoseconds of the epoch; 0 if it is gone."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
