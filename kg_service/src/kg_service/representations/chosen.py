"""The representations that the settings ask for."""

from __future__ import annotations

from dataclasses import replace

from kg_service.config import Settings
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.model import Representation
from kg_service.representations.transe import PRESETS


def representations_of(settings: Settings) -> dict[str, Representation]:
    """The representations that are set, with their parameters, by name."""
    hybrid = Hybrid(
        ancestor_weight=settings.hybrid_ancestor_weight,
        decay=settings.hybrid_decay,
        max_distance=settings.hybrid_max_distance,
        hub_share=settings.hybrid_hub_share,
        smoothing=settings.hybrid_smoothing,
        smoothing_dimension=settings.hybrid_smoothing_dimension,
        shrinkage=settings.hybrid_shrinkage,
        redundancy=settings.hybrid_redundancy,
    )
    preset = PRESETS[settings.transe_preset]
    known: dict[str, Representation] = {
        "hybrid": hybrid,
        "concepts": replace(hybrid, smoothing=0.0),
        "transe": replace(preset, epochs=settings.transe_epochs or preset.epochs, seed=settings.transe_seed),
    }
    return {name: known[name] for name in settings.representations}
