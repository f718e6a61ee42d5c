"""Checkpoints of a run: tensors in safetensors, everything else in JSON, never pickle.

`step-00000120.safetensors` is written first; `step-00000120.json`, with the SHA-256 of the tensors, makes it count. Both
appear whole or not at all, so that a run that is killed at any moment leaves the checkpoints it had. What a run does not change
is written once, into `locked.safetensors`, before its first checkpoint.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
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
_LOCKED = "locked.safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run after some step.

    Attributes:
        step: optimizer steps done.
        tensors: named `<part>.<name>`.
        state: JSON: `validations`, the figures of each validation so far with their `step`, and whatever else the writer wants
            back. Runs of 0.1.0 have the `valid_loss` of the step in its place.
        locked: names of tensors that are the same in all checkpoints of the run.
    """

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    locked: frozenset[str] = frozenset()


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors named `<prefix>.…`, without the prefix."""
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def save_checkpoint(run_dir: Path, checkpoint: Checkpoint, *, keep: int, best_by: BestBy = "loss") -> None:
    """Writes a checkpoint, then removes all but the `keep` newest and the best by a figure of the validations."""
    folder = run_dir / "checkpoints"
    folder.mkdir(exist_ok=True)
    record = folder / f"step-{checkpoint.step:08d}.json"
    of_step = {name: tensor for name, tensor in checkpoint.tensors.items() if name not in checkpoint.locked}
    locked = {name: checkpoint.tensors[name] for name in checkpoint.locked}
    digests = {"locked": _digest_of_locked(folder) or _written(folder / _LOCKED, locked)} if locked else {}
    digests["sha256"] = _written(record.with_suffix(".safetensors"), of_step)
    with replacing(record) as path:
        path.write_text(json.dumps({"step": checkpoint.step, **digests, **checkpoint.state}), encoding="utf-8")
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


def share_locked(run_dir: Path, folder: Path) -> None:
    """Makes what the run did not change one file with the same of other runs, by hard links in `folder`, where it can."""
    own = run_dir / "checkpoints" / _LOCKED
    digest = _digest_of_locked(own.parent)
    if digest is None or not own.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    shared = folder / f"{digest}.safetensors"
    # File systems without hard links keep the copies.
    with suppress(OSError):
        with suppress(FileExistsError):
            shared.hardlink_to(own)
        with replacing(own) as path:
            path.hardlink_to(shared)


def _written(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Writes tensors, and returns the SHA-256 of the file."""
    with replacing(path) as unfinished:
        safetensors.torch.save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, unfinished)
        return sha256(unfinished)


def _digest_of_locked(folder: Path) -> str | None:
    """That of the file that the run's checkpoints go with; None before the first."""
    newest = next(_in_order(folder, "last", "loss"), None)
    return None if newest is None else json.loads(newest.read_text(encoding="utf-8")).get("locked")


def _read(record: Path) -> Checkpoint:
    try:
        state = json.loads(record.read_text(encoding="utf-8"))
        tensors = _tensors(record.with_suffix(".safetensors"), state.pop("sha256"))
        locked = {}
        if (digest := state.pop("locked", None)) is not None:
            locked = _tensors(record.with_name(_LOCKED), digest)
        return Checkpoint(state.pop("step"), {**locked, **tensors}, state, frozenset(locked))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BrokenArtefact(f"{record}: damaged: {error}") from error


def _tensors(path: Path, digest: str) -> dict[str, Tensor]:
    if sha256(path) != digest:
        raise BrokenArtefact(f"{path}: damaged, its SHA-256 is not the one written down")
    return safetensors.torch.load_file(path)


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
        if tensors.name != _LOCKED and not tensors.with_suffix(".json").exists():
            tensors.unlink()
