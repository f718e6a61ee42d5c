"""Packaged settings, and how a config is read: YAML, `extends:`, `a.b=c` overrides.

A preset is a mapping with the keys of `nbclip_trainer.config.TrainConfig`; `extends: NAME` lays it over another one.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from nbclip.errors import InvalidInput, NotFound
from pydantic import BaseModel, ValidationError

from nbclip_trainer.config import TrainConfig

_FOLDER = resources.files(__name__)


def load_config(preset: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """A preset by name or YAML file, with `a.b=c` overrides (values in YAML) laid over it.

    Raises:
        InvalidInput: an unknown key, a value out of its range; the message names the key, the value and the choices.
        NotFound: no such preset.
    """
    return check_config(_merged(_preset_tree(preset, ()), override_tree(overrides)))


def override_tree(overrides: Sequence[str]) -> dict[str, Any]:
    """`a.b=c` strings as one tree, later ones over earlier ones; raises InvalidInput."""
    tree: dict[str, Any] = {}
    for override in overrides:
        tree = _merged(tree, _one_override(override))
    return tree


def check_config(tree: Mapping[str, Any]) -> TrainConfig:
    """A config from plain mappings, as YAML or JSON gives them; raises as `load_config`."""
    try:
        return TrainConfig.model_validate(tree)
    except ValidationError as error:
        raise InvalidInput(_explained(error), hint="`nbclip presets NAME` shows every key") from error


def preset_names() -> list[str]:
    """The packaged presets, sorted."""
    return sorted(Path(entry.name).stem for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml"))


def _preset_tree(preset: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if preset in seen:
        raise InvalidInput(f"preset {preset!r} extends itself: {' -> '.join((*seen, preset))}", hint="break the circle")
    try:
        tree = yaml.safe_load(_preset_text(preset)) or {}
    except yaml.YAMLError as error:
        raise InvalidInput(f"preset {preset}: not YAML: {' '.join(str(error).split())}", hint="mend the file") from error
    if not isinstance(tree, dict):
        raise InvalidInput(f"preset {preset}: not a mapping", hint="write `key: value` lines")
    base = tree.pop("extends", None)
    return tree if base is None else _merged(_preset_tree(_beside(base, preset), (*seen, preset)), tree)


def _preset_text(preset: str) -> str:
    if preset in preset_names():
        return (_FOLDER / f"{preset}.yaml").read_text(encoding="utf-8")
    path = Path(preset)
    if not path.is_file():
        raise NotFound(f"no preset {preset!r}", hint=f"a YAML file, or one of: {', '.join(preset_names())}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"preset {preset}: not UTF-8 text: {error}", hint="is it a YAML file?") from error


def _beside(base: str, preset: str) -> str:
    """A base that is a file is relative to the file that names it."""
    neighbour = Path(preset).parent / base
    return base if base in preset_names() else str(neighbour)


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


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`, mapping by mapping."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _explained(error: ValidationError) -> str:
    """One line for the first mistake: key, value, what could stand there."""
    first = error.errors()[0]
    # Between the keys pydantic names the types it tried, such as `tuple[int, int]`, and positions.
    key = ".".join(part for part in first["loc"] if isinstance(part, str) and part.isidentifier())
    if first["type"] == "extra_forbidden":
        section, _, name = key.rpartition(".")
        choices = list(_section_fields(section))
        close = difflib.get_close_matches(name, choices, 1)
        meant = f", did you mean {close[0]!r}?" if close else ""
        return f"unknown key {key!r}{meant} (keys of {section or 'the top level'}: {', '.join(choices)})"
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return f"{key}={first['input']!r}: {message}" if key else message


def _section_fields(dotted: str) -> Mapping[str, Any]:
    model: type[BaseModel] = TrainConfig
    for part in filter(None, dotted.split(".")):
        model = _section_type(model.model_fields[part].annotation) or model
    return model.model_fields


def _section_type(annotation: Any) -> type[BaseModel] | None:
    candidates = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
