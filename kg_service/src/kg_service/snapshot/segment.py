"""A segment of a snapshot: ids, caption keys, concepts, vectors. A published snapshot has one segment; images that
are appended to it are in further ones.

Shape legend: N images, C concepts' positions, S segments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nbclip.ids import caption_sha256
from scipy import sparse

from kg_service.representations.model import ImageVectors
from kg_service.snapshot.lookup import fill_table, find_rows, id_table, packed
from kg_service.snapshot.manifest import Manifest
from kg_service.storage.arrays import Arrays, ArrayWriter, open_array, open_arrays, retype, save_arrays
from kg_service.storage.artefact import FileRecord

_READ_WHOLE_BELOW = 1 << 14
_IMAGES_AT_ONCE = 1 << 14
_INT32_UP_TO = 1 << 31
"""Entries of a CSR array from which on its positions are int64: both of its arrays have one type."""

Variant = tuple[str, str]
"""Representation and knowledge, such as `("hybrid", "dk_ek")`."""


@dataclass(frozen=True)
class Segment:
    """N images in row order.

    Attributes:
        images: `id_bytes`, `id_offsets`, `id_table` (`lookup.py`), `caption_keys`.
        concepts: `attribute_indptr`, `attribute_indices`: where the concepts of each image stand in the snapshot's CUIs.
        vectors: by variant; noise may be left out, as it follows from the image id.
    """

    images: Arrays
    concepts: Arrays
    vectors: Mapping[Variant, ImageVectors]

    def __len__(self) -> int:
        return len(self.images["caption_keys"])

    def positions(self, image_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Row of each image, [R]; -1 where it is not here."""
        return find_rows(self.images["id_bytes"], self.images["id_offsets"], self.images["id_table"], image_ids)

    def image_id(self, row: int) -> str:
        """The id of a row's image."""
        start, end = self.images["id_offsets"][row : row + 2].tolist()
        return self.images["id_bytes"][start:end].tobytes().decode()

    def concepts_of(self, row: int) -> npt.NDArray[np.int32]:
        """Positions of the concepts of a row's image, ascending."""
        start, end = self.concepts["attribute_indptr"][row : row + 2].tolist()
        concepts: npt.NDArray[np.int32] = self.concepts["attribute_indices"][start:end]
        return concepts

    def has(self, concepts: int) -> sparse.csr_array:
        """1.0 where the image has the concept; CSR, [N, concepts]."""
        indptr, indices = self.concepts["attribute_indptr"], self.concepts["attribute_indices"]
        return sparse.csr_array((np.ones(len(indices)), indices, indptr), shape=(len(self), concepts))


def image_arrays(image_ids: Sequence[str], digests: Sequence[str]) -> Arrays:
    """Ids with the table that finds them, and the keys of the captions with these digests."""
    text, offsets, table = id_table(image_ids)
    return {"id_bytes": text, "id_offsets": offsets, "id_table": table, "caption_keys": caption_keys(digests, image_ids)}


def save_images(folder: Path, image_ids: Sequence[str], digests: Sequence[str]) -> None:
    """Writes what `image_arrays` gives of them; only the table is in memory."""
    with (
        ArrayWriter(folder / "images.id_bytes.npy", np.uint8) as text,
        ArrayWriter(folder / "images.id_offsets.npy", np.int64) as offsets,
        ArrayWriter(folder / "images.caption_keys.npy", np.int64) as keys,
    ):
        offsets.add(np.zeros(1, np.int64))
        for start in range(0, len(image_ids), _IMAGES_AT_ONCE):
            ids = image_ids[start : start + _IMAGES_AT_ONCE]
            id_bytes, ends = packed(ids)
            offsets.add(text.length + ends[1:])
            text.add(id_bytes)
            keys.add(caption_keys(digests[start : start + _IMAGES_AT_ONCE], ids))
    table = fill_table(open_array(folder / "images.id_bytes.npy"), open_array(folder / "images.id_offsets.npy"))
    save_arrays(folder, {"images.id_table": table})


