"""The files of a snapshot and their names: arrays as .npy, a manifest whose digest is the snapshot's id.

manifest.json                          SnapshotManifest, canonical JSON
images.<array>.npy                     ids, the table that finds their rows (`lookup.py`), caption keys
graph.<array>.npy                      CUIs, has_attribute (CSR), is_a
<representation>.<knowledge>.x.<part>  image vectors
<representation>.<knowledge>.t.<table> frozen tables, for captions that are not in the snapshot

An appended snapshot (`append.py`) has the files of its own images alone: ids and caption keys, has_attribute, and vectors but for
noise, which follows from the image id. Its manifest names the snapshots that have the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nbclip.ids import caption_sha256
from nbclip.schemas.snapshots import SnapshotManifest

MANIFEST = "manifest.json"
CURRENT = "CURRENT"
_READ_WHOLE_BELOW = 1 << 14

Arrays = dict[str, npt.NDArray[Any]]


def manifest_bytes(manifest: SnapshotManifest) -> bytes:
    """Canonical JSON: sorted keys, no white space."""
    # Left out where it is nothing, so that published snapshots keep the ids that they had before there was such a field.
    left_out = {"appended"} if manifest.appended is None else None
    return json.dumps(manifest.model_dump(mode="json", exclude=left_out), sort_keys=True, separators=(",", ":")).encode()


def snapshot_id(manifest: SnapshotManifest) -> str:
    """SHA-256 of the canonical manifest, which names every file's own."""
    return hashlib.sha256(manifest_bytes(manifest)).hexdigest()


def save_array(folder: Path, name: str, array: npt.NDArray[Any]) -> None:
    """Writes `<name>.npy` in C order."""
    np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)


def load_array(folder: Path, name: str) -> npt.NDArray[Any]:
    """Maps `<name>.npy` read-only; small ones are read whole."""
    path = folder / f"{name}.npy"
    array: npt.NDArray[Any] = np.load(
        path, mmap_mode=None if path.stat().st_size < _READ_WHOLE_BELOW else "r", allow_pickle=False
    )
    return array


def load_arrays(folder: Path, prefix: str) -> Arrays:
    """Every array whose name starts with `prefix`, by the rest of its name."""
    names = sorted(path.stem for path in folder.glob(f"{prefix}*.npy"))
    return {name.removeprefix(prefix): load_array(folder, name) for name in names}


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
