"""Graph to snapshot: read it once, fit every representation, write the arrays, name them by their content."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import structlog
from nbclip_shared.errors import BrokenArtefact, Gone, InvalidInput, NotFound
from nbclip_shared.schemas import SnapshotFile, SnapshotManifest

from kg_service.durable import install, new_folder, sha256_of, write_file
from kg_service.graph.store import Graph, GraphStore
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.model import FittedRepresentation, ImageVectors
from kg_service.representations.noise import Noise
from kg_service.representations.variants import Variant, fit_variants
from kg_service.snapshot.files import MANIFEST, caption_keys, id_keys, manifest_bytes, save_array, snapshot_id
from kg_service.snapshot.reader import SnapshotFolder

_VERSIONED = ("nbclip-kg-service", "numpy", "scipy")


def publish(
    store: GraphStore,
    folder: Path,
    *,
    vocabulary: Mapping[str, str],
    hybrid: Hybrid | None = None,
    dataset: str | None = None,
    split: str | None = None,
) -> str:
    """Freezes the graph, or the part that one dataset or split has, and makes it the current snapshot.

    The same graph gives the same id, and publishing it again writes nothing new.

    Args:
        store: where the graph is.
        folder: the snapshots' folder.
        vocabulary: release, digest and licence of the vocabulary, for the manifest.
        hybrid: parameters of the hybrid representation; default: the measured ones.
        dataset: only images of this dataset.
        split: only images of this split.

    Returns:
        The snapshot's id.

    Raises:
        InvalidInput: there is no such image, or none that has a concept.
    """
    graph = store.read_graph(dataset=dataset, split=split)
    _refuse_empty(graph, dataset, split)
    with new_folder(folder) as scratch:
        _write_images(scratch, graph)
        _write_graph(scratch, graph)
        settings, with_knowledge = _write_variants(scratch, graph, fit_variants(graph, hybrid or Hybrid(), Noise()))
        manifest = SnapshotManifest(
            vocabulary=dict(vocabulary),
            linkers=list(graph.linkers),
            dataset=dataset,
            split=split,
            images=len(graph.image_ids),
            images_with_knowledge=with_knowledge,
            concepts=len(graph.cuis),
            attributes=len(graph.attribute_indices),
            is_a_edges=len(graph.is_a),
            variants=settings,
            versions={name: importlib.metadata.version(name) for name in _VERSIONED},
            files=[
                SnapshotFile(name=path.name, bytes=path.stat().st_size, sha256=sha256_of(path))
                for path in sorted(scratch.iterdir())
            ],
        )
        new_id = snapshot_id(manifest)
        (scratch / MANIFEST).write_bytes(manifest_bytes(manifest))
        if not _is_whole(folder, new_id):
            install(scratch, folder / new_id)
    write_file(folder / "CURRENT", new_id.encode())
    structlog.get_logger().info("snapshot published", snapshot=new_id, images=manifest.images, concepts=manifest.concepts)
    return new_id


def _is_whole(folder: Path, held: str) -> bool:
    """Whether the snapshot is held undamaged; a damaged one is mended by publishing it again."""
    try:
        SnapshotFolder(folder).verify(held)
    except (NotFound, Gone, BrokenArtefact):
        return False
    return True


def _refuse_empty(graph: Graph, dataset: str | None, split: str | None) -> None:
    chosen = " and ".join(f"{name} {value!r}" for name, value in (("dataset", dataset), ("split", split)) if value)
    if not graph.image_ids:
        what = f"no image of {chosen}" if chosen else "no image"
        raise InvalidInput(f"the graph holds {what}", hint="ingest captions first: kg-service ingest FILE")
    if not len(graph.attribute_indices):
        raise InvalidInput("no image has a concept", hint="look at what the linker finds: kg-service link 'a caption'")


def _write_images(folder: Path, graph: Graph) -> None:
    encoded = [image_id.encode() for image_id in graph.image_ids]
    keys = id_keys(graph.image_ids)
    order = np.argsort(keys, kind="stable")
    save_array(folder, "images.id_bytes", np.frombuffer(b"".join(encoded), np.uint8))
    save_array(folder, "images.id_offsets", np.cumsum([0, *map(len, encoded)], dtype=np.int64))
    save_array(folder, "images.caption_keys", caption_keys(graph.caption_sha256, graph.image_ids))
    save_array(folder, "images.lookup_keys", keys[order])
    save_array(folder, "images.lookup_rows", order.astype(np.int64))


def _write_graph(folder: Path, graph: Graph) -> None:
    save_array(folder, "graph.cuis", np.array(graph.cuis, "S8"))
    save_array(folder, "graph.attribute_indptr", graph.attribute_indptr)
    save_array(folder, "graph.attribute_indices", graph.attribute_indices)
    save_array(folder, "graph.is_a", graph.is_a)


def _write_variants(
    folder: Path, graph: Graph, variants: Mapping[Variant, FittedRepresentation]
) -> tuple[dict[str, dict[str, float | int | str]], int]:
    """Writes every variant; returns their settings and how many images have knowledge."""
    settings = {}
    image_cuis = [
        [graph.cuis[index] for index in graph.attribute_indices[start:end]] for start, end in pairwise(graph.attribute_indptr)
    ]
    for variant, fitted in variants.items():
        vectors = fitted.embed(graph.image_ids, image_cuis)
        _write_variant(folder, variant, fitted, vectors)
        settings["/".join(variant)] = fitted.settings()
    return settings, sum(map(bool, image_cuis))


def _write_variant(folder: Path, variant: Variant, fitted: FittedRepresentation, vectors: ImageVectors) -> None:
    prefix = ".".join(variant)
    save_array(folder, f"{prefix}.x.sparse_indptr", vectors.sparse.indptr)
    save_array(folder, f"{prefix}.x.sparse_indices", vectors.sparse.indices)
    save_array(folder, f"{prefix}.x.sparse_data", vectors.sparse.data)
    save_array(folder, f"{prefix}.x.sparse_shape", np.array(vectors.sparse.shape))
    save_array(folder, f"{prefix}.x.dense", vectors.dense)
    for name, table in fitted.tables().items():
        save_array(folder, f"{prefix}.t.{name}", table)
