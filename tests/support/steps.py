"""One training step of any loss and any form of targets: what ranks, chunks and one process must agree on."""

from __future__ import annotations

import copy
import csv
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from nbclip.codec import TargetMatrix
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.optimisation.optimizer import build_optimizer
from nbclip_trainer.parallel.averaging import averaging
from nbclip_trainer.training.session import build_session
from nbclip_trainer.training.step import train_step
from PIL import Image

_VISION_TRANSFORMER = "model.architecture.vision_cfg={image_size: 32, layers: 2, width: 16, head_width: 8, patch_size: 16}"
LOSSES = {
    "infonce": ["loss.name=infonce", "targets.knowledge=identity"],
    "sm": ["loss.name=sm"],
    "mse on cosines": ["loss.name=mse"],
    "mse on probabilities": ["loss.name=mse", "loss.mse_on=prob"],
    "sigmoid_soft": ["loss.name=sigmoid_soft"],
    "sigmoid_fff": ["loss.name=sigmoid_fff", "loss.threshold=0.2"],
}
SHAPES = {
    "effective neighbours": ["targets.effective_neighbours=2"],
    "fixed temperature": ["targets.temperature=0.1"],
    "evidence floor": ["targets.floor=0.6"],
    "top k": ["targets.top_k=2"],
    "literal": ["targets.form=paper-literal", "targets.temperature=0.5"],
    "duplicates ignored": ["targets.duplicates=ignore"],
}


class Step(NamedTuple):
    """What a step showed and left: its figures, each parameter's gradient, and in what the loss was computed."""

    figures: dict[str, float]
    gradients: dict[str, np.ndarray]
    logits: torch.dtype


def write_pairs(folder, count=24):
    """Noise as images, every fifth caption that of the one before."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image_id", "file", "caption", "split"])
        for number in range(count):
            Image.fromarray(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{number}.png")
            rows.writerow(
                [f"id{number}", f"{number}.png", f"finding {number - (number % 5 == 4)}", "train" if number % 6 else "valid"]
            )
    return folder / "pairs.csv"


def overrides(csv_path, *more):
    return [
        f"data.files=['{csv_path}']",
        "model.architecture.embed_dim=16",
        _VISION_TRANSFORMER,
        "model.architecture.text_cfg={context_length: 16, vocab_size: 49408, width: 16, heads: 2, layers: 1}",
        "targets.knowledge=noise",
        "targets.noise=per_image",
        "targets.neighbour_mass=0.5",
        "batch_size=8",
        "epochs=2",
        "optim.clip_norm=null",
        "device.name=cpu",
        "device.threads=1",
        *more,
    ]


def steps(world, csv_path, cases, double=False):
    """The first `Step` of each case (a list of overrides), all from the same weights; computed in float64 if `double`."""
    found, sessions = [], {}
    for case in cases:
        config = load_config("tiny-nbclip", overrides(csv_path, *case))
        kind = (config.model, config.device, config.loss.has_bias)
        if kind not in sessions:
            session = build_session(config, world=world)
            session = _doubled(session) if double else session
            sessions[kind] = session, _copied(session.parts.model)
        session, weights = sessions[kind]
        session.parts.model.load_state_dict(weights)
        optimizer = build_optimizer(session.parts.model, config.optim)
        # A scale at which a first step does not overflow.
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0, enabled=config.device.precision == "fp16")
        found.append(_step(replace(session, config=config, optimizer=optimizer, scaler=scaler)))
    return found


def _doubled(session):
    """With a copy of the model, since DDP keeps the dtypes that it began with."""
    model = copy.deepcopy(session.parts.model).double()
    images = torch.zeros(2, *session.parts.preprocess.input_size, dtype=torch.float64)
    encoder = averaging(model, session.world, (images, session.train.tokens[:2].long()))
    return replace(session, parts=session.parts._replace(model=model), network=model, encoder=encoder)


def _step(session):
    model, batch = session.parts.model, next(session.plan.batches())
    images = next(session.train.images.training([session.world.share(batch)])).pixels
    images = images.to(model.logit_scale.dtype)
    result = train_step(session, batch, images, _matrix(session, batch))
    gradients = {
        name: parameter.grad.numpy().copy() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    return Step(result.figures.read(), gradients, result.cosine.image_text.dtype)


def _matrix(session, batch):
    """Similarities in three steps, ties among them; every fourth image has no CUI."""
    place = {row: number for number, row in enumerate(sorted(batch.rows))}
    columns = np.array([place[row] for row in batch.rows])
    rows = session.world.own(columns)
    known = columns % 4 != 3
    if session.config.targets.knowledge == "identity":
        known[:] = False
    near = np.abs(rows[:, None] - columns[None, :])
    similarity = np.select([near == 0, near == 1, near == 3], [1.0, 0.7, 0.4], 0.05).astype(np.float32)
    return TargetMatrix("similarity", similarity, known, np.zeros_like(known), {})


def _copied(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def difference(first, second):
    """The largest difference between two sets of gradients, as a share of its gradient's largest entry, and which one has it."""
    assert first.keys() == second.keys()
    return max((float(np.abs(first[name] - second[name]).max() / (np.abs(first[name]).max() + 1e-6)), name) for name in first)
