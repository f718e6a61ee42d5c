"""The model of a run, from its folder alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn

from nbclip_trainer.config.saved import read_config
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.settings import DataSettings
from nbclip_trainer.data.stored import least_side
from nbclip_trainer.models.adapters import merge
from nbclip_trainer.models.building import ModelParts, Tokenizer, build_model
from nbclip_trainer.runs.checkpoint import load_checkpoint, part
from nbclip_trainer.runs.folder import model_folder

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
    parts, config, step = load_parts(run_dir, checkpoint)
    transform = image_transform_v2(parts.preprocess, is_train=False)
    return LoadedRun(parts.model.to(device).eval(), parts.tokenizer, transform, config, step)


def load_parts(run_dir: Path, checkpoint: Literal["last", "best"] = "last") -> tuple[ModelParts, TrainConfig, int]:
    """A run's model as `load_run` has it, but on the CPU and in training mode, its settings, and the checkpoint's step."""
    config = read_config(run_dir)
    saved = load_checkpoint(run_dir, checkpoint, config.checkpoint.best_by)
    kept, bias = model_folder(run_dir), config.loss.has_bias
    parts = build_model(config.model, seed=config.seed, with_bias=bias, load_weights=False, kept=kept)
    parts.model.load_state_dict({**part(saved.tensors, "model"), **part(saved.tensors, "average")})
    return parts._replace(model=merge(parts.model)), config, saved.step


def least_side_of(model: nn.Module, settings: DataSettings) -> int | None:
    """The `least` with which a run opened its images, and is to be shown others."""
    visual: Any = model.visual
    return least_side(PreprocessCfg(**visual.preprocess_cfg), settings)