def caption_keys(digests: Sequence[str], image_ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """`nbclip.ids.caption_key` of each caption's digest.

    An empty caption says nothing, so such an image has the key of its id and is nobody's duplicate.
    """
    empty = caption_sha256("")
    telling = [
        hashlib.sha256(image_id.encode()).hexdigest() if digest == empty else digest
        for digest, image_id in zip(digests, image_ids, strict=True)
    ]
    # `caption_key` of all at once.
    leading = np.frombuffer(bytes.fromhex("".join([digest[:16] for digest in telling])), ">u8")
    return (leading >> np.uint64(1)).astype(np.int64)


def save_vectors(folder: Path, variant: Variant, tables: Iterable[ImageVectors]) -> None:
    """Writes the image vectors of a variant, of tables that follow one another; one of them is in memory."""
    prefix, tables = f"{'.'.join(variant)}.x.", iter(tables)
    first = next(tables)
    with (
        ArrayWriter(folder / f"{prefix}sparse_indptr.npy", np.int64) as indptr,
        ArrayWriter(folder / f"{prefix}sparse_indices.npy", np.int32) as indices,
        ArrayWriter(folder / f"{prefix}sparse_data.npy", first.sparse.dtype) as data,
        ArrayWriter(folder / f"{prefix}dense.npy", first.dense.dtype, first.dense.shape[1:]) as dense,
    ):
        indptr.add(np.zeros(1, np.int64))
        for table in chain([first], tables):
            indptr.add(indices.length + table.sparse.indptr[1:])
            indices.add(table.sparse.indices)
            data.add(table.sparse.data)
            dense.add(table.dense)
    if indices.length < _INT32_UP_TO:
        retype(folder / f"{prefix}sparse_indptr.npy", np.int32)
    else:
        retype(folder / f"{prefix}sparse_indices.npy", np.int64)
    save_arrays(folder, {f"{prefix}sparse_shape": np.array([indptr.length - 1, first.sparse.shape[1]])})


def save_segment(folder: Path, segment: Segment) -> None:
    """Writes all that a segment has."""
    for prefix, arrays in (("images", segment.images), ("graph", segment.concepts)):
        save_arrays(folder, {f"{prefix}.{name}": array for name, array in arrays.items()})
    for variant, vectors in segment.vectors.items():
        save_vectors(folder, variant, [vectors])


def load_segment(folder: Path, manifest: Manifest) -> Segment:
    """Maps what `save_segment` wrote, or a publication."""
    files = manifest.files
    parts = {name: open_snapshot_arrays(folder, files, f"{name.replace('/', '.')}.x.") for name in manifest.variants}
    vectors = {_variant(name): _vectors(arrays) for name, arrays in parts.items() if arrays}
    graph = open_snapshot_arrays(folder, files, "graph.attribute_")
    concepts = {f"attribute_{name}": graph[name] for name in ("indptr", "indices")}
    return Segment(open_snapshot_arrays(folder, files, "images."), concepts, vectors)


def open_snapshot_arrays(folder: Path, files: Iterable[FileRecord], prefix: str) -> Arrays:
    """The arrays among a snapshot's files whose names begin with `prefix`, by the rest of their names; small ones are read."""
    return open_arrays(folder, (file.name for file in files), prefix, whole_below=_READ_WHOLE_BELOW)


def joined(segments: Sequence[Segment]) -> Segment:
    """The images of all of them, in this order; a copy where there are several."""
    if len(segments) == 1:
        return segments[0]
    text, offsets = joined_ids(segments)
    images: Arrays = {
        "id_bytes": text,
        "id_offsets": offsets,
        "id_table": fill_table(text, offsets),
        "caption_keys": np.concatenate([segment.images["caption_keys"] for segment in segments]),
    }
    held = reduce(set.intersection, (set(segment.vectors) for segment in segments))
    vectors = {variant: join_vectors([segment.vectors[variant] for segment in segments]) for variant in sorted(held)}
    return Segment(images, joined_concepts(segments), vectors)


def joined_ids(segments: Sequence[Segment]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The ids of all images as UTF-8 and their offsets, [N + 1]; a copy where there are several segments."""
    if len(segments) == 1:
        return segments[0].images["id_bytes"], segments[0].images["id_offsets"]
    offsets = _joined_pointers([segment.images["id_offsets"] for segment in segments])
    return np.concatenate([segment.images["id_bytes"] for segment in segments]), offsets


def joined_concepts(segments: Sequence[Segment]) -> Arrays:
    """The concepts of all images; a copy where there are several segments."""
    if len(segments) == 1:
        return segments[0].concepts
    return {
        "attribute_indptr": _joined_pointers([segment.concepts["attribute_indptr"] for segment in segments]),
        "attribute_indices": np.concatenate([segment.concepts["attribute_indices"] for segment in segments]),
    }


def join_vectors(tables: Sequence[ImageVectors]) -> ImageVectors:
    """One table with the rows of all, in this order; a copy where there are several."""
    if len(tables) == 1:
        return tables[0]
    parts = [table.sparse for table in tables]
    indptr = _joined_pointers([part.indptr for part in parts])
    indices, data = (np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "data"))
    # Built from three arrays of one integer type, nothing is copied again.
    csr = (data, indices, indptr.astype(indices.dtype, copy=False))
    shape = (sum(part.shape[0] for part in parts), parts[0].shape[1])
    return ImageVectors(sparse.csr_array(csr, shape=shape), np.concatenate([table.dense for table in tables]))


def _joined_pointers(pointers: Sequence[npt.NDArray[np.integer]]) -> npt.NDArray[np.int64]:
    """Row pointers of arrays that follow one another, [N + 1]."""
    starts = np.cumsum([0, *(int(pointer[-1]) for pointer in pointers)])
    parts = [pointer[:-1].astype(np.int64) + start for pointer, start in zip(pointers, starts[:-1], strict=True)]
    return np.concatenate([*parts, starts[-1:]])


def _variant(name: str) -> Variant:
    representation, knowledge = name.split("/")
    return representation, knowledge


def _vectors(parts: Arrays) -> ImageVectors:
    csr = (parts["sparse_data"], parts["sparse_indices"], parts["sparse_indptr"])
    return ImageVectors(sparse.csr_array(csr, shape=tuple(parts["sparse_shape"].tolist()), copy=False), parts["dense"])
