"""Where pairs come from, and how their images are changed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nbclip.files.layout import Format
from nbclip.files.rows import MAX_BAD_ROW_SHARE
from nbclip.schemas.base import Strict
from pydantic import Field

MAX_PIXELS = 100_000_000


class Columns(Strict):
    """The files' names of the columns.

    `findings,impression` joins the texts of two, `findings|impression` takes the first that has text.
    """

    image_id: str = "image_id"
    file: str = "file"
    caption: str = Field(
        "caption", description="may be two: findings,impression joins them, a bar for the comma takes the first that has text"
    )
    split: str = "split"
    cuis: str = "cuis"


class DataSettings(Strict):
    """Where pairs come from."""

    files: tuple[Path, ...] = Field(
        (), description="tables, NDJSON, shards (.tar), folders of these or of ROCO; * stands for any"
    )
    columns: Columns = Columns()
    format: Format | None = Field(None, description="null: by the file's name and content")
    separator: str | None = Field(None, description="comma, tab, semicolon or bar; null: as the header tells")
    max_bad_row_share: float = Field(
        MAX_BAD_ROW_SHARE, ge=0, le=1, description="stop if a greater share of rows can't be used: damaged, or without a caption"
    )
    train_split: str | None = "train"
    valid_split: str | None = Field("valid", description="null: no validation loss")
    pictures: Literal["memory", "disk"] = Field("disk", description="images. memory: decode once; disk: decode at each use")
    check: Literal["decode", "headers"] = Field(
        "decode", description="of `disk`, before the first step: decode all images once, or read what begins their files"
    )
    workers: int = Field(4, ge=0, description="decoding processes of `disk`, decoding threads of the first pass")
    max_pixels: int = Field(MAX_PIXELS, ge=1, description="an image of more pixels is refused undecoded")
    max_bad_share: float = Field(
        0.01, ge=0, le=1, description="images that can't be decoded are left out; stop if they are a greater share"
    )
    allow_leaks: bool = Field(
        False, description="train although a group is in two splits, or targets have seen images that are not trained on"
    )


class AugmentationSettings(Strict):
    """Random changes of a training image; no flip, as left and right mean something in the body."""

    kind: Literal["none", "affine", "open_clip"] = Field("open_clip", description="affine: on batches in memory, below")
    scale: tuple[float, float] = (0.85, 1.15)
    shift: float = Field(0.06, ge=0, le=1, description="share of the side")
    degrees: float = Field(7.0, ge=0, le=180)
    gamma: tuple[float, float] = (0.8, 1.25)
    contrast: tuple[float, float] = (0.85, 1.15)
