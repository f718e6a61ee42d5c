"""What the paper's tables compare, and the figures it gives (Wei, Kurtz, Cloppet, WACV 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nbclip_trainer.config.reading import load_config
from nbclip_trainer.config.tree import TrainConfig

TableName = Literal["table1", "table2"]
Preset = Literal["mini", "paper"]
CLASS_TASKS = ("modality", "organ", "modality_organ")
CLASS_KS = (5, 10, 30)
CUI_KS = (5, 10, 50)
_BASES: dict[Preset, tuple[str, str]] = {"mini": ("tiny-clip", "tiny-nbclip"), "paper": ("paper-clip", "paper")}
"""Presets without and with knowledge."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A row of a table.

    Attributes:
        name: part of the run folder's name.
        title: as the table has it.
        overrides: what it changes of the preset.
        paper: its figures in per cent: CUI@5, 10, 50, then P@5, 10, 30 of modality, organ and modality-organ.
        with_knowledge: which of the two base presets.
    """

    name: str
    title: str
    overrides: tuple[str, ...]
    paper: tuple[float, ...]
    with_knowledge: bool = True


CLIP = Arm(
    "clip",
    "CLIP (InfoNCE)",
    (),
    (39.85, 40.84, 44.86, 91.20, 88.60, 84.60, 67.92, 66.46, 54.86, 92.38, 90.48, 75.24),
    with_knowledge=False,
)
NOISE = Arm(
    "noise",
    "noise (SM)",
    ("targets.knowledge=noise",),
    (38.75, 39.80, 43.61, 89.60, 87.80, 81.20, 64.17, 60.00, 49.03, 92.29, 90.00, 76.03),
)
DK = Arm(
    "dk",
    "DK (SM)",
    ("targets.knowledge=dk",),
    (39.72, 40.88, 44.79, 90.65, 88.47, 84.73, 67.98, 66.52, 54.76, 92.54, 90.37, 75.08),
)
DK_EK = Arm(
    "dk_ek",
    "DK + EK (SM)",
    (),
    (41.82, 43.25, 48.61, 92.80, 92.00, 89.33, 76.67, 72.50, 57.67, 95.24, 95.25, 81.92),
)
MSE = Arm(
    "mse",
    "MSE (DK + EK)",
    ("loss.name=mse",),
    (39.76, 40.97, 45.74, 92.40, 90.80, 88.27, 58.75, 55.83, 46.25, 96.19, 93.33, 84.44),
)
SIGMOID = Arm(
    "sigmoid",
    "Sigmoid (DK + EK)",
    ("loss.name=sigmoid_soft",),
    (39.84, 41.06, 45.73, 90.80, 90.80, 89.93, 59.92, 55.21, 44.17, 95.24, 94.76, 86.67),
)
TABLES: dict[TableName, tuple[Arm, ...]] = {"table1": (NOISE, DK, DK_EK, CLIP), "table2": (CLIP, MSE, SIGMOID, DK_EK)}
CAPTIONS: dict[TableName, str] = {"table1": "which knowledge makes the targets", "table2": "which loss takes them"}
PAIRS: dict[TableName, tuple[tuple[Arm, Arm], ...]] = {
    "table1": ((DK_EK, CLIP), (DK_EK, DK), (DK_EK, NOISE), (DK, CLIP), (NOISE, CLIP)),
    "table2": ((DK_EK, CLIP), (DK_EK, MSE), (DK_EK, SIGMOID), (MSE, CLIP), (SIGMOID, CLIP)),
}
"""Pairs whose order the paper's table states."""


def arm_config(preset: Preset, arm: Arm, seed: int, overrides: Sequence[str]) -> TrainConfig:
    """Settings of one run; the arm's own overrides come last, so that no arm turns into another.

    Raises:
        InvalidInput: an unknown key, or a value out of its range.
    """
    base = _BASES[preset][arm.with_knowledge]
    return load_config(base, (*overrides, *arm.overrides, f"seed={seed}"))
