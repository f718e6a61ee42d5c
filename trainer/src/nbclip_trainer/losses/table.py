"""All losses by the name that settings choose them by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from nbclip_trainer.losses.infonce import InfoNCE
from nbclip_trainer.losses.loss import Loss
from nbclip_trainer.losses.mse import SquaredError
from nbclip_trainer.losses.sigmoid_fff import ThresholdSigmoid
from nbclip_trainer.losses.sigmoid_soft import SoftSigmoid
from nbclip_trainer.losses.sm import SemanticMatching

LOSSES: dict[str, type[Loss]] = {
    "infonce": InfoNCE,
    "sm": SemanticMatching,
    "mse": SquaredError,
    "sigmoid_soft": SoftSigmoid,
    "sigmoid_fff": ThresholdSigmoid,
}
_IN_EVERY_SECTION_OF_0_1_0 = {"mse_on": "cos", "diagonal_weight": 0.5, "threshold": 0.5}
"""Parameters that 0.1.0 wrote down whatever the loss, and their defaults."""


def loss_named(section: Mapping[str, Any]) -> type[Loss] | None:
    """The loss that a section `loss` of the settings names, by default InfoNCE; None where the table lacks it."""
    name = section.get("name", "infonce")
    return LOSSES.get(name) if isinstance(name, str) else None


def own_parameters(section: Mapping[str, Any], *, whatever_their_values: bool = False) -> dict[str, Any]:
    """The section without what 0.1.0 wrote of other losses: at its default, where it says nothing, or at any value."""
    loss = loss_named(section)
    others = [] if loss is None else [name for name in _IN_EVERY_SECTION_OF_0_1_0 if name not in loss.model_fields]
    silent = {name for name in others if whatever_their_values or section.get(name) == _IN_EVERY_SECTION_OF_0_1_0[name]}
    return {name: value for name, value in section.items() if name not in silent}


def _chosen(section: Any) -> Any:
    """The loss of a section; what is none is left to pydantic to refuse."""
    if not isinstance(section, Mapping):
        return section
    loss = loss_named(section)
    if loss is None:
        raise ValueError(f"loss.name={section['name']!r}: should be one of {', '.join(LOSSES)}")
    return loss.model_validate(own_parameters(section))


ChosenLoss = Annotated[SerializeAsAny[Loss], BeforeValidator(_chosen)]
"""The section `loss`: of the loss that its `name` chooses."""
