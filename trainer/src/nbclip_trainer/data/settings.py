"""Where pairs come from, and how their images are changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from nbclip.files.addresses import Address, location
from nbclip.files.layout import Format
from nbclip.files.rows import MAX_BAD_ROW_SHARE
from nbclip.schemas.base import Strict
from pydantic import BeforeValidator, Field, InstanceOf, PlainSerializer, model_validator

MAX_PIXELS = 100_000_000
Check = Literal["none", "headers", "decode"]
CHECKS: tuple[Check, ...] = get_args(Check)
"""From the one that finds least to the one that finds most."""
Resize = Literal["torch", "pillow"]

Place = Annotated[Path | InstanceOf[Address], BeforeValidator(location), PlainSerializer(str)]
"""A path or an address, as a text in files of settings."""


class Columns(Strict):
    """The files' names of the columns.

    `findings,impression` joins the texts of two, `findings|impression` takes the first that has text.
    """

    image_id: str = Field("image_id", description="column of ids, unique over all files")
    file: str = Field("file", description="column of image files, relative to the table")
    caption: str = Field(
        "caption",
        description="column of captions; findings,impression joins two, a bar for the comma takes the first that has text",
    )
    split: str = Field("split", description="column of splits")
    cuis: str = Field("cuis", description="column of CUIs")
    group: str = Field(
        "group", description="column of cases or patients: images of one are in one split, and don't answer each other"
    )
    modality: str = Field("modality", description="column of modalities, for P@K")
    organ: str = Field("organ", description="column of organs, for P@K")
    modality_organ: str = Field("modality_organ", description="column of both in one, for P@K")


class DataSettings(Strict):
    """Where pairs come from."""

    files: tuple[Place, ...] = Field(
        (),
        description="tables, NDJSON, shards (.tar), each a path or an address (s3://bucket/a.tar), folders of these or of ROCO; "
        "* stands for any, {000..009} for each; or one `nbclip index`",
    )
    columns: Columns = Columns()
    format: Format | None = Field(None, description="format of the files; null: by their name and content")
    separator: str | None = Field(
        None, description="what separates columns: comma, tab, semicolon or bar; null: what the header has"
    )
    max_bad_row_share: float = Field(
        MAX_BAD_ROW_SHARE, ge=0, le=1, description="stop if a larger share of rows can't be used: damaged, or without a caption"
    )
    train_split: str | None = Field("train", description="split to train on; null: all pairs")
    valid_split: str | None = Field("valid", description="split to validate on; null: none")
    where: dict[str, tuple[str, ...]] = Field(
        {}, description="train and validate on rows that have one of these values in each column, such as source: [MedPix]"
    )
    exclude: dict[str, tuple[str, ...]] = Field(
        {}, description="train and validate on no row that has one of these values; neither changes what is scored"
    )
    pictures: Literal["memory", "disk", "cache"] = Field(
        "disk",
        description="where images are kept: disk, decoded at each use; memory or cache, decoded once, in the model's size",
    )
    cache: Path | None = Field(
        None, description="for pictures=cache: folder of decoded images, filled by the first run, shared by processes and runs"
    )
    draft: bool = Field(
        False,
        description="decode large JPEGs at 1/2, 1/4 or 1/8 of their size, no smaller than 5/4 of the model's: faster",
    )
    resize: Resize = Field(
        "torch",
        description="what resizes images: torch, faster and nearly the same, or pillow, as earlier versions did",
    )
    features: Path | None = Field(
        None, description="folder for what locked towers compute, once for all runs, on which the projections train; null: none"
    )
    check: Check = Field(
        "decode",
        description="what to do with images on disk before the first step: decode each once, read only the start of each file, "
        "or nothing; what is bad is then found when its turn comes",
    )
    workers: int = Field(4, ge=0, description="processes that decode images from disk, and threads that decode in the first pass")
    max_pixels: int = Field(MAX_PIXELS, ge=1, description="an image with more pixels is refused without being decoded")
    max_bad_share: float = Field(
        0.01, ge=0, le=1, description="images that can't be decoded are left out; stop if they are a larger share"
    )
    allow_leaks: bool = Field(
        False, description="train although a group is in two splits, or targets have seen images that are not trained on"
    )

    @model_validator(mode="after")
    def _cache_has_a_folder(self) -> Self:
        if (self.pictures == "cache") != (self.cache is not None):
            raise ValueError("data.pictures=cache and data.cache=FOLDER belong together")
        return self


class AugmentationSettings(Strict):
    """Random changes of a training image; no flip, as left and right mean something in the body."""

    kind: Literal["none", "affine", "open_clip"] = Field(
        "open_clip",
        description="affine: by the settings below; open_clip: its own random crop, of the whole image, or of the small one that "
        "memory or a cache has",
    )
    scale: tuple[float, float] = Field((0.85, 1.15), description="affine: range of the factor on the size")
    shift: float = Field(0.06, ge=0, le=1, description="affine: largest shift, as a share of the side")
    degrees: float = Field(7.0, ge=0, le=180, description="affine: largest rotation")
    gamma: tuple[float, float] = Field((0.8, 1.25), description="affine: range of the exponent on grey values")
    contrast: tuple[float, float] = Field((0.85, 1.15), description="affine: range of the factor on contrast")
    views: int | None = Field(
        None,
        ge=1,
        le=255,
        description="an image has so many changed views, the same in all runs, and each epoch draws one of them or the image "
        "itself; null: it is changed anew in each step",
    )

    @model_validator(mode="after")
    def _views_are_of_something(self) -> Self:
        if self.views is not None and self.kind == "none":
            raise ValueError(f"augmentation.views={self.views} needs augmentation.kind=affine or open_clip, not none")
        return self

    @property
    def repeats(self) -> bool:
        """Whether a run sees no more than some views of an image, which could be computed once."""
        return self.kind == "none" or self.views is not None
