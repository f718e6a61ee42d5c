"""What a run is validated by: the loss, and what the validation split's images and captions retrieve.

    loss                  mean InfoNCE over batches, at the model's own scale
    recall_at_K           mean of Recall@K from image to caption and back, K = 1, 5, 10 (`evaluation.pairs`)
    recall                mean of these
    precision_at_10       image→image P@10, mean over classes of at least 10 images, then over the class tasks
    cui_coverage_at_10    image→image, mean over the images with CUIs (`evaluation.cui`)

Shape legend: N pairs of a batch, V pairs of the split, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from nbclip.errors import InvalidInput
from nbclip.losses import cosines
from torch import Tensor
from torch.nn import functional

from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.evaluation.labelled import ScoredImages, scored_images
from nbclip_trainer.evaluation.scoring import Candidate, pair_task, score, scored_classes
from nbclip_trainer.parallel.collectives import from_all, from_first, sum_over_ranks
from nbclip_trainer.runs.results import ScoringProtocol
from nbclip_trainer.runs.settings import BestBy
from nbclip_trainer.training.inputs import plain_batches
from nbclip_trainer.training.session import Pairs, Session
from nbclip_trainer.training.step import forward, scale_and_bias

_K = 10
_PROTOCOL = ScoringProtocol(class_ks=(_K,), cui_ks=(_K,), recall_ks=(1, 5, 10), minimum_class_size=_K)
_FEWEST = 2
"""Images below which a ranking says nothing."""


class _Encoded(NamedTuple):
    """Rows of the split with their L2-normalised features, int64 and float32, [N], [N, D] twice."""

    rows: npt.NDArray[np.int64]
    image: npt.NDArray[np.float32]
    text: npt.NDArray[np.float32]


def check_best_by(session: Session) -> None:
    """Raises InvalidInput where the validation split can't give the figure of `checkpoint.best_by`."""
    by, split = session.config.checkpoint.best_by, session.config.data.valid_split
    if session.valid is None or by in {"loss", "recall"}:
        return
    images = _scored(session.valid.dataset)
    if by == "precision_at_10" and not any(scored_classes(images, task, _PROTOCOL) for task in CLASS_TASKS):
        needed = f"{_K} images of a class in one of the columns {', '.join(CLASS_TASKS)}"
    elif by == "cui_coverage_at_10" and len(images.cui_rows) < _FEWEST:
        needed = "images with CUIs in the column cuis"
    else:
        return
    raise InvalidInput(
        f"checkpoint.best_by={by}: split {split!r} lacks {needed}", hint="checkpoint.best_by=recall needs no labels"
    )


@torch.no_grad()
def validate(session: Session, pairs: Pairs) -> tuple[dict[str, float], dict[int, str]]:
    """The figures of a split, the same on all ranks, which take turns at its batches.

    The loss is always InfoNCE, so that runs with other losses compare, over full batches in file order (one smaller batch if
    there is no full one). What is retrieved is ranked among all pairs of the split.

    Returns:
        The figures by name, without those that the split has no labels for, and the loss alone where features are not finite;
        and the rows whose images this rank found to be bad, with the reason.
    """
    model, world = session.parts.model, session.world
    model.eval()
    size, whole = min(session.config.batch_size, len(pairs.dataset)), len(pairs.dataset)
    retrieval = session.config.validation.retrieval
    batches = [range(start, min(start + size, whole)) for start in range(0, whole if retrieval else whole - size + 1, size)]
    losses = [0.0] * (whole // size)
    own, found = range(world.rank, len(batches), world.ranks), dict[int, str]()
    encoded = []
    for number, (rows, images) in zip(own, plain_batches(pairs, [batches[number] for number in own], found), strict=True):
        image_ND, text_ND = forward(session, images, pairs.tokens[rows])
        if number < len(losses):
            losses[number] = _infonce(image_ND, text_ND, scale_and_bias(model)[0])
        encoded.append(_Encoded(np.array(rows), image_ND.float().cpu().numpy(), text_ND.float().cpu().numpy()))
    figures = {"loss": sum(sum_over_ranks(losses, world)) / len(losses)}
    if retrieval:
        everything = [part for of_rank in from_all(encoded, world) for part in of_rank]
        figures |= from_first(_retrieved(pairs.dataset, everything, str(world.device)) if world.leads else {}, world)
    return figures, found


def shown_figures(figures: Mapping[str, float]) -> str:
    """The loss and the other figures that can choose a checkpoint, for a line on the terminal."""
    others = [f"{name} {figures[name]:.3f}" for name in get_args(BestBy) if name in figures and name != "loss"]
    return ", ".join([f"validation loss {figures['loss']:.4f}", *others])


def _infonce(image_ND: Tensor, text_ND: Tensor, scale: Tensor) -> float:
    cosine, own_N = cosines(image_ND, text_ND), torch.arange(len(image_ND), device=image_ND.device)
    both = (functional.cross_entropy(scale * cosine_NN, own_N) for cosine_NN in (cosine.image_text, cosine.text_image))
    return sum(loss.item() for loss in both) / 2


def _retrieved(dataset: Dataset, parts: list[_Encoded], device: str) -> dict[str, float]:
    """Figures of all pairs that were encoded, each once."""
    # In the place of a bad image stands another one, which has a batch of its own too.
    rows, first = np.unique(np.concatenate([part.rows for part in parts]), return_index=True)
    image_VD, text_VD = (np.concatenate([getattr(part, side) for part in parts])[first] for side in ("image", "text"))
    if len(rows) < _FEWEST or not (np.isfinite(image_VD).all() and np.isfinite(text_VD).all()):
        return {}
    images = _scored(dataset.take(rows.tolist()))
    found = _means(pl.concat(list(pair_task(Candidate("model", image_VD, text_VD), images, _PROTOCOL, device))))
    recall = {f"recall_at_{k}": fmean(found[f"Recall@{k}"]) for k in _PROTOCOL.recall_ks}
    labelled = _means(score(Candidate("model", image_VD), images, _PROTOCOL, device=device))
    names = {"precision_at_10": f"P@{_K}", "cui_coverage_at_10": f"cui_coverage@{_K}"}
    others = {name: fmean(labelled[metric]) for name, metric in names.items() if metric in labelled}
    return {"recall": fmean(recall.values()), **recall, **others}


def _scored(dataset: Dataset) -> ScoredImages:
    every = pl.col("image_id").is_not_null()
    return scored_images(dataset.frame, every, every)


def _means(queries: pl.DataFrame) -> dict[str, list[float]]:
    """Each metric's macro means, one a direction and task."""
    table = ["direction", "task", "metric"]
    strata = (
        queries.filter(pl.col("value").is_not_nan()).group_by(*table, "stratum", maintain_order=True).agg(pl.col("value").mean())
    )
    means = strata.group_by(*table, maintain_order=True).agg(pl.col("value").mean())
    return dict(means.group_by("metric", maintain_order=True).agg("value").rows())
