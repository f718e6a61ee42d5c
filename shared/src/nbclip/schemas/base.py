"""What all wire families share: strict models, and the limits of several of them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

MAX_ITEMS = 1_000
MAX_CAPTION_CHARACTERS = 20_000
WITHOUT_NUL = r"^[^\x00]*$"
"""NUL ends a text for other programs, which would see half of it."""


class Strict(BaseModel):
    """A body that names an unknown field is refused: a misspelt option must never be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)
