"""Opens snapshots: checks every file's digest once, maps the arrays, finds images by id."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydantic
from nbclip_shared.errors import BrokenArtefact, Gone, InvalidInput, NotFound, Unavailable
from nbclip_shared.ids import check_snapshot_id, is_snapshot_id
from nbclip_shared.schemas import Knowledge, SnapshotManifest
from scipy import sparse

from kg_service.durable import sha256_of
from kg_service.representations.model import ImageVectors
from kg_service.snapshot.files import MANIFEST, Arrays, id_keys, load_arrays, snapshot_id


@dataclass(frozen=True)
class Snapshot:
    """An opened snapshot; its arrays are read-only and shared by every process that maps them."""

    id: str
    manifest: SnapshotManifest
    images: Arrays
    graph: Arrays
    vectors_by_variant: dict[tuple[str, str], ImageVectors]

    def vectors(self, representation: str, knowledge: Knowledge) -> ImageVectors:
        """Image vectors in row order.

        Raises:
            InvalidInput: the snapshot does not hold this variant.
        """
        variant = ("noise" if knowledge == "noise" else representation, knowledge)
        if variant not in self.vectors_by_variant:
            held = ", ".join(sorted("/".join(each) for each in self.vectors_by_variant))
            raise InvalidInput(f"snapshot without the variant {'/'.join(variant)}", hint=f"it holds {held}")
        return self.vectors_by_variant[variant]

    def positions(self, image_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Row of each image, [R]; -1 where the snapshot does not hold it."""
        keys = self.images["lookup_keys"]
        wanted = id_keys(image_ids)
        place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        rows = np.where(keys[place] == wanted, self.images["lookup_rows"][place], -1)
        for index, row in enumerate(rows.tolist()):
            if row >= 0 and self.image_id(row) != image_ids[index]:
                rows[index] = -1
        return rows.astype(np.int64)

    def image_id(self, row: int) -> str:
        """The id of a row's image."""
        start, end = self.images["id_offsets"][row : row + 2].tolist()
        return self.images["id_bytes"][start:end].tobytes().decode()


class SnapshotFolder:
    """The folder that snapshots are published to. Opened ones stay open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open = functools.lru_cache(maxsize=8)(self._open_checked)

    def ids(self) -> list[str]:
        """Held snapshots, the current one first, then the newest."""
        # What is being written, or was left by a crash, lies beside them under other names.
        held = [file for file in self.path.glob(f"*/{MANIFEST}") if is_snapshot_id(file.parent.name)]
        held.sort(key=lambda file: (-file.stat().st_mtime_ns, file.parent.name))
        current = self.current()
        return sorted((file.parent.name for file in held), key=lambda held_id: held_id != current)

    def current(self) -> str | None:
        """The snapshot that was published last, or None."""
        pointer = self.path / "CURRENT"
        return pointer.read_text().strip() if pointer.exists() else None

    def open(self, wanted: str | None = None) -> Snapshot:
        """The snapshot of this id, or the current one.

        Raises:
            Unavailable: nothing is published yet.
            Gone: this id is not held; names those that are.
            BrokenArtefact: a file is missing or not what the manifest says.
        """
        chosen = wanted or self.current()
        if chosen is None:
            raise Unavailable("no snapshot is published", hint="kg-service snapshot publish")
        return self._open(check_snapshot_id(chosen))

    def manifest(self, wanted: str) -> SnapshotManifest:
        """The manifest of a held snapshot, checked against its id.

        Raises:
            NotFound: nothing is held at all.
            Gone: this id is not held.
            BrokenArtefact: the manifest is damaged.
        """
        path = self.path / check_snapshot_id(wanted) / MANIFEST
        if not path.exists():
            held = self.ids()
            if not held:
                raise NotFound(f"no snapshot {wanted}: none is published", hint="kg-service snapshot publish")
            raise Gone(f"snapshot {wanted} is not held", hint=f"held: {', '.join(held[:5])}")
        try:
            manifest = SnapshotManifest.model_validate(json.loads(path.read_bytes()))
        except (ValueError, pydantic.ValidationError) as error:
            raise _broken(path, "is not a manifest") from error
        if snapshot_id(manifest) != wanted:
            raise _broken(path, "does not have the digest that names it")
        return manifest

    def verify(self, wanted: str) -> SnapshotManifest:
        """Checks every file's size and digest; returns the manifest.

        Raises:
            BrokenArtefact: naming the first file that differs.
        """
        manifest = self.manifest(wanted)
        for file in manifest.files:
            path = self.path / wanted / file.name
            if not path.exists():
                raise _broken(path, "is missing")
            if path.stat().st_size != file.bytes or sha256_of(path) != file.sha256:
                raise _broken(path, "is not the file that was published")
        return manifest

    def _open_checked(self, chosen: str) -> Snapshot:
        manifest = self.verify(chosen)
        folder = self.path / chosen
        variants = {}
        for name in manifest.variants:
            representation, knowledge = name.split("/")
            variants[representation, knowledge] = _vectors(load_arrays(folder, f"{representation}.{knowledge}.x."))
        return Snapshot(chosen, manifest, load_arrays(folder, "images."), load_arrays(folder, "graph."), variants)


def _vectors(parts: Arrays) -> ImageVectors:
    csr = (parts["sparse_data"], parts["sparse_indices"], parts["sparse_indptr"])
    return ImageVectors(sparse.csr_array(csr, shape=tuple(parts["sparse_shape"].tolist()), copy=False), parts["dense"])


def _broken(path: Path, what: str) -> BrokenArtefact:
    return BrokenArtefact(f"{path} {what}", hint="publish the snapshot again: kg-service snapshot publish")
