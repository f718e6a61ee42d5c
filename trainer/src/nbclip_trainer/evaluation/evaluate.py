"""Scores a run: encodes the labelled images, ranks them in every direction and writes figures with intervals."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import polars as pl
from nbclip.errors import Conflict, InvalidInput
from nbclip.files.reading import sources_of

from nbclip_trainer.config.saved import read_config
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.indexed import is_index
from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.data.manifest import MANIFEST
from nbclip_trainer.evaluation.features import ImageFeatures, encode_images, encode_texts, raw_pixels
from nbclip_trainer.evaluation.labelled import ScoredImages, class_sizes, read_images
from nbclip_trainer.evaluation.ontology import Ontology
from nbclip_trainer.evaluation.scoring import Candidate, FeatureArray, score, scored_classes
from nbclip_trainer.evaluation.summary import summarise
from nbclip_trainer.runs.durable import sha256
from nbclip_trainer.runs.folder import flattened
from nbclip_trainer.runs.results import ClassCount, DataFile, Evaluation, Scored, ScoringProtocol, own_evaluation, write_scored
from nbclip_trainer.trained.loading import least_side_of, load_run

_READING = ("data.columns.", "data.format", "data.separator", "data.max_bad_row_share", "data.max_pixels")
_IMAGE_COLUMNS = ("image_id", "file", "caption", "caption_source", "source", "licence", "attribution", "cuis", *CLASS_TASKS)


def evaluate_run(
    run_dir: Path,
    data: Sequence[Path] = (),
    *,
    checkpoint: Literal["last", "best"] = "last",
    protocol: ScoringProtocol | None = None,
    ontology: Ontology | None = None,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    device: str = "cpu",
    say: Callable[[str], None] = lambda stage: None,
) -> Path:
    """Evaluates a run and writes `evaluation/` into its folder, or another one beside it (`results` tells what lies there).

    Beside the model's figures stand those of its features before the projection, of raw 16 x 16 pixels, and of chance.

    Args:
        run_dir: a folder that `nbclip train` wrote.
        data: files or folders with the labelled images, as `read_dataset` takes them; none: those the run was trained with.
        checkpoint: which of the run's checkpoints.
        protocol: how to score; default `ScoringProtocol()`.
        ontology: is_a, for cui_onto@K; None leaves it out.
        overrides: `a.b=c` of how the data are read, over the run's settings; only with `out`.
        out: a new folder, for an evaluation that is not to be the run's own.
        device: where to encode and rank.
        say: told each stage as it begins.

    Returns:
        The path of metrics.json.

    Raises:
        NotFound: no run or checkpoint there.
        Conflict: `out` is there already.
        InvalidInput: overrides without `out` or of other settings; no data, a missing or empty split, nothing labelled, classes
            all too small and no CUIs.
        BadImage: an image can't be decoded; leaving it out would change the question.
    """
    protocol = protocol or ScoringProtocol()
    folder, config = _folder(run_dir, overrides, out), _reading(run_dir, overrides)
    model, tokenizer, preprocess, _ = load_run(run_dir, checkpoint, device=device)
    files = tuple(data) or config.data.files
    images = read_images(files, protocol.class_split, protocol.cui_splits, reading=config.data)
    _refuse_unscorable(images, protocol)
    say(f"encoding {images.frame.height} images")
    max_pixels, least = config.data.max_pixels, least_side_of(model, config.data)
    image = encode_images(model, preprocess, images.files, device=device, max_pixels=max_pixels, least=least)
    texts = partial(encode_texts, model, tokenizer, device=device)
    caption_ND = texts(images.frame["caption"].to_list())
    ancestors = None if ontology is None else ontology.ancestors({cui for cuis in images.cuis for cui in cuis})
    say("ranking")
    candidates = _candidates(image, caption_ND, texts, raw_pixels(images.files, max_pixels))
    queries = pl.concat([score(one, images, protocol, ancestors=ancestors, device=device) for one in candidates])
    say("drawing intervals")
    evaluation = Evaluation(
        run=run_dir.resolve().name,
        run_folder=os.path.relpath(run_dir.resolve(), folder.resolve()),
        settings=tuple(overrides),
        checkpoint=checkpoint,
        protocol=protocol,
        data=tuple(_data_file(path) for path in sources_of(files)),
        class_pictures=len(images.class_rows),
        cui_pictures=len(images.cui_rows),
        without_cuis=images.without_cuis,
        classes={task: _count(images, task, protocol) for task in CLASS_TASKS},
        ontology="" if ontology is None else ontology.source,
        figures=tuple(summarise(queries, protocol)),
    )
    features = {"image": image.projected, "caption": caption_ND, "backbone": image.backbone}
    return write_scored(folder, Scored(evaluation, queries, _image_table(images), features))


def _folder(run_dir: Path, overrides: Sequence[str], out: Path | None) -> Path:
    """Where to write. The run's own evaluation is by the run's own settings, and nothing replaces it unasked."""
    own = own_evaluation(run_dir)
    if out is None:
        if overrides:
            raise InvalidInput(
                f"--set {overrides[0]}: the run's own evaluation is by the run's own settings",
                hint="--out FOLDER keeps another one apart",
            )
        return own
    if out.exists() or out.resolve() == own.resolve():
        raise Conflict(f"{out} already exists, or is the run's own evaluation", hint="choose another --out, or remove it")
    return out


def _reading(run_dir: Path, overrides: Sequence[str]) -> TrainConfig:
    """The run's settings with those of how data are read laid over them; the others have made the weights."""
    config, own = read_config(run_dir, overrides), read_config(run_dir)
    before, now = (dict(flattened(one.model_dump(mode="json"))) for one in (own, config))
    others = [key for key in before.keys() | now.keys() if before.get(key) != now.get(key) and not key.startswith(_READING)]
    if others:
        read = ", ".join(key + "*" * key.endswith(".") for key in _READING)
        raise InvalidInput(f"--set {min(others)}: an evaluation does not read it", hint=f"it reads {read}")
    return config


