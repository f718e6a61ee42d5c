"""How a grid is read: one that is shipped or a YAML file, `extends:`, and what is wrong with it in a line."""

from __future__ import annotations

import difflib
from collections.abc import Hashable
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from nbclip.errors import InvalidInput, NotFound
from nbclip.schemas.base import message_of
from pydantic import BaseModel, ValidationError

from nbclip_trainer.config.reading import laid_over
from nbclip_trainer.experiments.grid import Grid

_FOLDER = resources.files("nbclip_trainer.experiments") / "grids"
_HINT = "docs/experiments.md has every key; `nbclip experiment --list` shows the shipped grids"


def grid_names() -> list[str]:
    """The shipped grids, sorted."""
    return sorted(Path(entry.name).stem for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml"))


def read_grid(given: str) -> Grid:
    """A shipped grid by name, or a YAML file.

    Raises:
        InvalidInput: not YAML, a key twice, an unknown one or a value that can't be; the message names file, key and value.
        NotFound: no such grid.
    """
    tree = _tree(given, ())
    try:
        return Grid.model_validate(tree)
    except ValidationError as error:
        raise InvalidInput(f"grid {given}: {_explained(error)}", hint=_HINT) from error


class _Loader(yaml.SafeLoader):
    """A key that is there twice is refused: the first would be ignored."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is there twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _tree(given: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if given in seen:
        raise InvalidInput(f"grid {given!r} extends itself: {' -> '.join((*seen, given))}", hint="remove the cycle")
    try:
        # A safe loader, but for keys that are there twice.
        tree = yaml.load(_text(given), _Loader)  # noqa: S506  # nosec B506
    except yaml.YAMLError as error:
        raise InvalidInput(f"grid {given}: not YAML: {' '.join(str(error).split())}", hint="fix the file") from error
    if not isinstance(tree, dict):
        raise InvalidInput(f"grid {given}: not a mapping", hint="write `key: value` lines")
    base = tree.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise InvalidInput(f"grid {given}: extends={base!r} is not the name of a grid", hint=_HINT)
    beside = base if base in grid_names() else str(Path(given).parent / base)
    return laid_over(_tree(beside, (*seen, given)), tree)


def _text(given: str) -> str:
    if given in grid_names():
        return (_FOLDER / f"{given}.yaml").read_text(encoding="utf-8")
    path = Path(given)
    if not path.is_file():
        raise NotFound(f"no grid {given!r}", hint=f"a YAML file, or one of: {', '.join(grid_names())}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"grid {given}: not UTF-8 text: {error}", hint="check that it is a YAML file") from error


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
