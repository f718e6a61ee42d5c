"""What the record of an evaluation says of the images it was scored on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import polars as pl
from nbclip.files.addresses import Address, Location

from nbclip_trainer.data.indexed import is_index
from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.data.manifest import MANIFEST
from nbclip_trainer.evaluation.labelled import ScoredImages, class_sizes
from nbclip_trainer.evaluation.linking import LinkedCuis
from nbclip_trainer.evaluation.scoring import scored_classes
from nbclip_trainer.runs.durable import sha256
from nbclip_trainer.runs.results import ClassCount, DataFile, LinkedLabels, ScoringProtocol

_IMAGE_COLUMNS = ("image_id", "file", "caption", "caption_source", "source", "licence", "attribution", "cuis", *CLASS_TASKS)


def left_out(images: ScoredImages, protocol: ScoringProtocol) -> Iterator[str]:
    """Sentences on figures that the data don't give."""
    sizes = [size for task in CLASS_TASKS for size in class_sizes(images, task).values()]
    if not sizes:
        yield f"without P@K: no label in {', '.join(CLASS_TASKS)}, or name another: --set data.columns.modality=COLUMN"
    elif not any(scored_classes(images, task, protocol) for task in CLASS_TASKS):
        smallest = protocol.minimum_class_size
        yield f"without P@K: no class of {smallest} images (the largest has {max(sizes)}); --min-class-size lowers it"
    if not len(images.cui_rows):
        yield "without CUI@K: no CUIs in the column cuis"


def counted(images: ScoredImages, protocol: ScoringProtocol) -> dict[str, Any]:
    """How many images of which kind there are, by the names of `Evaluation`'s fields."""
    return {
        "class_pictures": len(images.class_rows),
        "distinct_captions": len(set(images.caption_key[images.class_rows].tolist())),
        "cui_pictures": len(images.cui_rows),
        "without_cuis": images.without_cuis,
        "classes": {task: _class_count(images, task, protocol) for task in CLASS_TASKS},
        "linked": images.linked and _linked_labels(images.linked, images),
    }


def image_table(images: ScoredImages) -> pl.DataFrame:
    """pictures.parquet (`results`)."""
    rows = pl.Series(range(images.frame.height), dtype=pl.Int64)
    linked = images.linked.cuis if images.linked else [frozenset[str]()] * len(rows)
    return images.frame.select(
        *(pl.col(name).cast(pl.String) for name in _IMAGE_COLUMNS),
        pl.Series("cui_list", [sorted(cuis) for cuis in images.cuis], dtype=pl.List(pl.String)),
        pl.Series("linked_cui_list", [sorted(cuis) for cuis in linked], dtype=pl.List(pl.String)),
        pl.Series("case", images.case),
        rows.is_in(images.class_rows.tolist()).alias("in_class_task"),
        rows.is_in(images.cui_rows.tolist()).alias("in_cui_task"),
    )


def data_file(path: Location) -> DataFile:
    """A file and its digest; of an index, that of its description; of another folder, the digest of all its tables'.

    Of a file at an address, which is not read again for it, the digest of its size and version.
    """
    if isinstance(path, Address):
        found = path.found()
        return DataFile(path=path.url, sha256=hashlib.sha256(f"{found.size} {found.version}".encode()).hexdigest())
    if is_index(path):
        return DataFile(path=str(path.absolute()), sha256=sha256(path / MANIFEST))
    if not path.is_dir():
        return DataFile(path=str(path.absolute()), sha256=sha256(path))
    tables = sorted(file for suffix in ("csv", "txt") for file in path.glob(f"**/*.{suffix}"))
    joined = "".join(f"{file.relative_to(path)} {sha256(file)}\n" for file in tables)
    return DataFile(path=str(path.absolute()), sha256=hashlib.sha256(joined.encode()).hexdigest())


def _class_count(images: ScoredImages, task: str, protocol: ScoringProtocol) -> ClassCount:
    """The classes of a task: which are scored, and which are too small."""
    sizes, scored = class_sizes(images, task), set(scored_classes(images, task, protocol))
    return ClassCount(
        scored={name: size for name, size in sizes.most_common() if name in scored},
        too_small={name: size for name, size in sizes.most_common() if name not in scored},
        unlabelled=len(images.class_rows) - sizes.total(),
    )


def _linked_labels(linked: LinkedCuis, images: ScoredImages) -> LinkedLabels:
    """How many images a linker has labelled."""
    found = len(images.linked_rows)
    return LinkedLabels(
        linker=linked.linker, service=linked.source, pictures=found, without_concepts=len(images.class_rows) - found
    )
