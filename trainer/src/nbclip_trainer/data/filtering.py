"""Rows by the values of their columns: `{source: [VQA-Med, MedPix]}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import polars as pl
from nbclip.errors import InvalidInput

from nbclip_trainer.data.dataset import Dataset, FrameDataset
from nbclip_trainer.data.rows import refuse_no_column
from nbclip_trainer.data.settings import DataSettings

Where = Mapping[str, Sequence[str]]
"""Values by column; a row has one of them in each of the columns."""
AnyDataset = TypeVar("AnyDataset", bound=Dataset)
_NAMED = 12


def with_values(frame: pl.DataFrame, where: Where, key: str) -> pl.Expr:
    """Whether a row has one of the values in each column.

    Args:
        frame: the rows.
        where: what they are to have.
        key: the setting, for messages.

    Raises:
        NotFound: no file has a column.
        InvalidInput: no row has a value.
    """
    for column, values in where.items():
        refuse_no_column(column, frame.columns)
        there = frame[column].drop_nulls().unique().sort().to_list()
        if missing := [value for value in values if value not in there]:
            rest = ", …" if len(there) > _NAMED else ""
            raise InvalidInput(
                f"{key}.{column}={missing[0]!r}: no row has this value",
                hint=f"values of {column}: {', '.join(there[:_NAMED]) or 'none'}{rest}",
            )
    chosen = (pl.col(column).is_in(list(values)).fill_null(value=False) for column, values in where.items())
    return pl.all_horizontal(pl.lit(value=True), *chosen)


def narrowed(dataset: AnyDataset, settings: DataSettings, *, known: Dataset | None = None) -> AnyDataset:
    """The rows of a split that `data.where` and `data.exclude` leave.

    Args:
        dataset: the split.
        settings: the run's.
        known: where the values must be; None: in the split itself.

    Raises:
        InvalidInput: no row has a value, none is left, or the data are an index.
    """
    if not settings.where and not settings.exclude:
        return dataset
    key = "where" if settings.where else "exclude"
    if not isinstance(dataset, FrameDataset):
        raise InvalidInput(
            f"data.{key} chooses rows of files, and the data are an index", hint="make an index of these rows alone"
        )
    whole = known.frame if isinstance(known, FrameDataset) else dataset.frame
    wanted = with_values(whole, settings.where, "data.where")
    # A row is left out for one column alone.
    unwanted = [with_values(whole, {column: values}, "data.exclude") for column, values in settings.exclude.items()]
    frame = dataset.frame.filter(wanted, *(~one for one in unwanted))
    if frame.is_empty():
        raise InvalidInput(f"data.{key} leaves none of {len(dataset)} rows", hint="leave out less")
    return replace(dataset, frame=frame)
