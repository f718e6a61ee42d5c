"""Checkpoints written while the run goes on: copied in the step's thread, written and flushed to disk by another."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from nbclip_trainer.runs.checkpoint import Checkpoint, save_checkpoint
from nbclip_trainer.runs.settings import BestBy


class CheckpointWriter:
    """Writes one checkpoint at a time; owns a thread, and in memory a copy of what is in a checkpoint. Use as a context manager.

    At the end the last checkpoint is waited for, whatever ended the run.
    """

    def __init__(self, run_dir: Path, keep: int, best_by: BestBy = "loss") -> None:
        self._run_dir, self._keep, self._best_by = run_dir, keep, best_by
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._copies: dict[str, Tensor] = {}

    def save(self, checkpoint: Checkpoint) -> None:
        """Copies a checkpoint, of which the run may then change every tensor, and begins to write it.

        Waits for the one before, and raises what went wrong with it.
        """
        self.wait()
        copies = {
            name: tensor.detach() if name in checkpoint.locked else self._copied(name, tensor.detach())
            for name, tensor in checkpoint.tensors.items()
        }
        on_gpu = any(tensor.is_cuda for tensor in checkpoint.tensors.values())
        copied = torch.cuda.current_stream().record_event() if on_gpu else None
        self._writing = self._thread.submit(self._write, replace(checkpoint, tensors=copies), copied)

    def check(self) -> None:
        """Raises what went wrong with the last checkpoint, if it is known by now."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Returns once the last checkpoint is on disk; raises what went wrong with it."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _copied(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor's values in memory of ours: pinned where they come from a GPU, so that the copy is only queued here."""
        copy = self._copies.get(name)
        if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
            copy = self._copies[name] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
        return copy.copy_(tensor, non_blocking=True)

    def _write(self, checkpoint: Checkpoint, copied: torch.cuda.Event | None) -> None:
        if copied is not None:
            copied.synchronize()
        save_checkpoint(self._run_dir, checkpoint, keep=self._keep, best_by=self._best_by)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown()
        if error is None:
            self.wait()
