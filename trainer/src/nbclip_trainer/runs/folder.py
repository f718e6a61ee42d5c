"""A run's folder: what it was made with, and the lock that keeps a second process out.

config.yaml       the resolved settings (`config.saved`)
run.json          versions, git commit, snapshot, data counts, rows that were left out, leaks
metrics.jsonl     one record a line, `kind` train | diagnostics | valid | alarm
tensorboard/      the same for TensorBoard
quarantine.jsonl  images that were left out, where there are any (`quarantine`)
checkpoints/      step-*.safetensors with step-*.json
"""

from __future__ import annotations

import fcntl
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nbclip.errors import BrokenArtefact, Conflict, NotFound

from nbclip_trainer.runs.durable import replacing

_DISTRIBUTIONS = ("nbclip-trainer", "nbclip", "torch", "open_clip_torch", "numpy", "pillow", "safetensors")


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Creates the folder and holds its lock; the kernel gives the lock back when the process ends, however it ends.

    Raises:
        Conflict: another process trains there.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"{run_dir}: another process trains there", hint="wait for it or choose another --run") from error
        yield


def read_facts(run_dir: Path) -> dict[str, Any]:
    """`run.json`; NotFound where the folder holds no run, BrokenArtefact where it is not JSON."""
    path = run_dir / "run.json"
    try:
        return dict(json.loads(read_text(path)))
    except ValueError as error:
        raise BrokenArtefact(f"{path}: not JSON", hint="restore it or train again") from error


def write_facts(run_dir: Path, facts: Mapping[str, Any]) -> None:
    """Writes `run.json`: `facts`, and the versions and the commit that run them."""
    with replacing(run_dir / "run.json") as path:
        path.write_text(json.dumps({**facts, "versions": versions(), "git": git_commit()}, indent=2), encoding="utf-8")


def check_same_data(run_dir: Path, facts: Mapping[str, Any]) -> None:
    """Raises Conflict if the pairs are not those of `run.json`."""
    check_equal(run_dir, same_data(read_facts(run_dir)["data"]), same_data(facts["data"]))


def same_data(data_facts: Mapping[str, Any]) -> dict[str, Any]:
    """Count and digest of each split; which images were left out is said by paths, which may change."""
    return {split: counts and {key: counts[key] for key in ("pairs", "sha256")} for split, counts in data_facts.items()}


def versions() -> dict[str, str]:
    """Python's and the deciding libraries' versions."""
    return {"python": platform.python_version(), **{name: version(name) for name in _DISTRIBUTIONS}}


def git_commit() -> str | None:
    """The commit of the sources that run, with `-dirty` where they were changed; None outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def flattened(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Pairs of dotted key and leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_equal(run_dir: Path, tree_before: Mapping[str, Any], tree_now: Mapping[str, Any]) -> None:
    """Refuses to go on where two trees of settings or facts differ; raises Conflict naming the first of them."""
    before, now = dict(flattened(tree_before)), dict(flattened(tree_now))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        shown = ", ".join(f"{key}: {before.get(key)!r} -> {now.get(key)!r}" for key in changed[:3])
        raise Conflict(
            f"{run_dir}: a resumed run keeps settings and data, changed: {shown}", hint="undo the change or choose another --run"
        )


def no_run(run_dir: Path, hint: str = "`nbclip train --run DIR` makes one") -> NotFound:
    """The folder, which may not be there, holds no run."""
    return NotFound(f"no run in {run_dir}", hint=hint)


def read_text(path: Path) -> str:
    """A file that every run's folder has; raises NotFound where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise no_run(path.parent, f"it has no {path.name}; `nbclip train --run DIR` makes one") from error
