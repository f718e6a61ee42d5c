"""The model of a run, from its folder alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from open_clip.transform import image_transform_v2
from PIL import Image
from torch import Tensor, nn

from nbclip_trainer.config.saved import read_config
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.models.adapters import merge
from nbclip_trainer.models.building import Tokenizer, build_model
from nbclip_trainer.runs.checkpoint import load_checkpoint, part

Preprocess = Callable[[Image.Image], Tensor]
"""An RGB image to float32, [3, H, W], normalised as the model wants it."""


class LoadedRun(NamedTuple):
    """The model of a run after some step, in eval mode, and the run's settings."""

    model: nn.Module
    tokenizer: Tokenizer
    preprocess: Preprocess
    config: TrainConfig
    step: int


def load_run(run_dir: Path, checkpoint: Literal["last", "best"] = "last", *, device: str = "cpu") -> LoadedRun:
    """A run's model with its weights, averaged if the run averages them, adapters merged; nothing but the run folder is read.

    Args:
        run_dir: a folder that `nbclip train` wrote.
        checkpoint: the newest sound checkpoint, or the best by the run's `checkpoint.best_by`.
        device: where the model goes.

    Raises:
        NotFound: no run, or no such checkpoint, is there.
        BrokenArtefact: no checkpoint is whole.
    """
    config = read_config(run_dir)
    saved = load_checkpoint(run_dir, checkpoint, config.checkpoint.best_by)
    parts = build_model(config.model, seed=config.seed, with_bias=config.loss.has_bias, load_weights=False)
    parts.model.load_state_dict({**part(saved.tensors, "model"), **part(saved.tensors, "average")})
    transform = image_transform_v2(parts.preprocess, is_train=False)
    return LoadedRun(merge(parts.model).to(device).eval(), parts.tokenizer, transform, config, saved.step)
