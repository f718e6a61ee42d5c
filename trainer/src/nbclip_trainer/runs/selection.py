"""Which validation of a run is its best, and whether the run has waited long enough for a better one.

Both follow from the validations so far, which every checkpoint holds: a resumed run decides as one that never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nbclip_trainer.runs.settings import BestBy, ValidationSettings

Validation = Mapping[str, Any]
"""`step`, and the figures of a validation by name."""


def merit(validation: Validation, by: BestBy) -> float | None:
    """A validation's figure, turned so that more is better; None where it has none that is finite."""
    value = validation.get(by)
    if value is None or not math.isfinite(value):
        return None
    return -float(value) if by == "loss" else float(value)


def early_end(validations: Sequence[Validation], by: BestBy, settings: ValidationSettings, steps_per_epoch: int) -> str:
    """Why the run ends after the last of these validations; empty where it goes on.

    Args:
        validations: in the order of their steps.
        by: the figure that decides.
        settings: its patience, in epochs since the best validation, and the gain that makes a validation better than that.
        steps_per_epoch: steps of an epoch.
    """
    if settings.patience is None or not validations:
        return ""
    step, best = 0, -math.inf
    for one in validations:
        value = merit(one, by)
        if value is not None and value > best + settings.min_improvement:
            step, best = one["step"], value
    if validations[-1]["step"] - step < settings.patience * steps_per_epoch:
        return ""
    than = f"better {by} than {abs(best):.4f} at step {step}" if math.isfinite(best) else by
    return f"no {than}, with a patience of {settings.patience} epochs (validation.patience)"
