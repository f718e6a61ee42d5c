"""How a grid is read: one that is shipped or a YAML file, and what is wrong with it in a line."""

from __future__ import annotations

import difflib
from importlib import resources
from typing import Any, get_args

from nbclip.errors import InvalidInput
from nbclip.schemas.base import message_of
from pydantic import BaseModel, ValidationError

from nbclip_trainer.config.shelf import Shelf
from nbclip_trainer.experiments.grid import Grid

_GRIDS = Shelf("grid", resources.files("nbclip_trainer.experiments") / "grids")
_HINT = "docs/experiments.md has every key; `nbclip experiment --list` shows the shipped grids"


def grid_names() -> list[str]:
    """The shipped grids, sorted."""
    return _GRIDS.names()


def read_grid(given: str) -> Grid:
    """A shipped grid by name, or a YAML file.

    Raises:
        InvalidInput: not YAML, a key twice, an unknown one or a value that can't be; the message names file, key and value.
        NotFound: no such grid.
    """
    tree = _GRIDS.tree(given)
    try:
        return Grid.model_validate(tree)
    except ValidationError as error:
        raise InvalidInput(f"grid {given}: {_explained(error)}", hint=_HINT) from error


def _explained(error: ValidationError) -> str:
    """The first mistake: key, value and what could stand there; a misspelt key rather than the one that it should be."""
    first = next((one for one in error.errors() if one["type"] == "extra_forbidden"), error.errors()[0])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        choices = _keys_beside(first["loc"])
        close = difflib.get_close_matches(name, choices, 1)
        meant = f", did you mean {close[0]!r}?" if close else ""
        there = f" (keys there: {', '.join(choices)})" if choices else ""
        return f"unknown key {key!r}{meant}{there}"
    if first["type"] == "missing":
        return f"{key} is missing"
    if first["type"] == "value_error":
        return ": ".join(filter(None, (key, message_of(first))))
    return f"{key}={first['input']!r}: {first['msg'].replace('Input should', 'should')}"


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the section in which a key stands; none where the section could be of several kinds."""
    section: Any = Grid
    for part in location[:-1]:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[str(part)].annotation if part in section.model_fields else None
        else:
            section = _inner(section)
        section = _without_none(section)
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []


def _inner(annotation: Any) -> Any:
    """What a mapping or a tuple holds."""
    return next((kind for kind in get_args(annotation) if kind not in {str, ...}), None)


def _without_none(annotation: Any) -> Any:
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return kinds[0] if type(None) in get_args(annotation) and len(kinds) == 1 else annotation
