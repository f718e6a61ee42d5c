"""How settings are read: presets and YAML files, `extends:`, `a.b=c` overrides.

A preset is a mapping with the keys of `tree.TrainConfig`; `extends: NAME` lays it over another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import yaml
from nbclip.errors import InvalidInput
from pydantic import ValidationError

from nbclip_trainer.config.laying import laid_over
from nbclip_trainer.config.mistakes import explained
from nbclip_trainer.config.shelf import Shelf
from nbclip_trainer.config.tree import TrainConfig

_PRESETS = Shelf("preset", resources.files("nbclip_trainer.config") / "presets")


def load_config(preset: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """A preset by name or YAML file, with `a.b=c` overrides (values in YAML) laid over it.

    Raises:
        InvalidInput: an unknown key, a value out of its range; the message names the key, the value and the choices.
        NotFound: no such preset.
    """
    return config_of(_PRESETS.tree(preset), overrides)


def config_of(tree: Mapping[str, Any], overrides: Sequence[str] = ()) -> TrainConfig:
    """A config from plain mappings, as YAML or JSON gives them, with overrides laid over them; raises InvalidInput."""
    whole = laid_over(tree, _override_tree(overrides))
    try:
        return TrainConfig.model_validate(whole)
    except ValidationError as error:
        raise InvalidInput(explained(error, whole), hint="`nbclip presets NAME` shows every key") from error


def preset_names() -> list[str]:
    """The packaged presets, sorted."""
    return _PRESETS.names()


def _override_tree(overrides: Sequence[str]) -> dict[str, Any]:
    """`a.b=c` strings as one tree, later ones over earlier ones."""
    tree: dict[str, Any] = {}
    for override in overrides:
        tree = laid_over(tree, _one_override(override))
    return tree


def _one_override(override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise InvalidInput(f"--set {override!r} is not key=value", hint="for example --set optim.lr=1e-3")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput(
            f"--set {override!r}: the value is not YAML", hint="quote it: --set 'data.files=[a.csv, b.csv]'"
        ) from error
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return value  # type: ignore[no-any-return]
