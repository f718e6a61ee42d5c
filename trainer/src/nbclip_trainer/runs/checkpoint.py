"""Checkpoints of a run: tensors in safetensors, everything else in JSON, never pickle.

`step-00000120.safetensors` is written first; `step-00000120.json`, with the SHA-256 of the tensors, makes it count. Both
appear whole or not at all, so that a run that is killed at any moment leaves the checkpoints it had.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
from nbclip.errors import BrokenArtefact, NotFound
from safetensors import SafetensorError
from torch import Tensor

from nbclip_trainer.runs.durable import remove_unfinished, replacing, sha256
from nbclip_trainer.runs.selection import Validation, merit
from nbclip_trainer.runs.settings import BestBy

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run after some step.

    Attributes:
        step: optimizer steps done.
        tensors: on the CPU, named `<part>.<name>`.
        state: JSON: `validations`, the figures of each validation so far with their `step`, and whatever else the writer wants
            back. Runs of 0.1.0 have the `valid_loss` of the step in its place.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors named `<prefix>.…`, without the prefix."""
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def save_checkpoint(run_dir: Path, checkpoint: Checkpoint, *, keep: int, best_by: BestBy = "loss") -> None:
    """Writes a checkpoint, then removes all but the `keep` newest and the best by a figure of the validations."""
    folder = run_dir / "checkpoints"
    folder.mkdir(exist_ok=True)
    record = folder / f"step-{checkpoint.step:08d}.json"
    with replacing(record.with_suffix(".safetensors")) as path:
        safetensors.torch.save_file({name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}, path)
        digest = sha256(path)
    with replacing(record) as path:
        path.write_text(json.dumps({"step": checkpoint.step, "sha256": digest, **checkpoint.state}), encoding="utf-8")
    _prune(folder, keep, best_by)


def load_checkpoint(run_dir: Path, which: Literal["last", "best"] = "last", best_by: BestBy = "loss") -> Checkpoint:
    """The newest checkpoint, or the best by a figure of the validations; a damaged one is passed over with a warning.

    Raises:
        NotFound: the run has no checkpoint, or for `best` none whose validation has the figure.
        BrokenArtefact: none is whole.
    """
    records = list(_in_order(run_dir / "checkpoints", which, best_by))
    if not records:
        wanted = "checkpoint" if which == "last" else f"checkpoint with a validation {best_by}"
        raise NotFound(f"{run_dir}: no {wanted}", hint="check whether the run finished its first epoch")
    for record in records:
        try:
            return _read(record)
        except BrokenArtefact as error:
            _log.warning("%s; trying the one before", error.message)
    raise BrokenArtefact(f"{run_dir}: none of {len(records)} checkpoints is whole", hint="train again, or restore the folder")


def has_checkpoint(run_dir: Path) -> bool:
    """Whether the run has got as far as a checkpoint."""
    return any((run_dir / "checkpoints").glob("step-*.json"))


def _read(record: Path) -> Checkpoint:
    tensors = record.with_suffix(".safetensors")
    try:
        state = json.loads(record.read_text(encoding="utf-8"))
        if sha256(tensors) != state.pop("sha256"):
            raise BrokenArtefact(f"{tensors}: damaged, its SHA-256 is not the one written down")
        return Checkpoint(state.pop("step"), safetensors.torch.load_file(tensors), state)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BrokenArtefact(f"{record}: damaged: {error}") from error


def _in_order(folder: Path, which: Literal["last", "best"], best_by: BestBy) -> Iterator[Path]:
    """Records, the wanted one first; for `best`, those without the figure left out, and of equal ones the earliest first."""
    newest_first = sorted(folder.glob("step-*.json"), reverse=True)
    if which == "last":
        yield from newest_first
    else:
        merits = ((merit(_validation(record), best_by), record) for record in newest_first)
        yield from (record for _, record in sorted((-value, record) for value, record in merits if value is not None))


def _validation(record: Path) -> Validation:
    """The figures of the validation at the checkpoint's own step."""
    try:
        state = json.loads(record.read_text(encoding="utf-8"))
        of_step = [one for one in state.get("validations", ()) if one["step"] == state["step"]]
        return of_step[-1] if of_step else {"loss": state.get("valid_loss")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _prune(folder: Path, keep: int, best_by: BestBy) -> None:
    kept = {*list(_in_order(folder, "last", best_by))[:keep], *list(_in_order(folder, "best", best_by))[:1]}
    for record in folder.glob("step-*.json"):
        if record not in kept:
            record.unlink()
    remove_unfinished(folder)
    # A tensor file without a record was cut off before it counted.
    for tensors in folder.glob("*.safetensors"):
        if not tensors.with_suffix(".json").exists():
            tensors.unlink()
