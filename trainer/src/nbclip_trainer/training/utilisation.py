"""How well a run uses what it computes on: floating-point operations a second, their share of the device's peak, peak memory."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass

import torch

from nbclip_trainer.parallel.settings import DeviceSettings
from nbclip_trainer.parallel.world import World, tower_dtype
from nbclip_trainer.training.session import Session

_PEAKS = {
    "B200": (2250, 75), "GH200": (989, 67), "H200": (989, 67), "H100 PCIe": (756, 51), "H100 NVL": (835, 60), "H100": (989, 67),
    "A100": (312, 19.5), "A40": (150, 37.4), "A30": (165, 10.3), "A10G": (70, 35), "A10": (125, 31.2), "L40S": (362, 91.6),
    "L40": (181, 90.5), "L4": (121, 30.3), "V100": (125, 15.7), "T4": (65, 8.1), "RTX 6000 Ada": (364, 91.1),
    "RTX A6000": (155, 38.7), "RTX 4090": (165, 82.6), "RTX 3090": (71, 35.6),
}  # fmt: skip
"""TFLOP/s of dense bfloat16 (float16 where there is none) and of float32 without TF32, of NVIDIA's data sheets, by a part of
torch's name of the GPU; of two that fit, the first counts."""
_PAIRS = 2


@dataclass(frozen=True, slots=True)
class Utilisation:
    """What a process computes in a second, and the most memory it has held.

    Attributes:
        world: this rank's place.
        flops_of_a_pair: of forward and backward pass.
        peak: of the device, 10¹² operations a second; None where it is not known.
    """

    world: World
    flops_of_a_pair: int
    peak: float | None

    def of(self, pairs: int, seconds: float) -> dict[str, float]:
        """Figures of a step.

        Args:
            pairs: of the global batch, of which each rank computes its share.
            seconds: the step took.

        Returns:
            `tflops`, 10¹² floating-point operations a second of one process; `mfu` (Chowdhery et al., PaLM, 2022), their share
            of the device's peak, [0, 1], where that is known; `peak_memory_gb`, 10⁹ bytes, of the GPU or else of the process.
        """
        tflops = self.flops_of_a_pair * pairs / self.world.ranks / seconds / 1e12
        mfu = {} if self.peak is None else {"mfu": tflops / self.peak}
        return {"tflops": tflops, **mfu, "peak_memory_gb": peak_memory(self.world.device) / 1e9}


def utilisation_of(session: Session) -> Utilisation:
    """A run's."""
    world, settings = session.world, session.config.device
    return Utilisation(world, session.flops_of_a_pair, settings.peak_tflops or peak_tflops(world, settings))


def peak_tflops(world: World, settings: DeviceSettings) -> float | None:
    """What the device can do at the run's precision, 10¹² operations a second; None for one that is not in the table."""
    if world.device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(world.device)
    half, full = next((peaks for part, peaks in _PEAKS.items() if part in name), (None, None))
    return full if tower_dtype(world, settings) == torch.float32 else half


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that torch held on the GPU, or on a CPU the largest resident set of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
