"""Writes docs/settings.md from the settings of both programs.

make docs
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from kg_service.config import settings_table
from nbclip_trainer.config import TrainConfig
from pydantic import BaseModel
from pydantic.fields import FieldInfo

PAGE = Path(__file__).with_name("settings.md")

_SERVICE = """# Settings

This page is generated: `make docs` writes it from the code.

## Service

Each setting is a variable. It is read from the environment, from `.env` in the working directory, or from a file of its name in
`/run/secrets`, in this order. Options of a command, such as `--data`, override it. Lists are separated by commas.
`kg-service settings` prints this table.
"""
_TRAINER = """
## Trainer

Set these with `--set key=value`, or in a YAML file that `--preset` names; `nbclip presets NAME` shows the values of a preset. The
variable `NBCLIP_SERVICE_KEY` holds the service's key if `service.key_file` names no file.
"""
_HEAD = "| key | default | meaning |\n| --- | --- | --- |"


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([_SERVICE, settings_table(), _TRAINER, _HEAD, *_rows(TrainConfig)]) + "\n"


def _rows(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """A row for each setting; a section's own settings come before those of its subsections."""
    subsections = []
    for name, field in section.model_fields.items():
        if (below := _section(field.annotation)) is not None:
            subsections.append((f"{prefix}{name}.", below))
        else:
            yield f"| `{prefix}{name}` | {_default(field)} | {_meaning(field)} |"
    for below_prefix, below in subsections:
        yield from _rows(below, below_prefix)


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation names, also where it may be None."""
    candidates = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _default(field: FieldInfo) -> str:
    match field.default:
        case None:
            return "null"
        case "" | ():
            return ""
        case bool():
            return f"`{str(field.default).lower()}`"
        case tuple():
            return f"`{list(field.default)}`"
        case float():
            return f"`{field.default:.6g}`"
    return f"`{field.default}`"


def _meaning(field: FieldInfo) -> str:
    choices = _choices(field.annotation)
    parts = (field.description or "", f"one of {', '.join(f'`{each}`' for each in choices)}" if choices else "")
    return "; ".join(filter(None, parts)).replace("|", "\\|")


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    return tuple(choice for part in get_args(annotation) for choice in _choices(part))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
