"""A run as a checkpoint: all that the next step depends on, and the way back."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nbclip_trainer.config.tree import config_hash
from nbclip_trainer.models.locking import unchanging
from nbclip_trainer.optimisation.optimizer import optimizer_tensors, restore_optimizer
from nbclip_trainer.runs.checkpoint import Checkpoint, part
from nbclip_trainer.runs.selection import Validation
from nbclip_trainer.training.session import Session


def capture(session: Session, step: int, validations: Sequence[Validation]) -> Checkpoint:
    """The run after `step` steps; all that the next step depends on. The tensors are the run's own."""
    model = session.parts.model
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    optimizer = {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(model, session.optimizer).items()}
    average = {} if session.average is None else {f"average.{key}": tensor for key, tensor in session.average.tensors.items()}
    numpy_kind, numpy_keys, *numpy_rest = np.random.get_state()  # noqa: NPY002 - libraries may draw from it
    return Checkpoint(
        step,
        {**state, **optimizer, **average, "random.torch": torch.get_rng_state(), **_cuda_state()},
        {
            "epoch": step / session.plan.steps_per_epoch,
            "validations": [dict(one) for one in validations],
            "snapshot": session.facts["targets"].get("snapshot"),
            "config_sha256": config_hash(session.config),
            "random": {"python": random.getstate(), "numpy": [numpy_kind, np.asarray(numpy_keys).tolist(), *numpy_rest]},
            "scaler": session.scaler.state_dict(),
        },
        frozenset(f"model.{name}" for name in unchanging(model, session.config.model)),
    )


def restore(session: Session, checkpoint: Checkpoint) -> None:
    """Puts a session where `capture` found it."""
    session.parts.model.load_state_dict(part(checkpoint.tensors, "model"))
    restore_optimizer(session.parts.model, session.optimizer, part(checkpoint.tensors, "optimizer"))
    if session.average is not None:
        session.average.restore(part(checkpoint.tensors, "average"))
    if session.scaler.is_enabled() and checkpoint.state.get("scaler"):
        session.scaler.load_state_dict(checkpoint.state["scaler"])
    version, words, gauss = checkpoint.state["random"]["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(checkpoint.state["random"]["numpy"]))  # noqa: NPY002 - as in `capture`
    torch.set_rng_state(checkpoint.tensors["random.torch"])
    if "random.cuda" in checkpoint.tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(checkpoint.tensors["random.cuda"])


def _cuda_state() -> dict[str, Tensor]:
    return {"random.cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}