def _candidates(
    image: ImageFeatures, caption_ND: FeatureArray, texts: Callable[[Sequence[str]], FeatureArray], pixel_NP: FeatureArray
) -> list[Candidate]:
    return [
        Candidate("model", image.projected, caption_ND, texts, with_chance=True),
        Candidate("backbone", image.backbone),
        Candidate("raw pixels", pixel_NP),
    ]


def _refuse_unscorable(images: ScoredImages, protocol: ScoringProtocol) -> None:
    if len(images.cui_rows) or any(scored_classes(images, task, protocol) for task in CLASS_TASKS):
        return
    largest = max((size for task in CLASS_TASKS for size in class_sizes(images, task).values()), default=0)
    raise InvalidInput(
        f"split {protocol.class_split!r} has no class of {protocol.minimum_class_size} images (the largest has {largest}), "
        "and no CUIs",
        hint="lower --min-class-size, or add more labelled images",
    )


def _count(images: ScoredImages, task: str, protocol: ScoringProtocol) -> ClassCount:
    sizes, scored = class_sizes(images, task), set(scored_classes(images, task, protocol))
    return ClassCount(
        scored={name: size for name, size in sizes.most_common() if name in scored},
        too_small={name: size for name, size in sizes.most_common() if name not in scored},
        unlabelled=len(images.class_rows) - sizes.total(),
    )


def _image_table(images: ScoredImages) -> pl.DataFrame:
    rows = pl.Series(range(images.frame.height), dtype=pl.Int64)
    return images.frame.select(
        *(pl.col(name).cast(pl.String) for name in _IMAGE_COLUMNS),
        pl.Series("cui_list", [sorted(cuis) for cuis in images.cuis], dtype=pl.List(pl.String)),
        pl.Series("case", images.case),
        rows.is_in(images.class_rows.tolist()).alias("in_class_task"),
        rows.is_in(images.cui_rows.tolist()).alias("in_cui_task"),
    )


def _data_file(path: Path) -> DataFile:
    """A file and its digest; of an index, that of its description; of another folder, the digest of all its tables'."""
    if is_index(path):
        return DataFile(path=str(path.absolute()), sha256=sha256(path / MANIFEST))
    if not path.is_dir():
        return DataFile(path=str(path.absolute()), sha256=sha256(path))
    tables = sorted(file for suffix in ("csv", "txt") for file in path.glob(f"**/*.{suffix}"))
    joined = "".join(f"{file.relative_to(path)} {sha256(file)}\n" for file in tables)
    return DataFile(path=str(path.absolute()), sha256=hashlib.sha256(joined.encode()).hexdigest())
