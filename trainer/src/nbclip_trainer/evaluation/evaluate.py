"""Scores a run: encodes the images of a split, ranks them in every direction and writes figures with intervals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, cast

import polars as pl
import torch
from nbclip.errors import Conflict, InvalidInput
from nbclip.files.addresses import Location
from nbclip.files.sources import sources_of
from torch import Tensor

from nbclip_trainer.config.saved import read_config
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.evaluation.encoding import PIXELS, Encoded, encode_pairs
from nbclip_trainer.evaluation.features import encode_texts
from nbclip_trainer.evaluation.labelled import ScoredImages, read_images
from nbclip_trainer.evaluation.linking import LinkedCuis
from nbclip_trainer.evaluation.ontology import Ontology
from nbclip_trainer.evaluation.probe import Lesson, check_installed, lesson_images, probe
from nbclip_trainer.evaluation.record import counted, data_file, image_table, left_out
from nbclip_trainer.evaluation.scoring import Candidate, FeatureArray, score
from nbclip_trainer.evaluation.summary import summarise
from nbclip_trainer.parallel.world import World
from nbclip_trainer.runs.folder import flattened
from nbclip_trainer.runs.results import Evaluation, Scored, ScoringProtocol, own_evaluation, write_scored
from nbclip_trainer.trained.loading import LoadedRun, load_run

_READING = ("data.columns.", "data.format", "data.separator", "data.max_bad_row_share", "data.max_pixels")
_FEWEST_IMAGES = 2


def evaluate_run(
    run_dir: Path,
    data: Sequence[Location] = (),
    *,
    checkpoint: Literal["last", "best"] = "last",
    protocol: ScoringProtocol | None = None,
    ontology: Ontology | None = None,
    link: Callable[[Sequence[str]], LinkedCuis] | None = None,
    with_probe: bool = False,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    world: World | None = None,
    say: Callable[[str], None] = lambda stage: None,
) -> Path:
    """Evaluates a run and writes `evaluation/` into its folder, or another one beside it (`results` tells what lies there).

    Beside the model's figures stand those of its features before the projections, of raw 16 x 16 pixels, and of chance.

    Args:
        run_dir: a folder that `nbclip train` wrote.
        data: files or folders with the images, as `read_dataset` takes them; none: those the run was trained with.
        checkpoint: which of the run's checkpoints.
        protocol: how to score; default `ScoringProtocol()`.
        ontology: is_a, for cui_onto@K; None leaves it out.
        link: finds concepts in captions, for CUI@K of every image apart from that by gold CUIs; None leaves it out.
        with_probe: also train a linear probe on the labels of the run's training split (`probe`).
        overrides: `a.b=c` of how the data are read, over the run's settings; only with `out`.
        out: a new folder, for an evaluation that is not to be the run's own.
        world: this rank's place: ranks share the encoding, rank 0 scores and writes. None: one process, on the CPU.
        say: told each stage as it begins.

    Returns:
        The path of metrics.json.

    Raises:
        NotFound: no run or checkpoint there.
        Conflict: `out` is there already.
        InvalidInput: overrides without `out` or of other settings; no data, a missing split, or one of a single image; a probe
            without scikit-learn.
        BadImage: an image can't be decoded; leaving it out would change the question.
    """
    protocol, world = protocol or ScoringProtocol(), world or World(torch.device("cpu"))
    folder, config = _folder(run_dir, overrides, out), _reading(run_dir, overrides)
    if with_probe:
        check_installed()
    loaded, files = load_run(run_dir, checkpoint, device=str(world.device)), tuple(data) or config.data.files
    images = _read(files, config, protocol)
    best_by = config.checkpoint.best_by if checkpoint == "best" else None
    say(f"checkpoint of step {loaded.step}{f', the best by {best_by}' if best_by else ''}")
    for line in left_out(images, protocol):
        say(line)
    say(f"encoding {images.frame.height} images")
    encoded = encode_pairs(loaded, images.files, images.frame["caption"].to_list(), config.data.max_pixels, world)
    lesson = _lesson(loaded, images, protocol, world, say) if with_probe else None
    if not world.leads:
        return folder / "metrics.json"
    if link is not None:
        say(f"linking {images.frame.height} captions")
        images = replace(images, linked=link(images.frame["caption"].to_list()))
    say("ranking")
    queries = _queries(loaded, encoded, images, protocol, ontology, str(world.device))
    probed = None if lesson is None else probe(lesson, encoded, images, protocol)
    queries = queries if probed is None else pl.concat([queries, probed.queries])
    say("drawing intervals")
    record = Evaluation(
        run=run_dir.resolve().name,
        run_folder=os.path.relpath(run_dir.resolve(), folder.resolve()),
        settings=tuple(overrides),
        checkpoint=checkpoint,
        step=loaded.step,
        best_by=best_by,
        protocol=protocol,
        data=tuple(data_file(path) for path in sources_of(files)),
        **counted(images, protocol),
        probe=probed and probed.record,
        ontology="" if ontology is None else ontology.source,
        logit_scale=cast(Tensor, loaded.model.logit_scale).exp().item(),
        averaged=config.optim.ema_decay is not None,
        figures=(*summarise(queries, protocol), *(() if probed is None else probed.figures)),
    )
    return write_scored(folder, Scored(record, queries, image_table(images), _kept(encoded), _names(images, ontology)))


def _queries(
    loaded: LoadedRun,
    encoded: Encoded,
    images: ScoredImages,
    protocol: ScoringProtocol,
    ontology: Ontology | None,
    device: str,
) -> pl.DataFrame:
    """Every figure of every query of all rankers."""
    ancestors = None if ontology is None else ontology.ancestors(images.every_cui)
    texts = partial(encode_texts, loaded.model, loaded.tokenizer, device=device)
    candidates = _candidates(encoded, texts)
    return pl.concat([score(one, images, protocol, ancestors=ancestors, device=device) for one in candidates])


def _read(files: Sequence[Location], config: TrainConfig, protocol: ScoringProtocol) -> ScoredImages:
    images = read_images(files, protocol.class_split, protocol.cui_splits, reading=config.data, where=protocol.where)
    _refuse_too_few(images, protocol)
    return images


def _lesson(
    loaded: LoadedRun, images: ScoredImages, protocol: ScoringProtocol, world: World, say: Callable[[str], None]
) -> Lesson:
    """What a probe learns from: the labelled images of the run's own training split, encoded."""
    data = loaded.config.data
    taught, reason = lesson_images(data, images, protocol)
    if taught is None:
        say(f"without a linear probe: {reason}")
        return Lesson(data.train_split or "", reason)
    say(f"encoding {taught.frame.height} labelled images of split {data.train_split!r} for the linear probe")
    encoded = encode_pairs(loaded, taught.files, None, data.max_pixels, world)
    return Lesson(data.train_split or "", "", taught, encoded)


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


def _candidates(encoded: Encoded, texts: Callable[[Sequence[str]], FeatureArray]) -> Iterator[Candidate]:
    yield Candidate("model", encoded["image"], encoded["caption"], encode_texts=texts, with_chance=True)
    if "backbone" in encoded:
        yield Candidate("backbone", encoded["backbone"], encoded.get("caption_backbone"), joint=False)
    yield Candidate("raw pixels", encoded[PIXELS])


def _kept(encoded: Encoded) -> Encoded:
    """What features.npz holds; a tower that projects nothing has its features twice."""
    return {"backbone": encoded["image"], **{name: features for name, features in encoded.items() if name != PIXELS}}


def _names(images: ScoredImages, ontology: Ontology | None) -> dict[str, str]:
    """Names of the images' CUIs, as far as a linker or an ontology told them."""
    told = {} if ontology is None else ontology.names(images.every_cui)
    return {**told, **(images.linked.names if images.linked else {})}


def _refuse_too_few(images: ScoredImages, protocol: ScoringProtocol) -> None:
    if len(images.class_rows) < _FEWEST_IMAGES:
        raise InvalidInput(
            f"split {protocol.class_split!r} has {len(images.class_rows)} image, of which every ranking is right",
            hint="add more images, or choose another --split",
        )
