"""What computes."""

from __future__ import annotations

from typing import Literal

from nbclip.schemas.base import Strict
from pydantic import Field


class DeviceSettings(Strict):
    """What computes."""

    name: str = Field("auto", description="where to compute: auto, cpu, cuda, cuda:1 …")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="precision of the towers; auto: bf16 on a GPU, else fp32"
    )
    chunk_size: int | None = Field(None, ge=1, description="pairs whose activations a process holds at once; null: all its pairs")
    grad_checkpointing: bool = Field(False, description="recompute activations of transformer layers: less memory, more time")
    compile: bool = Field(False, description="compile the towers with torch.compile; needs a C++ compiler, pays off on a GPU")
    peak_tflops: float | None = Field(
        None, gt=0, description="TFLOP/s that one GPU can do at `precision`, for the MFU; null: of a table of known GPUs"
    )
    threads: int | None = Field(None, ge=1, description="threads of torch on a CPU; null: its own choice")
