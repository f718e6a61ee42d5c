"""Writes docs/settings.md from the settings of both programs: `make docs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from kg_service.cli.main import app
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.losses.loss import Loss
from nbclip_trainer.losses.table import LOSSES
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

PAGE = Path(__file__).with_name("settings.md")

_SERVICE = """# Settings

Every setting of both programs, with its default. This page is generated: `make docs` writes it from the code.

## Service

Each setting is a variable. It is read from the environment, from `.env` in the working directory, or from a file of its name in
`/run/secrets`, in this order. Options of a command, such as `--data`, override it. Lists are separated by commas.
`kg-service settings` prints this table.
"""
_TRAINER = """## Trainer

Set these with `--set key=value`, or in a YAML file that `--preset` names; `nbclip presets NAME` shows the values of a preset. The
variable `NBCLIP_SERVICE_KEY` holds the service's key if `service.key_file` names no file.

| key | default | meaning |
| --- | --- | --- |"""


def page() -> str:
    """The whole page as Markdown."""
    service = CliRunner().invoke(app, ["settings"], catch_exceptions=False).stdout
    return "\n".join([_SERVICE, service, _TRAINER, *_rows(TrainConfig)]) + "\n"


def _rows(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """A row for each setting; a section's own settings come before those of its subsections."""
    # The section `loss` is one of several, each with a name and settings of its own.
    kinds = list(LOSSES.values()) if section is Loss else [section]
    fields = {name: field for kind in reversed(kinds) for name, field in kind.model_fields.items()}
    below = {name: model for name, field in fields.items() if (model := _section(field.annotation))}
    for name, field in fields.items():
        if name not in below:
            having = [kind.model_fields for kind in kinds if name in kind.model_fields]
            only = "" if len(having) == len(kinds) else f"{', '.join(each['name'].default for each in having)}: "
            choices = [choice for each in having for choice in _choices(each[name].annotation)]
            yield f"| `{prefix}{name}` | {_default(field)} | {only}{_meaning(field, choices)} |"
    for name, model in below.items():
        yield from _rows(model, f"{prefix}{name}.")


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation names, also if it may be None."""
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


def _meaning(field: FieldInfo, choices: list[str]) -> str:
    parts = (field.description or "", f"one of {', '.join(f'`{choice}`' for choice in choices)}" if choices else "")
    return "; ".join(filter(None, parts)).replace("|", "\\|")


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    return tuple(choice for part in get_args(annotation) for choice in _choices(part))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
