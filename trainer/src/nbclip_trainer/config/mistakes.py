"""What is wrong with settings, in a line: the key, its value and what could stand there."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.losses.loss import Loss
from nbclip_trainer.losses.table import loss_named


def explained(error: ValidationError, tree: Mapping[str, Any]) -> str:
    """The first mistake in a line.

    Args:
        error: of validating `tree`.
        tree: the settings as they were read.
    """
    first = error.errors()[0]
    # Between the keys pydantic names the types it tried, such as `tuple[int, int]`, and positions.
    key = ".".join(part for part in first["loc"] if isinstance(part, str) and part.isidentifier())
    if first["type"] == "extra_forbidden":
        section, _, name = key.rpartition(".")
        choices = list(_section(section, tree).model_fields)
        close = difflib.get_close_matches(name, choices, 1)
        meant = f", did you mean {close[0]!r}?" if close else ""
        return f"unknown key {key!r}{meant} (keys of {section or 'the top level'}: {', '.join(choices)})"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"{key}={first['input']!r}: {first['msg'].replace('Input should', 'should')}"


def _section(dotted: str, tree: Mapping[str, Any]) -> type[BaseModel]:
    """The section that a key stands in; of a loss, that of the loss which `tree` names."""
    section: type[BaseModel] = TrainConfig
    for part in filter(None, dotted.split(".")):
        section = _section_type(section.model_fields[part].annotation) or section
    return (section is Loss and loss_named(tree["loss"])) or section


def _section_type(annotation: Any) -> type[BaseModel] | None:
    candidates = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
