"""What all wire families share: how strictly each direction is read, and the limits of several of them."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any

from pydantic import BaseModel, ConfigDict

MAX_ITEMS = 1_000
MAX_CAPTION_CHARACTERS = 20_000
NEXT_CURSOR = "pass as `cursor` for the next page; null at the end"
WITHOUT_NUL = r"^[^\x00]*$"
"""NUL ends a text for other programs, which would see half of it."""

MISSING = frozenset({"nan", "none", "null", "na", "n/a", "<na>"})
"""What other programs write where there is no text."""
_LONGEST_MISSING = max(map(len, MISSING))


def has_text(value: object) -> bool:
    """Whether a value is one at all: neither empty nor what stands for nothing (`MISSING`)."""
    if isinstance(value, str):
        return bool(text := value.strip()) and not (len(text) <= _LONGEST_MISSING and text.casefold() in MISSING)
    return value is not None and not is_nan(value)


def is_nan(value: object) -> bool:
    """Whether a value is not a number: how pandas writes that there is none."""
    return isinstance(value, float) and isnan(value)


def message_of(error: Mapping[str, Any]) -> str:
    """What pydantic says of one error, without the name that it gives to errors of validators ("Value error, ")."""
    return str(error["msg"]).removeprefix("Value error, ")


class Strict(BaseModel):
    """An unknown field is refused: a misspelt option must never be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Request(Strict):
    """What a client sends."""


class Answer(BaseModel):
    """What the service answers. An unknown field is ignored: a client reads answers of later versions."""

    model_config = ConfigDict(extra="ignore", frozen=True)
