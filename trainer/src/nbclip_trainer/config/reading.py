"""How settings are read: presets and YAML files, `extends:`, `a.b=c` overrides.

A preset is a mapping with the keys of `tree.TrainConfig`; `extends: NAME` lays it over another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from nbclip.errors import InvalidInput, NotFound
from pydantic import ValidationError

from nbclip_trainer.config.mistakes import explained
from nbclip_trainer.config.tree import TrainConfig

_FOLDER = resources.files("nbclip_trainer.config") / "presets"


def load_config(preset: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """A preset by name or YAML file, with `a.b=c` overrides (values in YAML) laid over it.

    Raises:
        InvalidInput: an unknown key, a value out of its range; the message names the key, the value and the choices.
        NotFound: no such preset.
    """
    return config_of(_preset_tree(preset, ()), overrides)


def config_of(tree: Mapping[str, Any], overrides: Sequence[str] = ()) -> TrainConfig:
    """A config from plain mappings, as YAML or JSON gives them, with overrides laid over them; raises InvalidInput."""
    whole = laid_over(tree, _override_tree(overrides))
    try:
        return TrainConfig.model_validate(whole)
    except ValidationError as error:
        raise InvalidInput(explained(error, whole), hint="`nbclip presets NAME` shows every key") from error


def preset_names() -> list[str]:
    """The packaged presets, sorted."""
    return sorted(Path(entry.name).stem for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml"))


def _preset_tree(preset: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if preset in seen:
        raise InvalidInput(f"preset {preset!r} extends itself: {' -> '.join((*seen, preset))}", hint="remove the cycle")
    try:
        tree = yaml.safe_load(_preset_text(preset)) or {}
    except yaml.YAMLError as error:
        raise InvalidInput(f"preset {preset}: not YAML: {' '.join(str(error).split())}", hint="fix the file") from error
    if not isinstance(tree, dict):
        raise InvalidInput(f"preset {preset}: not a mapping", hint="write `key: value` lines")
    base = tree.pop("extends", None)
    return tree if base is None else laid_over(_preset_tree(_beside(base, preset), (*seen, preset)), tree)


def _preset_text(preset: str) -> str:
    if preset in preset_names():
        return (_FOLDER / f"{preset}.yaml").read_text(encoding="utf-8")
    path = Path(preset)
    if not path.is_file():
        raise NotFound(f"no preset {preset!r}", hint=f"a YAML file, or one of: {', '.join(preset_names())}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"preset {preset}: not UTF-8 text: {error}", hint="check that it is a YAML file") from error


def _beside(base: str, preset: str) -> str:
    """A base that is a file is relative to the file that names it."""
    neighbour = Path(preset).parent / base
    return base if base in preset_names() else str(neighbour)


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


def laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`, mapping by mapping; another loss inherits no parameters."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict) and not (key == "loss" and _another(below, value)):
            merged[key] = laid_over(below, value)
        else:
            merged[key] = value
    return merged


def _another(below: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    return "name" in below and over.get("name", below["name"]) != below["name"]
