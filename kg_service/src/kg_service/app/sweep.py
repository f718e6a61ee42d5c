"""What every command and the service do first: remove what killed ones left, in all folders of the settings."""

from __future__ import annotations

from pathlib import Path

from kg_service.config import Settings
from kg_service.storage import sweeping

_OF_0_1_0 = ".new."
"""Prefix of scratch of version 0.1.0; swept only in folders that nobody else writes to."""


def sweep(settings: Settings) -> None:
    """Removes scratch that no living process holds."""
    own = (settings.data, settings.snapshots_folder, settings.jobs_folder)
    for folder in own:
        sweeping.sweep(folder, _OF_0_1_0)
    for folder in {*own, *_others(settings)}:
        sweeping.sweep(folder)


def _others(settings: Settings) -> set[Path]:
    # Indexes and prior lie beside the vocabulary, unless the setting of a linker says otherwise.
    prior = settings.others.get("linker_prior")
    files = (settings.vocabulary_folder, settings.keys_path, *([Path(prior)] if prior else []))
    return {settings.mirror_folder, *(file.parent for file in files)}
