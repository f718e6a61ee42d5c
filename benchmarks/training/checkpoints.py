"""What a checkpoint costs a run, as a Markdown table: written in the step's own thread, and by `CheckpointWriter` beside it.

    python benchmarks/training/checkpoints.py --rounds 3

The state is that of a model under Adam: weights and two moments. "Held" is how long the step's thread waits. The steps here
are products of matrices; "steps lost" is how many fewer of them are done until the checkpoint is on disk than in as long a time
without one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import open_clip
import torch
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.models.building import build_model
from nbclip_trainer.runs.checkpoint import Checkpoint, save_checkpoint
from nbclip_trainer.runs.writer import CheckpointWriter

_MODELS = {
    "nbclip-tiny": lambda: build_model(load_config("tiny-clip").model, seed=0).model,
    "ViT-B-32": lambda: open_clip.create_model("ViT-B-32"),
}
_MATRIX = torch.ones(512, 512)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's folder for temporary files")
    arguments = parser.parse_args()
    print("| state | MB | held in the step's thread, s | beside it, s (first, later) | on disk, s | steps lost | CPU, s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, build in _MODELS.items():
        weights = {f"model.{key}": value.detach() for key, value in build().named_parameters()}
        parts = ("exp_avg", "exp_avg_sq")
        state = weights | {f"optimizer.{key}/{part}": value.clone() for key, value in weights.items() for part in parts}
        megabytes = sum(tensor.nbytes for tensor in state.values()) / 1e6
        with TemporaryDirectory(dir=arguments.folder) as folder:
            print(f"| {name} | {megabytes:.0f} | {_measured(state, Path(folder), arguments.rounds)} |", flush=True)


def _measured(state: dict[str, torch.Tensor], folder: Path, rounds: int) -> str:
    checkpoints = [Checkpoint(number, state, {}) for number in range(2 * rounds + 1)]
    used = time.process_time()
    before = [_seconds(lambda one=one: save_checkpoint(folder, one, keep=1)) for one in checkpoints[:rounds]]
    held, whole, lost = [], [], []
    used = (time.process_time() - used) / rounds
    a_step = statistics.median(_seconds(_step) for _ in range(50))
    with CheckpointWriter(folder, keep=1) as writer:
        for one in checkpoints[rounds:]:
            begun = time.perf_counter()
            held.append(_seconds(lambda one=one: writer.save(one)))
            steps, started = 0, time.perf_counter()
            while not writer._writing.done():
                _step()
                steps += 1
            lost.append((time.perf_counter() - started) / a_step - steps)
            whole.append(time.perf_counter() - begun)
    later, on_disk = statistics.median(held[1:]), statistics.median(whole[1:])
    return (
        f"{statistics.median(before):.2f} | {held[0]:.3f}, {later:.3f} | {on_disk:.2f} | "
        f"{statistics.median(lost[1:]):.0f} of {on_disk / a_step:.0f} | {used:.2f}"
    )


def _step() -> None:
    _MATRIX @ _MATRIX


def _seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
